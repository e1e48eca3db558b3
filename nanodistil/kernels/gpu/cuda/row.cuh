// A row of D numbers in the registers of one warp, and its LayerNorm.
//
// Lane l holds piece l, piece l + 32, ...: PIECES of them, so that D <= 256 PIECES, and one instruction of a warp moves
// 512 bytes that lie side by side. PIECES is a constant of the compilation, since registers cannot be indexed at run
// time: 3 for D = 768, which is 24 registers and no number too many. Up to D = 3072 nothing spills; at 4096 a few
// registers do. Numbers past D are 0.
//
// Both statistics come from the registers, each by five shuffles, without a barrier. The CPU kernel takes them in
// float64. Here they are float32, of which a GPU has 2 to 64 times as many units, but the mean is corrected: deviations
// from a mean that is slightly off sum to D times the slip, so one more sum, taken along with that of the squares, says
// what to subtract from both.

#include "device.cuh"

#ifndef PIECES
#define PIECES 3
#endif

using Row = float[PIECES][PIECE];

__device__ __forceinline__ int piece_start(int p) { return (p * 32 + static_cast<int>(threadIdx.x) % 32) * PIECE; }

// Whether this warp has one of N rows of D numbers, which begins at number `at`.
__device__ __forceinline__ bool has_row(int N, int D, long long& at) {
    const int i = blockIdx.x * (blockDim.x / 32) + threadIdx.x / 32;
    at = static_cast<long long>(i) * D;
    return i < N;
}

template <class T>
__device__ __forceinline__ void load_row(Row& row, const T* from, int D) {
#pragma unroll
    for (int p = 0; p < PIECES; ++p) load_piece_of(row[p], from, piece_start(p), D);
}

template <class T>
__device__ __forceinline__ void add_row(Row& row, const T* from, int D) {
#pragma unroll
    for (int p = 0; p < PIECES; ++p) {
        float more[PIECE];
        load_piece_of(more, from, piece_start(p), D);
#pragma unroll
        for (int i = 0; i < PIECE; ++i) row[p][i] += more[i];
    }
}

template <class T>
__device__ __forceinline__ void store_row(T* to, const Row& row, int D) {
#pragma unroll
    for (int p = 0; p < PIECES; ++p) store_piece_of(to, row[p], piece_start(p), D);
}

// row = (row - mean) / sqrt(variance + eps), in place, over its first D numbers -> 1 / sqrt(variance + eps). Warp.
//
// Both statistics are float32, but the mean is corrected: the deviations from a mean that is slightly off sum to D
// times the slip, so one more sum, taken together with that of the squares, gives what to subtract from both.
__device__ __forceinline__ float standardise(Row& row, int D, float eps) {
    float total = 0.0f;
#pragma unroll
    for (int p = 0; p < PIECES; ++p)
#pragma unroll
        for (int i = 0; i < PIECE; ++i) total += row[p][i];
    const float mean = warp_sum(total) / D;

    float squares = 0.0f, slip = 0.0f;
#pragma unroll
    for (int p = 0; p < PIECES; ++p)
#pragma unroll
        for (int i = 0; i < PIECE; ++i) {
            row[p][i] = piece_start(p) + i < D ? row[p][i] - mean : 0.0f;
            squares += row[p][i] * row[p][i];
            slip += row[p][i];
        }
    slip = warp_sum(slip) / D;
    const float variance = fmaxf(warp_sum(squares) / D - slip * slip, 0.0f);
    const float scale = 1.0f / sqrtf(variance + eps);
#pragma unroll
    for (int p = 0; p < PIECES; ++p)
#pragma unroll
        for (int i = 0; i < PIECE; ++i) row[p][i] = (row[p][i] - slip) * scale;
    return scale;
}

// row = standardised row * weight + bias, in place. Warp.
__device__ __forceinline__ void normalise(Row& row, const float* weight, const float* bias, int D, float eps) {
    standardise(row, D, eps);
#pragma unroll
    for (int p = 0; p < PIECES; ++p) {
        float w[PIECE], b[PIECE];
        load_piece_of(w, weight, piece_start(p), D);
        load_piece_of(b, bias, piece_start(p), D);
#pragma unroll
        for (int i = 0; i < PIECE; ++i) row[p][i] = row[p][i] * w[i] + b[i];
    }
}

// out, and unless STORED is float the rounded copy, from number `at` on.
__device__ __forceinline__ void store_result(float* out, STORED* copy, const Row& row, long long at, int D) {
    store_row(out + at, row, D);
    if constexpr (!Same<STORED, float>::value) store_row(copy + at, row, D);
}
