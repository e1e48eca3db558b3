// The slopes of the activations of gelu.cu: dx = dy slope(x), where x is what the activation was given.
//
// GELU's slope is Phi(x) + x phi(x), and the density phi is the bell that the tail has as a factor already: with
// B(z) = exp(-z^2 / 2) (R(u) - z / sqrt(2 pi)), z = |x|, it is B for negative x and 1 - B for positive.
//
// dy is float32, dx is STORED: two products follow, for the weight and for the input, which take rounded factors.
//
// Compiled for SLOPE (a function of this file), INPUT and STORED (the types of x and dx).

#include "gelu.cuh"

#ifndef INPUT
#define INPUT STORED
#endif

#ifndef SLOPE
#define SLOPE gelu_slope
#endif

__device__ __forceinline__ float gelu_slope(float x) {
    const float z = fabsf(x) > FAR ? FAR : fabsf(x);
    const float bump = bell(z) * (scaled_tail(z) - z * 0.3989422804014327f);
    return x < 0.0f ? bump : 1.0f - bump;
}

// Of x s, s = sigmoid(2 u): s + x s (1 - s) 2 u', u as in gelu.cu. Beyond 40 it is 0 or 1, and x^3 no number in the end.
__device__ __forceinline__ float gelu_tanh_slope(float x) {
    const float z = x > FAR ? FAR : x < -FAR ? -FAR : x;
    const float s = 1.0f / (1.0f + expf(-1.5957691216057308f * z * (1.0f + 0.044715f * z * z)));
    return s + z * s * (1.0f - s) * 1.5957691216057308f * (1.0f + 0.134145f * z * z);
}

__device__ __forceinline__ float relu_slope(float x) { return x > 0.0f ? 1.0f : 0.0f; }

__device__ __forceinline__ float tanh_slope(float x) {
    const float y = tanhf(x);
    return (1.0f - y) * (1.0f + y);
}

// (count,), (count,) INPUT -> dx (count,) STORED. Eight numbers a thread.
extern "C" __global__ void activation_backward(const float* __restrict__ dy, const INPUT* __restrict__ x,
                                               STORED* __restrict__ dx, long long count) {
    const long long start = (static_cast<long long>(blockIdx.x) * blockDim.x + threadIdx.x) * PIECE;
    if (start >= count) return;
    float piece[PIECE], gradient[PIECE];
    load_piece_of(piece, x, start, count);
    load_piece_of(gradient, dy, start, count);
#pragma unroll
    for (int i = 0; i < PIECE; ++i) piece[i] = gradient[i] * SLOPE(piece[i]);
    store_piece_of(dx, piece, start, count);
}
