// What is done to each number for itself: activations, dropout, normalization.

// --- activations, each followed by its slope from the output y ---------------------------------------------------

__device__ float sigmoid(float z) {
    float e = expf(-fabsf(z));  // two branches, so that exp never overflows
    return (z >= 0 ? 1 : e) / (1 + e);
}

__device__ float activate(int activation, float z) {
    if (activation == RELU) return z < 0 ? 0 : z;  // not fmaxf(z, 0), which makes a zero of NaN
    if (activation == SIGMOID) return sigmoid(z);
    if (activation == TANH) return tanhf(z);
    return z;
}

__device__ float slope(int activation, float y) {
    if (activation == RELU) return y > 0 ? 1 : y;  // y is 0 or NaN
    if (activation == SIGMOID) return y * (1 - y);
    if (activation == TANH) return 1 - y * y;
    return 1;
}

__global__ void activation(const float* z, float* y, int width, int which, const Place* place) {
    for_all((long long)rows_of(*place) * width, [&](long long i) { y[i] = activate(which, z[i]); });
}

__global__ void activation_backward(const float* dy, const float* y, float* dz, int width, int which,
                                    const Place* place) {
    for_all((long long)rows_of(*place) * width, [&](long long i) { dz[i] = dy[i] * slope(which, y[i]); });
}

// --- dropout: contract.py has the generator, the same bits in every engine ---------------------------------------

struct Dropout {
    unsigned long long seed;
    long long layer;      // which of the dropouts; a negative one drops nothing
    long long threshold;  // rate * 2^24, rounded up
    double scale;         // of what is kept: 1 / (1 - rate)
};

__device__ unsigned long long mix(unsigned long long h) {
    h = (h ^ (h >> 30)) * 0xBF58476D1CE4E5B9ull;
    h = (h ^ (h >> 27)) * 0x94D049BB133111EBull;
    return h ^ (h >> 31);
}

// What the number of this index in the batch is multiplied by: 0 or the scale. Nothing has to be kept for the way
// back, since a counter gives the same bits whenever it is asked.
__device__ float mask(const Dropout& dropout, long long step, long long index) {
    if (dropout.layer < 0) return 1;
    unsigned long long key = mix(mix(mix(dropout.seed) + step) + dropout.layer);
    unsigned long long bits = mix(key + (index + 1) * 0x9E3779B97F4A7C15ull);
    return (bits >> 40) >= dropout.threshold ? (float)dropout.scale : 0;
}

// Forward and backward are the same. May be done in place.
__global__ void dropout(const float* x, float* y, int width, Dropout dropout, const Place* place) {
    for_all((long long)rows_of(*place) * width, [&](long long i) { y[i] = x[i] * mask(dropout, place->step, i); });
}

// --- normalization -----------------------------------------------------------------------------------------------

__device__ float deviation(float variance) {
    float root = sqrtf(variance);
    return root < (float)DEVIATION_FLOOR ? (float)DEVIATION_FLOOR : root;
}

// May be done in place.
__global__ void normalization(const float* x, const float* mean, const float* variance, float* y, int width,
                              const Place* place) {
    for_all((long long)rows_of(*place) * width, [&](long long i) {
        long long k = i % width;
        y[i] = (x[i] - mean[k]) / deviation(variance[k]);
    });
}

__global__ void normalization_backward(const float* dy, const float* variance, float* dx, int width,
                                       const Place* place) {
    for_all((long long)rows_of(*place) * width, [&](long long i) { dx[i] = dy[i] / deviation(variance[i % width]); });
}
