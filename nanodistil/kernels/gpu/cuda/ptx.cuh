// What CUDA C++ has no word for without its headers: all the assembly of this project, one instruction a function.
//
// The kernels are compiled at run time, where the headers (cuda_fp16.h, mma.h) may not be installed; and what they
// would give is one line of PTX each. The names follow the PTX manual
// (docs.nvidia.com/cuda/parallel-thread-execution), whose section 9.7 draws the layouts; here is what one must know of
// them. Lane l of a warp has row r = l / 4 and pair of columns c = 2 (l % 4):
//
//     accumulators d of a product (16, 8), float32:  d[0], d[1] at (r, c), (r, c + 1);  d[2], d[3] 8 rows below
//     left factor a (16, 16), two numbers a word:    a[0] at (r, c), (r, c + 1);  a[1] 8 rows below;
//                                                    a[2], a[3] as those, 8 columns to the right
//     right factor b (16, 8), two numbers a word:    b[0] at (c, r), (c + 1, r);  b[1] 8 rows below
//     8 x 8 matrices in shared memory, 16 bytes a row, by load_matrix: word i of a lane is (r, c), (r, c + 1) of the
//     i-th; transposed: (c, r), (c + 1, r). Lanes 8 i .. 8 i + 7 give the addresses of the i-th matrix's rows.
//
// Two accumulators side by side, (16, 16), are thus where a left factor wants them: attention lives on that.
//
// The functions marked "warp" are reached by all 32 lanes of a warp together; "volatile" keeps the compiler from moving
// them to where they are not. The emulator of the tests brings its own version of each (EMULATED), so this file is the
// only one that no test on a CPU has seen.

#ifndef EMULATED

// ------------------------------------------------------------------------------------------------------- conversions

// The 16 bits of the float16 nearest to x, ties to even; beyond 65520 infinity.
__device__ __forceinline__ unsigned short half_bits(float x) {
    unsigned short bits;
    asm("cvt.rn.f16.f32 %0, %1;" : "=h"(bits) : "f"(x));
    return bits;
}

__device__ __forceinline__ float from_half_bits(unsigned short bits) {
    float x;
    asm("cvt.f32.f16 %0, %1;" : "=f"(x) : "h"(bits));
    return x;
}

// The 16 bits of the bfloat16 nearest to x, ties to even.
__device__ __forceinline__ unsigned short bfloat16_bits(float x) {
    unsigned short bits;
    asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(bits) : "f"(x));
    return bits;
}

// A bfloat16 is the upper half of a float.
__device__ __forceinline__ float from_bfloat16_bits(unsigned short bits) {
    return __uint_as_float(static_cast<unsigned>(bits) << 16);
}

// Two numbers in a word, the first in its lower half, where it comes first in memory: one instruction for both.
__device__ __forceinline__ unsigned half_pair(float first, float second) {
    unsigned bits;
    asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(bits) : "f"(second), "f"(first));
    return bits;
}

__device__ __forceinline__ unsigned bfloat16_pair(float first, float second) {
    unsigned bits;
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(bits) : "f"(second), "f"(first));
    return bits;
}

// 2^x to 2 units in the last place, 0 where that is below 2^-126; 2^-inf is 0, 2^0 is 1. One instruction, where exp2f
// takes care of the smallest numbers with three more.
__device__ __forceinline__ float fast_exp2(float x) {
    float y;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
}

// ------------------------------------------------------------------------------------------------------ tensor cores

// d += a b: (16, 16), (16, 8) -> (16, 8), float16 factors, float32 sums. Warp.
__device__ __forceinline__ void mma_float16(float (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2]) {
    asm volatile(
        "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
        "{%0, %1, %2, %3};"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

// The same of bfloat16 factors. Warp.
__device__ __forceinline__ void mma_bfloat16(float (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2]) {
    asm volatile(
        "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
        "{%0, %1, %2, %3};"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

// Assembly wants an address as an offset into shared memory.
__device__ __forceinline__ unsigned shared_address(const void* pointer) {
    return static_cast<unsigned>(__cvta_generic_to_shared(pointer));
}

// Four 8 x 8 matrices of 16-bit numbers. row: this lane's row in shared memory, on a multiple of 16 bytes. Warp.
__device__ __forceinline__ void load_matrix_x4(unsigned (&r)[4], const void* row) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(shared_address(row))
                 : "memory");
}

__device__ __forceinline__ void load_matrix_x4_transposed(unsigned (&r)[4], const void* row) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(shared_address(row))
                 : "memory");
}

// --------------------------------------------------------------------------------------- copies behind one's back

// Begins to copy 16 bytes from global to shared memory, past the first-level cache and past the registers; zeros
// instead, and nothing is read, where `there` is false. Both addresses are multiples of 16.
__device__ __forceinline__ void copy_async_16(void* shared, const void* global, bool there = true) {
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;"
                 :
                 : "r"(shared_address(shared)), "l"(__cvta_generic_to_global(global)), "r"(there ? 16 : 0)
                 : "memory");
}

// Closes a group: all copies this thread began since the last one.
__device__ __forceinline__ void copy_async_commit() { asm volatile("cp.async.commit_group;" : : : "memory"); }

// Waits until at most the newest `groups` of this thread's groups are unfinished. Other threads' need a barrier after.
template <int groups>
__device__ __forceinline__ void copy_async_wait() {
    asm volatile("cp.async.wait_group %0;" : : "n"(groups) : "memory");
}

#endif
