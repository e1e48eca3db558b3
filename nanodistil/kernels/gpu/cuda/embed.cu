// Two rows of two tables, added, and the LayerNorm that follows: the first thing the model does.
//
// A warp a row, as in layer_norm.cu. Ids are arbitrary, but a row of a table is 3 KB in one piece (D = 768), so memory
// is read as well as anywhere; of the places, few are ever asked for, and they stay in the cache.
//
// `embed_layer_norm` normalises the sum while it is in registers and spares writing and reading it, 8 bytes a number
// out of 22. Training needs the sum itself and takes `embed`.
//
// Whether ids and positions are within the tables is checked on the host: a GPU would read whatever stands there.

#include "row.cuh"

// words[ids] + places[positions]: 2 x (N,), (V, D), (P, D) -> out (N, D). A warp a row.
extern "C" __global__ void embed(const long long* __restrict__ ids, const long long* __restrict__ positions,
                                 const float* __restrict__ words, const float* __restrict__ places,
                                 float* __restrict__ out, int N, int D) {
    const int i = blockIdx.x * (blockDim.x / 32) + threadIdx.x / 32;
    if (i >= N) return;  // the whole warp
    Row row;
    load_row(row, words + ids[i] * D, D);
    add_row(row, places + positions[i] * D, D);
    store_row(out + static_cast<long long>(i) * D, row, D);
}

// layer_norm of the same: ..., (D,), (D,) -> out (N, D), copy (N, D) STORED. A warp a row.
extern "C" __global__ void embed_layer_norm(const long long* __restrict__ ids, const long long* __restrict__ positions,
                                            const float* __restrict__ words, const float* __restrict__ places,
                                            const float* __restrict__ weight, const float* __restrict__ bias,
                                            float* __restrict__ out, STORED* __restrict__ copy, int N, int D,
                                            float eps) {
    const int i = blockIdx.x * (blockDim.x / 32) + threadIdx.x / 32;
    if (i >= N) return;  // the whole warp
    Row row;
    load_row(row, words + ids[i] * D, D);
    add_row(row, places + positions[i] * D, D);
    normalise(row, weight, bias, D, eps);
    store_result(out, copy, row, static_cast<long long>(i) * D, D);
}
