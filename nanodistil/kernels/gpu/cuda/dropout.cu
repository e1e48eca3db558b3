// Dropout: x / (1 - rate), with a share `rate` of it 0, by the masks of dropout.cuh.
//
// Its derivative is itself, so forward x is what a linear map gave, in 16 bits perhaps, and backward a float32
// gradient. Each thread takes FOUR numbers that lie a block apart: the reading and writing of a warp stays side by
// side, and four generators (multiplications of 64 bits, in steps that wait for each other) run beside each other.

// A float32 array is followed by a linear map, so in half precision its rounded copy is written too, as LayerNorm's is.
//
// Compiled for INPUT, what x and out are, and STORED, what the copy is (as INPUT: there is none).

#include "device.cuh"
#include "dropout.cuh"

#ifndef INPUT
#define INPUT STORED
#endif

constexpr int FOUR = 4;

// out = dropout of x: (n,) INPUT, and copy (n,) STORED. key, limit: dropout.cuh; share: 1 - rate. Grid
// ceil(n / (FOUR blockDim.x)).
extern "C" __global__ void dropout(const INPUT* __restrict__ x, INPUT* __restrict__ out, STORED* __restrict__ copy,
                                   long long n, unsigned long long key, unsigned long long limit, float share) {
    const long long first = static_cast<long long>(blockIdx.x) * FOUR * blockDim.x + threadIdx.x;
#pragma unroll
    for (int j = 0; j < FOUR; ++j) {
        const long long i = first + j * static_cast<long long>(blockDim.x);
        if (i >= n) continue;
        const float value = is_kept(key, i, limit) ? widened(x[i]) / share : 0.0f;
        out[i] = rounded<INPUT>(value);
        if constexpr (!Same<INPUT, STORED>::value) copy[i] = rounded<STORED>(value);
    }
}
