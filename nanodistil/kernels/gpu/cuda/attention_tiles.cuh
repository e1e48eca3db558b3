// Tiles of rows, and the two products that attention is made of, on the tensor cores.
//
// The products are those of attention_rows.cuh, which does them in plain float32:
//
//     (16, n) = A B^T         every row of A with every row of B: scores.            products_of_rows
//     (16, HEAD) += W B       rows of B, added up with weights: context, dq, dk, dv. add_weighted_rows
//
// A warp has 16 rows of A, or STRIPS times 16, and keeps them in registers as left factors (load_left); B is a tile in
// shared memory, STEP numbers from row to row. Both products are mma (ptx.cuh):
//
//     A B^T     right factor: B as it lies in memory, for columns of B^T are rows of B
//     W B       right factor: B, read transposed by ldmatrix
//
// and the accumulators of the first product lie in the lanes exactly where the second wants its left factor: two
// neighbouring (16, 8) tiles of scores, rounded and packed, are one (16, 16) factor. So weights made of scores never
// leave their lane. Lane l has of every accumulator the rows l / 4 and l / 4 + 8, columns l % 4 * 2 and + 1; four
// lanes share a row.
//
// STEP is HEAD + 8: 16 bytes times an odd number, so that the 8 rows of an ldmatrix lie in all 32 banks, each once
// (counted in tests/unit/test_cuda_attention.py).

#ifndef STORED
#define STORED float16
#endif
#ifndef HEAD
#define HEAD 64
#endif

#include "device.cuh"

constexpr int WARPS = 4, THREADS = 32 * WARPS;
constexpr int STEP = HEAD + 8;
constexpr float MASKED = -8.507059173023462e37f;   // -2^126, what a masked key scores: attention.cu says why
constexpr float BEYOND = -3.4028234663852886e38f;  // less still, the least there is: subtracted from itself it is 0
constexpr float LOG2_E = 1.4426950408889634f;
static_assert(HEAD % 16 == 0 && HEAD <= 128, "heads of 16 .. 128 in steps of 16");

template <typename T>
__device__ void mma(float (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2]);
template <>
__device__ __forceinline__ void mma<float16>(float (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2]) {
    mma_float16(d, a, b);
}
template <>
__device__ __forceinline__ void mma<bfloat16>(float (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2]) {
    mma_bfloat16(d, a, b);
}

// Two products beside each other, b the right factors of both as load_matrix_x4 gives them. Warp.
__device__ __forceinline__ void mma_both(float (&first)[4], float (&second)[4], const unsigned (&a)[4],
                                         const unsigned (&b)[4]) {
    const unsigned b0[2] = {b[0], b[1]}, b1[2] = {b[2], b[3]};
    mma<STORED>(first, a, b0);
    mma<STORED>(second, a, b1);
}

// Begins to copy COUNT rows of HEAD numbers, `stride` apart, of which `rows` exist; zeros for the others. All THREADS.
template <int COUNT>
__device__ __forceinline__ void begin_copy(STORED* tile, const STORED* from, int stride, int rows) {
    constexpr int PIECES = HEAD / PIECE;  // of 16 bytes, a row
#pragma unroll
    for (int i = 0; i < COUNT * PIECES; i += THREADS) {
        const int piece = i + threadIdx.x, row = piece / PIECES, column = piece % PIECES * PIECE;
        if (COUNT * PIECES % THREADS == 0 || piece < COUNT * PIECES) {
            const STORED* source = from + (row * stride + column);
            copy_async_16(tile + row * STEP + column, source, row < rows);
        }
    }
}

// Rows top, top + 1, ... of `from`, `stride` apart, as left factors, straight from memory. Rows from `rows` on repeat
// the last one.
template <int STRIPS>
__device__ __forceinline__ void load_left(unsigned (&left)[STRIPS][HEAD / 16][4], const STORED* from, int stride,
                                          int top, int rows) {
    const int row = threadIdx.x % 32 / 4, column = threadIdx.x % 4 * 2;
#pragma unroll
    for (int s = 0; s < STRIPS; ++s) {
#pragma unroll
        for (int half = 0; half < 2; ++half) {
            const int at = min(top + 16 * s + 8 * half + row, rows - 1);
            const STORED* number = from + static_cast<long long>(at) * stride + column;
            const unsigned* pairs = reinterpret_cast<const unsigned*>(number);
#pragma unroll
            for (int d = 0; d < HEAD / 16; ++d) {
                left[s][d][half] = pairs[8 * d];
                left[s][d][half + 2] = pairs[8 * d + 4];
            }
        }
    }
}

template <int STRIPS, int N>
__device__ __forceinline__ void clear(float (&out)[STRIPS][N][4]) {
#pragma unroll
    for (int s = 0; s < STRIPS; ++s) {
#pragma unroll
        for (int n = 0; n < N; ++n) out[s][n][0] = out[s][n][1] = out[s][n][2] = out[s][n][3] = 0.0f;
    }
}

// out = left tile^T: every row of the left factors with 8 N rows of the tile. Warp. The loop over rows is outside:
// with that over the head outside, and the same numbers alive, ptxas spilled some in attention.cu.
template <int STRIPS, int N>
__device__ __forceinline__ void products_of_rows(const unsigned (&left)[STRIPS][HEAD / 16][4], const STORED* tile,
                                                 float (&out)[STRIPS][N][4]) {
    clear(out);
    // ldmatrix, 16 rows by 16 numbers: lanes 0-7 name 8 rows, 8-15 their other 8 numbers, the rest 8 more rows.
    const int lane = threadIdx.x % 32;
    tile += (lane % 8 + lane / 16 * 8) * STEP + lane / 8 % 2 * 8;
#pragma unroll
    for (int n = 0; n < N / 2; ++n) {
#pragma unroll
        for (int d = 0; d < HEAD / 16; ++d) {
            unsigned b[4];
            load_matrix_x4(b, tile + 16 * n * STEP + 16 * d);
#pragma unroll
            for (int s = 0; s < STRIPS; ++s) mma_both(out[s][2 * n], out[s][2 * n + 1], left[s][d], b);
        }
    }
}

// out += weights tile, the weights rounded to STORED: 8 N rows of the tile added up. Warp.
template <int STRIPS, int N>
__device__ __forceinline__ void add_weighted_rows(const float (&weights)[STRIPS][N][4], const STORED* tile,
                                                  float (&out)[STRIPS][HEAD / 8][4]) {
    // 16 rows by 16 numbers again, but transposed: lanes 0-15 name the rows, 16-31 their other 8 numbers.
    const int lane = threadIdx.x % 32;
    tile += lane % 16 * STEP + lane / 16 * 8;
#pragma unroll
    for (int n = 0; n < N / 2; ++n) {
        unsigned a[STRIPS][4];
#pragma unroll
        for (int s = 0; s < STRIPS; ++s) {
            const float(&first)[4] = weights[s][2 * n], (&second)[4] = weights[s][2 * n + 1];
            a[s][0] = rounded_pair<STORED>(first[0], first[1]);
            a[s][1] = rounded_pair<STORED>(first[2], first[3]);
            a[s][2] = rounded_pair<STORED>(second[0], second[1]);
            a[s][3] = rounded_pair<STORED>(second[2], second[3]);
        }
#pragma unroll
        for (int d = 0; d < HEAD / 16; ++d) {
            unsigned b[4];
            load_matrix_x4_transposed(b, tile + 16 * n * STEP + 16 * d);
#pragma unroll
            for (int s = 0; s < STRIPS; ++s) mma_both(out[s][2 * d], out[s][2 * d + 1], a[s], b);
        }
    }
}

// A lane's piece of a row (half 0: row l / 4, half 1: 8 below), times `factor`, to memory. to: the row's first number.
__device__ __forceinline__ void write_row(const float (&sums)[HEAD / 8][4], int half, float factor, STORED* to) {
    unsigned* pairs = reinterpret_cast<unsigned*>(to + threadIdx.x % 4 * 2);
#pragma unroll
    for (int d = 0; d < HEAD / 8; ++d) {
        pairs[4 * d] = rounded_pair<STORED>(sums[d][2 * half] * factor, sums[d][2 * half + 1] * factor);
    }
}

// The largest, and the sum, over the four lanes that share a row.
__device__ __forceinline__ float largest_of_row(float x) {
    x = fmaxf(x, __shfl_xor_sync(ALL_LANES, x, 1));
    return fmaxf(x, __shfl_xor_sync(ALL_LANES, x, 2));
}

__device__ __forceinline__ float sum_of_row(float x) {
    x += __shfl_xor_sync(ALL_LANES, x, 1);
    return x + __shfl_xor_sync(ALL_LANES, x, 2);
}
