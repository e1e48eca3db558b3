// GELU and its sisters on the GPU: one number in, one number out, eight a thread.
//
// GELU is x Phi(x) = max(x, 0) - z Q(z) with z = |x| and the tail Q of gelu.cuh. Reading and writing stays the longer
// part in half precision.
//
// Compiled for ACTIVATION (a function of this file), INPUT and STORED (the types of x and out). Where both types are
// one, out may be x.

#include "gelu.cuh"

#ifndef INPUT
#define INPUT STORED
#endif
#ifndef ACTIVATION
#define ACTIVATION gelu
#endif

__device__ __forceinline__ float gelu(float x) {
    const float z = fabsf(x) > FAR ? FAR : fabsf(x);  // not fminf, which would turn a NaN into FAR
    return (x > 0.0f ? x : 0.0f) - z * (bell(z) * scaled_tail(z));
}

// GPT-2's: x sigmoid(2 u).
__device__ __forceinline__ float gelu_tanh(float x) {
    const float z = fabsf(x) > FAR ? FAR : fabsf(x);
    return (x > 0.0f ? x : 0.0f) - z * tanh_tail(z);
}

__device__ __forceinline__ float relu(float x) { return x < 0.0f ? 0.0f : x; }

__device__ __forceinline__ float hyperbolic_tangent(float x) { return tanhf(x); }

// out = ACTIVATION(x): count numbers of any shape. Eight a thread.
extern "C" __global__ void activation(const INPUT* x, STORED* out, long long count) {
    const long long start = (static_cast<long long>(blockIdx.x) * blockDim.x + threadIdx.x) * PIECE;
    if (start >= count) return;
    float piece[PIECE];
    load_piece_of(piece, x, start, count);
#pragma unroll
    for (int i = 0; i < PIECE; ++i) piece[i] = ACTIVATION(piece[i]);
    store_piece_of(out, piece, start, count);
}
