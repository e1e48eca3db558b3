// A rounded copy, for what is to be multiplied in 16 bits.
//
// Where a LayerNorm made the array there is nothing to do here: it wrote its own rounded copy (layer_norm.cu). What is
// left are weights, once at load, and the rare array that nobody rounded: replaced by a tap, or summed by the training
// loop. A thread moves PIECE numbers; 6 bytes a number in all, of a half type.

#include "device.cuh"

// (n,) float -> (n,) STORED, ties to even.
extern "C" __global__ void rounded_copy(const float* __restrict__ x, STORED* __restrict__ out, long long n) {
    const long long at = (static_cast<long long>(blockIdx.x) * blockDim.x + threadIdx.x) * PIECE;
    if (at >= n) return;
    float piece[PIECE];
    load_piece_of(piece, x, at, n);
    store_piece_of(out, piece, at, n);
}
