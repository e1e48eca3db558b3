// LayerNorm's derivative on the GPU, and that of the addition before it.
//
// As in layer_norm.cu a warp has a row in its registers, here two, x and dy; the statistics are computed again, which
// costs ten shuffles, where reading them would cost a trip to memory. With n the standardised x and g = dy weight,
//
//     dx = (g - mean(g) - n mean(g n)) / deviation
//
// dweight = sum of dy n and dbias = sum of dy go over all rows. Atomic additions would come in another order each time,
// and with them other last bits. So a warp takes ROWS_A_WARP rows, always the same ones, adds up their shares in
// registers and writes them as one row of two matrices; column_sums.cu adds those rows. An eighth of a row of dweight
// and of dbias is thus written for each row of dx, and read once more.
//
// As forward, dx is written twice in half precision, the second time rounded for the linear map that comes next.
//
// Compiled for INPUT, what x is, STORED, what the copy is (float: there is none), and PIECES, the least with
// D <= 256 PIECES. Four rows are in registers, 96 numbers a thread for D = 768 (nvcc 13.0, sm_90: at most 168
// registers); up to D = 1280 nothing spills.

#include "row.cuh"

#ifndef INPUT
#define INPUT STORED
#endif

constexpr int ROWS_A_WARP = 8;

// x = dx and dy is used up, in place; dweight and dbias get their shares of this row. Warp.
__device__ __forceinline__ void backward_of_row(Row& x, Row& dy, Row& dweight, Row& dbias, const float* weight, int D,
                                                float eps) {
    const float scale = standardise(x, D, eps);
    float total = 0.0f, along = 0.0f;
#pragma unroll
    for (int p = 0; p < PIECES; ++p) {
        float w[PIECE];
        load_piece_of(w, weight, piece_start(p), D);
#pragma unroll
        for (int i = 0; i < PIECE; ++i) {  // past D dy is 0, whatever x has become there
            dweight[p][i] += dy[p][i] * x[p][i];
            dbias[p][i] += dy[p][i];
            dy[p][i] *= w[i];
            total += dy[p][i];
            along += dy[p][i] * x[p][i];
        }
    }
    total = warp_sum(total) / D;
    along = warp_sum(along) / D;
#pragma unroll
    for (int p = 0; p < PIECES; ++p)
#pragma unroll
        for (int i = 0; i < PIECE; ++i) x[p][i] = (dy[p][i] - total - x[p][i] * along) * scale;
}

__device__ __forceinline__ void clear(Row& row) {
#pragma unroll
    for (int p = 0; p < PIECES; ++p)
#pragma unroll
        for (int i = 0; i < PIECE; ++i) row[p][i] = 0.0f;
}

// The rows of one warp; `residual` is looked at only where it was added.
template <bool ADDED>
__device__ __forceinline__ void backward_of_rows(const float* dy, const INPUT* x, const float* residual,
                                                 const float* weight, float* dx, STORED* copy, float* dweights,
                                                 float* dbiases, int N, int D, float eps) {
    const int warp = blockIdx.x * (blockDim.x / 32) + threadIdx.x / 32, first = warp * ROWS_A_WARP;
    if (first >= N) return;  // the whole warp
    Row dweight, dbias;
    clear(dweight);
    clear(dbias);
#pragma unroll 1
    for (int i = first; i < min(first + ROWS_A_WARP, N); ++i) {
        const long long at = static_cast<long long>(i) * D;
        Row row, gradient;
        load_row(row, x + at, D);
        if constexpr (ADDED) add_row(row, residual + at, D);
        load_row(gradient, dy + at, D);
        backward_of_row(row, gradient, dweight, dbias, weight, D, eps);
        store_result(dx, copy, row, at, D);
    }
    const long long at = static_cast<long long>(warp) * D;
    store_row(dweights + at, dweight, D);
    store_row(dbiases + at, dbias, D);
}

// (N, D), (N, D) INPUT, (D,) -> dx (N, D), copy (N, D) STORED, dweights and dbiases (ceil(N / ROWS_A_WARP), D). A warp
// ROWS_A_WARP rows.
extern "C" __global__ void layer_norm_backward(const float* __restrict__ dy, const INPUT* __restrict__ x,
                                               const float* __restrict__ weight, float* __restrict__ dx,
                                               STORED* __restrict__ copy, float* __restrict__ dweights,
                                               float* __restrict__ dbiases, int N, int D, float eps) {
    backward_of_rows<false>(dy, x, nullptr, weight, dx, copy, dweights, dbiases, N, D, eps);
}

// The same of layer_norm(x + residual): residual (N, D).
extern "C" __global__ void add_layer_norm_backward(const float* __restrict__ dy, const INPUT* __restrict__ x,
                                                   const float* __restrict__ residual,
                                                   const float* __restrict__ weight, float* __restrict__ dx,
                                                   STORED* __restrict__ copy, float* __restrict__ dweights,
                                                   float* __restrict__ dbiases, int N, int D, float eps) {
    backward_of_rows<true>(dy, x, residual, weight, dx, copy, dweights, dbiases, N, D, eps);
}
