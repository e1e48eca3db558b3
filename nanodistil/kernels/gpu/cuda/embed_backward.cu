// The derivative of looking rows up: adding rows where they were looked up, many to the same place.
//
// Atomic additions would come in any order, and a run would not give the same bits twice. So the numbers id * 2^32 +
// row are sorted first (no two are the same, so every way of sorting gives the same), which brings the rows of a word
// together, in their order; and the block at whose place a word begins adds all its rows to the table, one after the
// other. The other blocks have nothing to do, and end. Every number is then the sum that np.add.at makes, to the last
// bit.
//
// What this is not good at is a word that is every tenth of the batch: one block walks over all of its rows. It reads
// eight of them at once.

#include "device.cuh"

constexpr int AT_ONCE = 8;

// out[id] += dx[row] for every key id * 2^32 + row: dx (N, D), keys (N,) ascending, adding to (V, D). Grid N.
extern "C" __global__ void embed_backward(const float* __restrict__ dx, const long long* __restrict__ keys,
                                          float* __restrict__ out, int N, int D) {
    const int begin = blockIdx.x;
    const long long id = keys[begin] >> 32;
    if (begin > 0 && keys[begin - 1] >> 32 == id) return;  // the whole block: another has this word
    for (int d = threadIdx.x; d < D; d += blockDim.x) {
        float sum = out[id * D + d];
        bool more = true;
        for (int i = begin; more; i += AT_ONCE) {
            float rows[AT_ONCE];
            bool mine[AT_ONCE];
#pragma unroll
            for (int j = 0; j < AT_ONCE; ++j) {
                const long long key = i + j < N ? keys[i + j] : -1;
                mine[j] = key >> 32 == id;
                rows[j] = mine[j] ? dx[(key & 0xffffffff) * D + d] : 0.0f;
            }
#pragma unroll
            for (int j = 0; j < AT_ONCE; ++j)
                if (mine[j]) sum += rows[j];
            more = mine[AT_ONCE - 1];
        }
        out[id * D + d] = sum;
    }
}
