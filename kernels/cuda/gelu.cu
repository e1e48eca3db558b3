// GELU and its sisters on the GPU: one number in, one number out, eight a thread.
//
// The formula is the CPU kernel's (kernels/gelu.py, where it is derived): x Phi(x) = max(x, 0) - z Q(z) with z = |x|
// and the tail Q(z) = exp(-z^2 / 2) R(z / (z + 4)), R a polynomial of degree 12 within 2e-9. CUDA's own erff would lose
// digits for negative x, and its erfcf takes two branches, of which a warp often walks both. This takes none: 13
// multiply-adds, one division and one power of 2 by the special-function unit, each 2 units in the last place off at
// most, which the polynomial's argument and a bump below 0.17 bear.
//
// Compiled for ACTIVATION (a function of this file), INPUT and STORED (the types of x and out). Where both types are
// one, out may be x.

#include "device.cuh"

#ifndef INPUT
#define INPUT STORED
#endif
#ifndef ACTIVATION
#define ACTIVATION gelu
#endif

constexpr float FAR = 40.0f;  // beyond it the bump is 0; the bound keeps inf * 0 away

// R: exp(z^2 / 2) Q(z) for z >= 0, with u = z / (z + 4).
__device__ __forceinline__ float scaled_tail(float z) {
    const float u = __fdividef(z, z + 4.0f);
    float r = fmaf(u, -0.010556412322934085f, 0.06921926331035289f);
    r = fmaf(u, r, -0.17937023676025712f);
    r = fmaf(u, r, 0.21302694672845843f);
    r = fmaf(u, r, -0.08933175217511727f);
    r = fmaf(u, r, 0.045896396397286335f);
    r = fmaf(u, r, -0.2323544261681747f);
    r = fmaf(u, r, 0.11028637611744366f);
    r = fmaf(u, r, 0.8712018053648407f);
    r = fmaf(u, r, -2.1064771182082436f);
    r = fmaf(u, r, 2.4042282341486216f);
    r = fmaf(u, r, -1.5957690762617147f);
    return fmaf(u, r, 0.5f);
}

// exp(-z^2 / 2), as a power of 2: log2(e) / 2 = 0.7213...
__device__ __forceinline__ float bell(float z) { return fast_exp2(-0.7213475204444817f * z * z); }

__device__ __forceinline__ float gelu(float x) {
    const float z = fabsf(x) > FAR ? FAR : fabsf(x);  // not fminf, which would turn a NaN into FAR
    return (x > 0.0f ? x : 0.0f) - z * (bell(z) * scaled_tail(z));
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
