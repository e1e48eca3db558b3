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

// Likewise, with the tail t of tanh: t - z t (1 - t) 2 u' for negative x, and 1 - that for positive.
__device__ __forceinline__ float gelu_tanh_slope(float x) {
    const float z = fabsf(x) > FAR ? FAR : fabsf(x), t = tanh_tail(z);
    const float bump = t - z * t * (1.0f - t) * 1.5957691216057308f * fmaf(0.134145f * z, z, 1.0f);
    return x < 0.0f ? bump : 1.0f - bump;
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
