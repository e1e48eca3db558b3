// Sums of columns: what a bias gets of a matrix of gradients, and LayerNorm's weights of their partial sums.
//
// A block takes 32 columns, so that a warp reads 128 bytes side by side, and ROWS rows: its eight warps every eighth
// row each, whose sums are then added in the order of the warps. What the blocks found for different rows is a smaller
// matrix, of which the same kernel makes the sums. So there are no atomic additions, the order is always the same, and
// a number is at the end of some 40 additions a ROWS-fold instead of N, which is what keeps float32 sums of 10^4 rows
// good.

//
// Compiled for INPUT, what x is; the sums are float32.

#include "device.cuh"

#ifndef INPUT
#define INPUT float
#endif

constexpr int ROWS = 256, WARPS = 8;

// x (rows, columns), rows `stride` numbers apart -> out (ceil(rows / ROWS), columns); where that is one row, `adding`
// adds to it what else would be written. Grid (columns / 32, rows / ROWS), 256 threads.
extern "C" __global__ void column_sums(const INPUT* __restrict__ x, int rows, int columns, long long stride,
                                       float* __restrict__ out, int adding) {
    __shared__ float sums[WARPS][32];
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32, column = blockIdx.x * 32 + lane;
    const int first = blockIdx.y * ROWS, end = min(first + ROWS, rows);
    float sum = 0.0f;
    if (column < columns) {
#pragma unroll 8
        for (int i = first + warp; i < end; i += WARPS) sum += widened(x[i * stride + column]);
    }
    sums[warp][lane] = sum;
    __syncthreads();
    if (warp > 0 || column >= columns) return;
#pragma unroll
    for (int w = 1; w < WARPS; ++w) sum += sums[w][lane];
    float* to = out + static_cast<long long>(blockIdx.y) * columns + column;
    *to = adding ? *to + sum : sum;
}
