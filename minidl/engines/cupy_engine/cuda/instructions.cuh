// Instructions of the GPU that C++ has no word for, each behind a function. (On a CPU cuda_on_cpu.h has the same.)

// --- copies from the large memory to the shared one that nobody waits for ----------------------------------------

// Start to copy BYTES (4 or 16) of which the first ``valid`` are read and the rest become zeros.
template <int BYTES>
__device__ void copy_async(float* to, const float* from, int valid) {
    unsigned address = (unsigned)__cvta_generic_to_shared(to);
    if constexpr (BYTES == 16)
        asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(address), "l"(from), "r"(valid) : "memory");
    else
        asm volatile("cp.async.ca.shared.global [%0], [%1], 4, %2;" ::"r"(address), "l"(from), "r"(valid) : "memory");
}

// What this thread has started since the last time becomes a group, ...
__device__ void commit_copies() { asm volatile("cp.async.commit_group;" ::: "memory"); }

// ... and it waits until of its groups at most the LEFT youngest are still on their way.
template <int LEFT>
__device__ void wait_for_copies() {
    asm volatile("cp.async.wait_group %0;" ::"n"(LEFT) : "memory");
}

// --- tensor cores ------------------------------------------------------------------------------------------------

// x with the 10 bits behind the point that TF32 keeps of float32's 23, rounded to the nearest.
__device__ float to_tf32(float x) {
    unsigned bits;
    asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(bits) : "f"(x));
    return __uint_as_float(bits & ~0x1FFFu);
}

// Two numbers as bfloat16, which keeps 7 of those bits, rounded to the nearest: the first in the lower half.
__device__ unsigned to_bfloat16(float first, float second) {
    unsigned pair;
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(second), "f"(first));
    return pair;
}

// c += a b by a whole warp: a is 16 x 8, b 8 x 8, c 16 x 8, all of them spread over the registers of its 32 lanes.
// With g = lane / 4 and t = lane % 4 a lane holds a at (g, t), (g + 8, t), (g, t + 4), (g + 8, t + 4); b at (t, g),
// (t + 4, g); and c at (g, 2t), (g, 2t + 1), (g + 8, 2t), (g + 8, 2t + 1).
__device__ void multiply_add(float (&c)[4], const float (&a)[4], const float (&b)[2]) {
    asm("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
        "{%0, %1, %2, %3};"
        : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
        : "r"(__float_as_uint(a[0])), "r"(__float_as_uint(a[1])), "r"(__float_as_uint(a[2])),
          "r"(__float_as_uint(a[3])), "r"(__float_as_uint(b[0])), "r"(__float_as_uint(b[1])));
}

// The same of bfloat16: a is 16 x 16, b 16 x 8. A lane holds pairs of neighbours in k: of a the rows g and g + 8, of b
// the column g, at 2t and 2t + 1, and again at 2t + 8 and 2t + 9.
__device__ void multiply_add(float (&c)[4], const unsigned (&a)[4], const unsigned (&b)[2]) {
    asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
        "{%0, %1, %2, %3};"
        : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}
