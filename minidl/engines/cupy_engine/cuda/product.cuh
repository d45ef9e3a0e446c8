// The matrix product: a block computes one square tile of C = A B, a warp a part of it, a lane some entries of that.
//
// To compute TILE x TILE entries of C, TILE rows of A and TILE columns of B are read. Each number that is read serves
// TILE entries; so the larger the tile, the less is read in all. The inner dimension k is taken in slices: a slice of A
// and one of B are copied to shared memory, and while the warps multiply them, the next slices are on their way.
//
// The same frame serves four ways to multiply. FLOAT32 uses the ordinary arithmetic units. TF32 uses the tensor cores,
// which round what they are given to 11 significant bits and add up in float32. THREE_TF32 gives them what was rounded
// off as well: with a = large + small, a b is nearly large large + large small + small large, so three products on the
// tensor cores have nearly float32's accuracy. (Of an infinity they make NaN: what was rounded off it is no number.)
// BFLOAT16 rounds to 8 significant bits, which the tensor cores multiply twice as fast as TF32.

enum Precision { FLOAT32, TF32, THREE_TF32, BFLOAT16 };

constexpr int SLICE = 32;  // of the inner dimension
constexpr int STAGES = 3;  // slices in shared memory: one in use, the others on their way

// How a block's warps share a tile: each takes ROWS x COLUMNS entries of it, two warps below each other.
template <int TILE>
struct Warps {
    static constexpr int ROWS = TILE / 2, COLUMNS = TILE == 32 ? 16 : 32;
    static constexpr int ACROSS = TILE / COLUMNS, THREADS = 2 * ACROSS * LANES;
};

// --- what a block reads ------------------------------------------------------------------------------------------

// A matrix in the GPU's memory, row by row; row r lies at the place order[r], where there is an order.
struct Matrix {
    const float* data;
    int rows, columns;
    const int* order;

    __device__ const float* at(int row, int column) const {
        return data + (long long)(order == nullptr ? row : order[row]) * columns + column;
    }
};

// A slice of A or B: TILE of its rows or columns, called m here, by SLICE of the inner dimension k. It lies in shared
// memory as in the other one: with the k's ALONG a row, or across the rows. Each row has room at its end, chosen such
// that the 32 numbers which a warp reads at once lie in 32 different banks; from one bank they would come in turn.
template <bool ALONG, int TILE>
struct Slice {
    static constexpr int ROWS = ALONG ? TILE : SLICE, COLUMNS = ALONG ? SLICE : TILE;
    float row[ROWS][COLUMNS + (ALONG ? 4 : 8)];

    __device__ float at(int k, int m) const { return ALONG ? row[m][k] : row[k][m]; }
};

// Start the copies of a rectangle, which begins at a row and a column. What lies beyond the last ones becomes zeros.
template <int WIDTH, int ROWS, int COLUMNS, int PITCH>
__device__ void fetch(float (&to)[ROWS][PITCH], const Matrix& from, int row, int last_row, int column, int last_column,
                      int threads) {
    for (int i = threadIdx.x; i < ROWS * COLUMNS / WIDTH; i += threads) {
        int r = i / (COLUMNS / WIDTH), k = i % (COLUMNS / WIDTH) * WIDTH;
        int left = row + r < last_row ? min(max(last_column - column - k, 0), WIDTH) : 0;
        copy_async<WIDTH * 4>(&to[r][k], left > 0 ? from.at(row + r, column + k) : from.data, left * 4);
    }
}

// Four numbers at a time, where every row begins at a multiple of 16 bytes.
template <bool ALONG, int TILE>
__device__ void fetch(Slice<ALONG, TILE>& to, const Matrix& from, int m, int last_m, int k, int last_k) {
    using To = Slice<ALONG, TILE>;
    constexpr int THREADS = Warps<TILE>::THREADS;
    int row = ALONG ? m : k, last_row = ALONG ? last_m : last_k;
    int column = ALONG ? k : m, last_column = ALONG ? last_k : last_m;
    if (from.columns % 4 == 0 && reinterpret_cast<unsigned long long>(from.data) % 16 == 0)
        fetch<4, To::ROWS, To::COLUMNS>(to.row, from, row, last_row, column, last_column, THREADS);
    else
        fetch<1, To::ROWS, To::COLUMNS>(to.row, from, row, last_row, column, last_column, THREADS);
}

// --- what a lane computes ----------------------------------------------------------------------------------------

// Its entries of C, in registers. They are spread as the tensor cores want them (instructions.cuh): in fragments of
// 16 x 8 entries, of which a lane has two neighbours in each of two rows.
template <int TILE>
struct Sums {
    static constexpr int DOWN = Warps<TILE>::ROWS / 16, ACROSS = Warps<TILE>::COLUMNS / 8;
    float fragment[DOWN][ACROSS][4] = {};

    // Where in the tile the warp's part begins, and in there the lane's row.
    static __device__ int first_row() { return warp() / Warps<TILE>::ACROSS * Warps<TILE>::ROWS + lane() / 4; }
    static __device__ int first_column() { return warp() % Warps<TILE>::ACROSS * Warps<TILE>::COLUMNS; }
};

// sums += a b for one slice, in float32: for each k the lane's numbers of a by its numbers of b.
template <int TILE, typename A, typename B>
__device__ void multiply_float32(Sums<TILE>& sums, const A& a, const B& b) {
    constexpr int DOWN = Sums<TILE>::DOWN, ACROSS = Sums<TILE>::ACROSS;
    int row = sums.first_row(), column = sums.first_column() + 2 * (lane() % 4);
#pragma unroll 4
    for (int k = 0; k < SLICE; k++) {
        float a_k[2 * DOWN], b_k[2 * ACROSS];
#pragma unroll
        for (int i = 0; i < 2 * DOWN; i++) a_k[i] = a.at(k, row + 8 * i);
#pragma unroll
        for (int j = 0; j < 2 * ACROSS; j++) b_k[j] = b.at(k, column + 8 * (j / 2) + j % 2);
#pragma unroll
        for (int i = 0; i < 2 * DOWN; i++)
#pragma unroll
            for (int j = 0; j < 2 * ACROSS; j++)
                sums.fragment[i / 2][j / 2][i % 2 * 2 + j % 2] += a_k[i] * b_k[j];
    }
}

// The same on tensor cores, 8 k's at a time.
template <bool THREE, int TILE, typename A, typename B>
__device__ void multiply_tf32(Sums<TILE>& sums, const A& a, const B& b) {
    constexpr int DOWN = Sums<TILE>::DOWN, ACROSS = Sums<TILE>::ACROSS;
    int row = sums.first_row(), column = sums.first_column() + lane() / 4;
#pragma unroll 1
    for (int k = 0; k < SLICE; k += 8) {
        float a_large[DOWN][4], b_large[ACROSS][2];
        float a_small[DOWN][4], b_small[ACROSS][2];  // what was rounded off; not used where one product is enough
        auto split = [](float number, float& large, float& small) {
            large = to_tf32(number);
            small = THREE ? to_tf32(number - large) : 0;
        };
#pragma unroll
        for (int i = 0; i < DOWN; i++)
#pragma unroll
            for (int e = 0; e < 4; e++)
                split(a.at(k + lane() % 4 + 4 * (e / 2), row + 16 * i + 8 * (e % 2)), a_large[i][e], a_small[i][e]);
#pragma unroll
        for (int j = 0; j < ACROSS; j++)
#pragma unroll
            for (int e = 0; e < 2; e++)
                split(b.at(k + lane() % 4 + 4 * e, column + 8 * j), b_large[j][e], b_small[j][e]);
#pragma unroll
        for (int i = 0; i < DOWN; i++)
#pragma unroll
            for (int j = 0; j < ACROSS; j++) {
                float(&sum)[4] = sums.fragment[i][j];
                if constexpr (THREE) {
                    // Tensor cores cut off where they add, which over a long k would cost what was won. So they add up
                    // 8 k's only, the small products first, and the sum over all is rounded as usual.
                    float part[4] = {};
                    multiply_add(part, a_large[i], b_small[j]);
                    multiply_add(part, a_small[i], b_large[j]);
                    multiply_add(part, a_large[i], b_large[j]);
#pragma unroll
                    for (int e = 0; e < 4; e++) sum[e] += part[e];
                } else {
                    multiply_add(sum, a_large[i], b_large[j]);
                }
            }
    }
}

// In bfloat16, 16 k's at a time, two neighbours in a register.
template <int TILE, typename A, typename B>
__device__ void multiply_bfloat16(Sums<TILE>& sums, const A& a, const B& b) {
    constexpr int DOWN = Sums<TILE>::DOWN, ACROSS = Sums<TILE>::ACROSS;
    int row = sums.first_row(), column = sums.first_column() + lane() / 4;
#pragma unroll 1
    for (int first = 0; first < SLICE; first += 16) {
        unsigned a_pairs[DOWN][4], b_pairs[ACROSS][2];
        auto pair = [&](const auto& slice, int k, int m) { return to_bfloat16(slice.at(k, m), slice.at(k + 1, m)); };
        int k = first + 2 * (lane() % 4);
#pragma unroll
        for (int i = 0; i < DOWN; i++)
#pragma unroll
            for (int e = 0; e < 4; e++) a_pairs[i][e] = pair(a, k + 8 * (e / 2), row + 16 * i + 8 * (e % 2));
#pragma unroll
        for (int j = 0; j < ACROSS; j++)
#pragma unroll
            for (int e = 0; e < 2; e++) b_pairs[j][e] = pair(b, k + 8 * e, column + 8 * j);
#pragma unroll
        for (int i = 0; i < DOWN; i++)
#pragma unroll
            for (int j = 0; j < ACROSS; j++) multiply_add(sums.fragment[i][j], a_pairs[i], b_pairs[j]);
    }
}

// --- the product -------------------------------------------------------------------------------------------------

// The finished tile in shared memory, from where neighbouring threads take neighbouring entries: what they then write
// to the large memory, and read there, comes in one piece.
template <int TILE>
struct Finished {
    float row[TILE][TILE + 8];

    __device__ void put(const Sums<TILE>& sums) {
        int first_row = sums.first_row(), first_column = sums.first_column() + 2 * (lane() % 4);
#pragma unroll
        for (int i = 0; i < sums.DOWN; i++)
#pragma unroll
            for (int j = 0; j < sums.ACROSS; j++)
#pragma unroll
                for (int e = 0; e < 4; e++)
                    row[first_row + 16 * i + 8 * (e / 2)][first_column + 8 * j + e % 2] = sums.fragment[i][j][e];
    }
};

struct Nothing {
    template <typename B>
    __device__ void operator()(const B&) const {}
};

// The tile of C that begins at this row and column: the sum over the inner dimension from first_k to last_k. For each of
// its entries that C has, ``visit`` is called with row, column and sum; and before that ``look``, with every slice of B
// when it has arrived. A has the k's along its rows, or else across them: then it is read transposed; likewise B.
template <int PRECISION, int TILE, bool A_ALONG, bool B_ALONG, typename Visit, typename Look = Nothing>
__device__ void product(const Matrix& a, int row, int rows, const Matrix& b, int column, int columns, int first_k,
                        int last_k, Visit visit, Look look = Look()) {
    struct Stage {
        Slice<A_ALONG, TILE> a;
        Slice<B_ALONG, TILE> b;
    };
    auto& stages = shared<Stage[STAGES]>();
    int slices = (max(last_k - first_k, 0) + SLICE - 1) / SLICE;

    auto start = [&](int slice) {
        if (slice < slices) {
            Stage& stage = stages[slice % STAGES];
            int k = first_k + slice * SLICE;
            fetch(stage.a, a, row, rows, k, last_k);
            fetch(stage.b, b, column, columns, k, last_k);
        }
        commit_copies();  // also of none, so that the youngest groups are always those of the youngest slices
    };

    Sums<TILE> sums;
#pragma unroll 1
    for (int slice = 0; slice < STAGES - 1; slice++) start(slice);
    for (int slice = 0; slice < slices; slice++) {
        wait_for_copies<STAGES - 2>();  // this thread's part of the slice is there, ...
        __syncthreads();                // ... everyone's is, and all have done with the slice that is overwritten next
        start(slice + STAGES - 1);
        const Stage& stage = stages[slice % STAGES];
        look(stage.b);
        if constexpr (PRECISION == FLOAT32)
            multiply_float32(sums, stage.a, stage.b);
        else if constexpr (PRECISION == BFLOAT16)
            multiply_bfloat16(sums, stage.a, stage.b);
        else
            multiply_tf32<PRECISION == THREE_TF32>(sums, stage.a, stage.b);
    }

    auto& finished = shared<Finished<TILE>>();  // where the slices have been
    __syncthreads();
    finished.put(sums);
    __syncthreads();
    for (int i = threadIdx.x; i < TILE * TILE; i += Warps<TILE>::THREADS)
        if (row + i / TILE < rows && column + i % TILE < columns)
            visit(row + i / TILE, column + i % TILE, finished.row[i / TILE][i % TILE]);
    __syncthreads();  // before anyone uses the shared memory for something else
}
