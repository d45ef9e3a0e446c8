// What the 32 lanes of a warp find together: they read each other's registers, without any memory between.

constexpr unsigned ALL = 0xFFFFFFFF;  // lanes take part
constexpr int LANES = 32;

__device__ float minus_infinity() { return __uint_as_float(0xFF800000u); }

__device__ int lane() { return threadIdx.x % LANES; }
__device__ int warp() { return threadIdx.x / LANES; }

// The sum over all lanes, which all of them get: each adds what the lane at a distance of 16 has, then 8, 4, 2, 1.
// The order is always the same, so the sum is the same to the bit.
template <typename T>
__device__ T sum_of_lanes(T value) {
    for (int distance = LANES / 2; distance > 0; distance /= 2) value += __shfl_xor_sync(ALL, value, distance);
    return value;
}

// NaN counts as larger than any number, as in NumPy.
__device__ bool is_larger(float a, float b) { return a > b || (a != a && b == b); }

__device__ float largest_of_lanes(float value) {
    for (int distance = LANES / 2; distance > 0; distance /= 2) {
        float other = __shfl_xor_sync(ALL, value, distance);
        value = is_larger(other, value) ? other : value;
    }
    return value;
}

// The place of a row's largest number, the first where there are several.
__device__ int place_of_largest(const float* row, int width) {
    float value = minus_infinity();
    int place = width;
    for (int k = lane(); k < width; k += LANES)
        if (place == width || is_larger(row[k], value)) value = row[k], place = k;
    for (int distance = LANES / 2; distance > 0; distance /= 2) {
        float other = __shfl_xor_sync(ALL, value, distance);
        int there = __shfl_xor_sync(ALL, place, distance);
        bool first = there < place && !is_larger(value, other);
        if (is_larger(other, value) || first) value = other, place = there;
    }
    return place;
}

// Softmax of a row by a warp. May be done in place.
__device__ void softmax_row(const float* z, float* y, int width) {
    float largest = minus_infinity(), total = 0;  // taking the largest off changes nothing but keeps exp from overflowing
    for (int k = lane(); k < width; k += LANES) largest = is_larger(z[k], largest) ? z[k] : largest;
    largest = largest_of_lanes(largest);
    for (int k = lane(); k < width; k += LANES) total += expf(z[k] - largest);
    total = sum_of_lanes(total);
    for (int k = lane(); k < width; k += LANES) y[k] = expf(z[k] - largest) / total;
}

__device__ void softmax_backward_row(const float* dy, const float* y, float* dz, int width) {
    float total = 0;
    for (int k = lane(); k < width; k += LANES) total += dy[k] * y[k];
    total = sum_of_lanes(total);
    for (int k = lane(); k < width; k += LANES) dz[k] = y[k] * (dy[k] - total);
}

__global__ void softmax(const float* z, float* y, int width, const Place* place) {
    int rows = rows_of(*place), warps = blockDim.x / LANES;
    for (long long r = (long long)blockIdx.x * warps + warp(); r < rows; r += (long long)gridDim.x * warps)
        softmax_row(z + r * width, y + r * width, width);
}

__global__ void softmax_backward(const float* dy, const float* y, float* dz, int width, const Place* place) {
    int rows = rows_of(*place), warps = blockDim.x / LANES;
    for (long long r = (long long)blockIdx.x * warps + warp(); r < rows; r += (long long)gridDim.x * warps)
        softmax_backward_row(dy + r * width, y + r * width, dz + r * width, width);
}
