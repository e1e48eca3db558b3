// LayerNorm on the GPU, and the addition that comes before it.
//
// A warp keeps its row in registers (row.cuh) from the only time it is read to the only time it is written. In half
// precision that is 2 + 4 bytes a number to read, the sublayer's result and the residual, and 4 + 2 to write: the
// float32 result, and its rounded copy for the next linear map, which would otherwise read 4 bytes and write 2 once
// more. Weight and bias are the same for all rows and come from the cache.
//
// Compiled for INPUT, what x is (float, float16, bfloat16), STORED, what the copy is (float: there is none, and its
// pointer is null), and PIECES, the least with D <= 256 PIECES.

#include "row.cuh"

#ifndef INPUT
#define INPUT STORED
#endif

// layer_norm(x): (N, D) INPUT, (D,), (D,) -> out (N, D), copy (N, D) STORED. A warp a row.
extern "C" __global__ void layer_norm(const INPUT* __restrict__ x, const float* __restrict__ weight,
                                      const float* __restrict__ bias, float* __restrict__ out,
                                      STORED* __restrict__ copy, int N, int D, float eps) {
    long long at;
    if (!has_row(N, D, at)) return;  // the whole warp
    Row row;
    load_row(row, x + at, D);
    normalise(row, weight, bias, D, eps);
    store_result(out, copy, row, at, D);
}

// layer_norm(x + residual): (N, D) INPUT, (N, D), (D,), (D,) -> out (N, D), copy (N, D) STORED. A warp a row.
extern "C" __global__ void add_layer_norm(const INPUT* __restrict__ x, const float* __restrict__ residual,
                                          const float* __restrict__ weight, const float* __restrict__ bias,
                                          float* __restrict__ out, STORED* __restrict__ copy, int N, int D, float eps) {
    long long at;
    if (!has_row(N, D, at)) return;  // the whole warp
    Row row;
    load_row(row, x + at, D);
    add_row(row, residual + at, D);
    normalise(row, weight, bias, D, eps);
    store_result(out, copy, row, at, D);
}

// x + residual, of blocks that do not normalise it: (N, D) INPUT, (N, D) -> out (N, D). A warp a row.
extern "C" __global__ void add(const INPUT* __restrict__ x, const float* __restrict__ residual,
                               float* __restrict__ out, int N, int D) {
    long long at;
    if (!has_row(N, D, at)) return;  // the whole warp
    Row row;
    load_row(row, x + at, D);
    add_row(row, residual + at, D);
    store_row(out + at, row, D);
}
