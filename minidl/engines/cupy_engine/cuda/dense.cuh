// The dense layer, each product with what follows it: so no number goes to the large memory and back in between.
//
// A grid has a block for each tile: blockIdx.y counts the tiles of rows, blockIdx.x those of columns, which are
// neighbours in time, so that what two of them read comes from the GPU's cache the second time.

// y = activation(x W + b): (rows, inputs) by (inputs, units). ``dropped`` is y after the dropout that follows, if any.
template <int PRECISION, int TILE>
__device__ void forward_tile(const Matrix& x, const float* W, const float* b, float* y, float* dropped, int units,
                             int activation, const Dropout& dropout, long long step, int row, int column) {
    Matrix weights{W, x.columns, units, nullptr};
    auto finish = [&](int r, int u, float sum) {
        long long place = (long long)r * units + u;
        float value = activate(activation, sum + b[u]);
        y[place] = value;
        if (dropped != nullptr) dropped[place] = value * mask(dropout, step, place);
    };
    product<PRECISION, TILE, true, false>(x, row, x.rows, weights, column, units, 0, x.columns, finish);
}

template <int PRECISION, int TILE>
__global__ void __launch_bounds__(Warps<TILE>::THREADS, 1)
forward(const float* x, const int* order, const float* W, const float* b, float* y, float* dropped, int inputs,
        int units, int activation, Dropout dropout, const Place* place) {
    Matrix batch{x, rows_of(*place), inputs, batch_of(order, *place)};
    int row = blockIdx.y * TILE, column = blockIdx.x * TILE;
    if (row < batch.rows)
        forward_tile<PRECISION, TILE>(batch, W, b, y, dropped, units, activation, dropout, place->step, row, column);
}

// dx = (dz W') mask slope: (rows, units) by (units, inputs), and on through what made x: a dropout, if any, and before
// it an activation, whose output was y.
template <int PRECISION, int TILE>
__device__ void backward_x_tile(const Matrix& dz, const float* W, const float* y, float* dx, int inputs, int activation,
                                const Dropout& dropout, long long step, int row, int column) {
    Matrix weights{W, inputs, dz.columns, nullptr};
    auto finish = [&](int r, int i, float sum) {
        long long place = (long long)r * inputs + i;
        float slope_there = y == nullptr ? 1 : slope(activation, y[place]);
        dx[place] = sum * mask(dropout, step, place) * slope_there;
    };
    product<PRECISION, TILE, true, true>(dz, row, dz.rows, weights, column, inputs, 0, dz.columns, finish);
}

template <int PRECISION, int TILE>
__global__ void __launch_bounds__(Warps<TILE>::THREADS, 1)
backward_x(const float* dz, const float* W, const float* y, float* dx, int inputs, int units, int activation,
           Dropout dropout, const Place* place) {
    Matrix batch{dz, rows_of(*place), units, nullptr};
    int row = blockIdx.y * TILE, column = blockIdx.x * TILE;
    if (row < batch.rows)
        backward_x_tile<PRECISION, TILE>(batch, W, y, dx, inputs, activation, dropout, place->step, row, column);
}

// A tile of dW = x' dz: (inputs, rows) by (rows, units), over the batch's rows from first to last; ``visit`` is called
// with the place in W and the sum there. The inner dimension is the batch, so it is x that is read transposed.
// The blocks of the first tile of inputs see all of dz: they add up db, and call ``visit_bias`` with unit and sum.
template <int PRECISION, int TILE, typename Visit, typename VisitBias>
__device__ void backward_W_tile(const Matrix& x, const Matrix& dz, int first, int last, int row, int column,
                                Visit visit, VisitBias visit_bias) {
    float bias = 0;
    auto add_rows = [&](const Slice<false, TILE>& slice) {
        if (row > 0 || threadIdx.x >= TILE) return;
        float part = 0;  // of a slice by itself, so that fewer numbers are added to a large one
        for (int k = 0; k < SLICE; k++) part += slice.at(k, threadIdx.x);
        bias += part;
    };
    auto finish = [&](int i, int u, float sum) { visit((long long)i * dz.columns + u, sum); };
    product<PRECISION, TILE, false, false>(x, row, x.columns, dz, column, dz.columns, first, last, finish, add_rows);
    int unit = column + threadIdx.x;
    if (row == 0 && threadIdx.x < TILE && unit < dz.columns) visit_bias(unit, bias);
}

// There are fewer tiles of W than a GPU has room for blocks. So the batch is parted among gridDim.z of them, each of
// which fills a gradient of its own; the optimizer adds them up (optimizers.cuh). The gradients lie ``size`` apart.
template <int PRECISION, int TILE>
__global__ void __launch_bounds__(Warps<TILE>::THREADS, 1)
backward_W(const float* x, const int* order, const float* dz, float* dW, float* db, long long size, int inputs,
           int units, const Place* place) {
    int rows = rows_of(*place), share = (rows + gridDim.z - 1) / gridDim.z;
    int first = min((int)blockIdx.z * share, rows), last = min(first + share, rows);
    dW += blockIdx.z * size;
    db = db == nullptr ? nullptr : db + blockIdx.z * size;
    Matrix batch{x, rows, inputs, batch_of(order, *place)}, slopes{dz, rows, units, nullptr};
    backward_W_tile<PRECISION, TILE>(
        batch, slopes, first, last, blockIdx.y * TILE, blockIdx.x * TILE,
        [&](long long place_in_W, float sum) { dW[place_in_W] = sum; },
        [&](int unit, float sum) {
            if (db != nullptr) db[unit] = sum;
        });
}
