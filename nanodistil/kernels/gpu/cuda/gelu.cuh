// The tail of the normal distribution, of which GELU and its slope are made: Q(z) = exp(-z^2 / 2) R(z / (z + 4)).
//
// The formula is the CPU kernel's (cpu/gelu.py, where it is derived), R a polynomial of degree 12 within 2e-9.
// CUDA's own erff would lose digits for negative x, and its erfcf takes two branches, of which a warp often walks both.
// This takes none: 13 multiply-adds, one division and one power of 2 by the special-function unit, each 2 units in the
// last place off at most, which the polynomial's argument and a bump below 0.17 bear.

#include "device.cuh"

// sigmoid(-2 u), u = sqrt(2 / pi) (z + 0.044715 z^3), for z from 0 to FAR: what stands for Q where GELU is made of tanh.
__device__ __forceinline__ float tanh_tail(float z) {
    const float e = expf(-1.5957691216057308f * z * fmaf(0.044715f * z, z, 1.0f));
    return e / (1.0f + e);
}

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
