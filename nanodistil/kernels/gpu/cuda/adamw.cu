// The optimiser's step, and the norm that clipping asks for: work that waits for memory only.
//
// A step reads every weight with its gradient and its two means, and writes all but the gradient: 28 bytes a number for
// a dozen operations. So a thread takes one number, neighbours take neighbours, and many are on their way at once;
// wider loads would want 16-byte boundaries, which the part of the weights that does not decay need not begin on. The
// steps and their order are those of the definition.
//
// The sum of squares is taken in float64: a block takes a STRETCH of numbers, always the same ones, and the host adds
// what the blocks found, in their order. So the norm, and with it every step, is the same on every run.

#include "device.cuh"

constexpr int STRETCH = 1 << 16, THREADS = 256;

// One step: x, dx, m, v (n,). scale: what dx is multiplied by; keep: what decay leaves of x; share1, share2: of what is
// new in m and v; correction: of the root of v, which began at 0; that of m is in the rate. Grid ceil(n / blockDim.x).
extern "C" __global__ void adamw(float* __restrict__ x, const float* __restrict__ dx, float* __restrict__ m,
                                 float* __restrict__ v, long long n, float scale, float keep, float share1,
                                 float share2, float correction, float eps, float rate) {
    const long long i = static_cast<long long>(blockIdx.x) * blockDim.x + threadIdx.x;
    if (i >= n) return;
    const float g = dx[i] * scale;
    const float mean = m[i] + share1 * (g - m[i]), square = v[i] + share2 * (g * g - v[i]);
    m[i] = mean;
    v[i] = square;
    x[i] = x[i] * keep - rate * mean / (sqrtf(square) / correction + eps);
}

// sums (ceil(n / STRETCH),): of x^2 over each stretch of x (n,). Grid as many, THREADS threads.
extern "C" __global__ __launch_bounds__(THREADS) void square_sums(const float* __restrict__ x,
                                                                  double* __restrict__ sums, long long n) {
    __shared__ double sums_of_warps[THREADS / 32];
    const long long first = static_cast<long long>(blockIdx.x) * STRETCH, end = min(first + STRETCH, n);
    double share = 0.0;
#pragma unroll 8
    for (long long i = first + threadIdx.x; i < end; i += THREADS) share += static_cast<double>(x[i]) * x[i];
    share = block_sum<THREADS>(share, sums_of_warps);
    if (threadIdx.x == 0) sums[blockIdx.x] = share;
}
