// Many steps in a single launch, for batches so small that to launch a kernel takes longer than to run it.
//
// The blocks stay where they are and take tile after tile. Where one layer needs what another has made, all blocks wait
// for each other: a barrier of the whole grid, which is cheaper than the end of a kernel. It needs all blocks to be on
// the GPU at once, so there may be no more of them than it has room for; the launch must be a cooperative one, which
// is refused otherwise.

// All threads of all blocks wait here for each other. ``arrived`` counts blocks, for ever: a barrier is passed once the
// count has reached the next multiple of their number.
__device__ void grid_barrier(unsigned long long* arrived) {
    __syncthreads();
    if (threadIdx.x == 0) {
        __threadfence();  // what this block has written can be seen by all before its arrival can
        unsigned long long before = atomicAdd(arrived, 1ull);
        unsigned long long goal = (before / gridDim.x + 1) * gridDim.x;
        while (*(volatile unsigned long long*)arrived < goal) __nanosleep(20);
        __threadfence();  // and nothing is read early that another has written before it arrived
    }
    __syncthreads();
}

// One dense layer, the activation and the dropout behind it.
struct Layer {
    long long inputs, units, activation;
    long long W, b;            // where they begin among the parameters
    long long y, dropped, dz;  // where in ``work`` its output begins, the same after the dropout or -1, and the gradient
    Dropout dropout;           // by what goes into the activation
    Penalty penalty;
};

struct Training {
    const Layer* layers;
    long long layer_count, first_trained;
    float *parameters, *slots;
    long long size;  // of the parameters that are trained, which come first
    float* work;
    const float* X;
    Goal goal;
    long long optimizer;
    const double* numbers;
    double* penalties;  // one for each block, or null where no layer has one
    Place* place;
    unsigned long long* arrived;
};

// What a layer is given.
__device__ Matrix input_of(const Training& t, int l, const Place& place) {
    int rows = rows_of(place);
    if (l == 0) return {t.X, rows, (int)t.layers[0].inputs, batch_of(t.goal.order, place)};
    const Layer& below = t.layers[l - 1];
    return {t.work + (below.dropped < 0 ? below.y : below.dropped), rows, (int)below.units, nullptr};
}

constexpr int SMALL = 32;  // the tile's edge: many small tiles, so that many blocks have work

__device__ int tiles(long long size) { return (int)((size + SMALL - 1) / SMALL); }

template <int PRECISION>
__device__ void forward_phase(const Training& t, int l, const Place& place) {
    const Layer& layer = t.layers[l];
    Matrix x = input_of(t, l, place);
    int across = tiles(layer.units);
    for (int tile = blockIdx.x; tile < tiles(x.rows) * across; tile += gridDim.x)
        forward_tile<PRECISION, SMALL>(x, t.parameters + layer.W, t.parameters + layer.b, t.work + layer.y,
                                       layer.dropped < 0 ? nullptr : t.work + layer.dropped, layer.units,
                                       layer.activation, layer.dropout, place.step, tile / across * SMALL,
                                       tile % across * SMALL);
}

__device__ LastLayer last_layer_of(const Training& t, const Place& place) {
    int l = t.layer_count - 1;
    const Layer& layer = t.layers[l];
    LastLayer last = {};
    last.x = input_of(t, l, place).data, last.order = l == 0 ? t.goal.order : nullptr;
    last.W = t.parameters + layer.W, last.b = t.parameters + layer.b, last.z = t.work + layer.y;
    last.activated = t.goal.from_logits ? nullptr : t.goal.p;
    last.inputs = layer.inputs, last.units = layer.units, last.dropout.layer = -1;
    if (l > t.first_trained) {
        const Layer& below = t.layers[l - 1];
        last.y = t.work + below.y, last.dx = t.work + below.dz;
        last.activation = below.activation, last.dropout = below.dropout;
    }
    return last;
}

template <int PRECISION>
__device__ void backward_phase(const Training& t, int l, const Place& place) {
    const Layer &layer = t.layers[l], &below = t.layers[l - 1];
    Matrix dz{t.work + layer.dz, rows_of(place), (int)layer.units, nullptr};
    int across = tiles(layer.inputs);
    for (int tile = blockIdx.x; tile < tiles(dz.rows) * across; tile += gridDim.x)
        backward_x_tile<PRECISION, SMALL>(dz, t.parameters + layer.W, t.work + below.y, t.work + below.dz, layer.inputs,
                                          below.activation, below.dropout, place.step, tile / across * SMALL,
                                          tile % across * SMALL);
}

// Every tile of every W: its gradient, and the optimizer's step while that is still in registers.
template <int PRECISION>
__device__ void update_phase(const Training& t, const Place& place) {
    Rates rates = rates_of(t.numbers, t.place->rate);
    int tile = blockIdx.x;
    for (int l = t.first_trained; l < t.layer_count; l++) {
        const Layer& layer = t.layers[l];
        if (layer.W >= t.size && layer.b >= t.size) continue;  // it keeps its weights
        Matrix x = input_of(t, l, place), dz{t.work + layer.dz, x.rows, (int)layer.units, nullptr};
        int across = tiles(layer.units), count = tiles(layer.inputs) * across;
        for (; tile < count; tile += gridDim.x)
            backward_W_tile<PRECISION, SMALL>(
                x, dz, 0, x.rows, tile / across * SMALL, tile % across * SMALL,
                [&](long long place_in_W, float g) {
                    long long i = layer.W + place_in_W;
                    if (i >= t.size) return;
                    g += penalty_slope(layer.penalty, t.parameters[i]);
                    move(t.optimizer, t.parameters, t.slots, t.size, i, g, rates);
                },
                [&](int unit, float g) {
                    long long i = layer.b + unit;
                    if (i < t.size) move(t.optimizer, t.parameters, t.slots, t.size, i, g, rates);
                });
        tile -= count;
    }
}

__device__ void penalty_phase(const Training& t) {
    double value = 0;
    for (int l = 0; l < t.layer_count; l++) {
        const Layer& layer = t.layers[l];
        if (layer.penalty.l1 != 0 || layer.penalty.l2 != 0)
            for_all(layer.inputs * layer.units, [&](long long i) {
                value += penalty_of(layer.penalty, t.parameters[layer.W + i]);
            });
    }
    value = sum_of_block(value);
    if (threadIdx.x == 0) t.penalties[blockIdx.x] = value;
}

template <int PRECISION>
__global__ void __launch_bounds__(Warps<SMALL>::THREADS, 1) train_steps(Training t, int steps) {
    Place place = *t.place;  // every thread counts for itself, and all the same
    int last = t.layer_count - 1;
    for (int done = 0; done < steps; done++) {
        advance(place);
        if (rows_of(place) == 0) break;
        if (blockIdx.x == 0 && threadIdx.x == 0)  // in double, which many GPUs are slow at: once, and not by all threads
            t.place->rate = rate_of(t.optimizer, t.numbers, place.step);
        if (t.penalties != nullptr) penalty_phase(t);
        for (int l = 0; l < last; l++) {
            forward_phase<PRECISION>(t, l, place);
            grid_barrier(t.arrived);
        }
        last_layer_rows(last_layer_of(t, place), t.goal, place);
        grid_barrier(t.arrived);
        for (int l = last - 1; l > t.first_trained; l--) {
            backward_phase<PRECISION>(t, l, place);
            grid_barrier(t.arrived);
        }
        if (blockIdx.x == gridDim.x - 1)
            add_totals(t.goal, gridDim.x, t.penalties, t.penalties == nullptr ? 0 : gridDim.x, place);
        update_phase<PRECISION>(t, place);
        grid_barrier(t.arrived);
    }
    if (blockIdx.x == 0 && threadIdx.x == 0) *t.place = place;
}

// --- one row forward ----------------------------------------------------------------------------------------------

// To compute one row is to read every weight once; so the weights are read by some blocks at a time. The lanes of a
// warp take 32 neighbouring units, since those lie next to each other in W, and a block's warps share the inputs.
struct RowSums {
    float part[32][LANES];
};

__device__ void row_layer(const Layer& layer, const float* parameters, const float* x, const float* mean,
                          const float* variance, float* y) {
    auto& part = shared<RowSums>().part;
    const float *W = parameters + layer.W, *b = parameters + layer.b;
    int inputs = layer.inputs, units = layer.units, warps = blockDim.x / LANES;
    for (int first = blockIdx.x * LANES; first < units; first += gridDim.x * LANES) {
        int u = first + lane();
        float sum = 0;
        if (u < units)
#pragma unroll 4
            for (int i = warp(); i < inputs; i += warps) {
                float x_i = mean == nullptr ? x[i] : (x[i] - mean[i]) / deviation(variance[i]);
                sum += x_i * W[(long long)i * units + u];
            }
        part[warp()][lane()] = sum;
        __syncthreads();
        if (warp() == 0 && u < units) {
            float total = 0;
            for (int w = 0; w < warps; w++) total += part[w][lane()];
            y[u] = activate(layer.activation, total + b[u]);
        }
        __syncthreads();
    }
}

// ``mean`` and ``variance`` are those of a normalization in front, or null. x and y may be memory of the host that the
// GPU can see.
__global__ void forward_row(const Layer* layers, int layer_count, const float* parameters, const float* x,
                            const float* mean, const float* variance, float* work, float* y,
                            unsigned long long* arrived) {
    for (int l = 0; l < layer_count; l++) {
        const Layer& layer = layers[l];
        const float* given = l == 0 ? x : work + layers[l - 1].y;
        bool last = l == layer_count - 1, straight = last && layer.activation != SOFTMAX;
        row_layer(layer, parameters, given, l == 0 ? mean : nullptr, variance, straight ? y : work + layer.y);
        if (!straight) grid_barrier(arrived);
        if (last && !straight && blockIdx.x == 0 && warp() == 0) softmax_row(work + layer.y, y, layer.units);
    }
}
