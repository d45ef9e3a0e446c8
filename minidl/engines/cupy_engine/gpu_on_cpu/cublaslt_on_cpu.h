// Stands in for NVIDIA's library cuBLASLt: the few functions that cublaslt.py calls, as cublasLt.h documents them.
//
// Matrices lie column by column, as the library wants them. What it would not take is refused with its own status: an
// attribute that is not known here or has the wrong size, shapes that do not fit together, a leading dimension that is
// too small, an algorithm that was found for another product, a workspace that is too small or lies askew, addresses
// less aligned than was said, matrices that are not wholly in one piece of the device's memory, another stream.
//
// Included behind cuda_on_cpu.h, whose guards around memory are looked at after each product.

#pragma once

#include <array>

namespace cublaslt_on_cpu {

// The numbers are those of cublasLt.h, cublas_api.h and library_types.h of CUDA 13.2, written down here once more, so
// that a wrong one in cublaslt.py shows.
enum Status { SUCCESS = 0, NOT_INITIALIZED = 1, INVALID_VALUE = 7, EXECUTION_FAILED = 13, NOT_SUPPORTED = 15 };
enum Compute { IN_FLOAT32 = 68, IN_BFLOAT16 = 75, IN_TF32 = 77 };
enum Epilogue {
    PLAIN = 1, WITH_BIAS = 4, WITH_RELU_BIAS = 6, WITH_RELU_BIAS_MASK = 134, TIMES_MASK = 136, BIAS_GRADIENT_OF_A = 256
};
constexpr int REAL_32 = 0;        // CUDA_R_32F
constexpr uint64_t NEEDED = 512;  // bytes of workspace, of every product

// What the library keeps behind an opaque pointer; ``kind`` tells one sort from another.
struct Known {
    enum Kind { HANDLE = 0x1CB1A5, OPERATION, LAYOUT, PREFERENCE } kind;
};

struct Handle : Known {};

struct Operation : Known {
    int compute, scale = REAL_32, transposed_a = 0, transposed_b = 0;
    unsigned epilogue = PLAIN;
    float* bias = nullptr;
    unsigned char* mask = nullptr;
    int64_t mask_width = 0;  // bits from one column to the next

    bool has_bias() const { return epilogue != PLAIN && epilogue != TIMES_MASK; }
    bool has_mask() const { return epilogue == WITH_RELU_BIAS_MASK || epilogue == TIMES_MASK; }
};

struct Layout : Known {
    uint64_t rows, columns;
    int64_t leading;

    // One behind its last number.
    uint64_t size() const { return (columns - 1) * leading + rows; }
};

struct Preference : Known {
    uint64_t workspace = 0;
    std::array<unsigned, 4> alignment = {256, 256, 256, 256};  // of A, B, C and D
};

struct Found {  // cublasLtMatmulHeuristicResult_t
    struct Algorithm {
        uint64_t data[8];
    } algorithm;
    size_t workspace;
    int state;
    float waves;
    int reserved[4];
};

inline char the_stream;

template <typename T>
bool is(const T* known, Known::Kind kind) {
    return known != nullptr && known->kind == kind;
}

template <typename T>
int set(T& field, const void* value, size_t size) {
    if (value == nullptr || size != sizeof(T)) return INVALID_VALUE;
    std::memcpy(&field, value, size);
    return SUCCESS;
}

template <typename T>
int get(const T& field, void* value, size_t size, size_t* written) {
    if (written != nullptr) *written = sizeof(T);
    if (size == 0) return written == nullptr ? INVALID_VALUE : SUCCESS;
    if (value == nullptr || size != sizeof(T)) return INVALID_VALUE;
    std::memcpy(value, &field, size);
    return SUCCESS;
}

// Calls ``use`` with the attribute of this number.
template <typename Use>
int attribute(Operation* o, int which, Use use) {
    if (!is(o, Known::OPERATION)) return INVALID_VALUE;
    switch (which) {
        case 0: return use(o->compute);
        case 1: return use(o->scale);
        case 3: return use(o->transposed_a);
        case 4: return use(o->transposed_b);
        case 7: return use(o->epilogue);
        case 8: return use(o->bias);
        case 11: return use(o->mask);
        case 12: return use(o->mask_width);
    }
    return INVALID_VALUE;
}

template <typename Use>
int attribute(Layout* l, int which, Use use) {
    if (!is(l, Known::LAYOUT)) return INVALID_VALUE;
    switch (which) {
        case 2: return use(l->rows);
        case 3: return use(l->columns);
        case 4: return use(l->leading);
    }
    return INVALID_VALUE;
}

template <typename Use>
int attribute(Preference* p, int which, Use use) {
    if (!is(p, Known::PREFERENCE)) return INVALID_VALUE;
    if (which == 1) return use(p->workspace);
    return which >= 5 && which <= 8 ? use(p->alignment[which - 5]) : (int)INVALID_VALUE;
}

// Whether D = op(A) op(B) has shapes that fit, and an epilogue with what it needs.
inline bool fits(const Operation* o, const Layout* a, const Layout* b, const Layout* c, const Layout* d) {
    if (!is(o, Known::OPERATION)) return false;
    for (const Layout* layout : {a, b, c, d})
        if (!is(layout, Known::LAYOUT) || layout->rows == 0 || layout->columns == 0 ||
            layout->leading < (int64_t)layout->rows)
            return false;
    uint64_t rows = o->transposed_a ? a->columns : a->rows, inner = o->transposed_a ? a->rows : a->columns;
    uint64_t columns = o->transposed_b ? b->rows : b->columns;
    return inner == (o->transposed_b ? b->columns : b->rows) && d->rows == rows && d->columns == columns &&
           c->rows == rows && c->columns == columns && (!o->has_bias() || o->bias != nullptr) &&
           (!o->has_mask() || (o->mask != nullptr && o->mask_width % 128 == 0 && o->mask_width >= (int64_t)rows));
}

// What identifies a product, which an algorithm is found for.
inline Found::Algorithm algorithm(const Operation* o, const Layout* a, const Layout* b, const Layout* d,
                                  const std::array<unsigned, 4>& alignment) {
    auto pack = [](uint64_t high, uint64_t low) { return high << 32 | low; };
    return {{pack(o->compute, o->epilogue), pack(o->transposed_a, o->transposed_b), pack(a->rows, a->columns),
             pack(b->rows, b->columns), pack(d->rows, d->columns), pack(alignment[0], alignment[1]),
             pack(alignment[2], alignment[3]), 0x0DDBA11}};
}

// Whether so many bytes lie in one piece of what the device has given out.
inline bool is_given_out(const void* begin, uint64_t bytes) {
    auto next = cuda_on_cpu::given_out.upper_bound((char*)begin);
    if (next == cuda_on_cpu::given_out.begin()) return false;
    auto [start, size] = *std::prev(next);
    return (const char*)begin + bytes <= start + size;
}

inline bool is_aligned(const void* address, uint64_t bytes) { return (uintptr_t)address % bytes == 0; }

// As the tensor cores round what they are given.
inline float rounded(int compute, float x) {
    if (compute == IN_TF32) return to_tf32(x);
    if (compute == IN_BFLOAT16) return __uint_as_float(to_bfloat16(x, 0) << 16);
    return x;
}

inline void multiply(const Operation& o, float alpha, const float* A, const Layout& a, const float* B, const Layout& b,
                     float beta, const float* C, const Layout& c, float* D, const Layout& d) {
    uint64_t inner = o.transposed_a ? a.rows : a.columns;
    for (uint64_t i = 0; i < d.rows; i++) {
        double of_a = 0;
        for (uint64_t k = 0; k < inner; k++) of_a += A[o.transposed_a ? i * a.leading + k : k * a.leading + i];
        if (o.epilogue == BIAS_GRADIENT_OF_A) o.bias[i] = (float)of_a;
    }
    for (uint64_t j = 0; j < d.columns; j++)
        for (uint64_t i = 0; i < d.rows; i++) {
            double sum = 0;
            for (uint64_t k = 0; k < inner; k++)
                sum += (double)rounded(o.compute, A[o.transposed_a ? i * a.leading + k : k * a.leading + i]) *
                       rounded(o.compute, B[o.transposed_b ? k * b.leading + j : j * b.leading + k]);
            double value = alpha * sum;
            if (beta != 0) value += beta * C[j * c.leading + i];  // else C is not read
            unsigned char *bits = o.has_mask() ? o.mask + (j * o.mask_width + i) / 8 : nullptr, bit = 1 << i % 8;
            if (o.has_bias() && o.epilogue != BIAS_GRADIENT_OF_A) value += o.bias[i];
            if (o.epilogue == WITH_RELU_BIAS_MASK) *bits = value > 0 ? *bits | bit : *bits & ~bit;
            if ((o.epilogue == WITH_RELU_BIAS || o.epilogue == WITH_RELU_BIAS_MASK) && value < 0) value = 0;
            if (o.epilogue == TIMES_MASK && !(*bits & bit)) value = 0;
            D[j * d.leading + i] = (float)value;
        }
}

}  // namespace cublaslt_on_cpu

extern "C" {

using namespace cublaslt_on_cpu;

// The stream that the device has; the library would take any.
void* cublaslt_on_cpu_stream() { return &the_stream; }

const char* cublasLtGetStatusString(int status) {
    switch (status) {
        case SUCCESS: return "done";
        case NOT_INITIALIZED: return "no handle";
        case INVALID_VALUE: return "a value that is not allowed";
        case EXECUTION_FAILED: return "the product failed";
        case NOT_SUPPORTED: return "nothing known for this";
    }
    return "?";
}

int cublasLtCreate(Handle** handle) { return *handle = new Handle{{Known::HANDLE}}, SUCCESS; }

int cublasLtMatmulDescCreate(Operation** made, int compute, int scale) {
    if ((compute != IN_FLOAT32 && compute != IN_TF32 && compute != IN_BFLOAT16) || scale != REAL_32)
        return INVALID_VALUE;
    return *made = new Operation{{Known::OPERATION}, compute}, SUCCESS;
}

int cublasLtMatmulDescDestroy(Operation* operation) { return delete operation, SUCCESS; }

int cublasLtMatmulDescSetAttribute(Operation* operation, int which, const void* value, size_t size) {
    return attribute(operation, which, [&](auto& field) { return set(field, value, size); });
}

int cublasLtMatmulDescGetAttribute(Operation* operation, int which, void* value, size_t size, size_t* written) {
    return attribute(operation, which, [&](auto& field) { return get(field, value, size, written); });
}

int cublasLtMatrixLayoutCreate(Layout** made, int type, uint64_t rows, uint64_t columns, int64_t leading) {
    if (type != REAL_32) return INVALID_VALUE;
    return *made = new Layout{{Known::LAYOUT}, rows, columns, leading}, SUCCESS;
}

int cublasLtMatrixLayoutGetAttribute(Layout* layout, int which, void* value, size_t size, size_t* written) {
    return attribute(layout, which, [&](auto& field) { return get(field, value, size, written); });
}

int cublasLtMatrixLayoutDestroy(Layout* layout) { return delete layout, SUCCESS; }

int cublasLtMatmulPreferenceCreate(Preference** made) { return *made = new Preference{{Known::PREFERENCE}}, SUCCESS; }

int cublasLtMatmulPreferenceDestroy(Preference* preference) { return delete preference, SUCCESS; }

int cublasLtMatmulPreferenceSetAttribute(Preference* preference, int which, const void* value, size_t size) {
    return attribute(preference, which, [&](auto& field) { return set(field, value, size); });
}

int cublasLtMatmulPreferenceGetAttribute(Preference* preference, int which, void* value, size_t size, size_t* written) {
    return attribute(preference, which, [&](auto& field) { return get(field, value, size, written); });
}

int cublasLtMatmulAlgoGetHeuristic(Handle* handle, Operation* o, Layout* a, Layout* b, Layout* c, Layout* d,
                                   Preference* preference, int most, Found* found, int* count) {
    if (!is(handle, Known::HANDLE)) return NOT_INITIALIZED;
    if (!fits(o, a, b, c, d) || !is(preference, Known::PREFERENCE) || most < 1) return INVALID_VALUE;
    bool known = false;
    for (unsigned each : {PLAIN, WITH_BIAS, WITH_RELU_BIAS, WITH_RELU_BIAS_MASK, TIMES_MASK, BIAS_GRADIENT_OF_A})
        known = known || o->epilogue == each;
    *count = known && preference->workspace >= NEEDED;
    if (*count == 0) return NOT_SUPPORTED;
    *found = {algorithm(o, a, b, d, preference->alignment), NEEDED, SUCCESS, 1, {}};
    return SUCCESS;
}

int cublasLtMatmul(Handle* handle, Operation* o, const float* alpha, const float* A, Layout* a, const float* B,
                   Layout* b, const float* beta, const float* C, Layout* c, float* D, Layout* d,
                   const Found::Algorithm* chosen, void* workspace, size_t workspace_bytes, void* stream) {
    if (!is(handle, Known::HANDLE)) return NOT_INITIALIZED;
    if (!fits(o, a, b, c, d) || alpha == nullptr || beta == nullptr || chosen == nullptr) return INVALID_VALUE;
    if (workspace_bytes < NEEDED || !is_given_out(workspace, workspace_bytes) || !is_aligned(workspace, 256))
        return INVALID_VALUE;
    if (stream != &the_stream) return INVALID_VALUE;
    auto half = [&](int i) { return (unsigned)(chosen->data[5 + i / 2] >> (i % 2 ? 0 : 32)); };
    std::array<unsigned, 4> alignment = {half(0), half(1), half(2), half(3)};
    auto wanted = algorithm(o, a, b, d, alignment);
    if (std::memcmp(&wanted, chosen, sizeof wanted)) return INVALID_VALUE;
    const float* matrices[4] = {A, B, C, D};
    const Layout* layouts[4] = {a, b, c, d};
    for (int i = 0; i < 4; i++) {
        if (!is_given_out(matrices[i], 4 * layouts[i]->size())) return INVALID_VALUE;
        if (alignment[i] == 0 || !is_aligned(matrices[i], alignment[i])) return EXECUTION_FAILED;
    }
    if (o->has_bias() && !is_given_out(o->bias, 4 * d->rows)) return INVALID_VALUE;
    if (o->has_mask() && !is_given_out(o->mask, d->columns * o->mask_width / 8)) return INVALID_VALUE;
    std::memset(workspace, cuda_on_cpu::GUARD_BYTE, NEEDED);  // nobody may count on what was there
    multiply(*o, *alpha, A, *a, B, *b, *beta, C, *c, D, *d);
#ifndef __SANITIZE_ADDRESS__
    for (auto [begin, size] : cuda_on_cpu::given_out)
        if (!cuda_on_cpu::guarded(begin, size)) return EXECUTION_FAILED;
#endif
    return SUCCESS;
}
}
