// LayerNorm on the GPU, and the addition that comes before it.
//
// One warp takes one row, which stays in its registers (row.cuh) from the only time it is read to the only time it is
// written: the sum, the squared deviations and the result all come from there, and the sums over the row are ten
// shuffles, without a barrier. In half precision a row costs 2 + 4 bytes a number to read (the sublayer's result and
// the residual) and 4 + 2 to write (the float32 result, and its rounded copy for the next linear map, which would
// otherwise read 4 bytes and write 2 once more). Weight and bias are the same for all rows and come from the cache.
//
// The CPU kernel takes its two statistics in float64. Here they are float32, of which a GPU has 2 to 64 times as many
// units, but the mean is corrected: the deviations from a mean that is slightly off sum to D times the slip, so one
// more sum, taken together with that of the squares, gives what to subtract from both.
//
// Compiled for INPUT, what x is (float, float16, bfloat16), STORED, what the copy is (float: there is none), and PIECES,
// the least with D <= 256 PIECES.

#include "row.cuh"

#ifndef INPUT
#define INPUT STORED
#endif

// row = (row - mean) / sqrt(variance + eps) * weight + bias, in place. Warp.
__device__ __forceinline__ void normalise(Row& row, const float* weight, const float* bias, int D, float eps) {
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
    for (int p = 0; p < PIECES; ++p) {
        float w[PIECE], b[PIECE];
        load_piece_of(w, weight, piece_start(p), D);
        load_piece_of(b, bias, piece_start(p), D);
#pragma unroll
        for (int i = 0; i < PIECE; ++i) row[p][i] = (row[p][i] - slip) * scale * w[i] + b[i];
    }
}

// out (and the copy) of one row, from registers.
__device__ __forceinline__ void store_result(float* out, STORED* copy, const Row& row, long long at, int D) {
    store_row(out + at, row, D);
    if constexpr (!Same<STORED, float>::value) store_row(copy + at, row, D);
}

// layer_norm(x): (N, D) INPUT, (D,), (D,) -> out (N, D), copy (N, D) STORED. A warp a row.
extern "C" __global__ void layer_norm(const INPUT* __restrict__ x, const float* __restrict__ weight,
                                      const float* __restrict__ bias, float* __restrict__ out,
                                      STORED* __restrict__ copy, int N, int D, float eps) {
    const int i = blockIdx.x * (blockDim.x / 32) + threadIdx.x / 32;
    if (i >= N) return;  // the whole warp
    const long long at = static_cast<long long>(i) * D;
    Row row;
    load_row(row, x + at, D);
    normalise(row, weight, bias, D, eps);
    store_result(out, copy, row, at, D);
}

// layer_norm(x + residual): (N, D) INPUT, (N, D), (D,), (D,) -> out (N, D), copy (N, D) STORED. A warp a row.
extern "C" __global__ void add_layer_norm(const INPUT* __restrict__ x, const float* __restrict__ residual,
                                          const float* __restrict__ weight, const float* __restrict__ bias,
                                          float* __restrict__ out, STORED* __restrict__ copy, int N, int D, float eps) {
    const int i = blockIdx.x * (blockDim.x / 32) + threadIdx.x / 32;
    if (i >= N) return;  // the whole warp
    const long long at = static_cast<long long>(i) * D;
    Row row;
    load_row(row, x + at, D);
    add_row(row, residual + at, D);
    normalise(row, weight, bias, D, eps);
    store_result(out, copy, row, at, D);
}
