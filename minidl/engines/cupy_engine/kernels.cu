// The engine's own kernels, in CUDA C++: a file for each chapter, in the order in which they are best read.
//
// A kernel is a function that very many threads run at once. Threads come in warps of 32, which step together; warps
// come in blocks, which share a small fast memory and can wait for each other; all blocks together are the grid. A
// thread finds its place by threadIdx and blockIdx. What all threads see is the GPU's large, slow memory: most of the
// skill is to read each number from there once, neighbours by neighbouring threads, and while something else is done.
//
// Everything is float32, row by row. Nothing here is known only to a launch, so that a recorded graph can be replayed:
// which rows are the batch, the number of the step and the learning rate are read from the GPU's memory (batch.cuh).
// The names in capitals (RELU, ADAM, ...) are those of contract.py; kernels.py puts their values in front of this file.
// tests/test_gpu_kernels.py runs every kernel without a GPU: gpu_on_cpu/cuda_on_cpu.h explains how.

#ifdef __CUDACC__
#include "cuda/instructions.cuh"  // PTX: what the hardware can do and C++ has no word for
extern __shared__ float4 shared_memory[];  // of a block; how much, the launch says
#endif

// A block's shared memory, seen as a T.
template <typename T>
__device__ T& shared() {
    return *reinterpret_cast<T*>(shared_memory);
}

#include "cuda/batch.cuh"       // which rows are the batch
#include "cuda/elementwise.cuh" // activations, dropout, normalization: each number for itself
#include "cuda/warp.cuh"        // sums over the 32 lanes of a warp
#include "cuda/product.cuh"     // the matrix product, by tiles: in float32, TF32, three TF32 products, and bfloat16
#include "cuda/dense.cuh"       // a dense layer forward and backward, each with what follows it
#include "cuda/head.cuh"        // loss, metrics and gradient of a row; the narrow last layer
#include "cuda/optimizers.cuh"  // the step over the flat vector, and the penalties
#include "cuda/persistent.cuh"  // many training steps, or one row forward, in a single launch
