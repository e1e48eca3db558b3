// CUDA C on the CPU: what a .cu file of ours needs to be compiled by g++ and run, exactly and slowly, for tests.
//
// A thread of a block is a fiber, a stack of its own that runs until it must wait. Blocks run one after the other, the
// fibers of a block in an order that the caller names; a barrier, a shuffle or a tensor-core product is a gathering at
// which a fiber waits until all of its block or warp have come.
//
// Every access to memory is seen (g++ -fsanitize=thread announces them, to functions that stand here). Two threads that
// touch the same byte of shared memory, one of them writing, are at odds unless a barrier stands between them:
// __syncthreads, or __syncwarp within a warp; a shuffle orders nothing. So a forgotten barrier is found in every run,
// not in one of a thousand. Global memory may be touched within the arrays that a launch names, and nowhere else.
//
// It is stricter than a GPU in other things. Lanes that meet at different lines, a gathering that some never reach,
// shared memory past its end, a misaligned 16-byte access, an index past an array: all end the launch with a message
// instead of a wrong number or a hang. Shared memory starts as NaN, and registers that nobody wrote hold rubbish
// (-ftrivial-auto-var-init=pattern). What it does not know: time, memory bandwidth, caches, and races between blocks.
//
// Subnormal floats are flushed to zero, as CuPy asks NVRTC to. A product and a sum are not contracted to one fused
// operation, as on a GPU: last bits differ.
#pragma once
#define EMULATED 1

#include <csetjmp>
#include <csignal>
#include <cstdarg>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <math.h>
#include <ucontext.h>
#include <utility>

// ----------------------------------------------------------------------------------------------- words of the language

#define __global__
#define __device__
#define __host__
#define __constant__ static
#define __forceinline__ inline
#define __noinline__ __attribute__((noinline))
#define __restrict__ __restrict
#define __align__(n) __attribute__((aligned(n)))
#define __launch_bounds__(...)
#define __shared__ static __attribute__((section("emulated_shared")))  // one copy: blocks run one after the other

struct uint3 { unsigned x, y, z; };
struct alignas(8) float2 { float x, y; };
struct alignas(8) int2 { int x, y; };
struct alignas(8) uint2 { unsigned x, y; };
struct alignas(16) float4 { float x, y, z, w; };
struct alignas(16) int4 { int x, y, z, w; };
struct alignas(16) uint4 { unsigned x, y, z, w; };
inline float2 make_float2(float x, float y) { return {x, y}; }
inline int2 make_int2(int x, int y) { return {x, y}; }
inline uint2 make_uint2(unsigned x, unsigned y) { return {x, y}; }
inline float4 make_float4(float x, float y, float z, float w) { return {x, y, z, w}; }
inline int4 make_int4(int x, int y, int z, int w) { return {x, y, z, w}; }
inline uint4 make_uint4(unsigned x, unsigned y, unsigned z, unsigned w) { return {x, y, z, w}; }

namespace {  // the source stands in this namespace too, so its functions and their shared arrays stay local
struct float16;
struct bfloat16;
}

// --------------------------------------------------------------------------------------------------- fibers and blocks

extern "C" __attribute__((weak, visibility("hidden"))) unsigned char __start_emulated_shared[];
extern "C" __attribute__((weak, visibility("hidden"))) unsigned char __stop_emulated_shared[];

#define UNSEEN __attribute__((no_sanitize("thread")))  // an access of the emulator's own is none of a kernel

namespace emulated {

constexpr int LANES = 32, MOST_THREADS = 1024, GUARD = 4096;
constexpr size_t STACK = 1 << 18, STACK_GUARD = 1 << 16;  // modules.py provides them, below each a forbidden piece
constexpr int MOST_SHARED = 232448, MOST_POSTED = 64, MOST_COPIES = 256, MOST_STATIC = 1 << 20;
constexpr unsigned char NOT_A_NUMBER = 0xff, UNTOUCHED = 0xa5;  // 0xffff... is NaN in every floating type

struct Gathering {  // a place where `size` fibers wait for each other, again and again
    int size, arrived;
    unsigned turn;  // how often all have come
    const char* what;
    int line;
};

struct Warp {
    Gathering lanes;
    unsigned epoch;  // how often __syncwarp was passed
    alignas(16) unsigned char posted[2][LANES][MOST_POSTED];  // by turn: nobody writes where somebody may still read
};

struct Copy {  // asynchronous: it may happen at any time between its command and the wait for it
    void* to;
    const void* from;
    int group;
    bool done;
};

// Who touched a byte of shared memory since the last barrier. An epoch of the block is the time between two
// __syncthreads, one of a warp that between two __syncwarp.
struct Touched {
    unsigned write_epoch, write_warp_epoch, read_epoch, read_warp_epoch;
    unsigned read_lanes;  // of read_warp, in its last epoch
    short writer, read_warp;
    bool read_by_others;  // than read_warp
};

struct Range { uintptr_t first, end; };

struct Fiber {
    jmp_buf here;
    int pending, group;
    bool done;
    uint3 index;
    Warp* warp;
    int lane;
    Gathering* waiting;
    unsigned turn;
};

static Fiber fibers[MOST_THREADS];
static bool started[MOST_THREADS];
static Copy copies[MOST_THREADS][MOST_COPIES];
static Warp warps[MOST_THREADS / LANES];
static Gathering block;
static unsigned char* stacks;  // of all fibers of all modules: one launch runs at a time
static Fiber* now;  // the fiber that runs
static jmp_buf scheduler;
static char message[1024];
static uint3 block_index, block_size, grid_size;
static void (*kernel)(void**);
static void** arguments;
alignas(1024) static unsigned char dynamic_shared[MOST_SHARED + GUARD];
static Touched touched_dynamic[MOST_SHARED + GUARD];
static Touched touched_static[MOST_STATIC];
static unsigned epoch;  // of the block that runs; never used again
static const Range* arrays;  // of this launch, in pairs: the pages of an array, and the array
static int array_count;

[[noreturn]] UNSEEN static __attribute__((noinline)) void leave(int how) { _longjmp(scheduler, how); }

[[noreturn]] UNSEEN static void fail(const char* format, ...) {
    va_list values;
    va_start(values, format);
    int length = snprintf(message, sizeof message, "block (%u, %u, %u)", block_index.x, block_index.y, block_index.z);
    if (now)
        length += snprintf(message + length, sizeof message - length, ", thread (%u, %u, %u)", now->index.x,
                           now->index.y, now->index.z);
    length += snprintf(message + length, sizeof message - length, ": ");
    vsnprintf(message + length, sizeof message - length, format, values);
    va_end(values);
    leave(2);
}

UNSEEN static __attribute__((noinline)) void suspend() {
    if (!_setjmp(now->here)) leave(1);
}

UNSEEN static void gather(Gathering& g, const char* what, int line, unsigned* epoch = nullptr) {
    if (g.arrived == 0) {
        g.what = what;
        g.line = line;
    } else if (g.line != line || (g.what != what && strcmp(g.what, what) != 0)) {
        fail("%s at line %d, while others wait in %s at line %d", what, line, g.what, g.line);
    }
    if (++g.arrived == g.size) {
        g.arrived = 0;
        ++g.turn;
        if (epoch) ++*epoch;
        return;
    }
    now->waiting = &g;
    now->turn = g.turn;
    suspend();
}

UNSEEN static void touch_shared(Touched* bytes, int size, bool write) {
    short self = now - fibers, warp = self / LANES;
    unsigned warp_epoch = now->warp->epoch, lane = 1u << now->lane;
    for (Touched* t = bytes; t < bytes + size; ++t) {
        if (t->write_epoch == epoch && t->writer != self &&
            (t->writer / LANES != warp || t->write_warp_epoch == warp_epoch))
            fail("%s shared memory that thread %d wrote, and no barrier between them", write ? "writes" : "reads",
                 t->writer);
        bool read = t->read_epoch == epoch, same = read && t->read_warp == warp;
        if (write) {
            if (read && (!same || t->read_by_others))
                fail("writes shared memory that warp %d reads, and no barrier between them", t->read_warp);
            if (same && t->read_warp_epoch == warp_epoch && t->read_lanes & ~lane)
                fail("writes shared memory that other lanes of its warp read, and no __syncwarp between them");
            t->write_epoch = epoch, t->write_warp_epoch = warp_epoch, t->writer = self;
        } else if (!read) {
            t->read_epoch = epoch, t->read_warp_epoch = warp_epoch, t->read_warp = warp, t->read_lanes = lane;
            t->read_by_others = false;
        } else if (!same) {
            t->read_by_others = true;
        } else {
            t->read_lanes = (t->read_warp_epoch == warp_epoch ? t->read_lanes : 0) | lane;
            t->read_warp_epoch = warp_epoch;
        }
    }
}

UNSEEN static void touch(const void* at, int size, bool write) {
    uintptr_t first = uintptr_t(at);
    if (first - uintptr_t(stacks) < MOST_THREADS * (STACK + STACK_GUARD)) return;  // most are: a thread's own arrays
    if (first - uintptr_t(dynamic_shared) < MOST_SHARED) {
        touch_shared(touched_dynamic + (first - uintptr_t(dynamic_shared)), size, write);
    } else if (at >= __start_emulated_shared && at < __stop_emulated_shared) {
        touch_shared(touched_static + (first - uintptr_t(__start_emulated_shared)), size, write);
    } else {
        bool beside = false;  // an array of this launch, and in none of them
        for (const Range* r = arrays; r < arrays + 2 * array_count; r += 2) {
            if (first >= r[1].first && first + size <= r[1].end) return;
            beside |= first >= r[0].first && first < r[0].end;
        }
        if (beside) fail("%s %d bytes outside of every array", write ? "writes" : "reads", size);
    }
}

// Every lane of the warp posts a value; each then reads those of all: result[lane] is T.
template <class T>
struct Posted {
    const unsigned char (*slots)[MOST_POSTED];
    UNSEEN T operator[](int lane) const {
        T value;
        memcpy(&value, slots[lane], sizeof value);
        return value;
    }
};

template <class T>
UNSEEN static Posted<T> exchange(const T& mine, const char* what, int line) {
    static_assert(sizeof(T) <= MOST_POSTED);
    Warp& warp = *now->warp;
    if (warp.lanes.size != LANES) fail("%s at line %d in a warp of %d lanes", what, line, warp.lanes.size);
    unsigned char(*slots)[MOST_POSTED] = warp.posted[warp.lanes.turn & 1];
    memcpy(slots[now->lane], &mine, sizeof mine);
    gather(warp.lanes, what, line);
    return {slots};
}

UNSEEN static void fiber_main() {
    for (;;) {  // a fiber is started once and then serves block after block
        kernel(arguments);
        now->done = true;
        suspend();
    }
}

UNSEEN static __attribute__((noinline)) int resume(Fiber* fiber) {
    now = fiber;
    int how = _setjmp(scheduler);
    if (how) return how;
    if (started[now - fibers]) _longjmp(now->here, 1);
    started[now - fibers] = true;
    static ucontext_t context;
    getcontext(&context);
    context.uc_stack.ss_sp = stacks + (now - fibers) * (STACK + STACK_GUARD) + STACK_GUARD;
    context.uc_stack.ss_size = STACK;
    context.uc_link = nullptr;
    makecontext(&context, fiber_main, 0);
    setcontext(&context);
    return 2;
}

static void report_signal(int signal) {
    fail(signal == SIGSEGV || signal == SIGBUS ? "an access outside of every array" : "signal %d", signal);
}

UNSEEN static unsigned random_below(unsigned n) {
    static unsigned state = 2463534242u;
    state ^= state << 13, state ^= state >> 17, state ^= state << 5;
    return state % n;
}

enum Order { FORWARD, BACKWARD, SHUFFLED };

static int order_of_run;

UNSEEN static void arrange(int* order, int n, int how) {
    for (int i = 0; i < n; ++i) order[i] = how == BACKWARD ? n - 1 - i : i;
    if (how == SHUFFLED)
        for (int i = n - 1; i > 0; --i) std::swap(order[i], order[random_below(i + 1)]);
}

UNSEEN static bool run_block(int threads, int shared, int how) {
    memset(dynamic_shared, NOT_A_NUMBER, shared);
    memset(dynamic_shared + shared, UNTOUCHED, GUARD);
    if (__start_emulated_shared)
        memset(__start_emulated_shared, NOT_A_NUMBER, __stop_emulated_shared - __start_emulated_shared);
    block = {threads, 0, 0, nullptr, 0};
    ++epoch;
    for (int t = 0; t < threads; ++t) {
        Fiber& f = fibers[t];
        f.done = false;
        f.pending = f.group = 0;
        f.index = {t % block_size.x, t / block_size.x % block_size.y, t / (block_size.x * block_size.y)};
        f.warp = &warps[t / LANES];
        f.lane = t % LANES;
        f.waiting = nullptr;
        int rest = threads - t / LANES * LANES;
        f.warp->lanes = {rest < LANES ? rest : LANES, 0, 0, nullptr, 0};
    }
    int order[MOST_THREADS];
    arrange(order, threads, how);
    for (int left = threads; left > 0;) {
        bool moved = false;
        for (int i = 0; i < threads; ++i) {
            Fiber& f = fibers[order[i]];
            if (f.done || (f.waiting && f.waiting->turn == f.turn)) continue;
            f.waiting = nullptr;
            moved = true;
            if (resume(&f) == 2) return false;
            left -= f.done;
        }
        if (!moved) {
            Fiber* f = fibers;
            while (f->done) ++f;
            now = f;
            if (!_setjmp(scheduler))
                fail("waits in %s at line %d for threads that never come", f->waiting->what, f->waiting->line);
            return false;
        }
        if (how == SHUFFLED) arrange(order, threads, how);
    }
    for (int i = 0; i < GUARD; ++i)
        if (dynamic_shared[shared + i] != UNTOUCHED) {
            now = nullptr;
            if (!_setjmp(scheduler)) fail("wrote past its %d bytes of dynamic shared memory", shared);
            return false;
        }
    return true;
}

UNSEEN static const char* run(void (*function)(void**), void** args, const unsigned* shape, int shared, int how,
                       unsigned char* stacks_of_all, const Range* ranges, int ranges_count) {
    kernel = function;
    arguments = args;
    order_of_run = how;
    stacks = stacks_of_all;
    arrays = ranges;
    array_count = ranges_count;
    memset(started, 0, sizeof started);  // other modules ran on these stacks, or a failed launch left its traces
    grid_size = {shape[0], shape[1], shape[2]};
    block_size = {shape[3], shape[4], shape[5]};
    static unsigned char signal_stack[65536];
    stack_t own = {}, before = {};
    own.ss_sp = signal_stack, own.ss_size = sizeof signal_stack;
    sigaltstack(&own, &before);
    struct sigaction action = {}, segv, bus, fpe;
    action.sa_handler = report_signal;
    action.sa_flags = SA_ONSTACK | SA_NODEFER;
    sigaction(SIGSEGV, &action, &segv), sigaction(SIGBUS, &action, &bus), sigaction(SIGFPE, &action, &fpe);
#ifdef __SSE__
    unsigned rounding = __builtin_ia32_stmxcsr();
    __builtin_ia32_ldmxcsr(rounding | 0x8040);  // subnormals flushed, as with -ftz=true
#endif
    message[0] = 0;
    int threads = shape[3] * shape[4] * shape[5];
    int64_t blocks = int64_t(shape[0]) * shape[1] * shape[2];
    for (int64_t b = 0; b < blocks; ++b) {
        int64_t at = how == BACKWARD ? blocks - 1 - b : b;
        block_index = {unsigned(at % shape[0]), unsigned(at / shape[0] % shape[1]), unsigned(at / shape[0] / shape[1])};
        if (!run_block(threads, shared, how)) break;
    }
#ifdef __SSE__
    __builtin_ia32_ldmxcsr(rounding);
#endif
    sigaction(SIGSEGV, &segv, nullptr), sigaction(SIGBUS, &bus, nullptr), sigaction(SIGFPE, &fpe, nullptr);
    sigaltstack(&before, nullptr);
    array_count = 0;  // the list is gone when this returns
    return message;
}

UNSEEN static bool is_shared(const void* at, int bytes) {
    const unsigned char* p = static_cast<const unsigned char*>(at);
    return (p >= dynamic_shared && p + bytes <= dynamic_shared + MOST_SHARED) ||
           (p >= __start_emulated_shared && p + bytes <= __stop_emulated_shared);
}

UNSEEN static void copy(Copy& c) {
    if (c.done) return;
    c.done = true;
    if (c.from)
        memcpy(c.to, c.from, 16);
    else
        memset(c.to, 0, 16);
}

UNSEEN static void finish_copies(int newest_group) {
    Fiber& f = *now;
    Copy* all = copies[now - fibers];
    int kept = 0;
    for (int i = 0; i < f.pending; ++i) {
        if (all[i].group > newest_group) {
            all[kept++] = all[i];
        } else {
            copy(all[i]);
            touch(all[i].to, 16, true);  // or only now
        }
    }
    f.pending = kept;
}

// What Python must know of a kernel: the types of its arguments, read off the function itself, so macros are resolved.
template <class T> struct Name;
#define EMULATED_NAME(type, name) \
    template <> struct Name<type> { static constexpr const char* text = name; }
EMULATED_NAME(float, "float32");
EMULATED_NAME(double, "float64");
EMULATED_NAME(float16, "float16");
EMULATED_NAME(bfloat16, "bfloat16");
EMULATED_NAME(bool, "bool");
EMULATED_NAME(signed char, "int8");
EMULATED_NAME(unsigned char, "uint8");
EMULATED_NAME(short, "int16");
EMULATED_NAME(unsigned short, "uint16");
EMULATED_NAME(int, "int32");
EMULATED_NAME(unsigned, "uint32");
EMULATED_NAME(long long, "int64");
EMULATED_NAME(unsigned long long, "uint64");
template <class T> struct Name<const T> : Name<T> {};

template <class T> struct Argument {
    static void describe(char* out) { strcat(strcat(out, Name<T>::text), " "); }
};
template <class T> struct Argument<T*> {
    static void describe(char* out) { strcat(strcat(strcat(out, "*"), Name<T>::text), " "); }
};

template <class... A, size_t... I>
static void call(void (*function)(A...), void** args, std::index_sequence<I...>) {
    function(*static_cast<std::remove_reference_t<A>*>(args[I])...);
}
template <class... A>
static void call(void (*function)(A...), void** args) { call(function, args, std::index_sequence_for<A...>{}); }
template <class... A>
static const char* describe(void (*)(A...)) {
    static char text[1024];
    text[0] = 0;
    (Argument<A>::describe(text), ...);
    return text;
}
constexpr int first(int n, ...) { return n; }

}  // namespace emulated

// Behind the source, once a kernel: its entries for Python.
#define EMULATED_KERNEL(name, ...)                                                                                     \
    extern "C" const char* describe_##name() { return emulated::describe(name); }                                      \
    extern "C" int bounds_##name() { return emulated::first(__VA_ARGS__); }                                            \
    extern "C" const char* launch_##name(void** args, const unsigned* shape, int shared, int order,                    \
                                         unsigned char* stacks, const emulated::Range* arrays, int count) {            \
        return emulated::run([](void** a) { emulated::call(name, a); }, args, shape, shared, order, stacks, arrays,    \
                             count);                                                                                   \
    }

// What -fsanitize finds, in our words: its runtime library is not linked.
struct EmulatedPlace { const char* file; unsigned line, column; };
extern "C" {
[[gnu::used]] void __ubsan_handle_out_of_bounds(EmulatedPlace* at, uintptr_t index) {
    emulated::fail("index %ld past an array at %s:%u", long(index), at->file, at->line);
}
[[gnu::used]] void __ubsan_handle_type_mismatch_v1(EmulatedPlace* at, uintptr_t address) {
    emulated::fail("a misaligned or null address, %p, at %s:%u", (void*)address, at->file, at->line);
}
[[gnu::used]] void __ubsan_handle_shift_out_of_bounds(EmulatedPlace* at, uintptr_t, uintptr_t) {
    emulated::fail("a shift by too much at %s:%u", at->file, at->line);
}
[[gnu::used]] void __ubsan_handle_divrem_overflow(EmulatedPlace* at, uintptr_t, uintptr_t) {
    emulated::fail("an integer divided by zero at %s:%u", at->file, at->line);
}
[[gnu::used]] void __ubsan_handle_add_overflow(EmulatedPlace* at, uintptr_t, uintptr_t) {
    emulated::fail("a sum of integers overflows at %s:%u", at->file, at->line);
}
[[gnu::used]] void __ubsan_handle_sub_overflow(EmulatedPlace* at, uintptr_t, uintptr_t) {
    emulated::fail("a difference of integers overflows at %s:%u", at->file, at->line);
}
[[gnu::used]] void __ubsan_handle_mul_overflow(EmulatedPlace* at, uintptr_t, uintptr_t) {
    emulated::fail("a product of integers overflows at %s:%u", at->file, at->line);
}
[[gnu::used]] void __ubsan_handle_negate_overflow(EmulatedPlace* at, uintptr_t) {
    emulated::fail("a negated integer overflows at %s:%u", at->file, at->line);
}
}

// Where g++ -fsanitize=thread announces the accesses to memory that an access of the emulator itself is not.
#define EMULATED_ACCESS(size)                                                                                          \
    extern "C" [[gnu::used]] UNSEEN void __tsan_read##size(void* at) { emulated::touch(at, size, false); }             \
    extern "C" [[gnu::used]] UNSEEN void __tsan_write##size(void* at) { emulated::touch(at, size, true); }             \
    extern "C" [[gnu::used]] UNSEEN void __tsan_unaligned_read##size(void* at) { emulated::touch(at, size, false); }   \
    extern "C" [[gnu::used]] UNSEEN void __tsan_unaligned_write##size(void* at) { emulated::touch(at, size, true); }
EMULATED_ACCESS(1)
EMULATED_ACCESS(2)
EMULATED_ACCESS(4)
EMULATED_ACCESS(8)
EMULATED_ACCESS(16)
extern "C" [[gnu::used]] UNSEEN void __tsan_read_range(void* at, long size) { emulated::touch(at, size, false); }
extern "C" [[gnu::used]] UNSEEN void __tsan_write_range(void* at, long size) { emulated::touch(at, size, true); }
extern "C" [[gnu::used]] UNSEEN void __tsan_init() {}
extern "C" [[gnu::used]] UNSEEN void __tsan_func_entry(void*) {}
extern "C" [[gnu::used]] UNSEEN void __tsan_func_exit() {}

// ------------------------------------------------------------------------------------------------ builtins of a kernel

#define threadIdx (emulated::now->index)
#define blockIdx (emulated::block_index)
#define blockDim (emulated::block_size)
#define gridDim (emulated::grid_size)

UNSEEN inline void __syncthreads(int line = __builtin_LINE()) {
    emulated::gather(emulated::block, "__syncthreads", line, &emulated::epoch);
}

UNSEEN inline void emulated_full(unsigned mask, const char* what, int line) {
    if (mask != 0xffffffffu) emulated::fail("%s at line %d with a mask other than 0xffffffff", what, line);
}
UNSEEN inline void __syncwarp(unsigned mask = 0xffffffffu, int line = __builtin_LINE()) {
    emulated_full(mask, "__syncwarp", line);
    emulated::gather(emulated::now->warp->lanes, "__syncwarp", line, &emulated::now->warp->epoch);
}
template <class T>
UNSEEN T __shfl_sync(unsigned mask, T value, int lane, int width = 32, int line = __builtin_LINE()) {
    emulated_full(mask, "__shfl_sync", line);
    int self = emulated::now->lane;
    return emulated::exchange(value, "__shfl_sync", line)[self / width * width + (lane & (width - 1))];
}
template <class T>
UNSEEN T __shfl_xor_sync(unsigned mask, T value, int lanes, int width = 32, int line = __builtin_LINE()) {
    emulated_full(mask, "__shfl_xor_sync", line);
    int self = emulated::now->lane, other = self ^ lanes;
    return emulated::exchange(value, "__shfl_xor_sync", line)[other / width <= self / width ? other : self];
}
template <class T>
UNSEEN T __shfl_down_sync(unsigned mask, T value, int by, int width = 32, int line = __builtin_LINE()) {
    emulated_full(mask, "__shfl_down_sync", line);
    int self = emulated::now->lane;
    return emulated::exchange(value, "__shfl_down_sync", line)[self % width + by < width ? self + by : self];
}
template <class T>
UNSEEN T __shfl_up_sync(unsigned mask, T value, int by, int width = 32, int line = __builtin_LINE()) {
    emulated_full(mask, "__shfl_up_sync", line);
    int self = emulated::now->lane;
    return emulated::exchange(value, "__shfl_up_sync", line)[self % width >= by ? self - by : self];
}

template <class T>
UNSEEN T atomicAdd(T* at, T value) {  // at odds with no other access: that it is with a plain one goes unseen
    if (!emulated::is_shared(at, sizeof *at)) emulated::touch(at, sizeof *at, true);
    T before = *at;
    *at = before + value;
    return before;
}
template <class T> T __ldg(const T* at) { return *at; }
inline unsigned __umulhi(unsigned a, unsigned b) { return unsigned(uint64_t(a) * b >> 32); }
inline unsigned long long __umul64hi(unsigned long long a, unsigned long long b) {
    return (unsigned long long)((unsigned __int128)a * b >> 64);
}

template <class To, class From> To emulated_bits(From from) { To to; memcpy(&to, &from, sizeof to); return to; }
inline unsigned __float_as_uint(float x) { return emulated_bits<unsigned>(x); }
inline int __float_as_int(float x) { return emulated_bits<int>(x); }
inline float __uint_as_float(unsigned x) { return emulated_bits<float>(x); }
inline float __int_as_float(int x) { return emulated_bits<float>(x); }

inline float rsqrtf(float x) { return 1.0f / sqrtf(x); }
inline float __expf(float x) { return expf(x); }
inline float __fdividef(float x, float y) { return x / y; }
inline int min(int a, int b) { return a < b ? a : b; }
inline int max(int a, int b) { return a > b ? a : b; }
inline unsigned min(unsigned a, unsigned b) { return a < b ? a : b; }
inline unsigned max(unsigned a, unsigned b) { return a > b ? a : b; }
inline long long min(long long a, long long b) { return a < b ? a : b; }
inline long long max(long long a, long long b) { return a > b ? a : b; }
inline float min(float a, float b) { return fminf(a, b); }
inline float max(float a, float b) { return fmaxf(a, b); }

// ---------------------------------------------------------- kernels/gpu/cuda/ptx.cuh, whose assembly a CPU cannot run

UNSEEN inline unsigned short half_bits(float x) {  // nearest even; 65520 and beyond are infinity
    unsigned bits = __float_as_uint(x), sign = bits >> 16 & 0x8000, size = bits & 0x7fffffff;
    if (size > 0x7f800000) return sign | 0x7fff;
    if (size >= 0x477ff000) return sign | 0x7c00;
    if (size < 0x38800000) {  // subnormal halves are multiples of 2^-24
        return sign | unsigned(nearbyint(double(__uint_as_float(size)) * 16777216.0));
    }
    size -= 0x38000000;  // the exponent's bias, 127 to 15
    return sign | (size + 0xfff + (size >> 13 & 1)) >> 13;
}
UNSEEN inline float from_half_bits(unsigned short h) {
    unsigned sign = (h & 0x8000u) << 16, exponent = h >> 10 & 31, fraction = h & 1023;
    if (exponent == 31) return __uint_as_float(sign | 0x7f800000 | fraction << 13);
    if (exponent == 0) return (sign ? -1.0f : 1.0f) * float(fraction) / 16777216.0f;
    return __uint_as_float(sign | (exponent + 112) << 23 | fraction << 13);
}
UNSEEN inline unsigned short bfloat16_bits(float x) {
    unsigned bits = __float_as_uint(x);
    if ((bits & 0x7fffffff) > 0x7f800000) return 0x7fff;
    return (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
}
UNSEEN inline float from_bfloat16_bits(unsigned short h) { return __uint_as_float(unsigned(h) << 16); }
inline unsigned half_pair(float low, float high) { return half_bits(low) | unsigned(half_bits(high)) << 16; }
inline unsigned bfloat16_pair(float low, float high) {
    return bfloat16_bits(low) | unsigned(bfloat16_bits(high)) << 16;
}

inline float fast_exp2(float x) { return exp2f(x); }

namespace emulated {
struct Factors { unsigned a[4], b[2]; };

template <class Number>
UNSEEN static void multiply(float (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2], Number number,
                            const char* what, int line) {
    Factors mine;
    memcpy(mine.a, a, sizeof a), memcpy(mine.b, b, sizeof b);
    Posted<Factors> all = exchange(mine, what, line);
    int r = now->lane / 4, c = now->lane % 4 * 2;
    for (int i = 0; i < 4; ++i) {  // d[i] at row r + 8 (i / 2), column c + i % 2
        double sum = d[i];
        for (int k = 0; k < 16; k += 2) {
            unsigned left = all[r * 4 + k % 8 / 2].a[i / 2 + k / 8 * 2];
            unsigned right = all[(c + i % 2) * 4 + k % 8 / 2].b[k / 8];
            sum += double(number(left)) * number(right) + double(number(left >> 16)) * number(right >> 16);
        }
        d[i] = float(sum);
    }
}

struct Row { unsigned short numbers[8]; };

UNSEEN static Posted<Row> matrix_rows(const void* row, const char* what, int line) {
    if (uintptr_t(row) % 16) fail("%s at line %d: a row that begins on no multiple of 16 bytes", what, line);
    if (!is_shared(row, 16)) fail("%s at line %d: a row outside of shared memory", what, line);
    touch(row, 16, false);
    Row mine;
    memcpy(&mine, row, sizeof mine);
    return exchange(mine, what, line);
}
}  // namespace emulated

inline void mma_float16(float (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2], int line = __builtin_LINE()) {
    emulated::multiply(d, a, b, [](unsigned w) { return from_half_bits(w); }, "mma_float16", line);
}
inline void mma_bfloat16(float (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2], int line = __builtin_LINE()) {
    emulated::multiply(d, a, b, [](unsigned w) { return from_bfloat16_bits(w); }, "mma_bfloat16", line);
}
UNSEEN inline void load_matrix_x4(unsigned (&r)[4], const void* row, int line = __builtin_LINE()) {
    emulated::Posted<emulated::Row> rows = emulated::matrix_rows(row, "load_matrix_x4", line);
    int lane = emulated::now->lane;
    for (int i = 0; i < 4; ++i) {
        emulated::Row row = rows[8 * i + lane / 4];
        r[i] = row.numbers[lane % 4 * 2] | unsigned(row.numbers[lane % 4 * 2 + 1]) << 16;
    }
}
UNSEEN inline void load_matrix_x4_transposed(unsigned (&r)[4], const void* row, int line = __builtin_LINE()) {
    emulated::Posted<emulated::Row> rows = emulated::matrix_rows(row, "load_matrix_x4_transposed", line);
    int lane = emulated::now->lane;
    for (int i = 0; i < 4; ++i) {
        unsigned first = rows[8 * i + lane % 4 * 2].numbers[lane / 4];
        r[i] = first | unsigned(rows[8 * i + lane % 4 * 2 + 1].numbers[lane / 4]) << 16;
    }
}
// Forward the copy happens at once, backward at the wait, shuffled at either: both ways of being wrong come to light.
UNSEEN inline void copy_async_16(void* shared, const void* global, bool there = true, int line = __builtin_LINE()) {
    if (uintptr_t(shared) % 16 || uintptr_t(global) % 16) emulated::fail("copy_async_16 at line %d: misaligned", line);
    if (!emulated::is_shared(shared, 16)) emulated::fail("copy_async_16 at line %d: not to shared memory", line);
    emulated::Fiber& f = *emulated::now;
    if (f.pending == emulated::MOST_COPIES) emulated::fail("copy_async_16 at line %d: too many at once", line);
    using namespace emulated;
    Copy& c = copies[now - fibers][f.pending++];
    c = {shared, there ? global : nullptr, f.group, false};
    if (there) touch(global, 16, false);
    touch(shared, 16, true);  // perhaps at once
    if (order_of_run == FORWARD || (order_of_run == SHUFFLED && random_below(2))) copy(c);
}
inline void copy_async_commit() { ++emulated::now->group; }
template <int groups>
void copy_async_wait() { emulated::finish_copies(emulated::now->group - 1 - groups); }
