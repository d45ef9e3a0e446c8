// Stands in for the CUDA language where g++ compiles kernels.cu, so that every kernel runs on a machine without a GPU.
//
// A thread of the GPU becomes a fiber: it has a stack of its own and runs until it has to wait for others, at a barrier
// or where a warp exchanges values; then the next one has its turn. One block runs after the other, or all at once
// where they wait for each other. Nothing is faster by it, but all is seen that a GPU hides:
//
//   - the turns can be taken forward, backward, or shuffled anew each time, so that a missing barrier shows;
//   - shared memory begins as NaN, and ends where the launch said: a write beyond is reported;
//   - all of the large memory is given out between guards, which are looked at after every launch;
//   - an asynchronous copy is done as late as it may be, or at once, or one or the other by chance;
//   - threads that meet at different barriers, wait for ever, or copy from odd addresses are reported.
//
// Not modelled are weak memory (what one block writes, the others see at once) and anything to do with time.

#pragma once

#include <sys/mman.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <random>
#include <string>
#include <utility>
#include <vector>

#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif

// --- the language -----------------------------------------------------------------------------------------------------

#define __global__
#define __device__
#define __launch_bounds__(...)

struct uint3 {
    unsigned x, y, z;
};
struct alignas(16) float4 {
    float x, y, z, w;
};
static uint3 threadIdx, blockIdx, blockDim, gridDim;

using std::max;
using std::min;

namespace cuda_on_cpu {

constexpr int LANES_OF_WARP = 32;
constexpr size_t GUARD = 256;  // bytes on either side of what is given out
constexpr unsigned char GUARD_BYTE = 0xFF;  // as a float NaN: who reads it computes NaN
constexpr size_t STACK =
#ifdef __SANITIZE_ADDRESS__
    256 * 1024;
#else
    64 * 1024;
#endif

// --- fibers -----------------------------------------------------------------------------------------------------------

// Puts the registers that a call must keep on this stack, notes where it ends, and goes on with another stack.
extern "C" void cuda_on_cpu_switch(void** from, void* to);
#if defined(__x86_64__)
asm(".text\n.type cuda_on_cpu_switch, @function\n.globl cuda_on_cpu_switch\n.hidden cuda_on_cpu_switch\n"
    "cuda_on_cpu_switch:\n"
    "push %rbp\npush %rbx\npush %r12\npush %r13\npush %r14\npush %r15\n"
    "mov %rsp, (%rdi)\nmov %rsi, %rsp\n"
    "pop %r15\npop %r14\npop %r13\npop %r12\npop %rbx\npop %rbp\nret\n");
constexpr int KEPT = 6, RETURN_AT = 6, FRAME = 8;  // words: registers, then the return address, then one left free
#elif defined(__aarch64__)
asm(".text\n.type cuda_on_cpu_switch, %function\n.globl cuda_on_cpu_switch\n.hidden cuda_on_cpu_switch\n"
    "cuda_on_cpu_switch:\n"
    "sub sp, sp, #160\n"
    "stp x19, x20, [sp]\nstp x21, x22, [sp, #16]\nstp x23, x24, [sp, #32]\nstp x25, x26, [sp, #48]\n"
    "stp x27, x28, [sp, #64]\nstp x29, x30, [sp, #80]\nstp d8, d9, [sp, #96]\nstp d10, d11, [sp, #112]\n"
    "stp d12, d13, [sp, #128]\nstp d14, d15, [sp, #144]\n"
    "mov x9, sp\nstr x9, [x0]\nmov sp, x1\n"
    "ldp x19, x20, [sp]\nldp x21, x22, [sp, #16]\nldp x23, x24, [sp, #32]\nldp x25, x26, [sp, #48]\n"
    "ldp x27, x28, [sp, #64]\nldp x29, x30, [sp, #80]\nldp d8, d9, [sp, #96]\nldp d10, d11, [sp, #112]\n"
    "ldp d12, d13, [sp, #128]\nldp d14, d15, [sp, #144]\n"
    "add sp, sp, #160\nret\n");
constexpr int RETURN_AT = 11, FRAME = 20;
#else
#error "cuda_on_cpu.h knows how to switch between stacks on x86-64 and on 64-bit ARM only"
#endif

struct Copy {  // one that nobody waits for
    float* to;
    const float* from;
    int bytes, valid;
    long long group;
};

struct Block;

struct Fiber {
    char* stack = nullptr;
    void* top = nullptr;  // where it has stopped
    void* fake_stack = nullptr;
    Block* block;
    uint3 thread;
    int number;  // in the block
    enum { READY, WAITING, ASLEEP, DONE } state;
    long long exchanges;  // how many its warp has had
    std::vector<Copy> copies;
    long long group;
};

struct Exchange {  // of a warp: what each lane gives, twice, since a quick lane may already be at the next one
    int arrived = 0, line = 0;
    alignas(16) unsigned char given[2][LANES_OF_WARP][32];
};

struct Block {
    uint3 index;
    char* shared;
    std::vector<Fiber*> fibers;
    std::vector<Exchange> warps;
    int arrived = 0, line = 0;  // at the barrier
};

inline std::vector<Fiber> fibers;
inline Fiber* running;
inline void* scheduler;
inline const void* scheduler_stack;
inline size_t scheduler_size;
inline void* scheduler_fake;
inline std::string failure;
inline int order;  // of the turns: 0 forward, 1 backward, 2 shuffled
inline std::mt19937 dice;
inline void (*kernel_call)(void (*)(), void**);
inline void (*kernel)();
inline void** arguments;

// Back to the scheduler, until it is this fiber's turn again.
inline void give_way() {
    Fiber* self = running;
#ifdef __SANITIZE_ADDRESS__
    void** keep = self->state == Fiber::DONE ? nullptr : &self->fake_stack;
    __sanitizer_start_switch_fiber(keep, scheduler_stack, scheduler_size);
#endif
    cuda_on_cpu_switch(&self->top, scheduler);
#ifdef __SANITIZE_ADDRESS__
    __sanitizer_finish_switch_fiber(self->fake_stack, &scheduler_stack, &scheduler_size);
#endif
}

// The launch ends here and says why.
inline void fail(const std::string& what) {
    if (failure.empty()) {
        char where[160];
        std::snprintf(where, sizeof where, " (block %u %u %u, thread %u)", blockIdx.x, blockIdx.y, blockIdx.z,
                      threadIdx.x);
        failure = what + where;
    }
    running->state = Fiber::DONE;
    give_way();
}

extern "C" inline void cuda_on_cpu_fiber() {
#ifdef __SANITIZE_ADDRESS__
    __sanitizer_finish_switch_fiber(nullptr, &scheduler_stack, &scheduler_size);
#endif
    kernel_call(kernel, arguments);
    if (!running->copies.empty()) fail("a thread ended with copies under way that it never waited for");
    running->state = Fiber::DONE;
    give_way();
}

inline void begin(Fiber& fiber, Block& block, int number) {
    if (fiber.stack == nullptr)
        fiber.stack = (char*)mmap(nullptr, STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
#ifdef __SANITIZE_ADDRESS__
    __asan_unpoison_memory_region(fiber.stack, STACK);
#endif
    void** top = (void**)(fiber.stack + STACK) - FRAME;
    std::fill(top, top + FRAME, nullptr);
    top[RETURN_AT] = (void*)cuda_on_cpu_fiber;
    fiber.top = top;
    fiber.block = &block;
    fiber.number = number;
    fiber.thread = {number % blockDim.x, number / blockDim.x % blockDim.y, number / blockDim.x / blockDim.y};
    fiber.state = Fiber::READY;
    fiber.exchanges = fiber.group = 0;
    fiber.copies.clear();
}

inline void resume(Fiber& fiber) {
    running = &fiber;
    threadIdx = fiber.thread;
    blockIdx = fiber.block->index;
#ifdef __SANITIZE_ADDRESS__
    __sanitizer_start_switch_fiber(&scheduler_fake, fiber.stack, STACK);
#endif
    cuda_on_cpu_switch(&scheduler, fiber.top);
#ifdef __SANITIZE_ADDRESS__
    __sanitizer_finish_switch_fiber(scheduler_fake, nullptr, nullptr);
#endif
}

template <typename T>
void arrange(std::vector<T>& turns) {
    if (order == 1) std::reverse(turns.begin(), turns.end());
    if (order == 2) std::shuffle(turns.begin(), turns.end(), dice);
}

// All fibers of some blocks, in turns, until all are done.
inline void run(std::vector<Block>& blocks) {
    std::vector<Fiber*> alive;
    for (Block& block : blocks) alive.insert(alive.end(), block.fibers.begin(), block.fibers.end());
    arrange(alive);
    int idle = 0;  // rounds in which nobody did anything but look whether others have come
    while (!alive.empty()) {
        bool any = false, all_asleep = true;
        if (order == 2) arrange(alive);
        for (Fiber* fiber : alive) {
            if (fiber->state == Fiber::WAITING) continue;
            any = true;
            resume(*fiber);
            if (!failure.empty()) return;
            all_asleep = all_asleep && fiber->state == Fiber::ASLEEP;
        }
        alive.erase(std::remove_if(alive.begin(), alive.end(), [](Fiber* f) { return f->state == Fiber::DONE; }),
                    alive.end());
        idle = all_asleep ? idle + 1 : 0;
        if ((!any && !alive.empty()) || idle > 1000) {
            running = alive.front();
            failure = any ? "blocks wait for each other for ever"
                          : "threads wait at a barrier that others of their block never come to, line " +
                                std::to_string(running->block->line);
            return;
        }
    }
}

// --- what threads do together -----------------------------------------------------------------------------------------

inline void block_barrier(int line) {
    Block& block = *running->block;
    if (block.arrived++ == 0) block.line = line;
    if (block.line != line)
        return fail("the threads of a block meet at different barriers, lines " + std::to_string(block.line) + " and " +
                    std::to_string(line));
    running->state = Fiber::WAITING;
    if (block.arrived == (int)block.fibers.size()) {
        block.arrived = 0;
        for (Fiber* fiber : block.fibers) fiber->state = Fiber::READY;
    }
    give_way();
}

// Every lane of the warp gives something; what all have given, each may then read.
inline unsigned char (*exchange(const void* mine, size_t size, int line))[32] {
    Fiber* self = running;
    int warp = self->number / LANES_OF_WARP, lane = self->number % LANES_OF_WARP;
    Exchange& place = self->block->warps[warp];
    auto given = place.given[self->exchanges++ % 2];
    if (place.arrived++ == 0) place.line = line;
    if (place.line != line) fail("the lanes of a warp meet at different places, line " + std::to_string(line));
    std::memcpy(given[lane], mine, size);
    self->state = Fiber::WAITING;
    if (place.arrived == LANES_OF_WARP) {
        place.arrived = 0;
        for (int i = 0; i < LANES_OF_WARP; i++)
            self->block->fibers[warp * LANES_OF_WARP + i]->state = Fiber::READY;
    }
    give_way();
    return given;
}

template <typename T>
T from_lane(unsigned mask, T value, int distance, int line) {
    static_assert(sizeof(T) <= 32);
    if (mask != 0xFFFFFFFF) fail("only exchanges of whole warps are known here");
    auto given = exchange(&value, sizeof(T), line);
    std::memcpy(&value, given[running->number % LANES_OF_WARP ^ distance], sizeof(T));
    return value;
}

inline void sleep() {
    running->state = Fiber::ASLEEP;
    give_way();
}

}  // namespace cuda_on_cpu

#define __syncthreads() cuda_on_cpu::block_barrier(__LINE__)
#define __syncwarp() cuda_on_cpu::exchange("", 0, __LINE__)
#define __shfl_xor_sync(mask, value, distance) cuda_on_cpu::from_lane(mask, value, distance, __LINE__)
#define __nanosleep(nanoseconds) cuda_on_cpu::sleep()
#define __threadfence()
#define shared_memory cuda_on_cpu::running->block->shared

inline float __uint_as_float(uint32_t bits) {
    float x;
    std::memcpy(&x, &bits, 4);
    return x;
}

inline uint32_t __float_as_uint(float x) {
    uint32_t bits;
    std::memcpy(&bits, &x, 4);
    return bits;
}

template <typename T>
T atomicAdd(T* place, T value) {
    T before = *place;
    *place += value;
    return before;
}

// --- what instructions.cuh has ----------------------------------------------------------------------------------------

namespace cuda_on_cpu {

inline void do_copy(const Copy& copy) {
    std::memset(copy.to, 0, copy.bytes);
    if (copy.valid > 0) std::memcpy(copy.to, copy.from, copy.valid);
}

inline void finish_copies(long long until) {
    auto& copies = running->copies;
    for (const Copy& copy : copies)
        if (copy.group < until) do_copy(copy);
    copies.erase(std::remove_if(copies.begin(), copies.end(), [&](const Copy& c) { return c.group < until; }),
                 copies.end());
}

inline float cut_to_tf32(float x) { return __uint_as_float(__float_as_uint(x) & ~0x1FFFu); }

// Tensor cores cut off where they add.
inline float toward_zero(double x) {
    float y = (float)x;
    return std::fabs((double)y) > std::fabs(x) ? std::nextafterf(y, 0) : y;
}

}  // namespace cuda_on_cpu

template <int BYTES>
void copy_async(float* to, const float* from, int valid) {
    using namespace cuda_on_cpu;
    static_assert(BYTES == 4 || BYTES == 16);
    if ((uintptr_t)to % BYTES || (uintptr_t)from % BYTES) fail("a copy from or to an odd address");
    if (valid < 0 || valid > BYTES) fail("a copy of more bytes than it has");
    Copy copy{to, from, BYTES, valid, running->group};
    if (order == 0 || (order == 2 && dice() % 2))
        running->copies.push_back(copy);
    else
        do_copy(copy);
}

inline void commit_copies() { cuda_on_cpu::running->group++; }

template <int LEFT>
void wait_for_copies() {
    cuda_on_cpu::finish_copies(cuda_on_cpu::running->group - LEFT);
}

inline float to_tf32(float x) {
    uint32_t bits = __float_as_uint(x);
    if ((bits & 0x7F800000) == 0x7F800000) return x;      // NaN and infinity
    return cuda_on_cpu::cut_to_tf32(__uint_as_float(bits + 0x1000));  // half a step: the middle goes away from zero
}

inline uint32_t to_bfloat16(float first, float second) {
    auto rounded = [](float x) -> uint32_t {
        uint32_t bits = __float_as_uint(x);
        if ((bits & 0x7FFFFFFF) > 0x7F800000) return 0x7FFF;  // NaN
        return (bits + 0x7FFF + (bits >> 16 & 1)) >> 16;      // the middle goes to the even one
    };
    return rounded(first) | rounded(second) << 16;
}

namespace cuda_on_cpu {

// What a warp's tensor cores do, for K k's: a(row, k) and b(column, k) find in which lane and in which of its registers
// they lie, and what it is there.
template <int K, typename A, typename B>
void multiply_fragments(float (&c)[4], const uint32_t (&mine)[6], A a, B b) {
    auto given = exchange(mine, sizeof mine, -1);
    auto held = [&](int lane, int which) {
        uint32_t bits;
        std::memcpy(&bits, given[lane] + 4 * which, 4);
        return bits;
    };
    int lane = running->number % LANES_OF_WARP;
    for (int e = 0; e < 4; e++) {
        int row = lane / 4 + e / 2 * 8, column = lane % 4 * 2 + e % 2;
        double sum = c[e];
        for (int k = 0; k < K; k++) sum += (double)a(held, row, k) * b(held, column, k);
        c[e] = toward_zero(sum);
    }
}

}  // namespace cuda_on_cpu

inline void multiply_add(float (&c)[4], const float (&a)[4], const float (&b)[2]) {
    using namespace cuda_on_cpu;
    uint32_t mine[6];
    std::memcpy(mine, a, 16), std::memcpy(mine + 4, b, 8);
    auto number = [](uint32_t bits) { return cut_to_tf32(__uint_as_float(bits)); };
    multiply_fragments<8>(
        c, mine,
        [&](auto& held, int row, int k) { return number(held(row % 8 * 4 + k % 4, row / 8 + k / 4 * 2)); },
        [&](auto& held, int column, int k) { return number(held(column * 4 + k % 4, 4 + k / 4)); });
}

inline void multiply_add(float (&c)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
    using namespace cuda_on_cpu;
    uint32_t mine[6] = {a[0], a[1], a[2], a[3], b[0], b[1]};
    auto half = [](uint32_t pair, int which) { return __uint_as_float(which ? pair & 0xFFFF0000u : pair << 16); };
    multiply_fragments<16>(
        c, mine,
        [&](auto& held, int row, int k) {
            return half(held(row % 8 * 4 + k % 8 / 2, row / 8 + k / 8 * 2), k % 2);
        },
        [&](auto& held, int column, int k) { return half(held(column * 4 + k % 8 / 2, 4 + k / 8), k % 2); });
}

// --- memory and launches, for Python -------------------------------------------------------------------------------

namespace cuda_on_cpu {

inline std::map<char*, size_t> given_out;

struct Kernel {
    const char* name;
    void (*call)(void (*)(), void**);
    void (*function)();
    std::vector<int> sizes;
};

template <typename... A, size_t... I>
void call_with(void (*function)(A...), void** given, std::index_sequence<I...>) {
    function(*static_cast<A*>(given[I])...);
}

template <typename... A>
void call_kernel(void (*function)(), void** given) {
    call_with(reinterpret_cast<void (*)(A...)>(function), given, std::index_sequence_for<A...>());
}

template <typename... A>
Kernel known(const char* name, void (*function)(A...)) {
    return {name, call_kernel<A...>, reinterpret_cast<void (*)()>(function), {(int)sizeof(A)...}};
}

extern std::vector<Kernel> kernels;  // on_cpu.py writes them down

inline bool guarded(const char* begin, size_t size) {
    auto whole = [](const char* from, const char* to) {
        return std::all_of(from, to, [](char c) { return (unsigned char)c == GUARD_BYTE; });
    };
    return whole(begin - GUARD, begin) && whole(begin + size, begin + size + GUARD);
}

inline char* allocate(size_t size) {
    char* room = (char*)std::aligned_alloc(GUARD, (size + 3 * GUARD - 1) / GUARD * GUARD);
    std::memset(room, GUARD_BYTE, size + 2 * GUARD);
#ifdef __SANITIZE_ADDRESS__
    __asan_poison_memory_region(room, GUARD);
    __asan_poison_memory_region(room + GUARD + size, GUARD);
#endif
    return room + GUARD;
}

inline void release(char* begin, size_t size) {
#ifdef __SANITIZE_ADDRESS__
    __asan_unpoison_memory_region(begin - GUARD, size + 2 * GUARD);
#endif
    std::free(begin - GUARD);
}

}  // namespace cuda_on_cpu

extern "C" {

void* cuda_on_cpu_allocate(size_t size) {
    char* begin = cuda_on_cpu::allocate(size);
    cuda_on_cpu::given_out[begin] = size;
    return begin;
}

void cuda_on_cpu_release(void* begin) {
    auto found = cuda_on_cpu::given_out.find((char*)begin);
    if (found == cuda_on_cpu::given_out.end()) return;
    cuda_on_cpu::release(found->first, found->second);
    cuda_on_cpu::given_out.erase(found);
}

int cuda_on_cpu_find(const char* name) {
    for (size_t i = 0; i < cuda_on_cpu::kernels.size(); i++)
        if (!std::strcmp(cuda_on_cpu::kernels[i].name, name)) return (int)i;
    return -1;
}

// The sizes of a kernel's arguments in bytes, ended by -1.
void cuda_on_cpu_sizes(int which, int* sizes) {
    for (int size : cuda_on_cpu::kernels[which].sizes) *sizes++ = size;
    *sizes = -1;
}

// Runs a kernel to its end. Returns what went wrong, or an empty text.
const char* cuda_on_cpu_launch(int which, const unsigned* grid, unsigned threads, size_t shared, int together,
                               void** given, int order, unsigned seed) {
    using namespace cuda_on_cpu;
    kernel = kernels[which].function, kernel_call = kernels[which].call, arguments = given;
    cuda_on_cpu::order = order, dice.seed(seed), failure.clear();
    gridDim = {grid[0], grid[1], grid[2]}, blockDim = {threads, 1, 1};
    if (threads == 0 || threads > 1024 || threads % LANES_OF_WARP) return "a block must have whole warps, at most 32";
    size_t count = (size_t)grid[0] * grid[1] * grid[2], at_once = together ? count : 1;
    if (fibers.size() < at_once * threads) fibers.resize(at_once * threads);
    std::vector<size_t> turns(count);
    for (size_t i = 0; i < count; i++) turns[i] = i;
    arrange(turns);
    for (size_t next = 0; next < count && failure.empty(); next += at_once) {
        std::vector<Block> blocks(at_once);
        for (size_t b = 0; b < at_once; b++) {
            Block& block = blocks[b];
            unsigned i = (unsigned)turns[next + b];
            block.index = {i % grid[0], i / grid[0] % grid[1], i / grid[0] / grid[1]};
            block.shared = allocate(shared);
            block.warps.resize(threads / LANES_OF_WARP);
            for (unsigned t = 0; t < threads; t++) {
                Fiber& fiber = fibers[b * threads + t];
                begin(fiber, block, t);
                block.fibers.push_back(&fiber);
            }
        }
        run(blocks);
        for (Block& block : blocks) {
#ifndef __SANITIZE_ADDRESS__
            if (failure.empty() && !guarded(block.shared, shared)) failure = "a write beyond the shared memory";
#endif
            release(block.shared, shared);
        }
    }
#ifndef __SANITIZE_ADDRESS__
    for (auto [begin, size] : given_out)
        if (failure.empty() && !guarded(begin, size)) failure = "a write outside of what was allocated";
#endif
    return failure.c_str();
}
}
