// What attention will need of new tokens, to where their texts are remembered: a row of keys and of values each.
//
// A block takes a token. Its keys and values lie side by side in one row, 2 A numbers, so that one number says where.

#include "device.cuh"

// k, v (N, A), rows `stride` apart -> row rows[n] of kept (., 2 A): k[n], then v[n]. Grid N.
extern "C" __global__ void keep(const STORED* __restrict__ k, const STORED* __restrict__ v, int stride,
                                const long long* __restrict__ rows, STORED* __restrict__ kept, int A) {
    k += static_cast<long long>(blockIdx.x) * stride;
    v += static_cast<long long>(blockIdx.x) * stride;
    kept += rows[blockIdx.x] * 2 * A;
    for (int i = threadIdx.x; i < A; i += blockDim.x) {
        kept[i] = k[i];
        kept[A + i] = v[i];
    }
}
