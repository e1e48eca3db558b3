// Copies in another type: float32 rounded for a linear map or attention, and stored numbers widened for float32 kernels.
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

// (n,) STORED -> (n,) float, exactly.
extern "C" __global__ void widened_copy(const STORED* __restrict__ x, float* __restrict__ out, long long n) {
    const long long at = (static_cast<long long>(blockIdx.x) * blockDim.x + threadIdx.x) * PIECE;
    if (at >= n) return;
    float piece[PIECE];
    load_piece_of(piece, x, at, n);
    store_piece_of(out, piece, at, n);
}
