// Which rows are the batch: read from the GPU's memory, so that the same launches, recorded once, train on every batch.

struct Place {
    long long epochs, rows, batch_size;  // of the run: its epochs, the rows of each, and how many rows are a batch
    long long step, epoch, first;        // of the batch: steps since the beginning, its epoch, its first row in there
    double rate;                         // what the optimizer multiplies by in this step
};

// The rows of this batch: fewer in the last one of an epoch, and none once all epochs are done.
__device__ int rows_of(const Place& place) {
    return place.epoch < place.epochs ? (int)min(place.batch_size, place.rows - place.first) : 0;
}

// Where the batch's row numbers begin in the order of all epochs; without an order its rows lie one after the other.
__device__ const int* batch_of(const int* order, const Place& place) {
    return order == nullptr ? nullptr : order + place.epoch * place.rows + place.first;
}

// On to the next batch. A run begins one batch and one step before its first.
__device__ void advance(Place& place) {
    if (place.epoch == place.epochs) return;
    place.first += place.batch_size;
    place.step += 1;
    if (place.first >= place.rows) {
        place.first = 0;
        place.epoch += 1;
    }
}

// b^t by squaring: two multiplications for each bit of t at most, where pow takes hundreds of operations.
__device__ double power(double b, long long t) {
    double made = 1;
    for (; t > 0; t >>= 1, b *= b)
        if (t & 1) made *= b;
    return made;
}

// Adam's averages begin at zero; its rate makes up for it. In double: 1 - beta^t would lose most digits in float.
__device__ double rate_of(int optimizer, const double* numbers, long long step) {
    double rate = numbers[LEARNING_RATE];
    if (optimizer != ADAM && optimizer != ADAMW) return rate;
    return rate * sqrt(1 - power(numbers[BETA_2], step + 1)) / (1 - power(numbers[BETA_1], step + 1));
}

// The first kernel of a step. One thread is enough.
__global__ void begin_batch(Place* place, int optimizer, const double* numbers) {
    if (threadIdx.x > 0) return;
    advance(*place);
    place->rate = rate_of(optimizer, numbers, place->step);
}

// Every number for itself: neighbouring threads take neighbouring numbers, which come from memory in one piece, and all
// go on by as many as there are threads, so that a grid of any size does the work.
template <typename Visit>
__device__ void for_all(long long size, Visit visit) {
    long long threads = (long long)gridDim.x * blockDim.x;
    for (long long i = (long long)blockIdx.x * blockDim.x + threadIdx.x; i < size; i += threads) visit(i);
}

// x[r] = X[order[r]]: the rows of the batch next to each other, where a layer other than a dense one comes first.
// A dense layer reads its rows through the order itself.
__global__ void gather(const float* X, const int* order, float* x, int width, const Place* place) {
    const int* batch = batch_of(order, *place);
    for_all((long long)rows_of(*place) * width, [&](long long i) {
        long long r = i / width;
        x[i] = X[(batch == nullptr ? r : batch[r]) * width + i % width];
    });
}

// Zeros in the rows of x and dz behind the batch, which has fewer than these ``rows`` when it is an epoch's last.
// cuBLASLt knows nothing of that: it adds up over all of them.
__global__ void clear_rest(float* x, float* dz, int x_width, int dz_width, int rows, const Place* place) {
    long long first = rows_of(*place), rest = rows - first;
    for_all(rest * x_width, [&](long long i) { x[first * x_width + i] = 0; });
    for_all(rest * dz_width, [&](long long i) { dz[first * dz_width + i] = 0; });
}
