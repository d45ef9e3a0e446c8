// The optimizers: each parameter moves against its gradient g and brings what is remembered for it up to date.

struct Rates {  // of one step, in float32 as the parameters are
    float rate, momentum, beta_1, beta_2, epsilon, decay;
};

__device__ Rates rates_of(const double* numbers, double rate) {
    return {(float)rate, (float)numbers[MOMENTUM_RATE], (float)(1 - numbers[BETA_1]), (float)(1 - numbers[BETA_2]),
            (float)numbers[EPSILON], (float)(numbers[LEARNING_RATE] * numbers[WEIGHT_DECAY])};
}

__device__ void sgd(float& theta, float g, const Rates& r) { theta -= r.rate * g; }

__device__ void momentum(float& theta, float g, float& v, const Rates& r) {
    v = r.momentum * v - r.rate * g;
    theta += v;
}

__device__ void nesterov(float& theta, float g, float& v, const Rates& r) {
    v = r.momentum * v - r.rate * g;
    theta += r.momentum * v - r.rate * g;
}

__device__ void adam(float& theta, float g, float& m, float& v, const Rates& r) {
    m += r.beta_1 * (g - m);  // here beta is what a new gradient weighs: 1 - beta of the formula
    v += r.beta_2 * (g * g - v);
    theta -= r.rate * m / (sqrtf(v) + r.epsilon);  // the rate makes up for the averages' beginning at zero (batch.cuh)
}

__device__ void adamw(float& theta, float g, float& m, float& v, const Rates& r) {
    theta -= r.decay * theta;
    adam(theta, g, m, v, r);
}

// The parameter i of ``size``, whose slots lie behind each other.
__device__ void move(int optimizer, float* theta, float* slots, long long size, long long i, float g, const Rates& r) {
    switch (optimizer) {
        case SGD: return sgd(theta[i], g, r);
        case MOMENTUM: return momentum(theta[i], g, slots[i], r);
        case NESTEROV: return nesterov(theta[i], g, slots[i], r);
        case ADAM: return adam(theta[i], g, slots[i], slots[size + i], r);
        case ADAMW: return adamw(theta[i], g, slots[i], slots[size + i], r);
    }
}

// The whole vector. The gradient has come in parts, ``stride`` apart, from blocks that had their share of the batch.
template <int OPTIMIZER>
__global__ void update(float* theta, float* slots, const float* gradient, int parts, long long stride, long long size,
                       const double* numbers, const Place* place) {
    if (rows_of(*place) == 0) return;
    Rates rates = rates_of(numbers, place->rate);
    for_all(size, [&](long long i) {
        float g = 0;
        for (int part = 0; part < parts; part++) g += gradient[part * stride + i];
        move(OPTIMIZER, theta, slots, size, i, g, rates);
    });
}

// --- penalties ----------------------------------------------------------------------------------------------------

struct Penalty {
    double l1, l2;
};

__device__ double penalty_of(const Penalty& penalty, float w) {
    return penalty.l1 * fabs((double)w) + penalty.l2 * ((double)w * w);
}

__device__ float penalty_slope(const Penalty& penalty, float w) {
    return (float)penalty.l1 * (w > 0 ? 1 : w < 0 ? -1 : w) + (float)(2 * penalty.l2) * w;
}

// The sum of a block's values, in the same order every time; the first thread gets it.
__device__ double sum_of_block(double value) {
    auto& part = shared<double[LANES]>();
    value = sum_of_lanes(value);
    if (lane() == 0) part[warp()] = value;
    __syncthreads();
    double total = 0;
    for (int w = 0; w < blockDim.x / LANES; w++) total += part[w];
    __syncthreads();
    return total;
}

// One W: the penalty's slope is added to its gradient, unless that is null, and each block notes its part of the value.
__global__ void penalize(const float* W, float* dW, long long size, Penalty penalty, double* values,
                         const Place* place) {
    double value = 0;
    for_all(rows_of(*place) > 0 ? size : 0, [&](long long i) {
        value += penalty_of(penalty, W[i]);
        if (dW != nullptr) dW[i] += penalty_slope(penalty, W[i]);
    });
    value = sum_of_block(value);
    if (threadIdx.x == 0) values[blockIdx.x] = value;
}
