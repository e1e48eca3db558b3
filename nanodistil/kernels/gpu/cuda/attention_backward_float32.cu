// The derivative of attention, in float32 arithmetic, without a matrix of scores in memory and without atomics.
//
// For dtype float32, and for whatever attention_backward.cu cannot take, as attention_float32.cu is for attention.cu.
//
// attention_backward.py has the formulas: from S = scale q k^T, P = softmax of S, R = dropout of P,
//
//     dv = R^T dcontext    dP = dropout of dcontext v^T    dS = P (dP - delta),  delta = sum over the row of P dP
//     dq = scale dS k      dk = scale dS^T q
//
// dq is a sum over keys, dk and dv are sums over queries. So there are two kernels: one whose blocks own queries and
// walk over keys, one whose blocks own keys and walk over queries; each sum has its owner and its order, and a run can
// be repeated to the bit. The price: S and dP are computed in both.
//
// attention_backward_queries goes over the keys twice. First as the forward pass does, for the largest score m, the
// sum l of exp(S - m), and with them the sum of exp(S - m) dP, hence delta: these three of every row are left in
// `statistics` for the other kernel. The second time P = exp(S - m) / l is known, and dq adds up.
// attention_backward_keys computes the transposes, S^T = scale k q^T and dP^T = v dcontext^T: again rows with rows.
// Sums over a tile are taken apart and then joined, as in attention_float32.cu. A masked key has P = 0 and with it dS =
// 0; if all are masked P is 1 / T, but nothing passes the constant that stands for the score, so dS is set to 0.
//
// Grid (tiles, heads, z), any z: a tile has up to 64 rows, of which a block takes ROWS at a time, every z-th such
// part; 64 threads, or 32 if HEAD is above 64. Heads up to 128, any strides. Registers: docs/measurements.md.

#include "device.cuh"
#include "dropout.cuh"
#include "attention_rows.cuh"

constexpr int ROWS = HEAD <= 64 ? 32 : 16;  // of every matrix in shared memory: queries and keys
constexpr int THREADS = ROWS / 16 * 32;
constexpr int COLUMNS = ROWS / 8;   // of a tile of scores, a lane
constexpr int WEIGHTS = ROWS + 8;   // from one row of weights to the next: 4 rows of 8 lie in all banks
constexpr int AT_ONCE = HEAD <= 64 ? 4 : 5;

// Dropout on the probabilities of one head, and on their gradients; without -DDROPOUT it leaves all as they are.
struct Dropped {
    unsigned long long key, limit;
    float factor;
    int first_query, first_key, keys;  // numbers in the sentence of the tile's first rows; keys of the sentence

    __device__ __forceinline__ float operator()(float x, int query, int key_of_tile) const {
#ifdef DROPOUT
        const long long number = static_cast<long long>(first_query + query) * keys + first_key + key_of_tile;
        return is_kept(key, number, limit) ? x * factor : 0.0f;
#else
        return x;
#endif
    }
};

__device__ __forceinline__ Dropped dropped(const int* places, unsigned long long key, unsigned long long limit,
                                           float share, int heads) {
#ifdef DROPOUT
    const int* place = places + 4 * blockIdx.x;
    return {key_of_head(key, place[0] * heads + blockIdx.y), limit, 1.0f / share, place[1], place[2], place[3]};
#else
    return {};
#endif
}

__device__ __forceinline__ void add(const float (&tile)[4][PARTS][4], float (&out)[4][PARTS][4]) {
#pragma unroll
    for (int i = 0; i < 4; ++i) {
#pragma unroll
        for (int part = 0; part < PARTS; ++part) {
#pragma unroll
            for (int d = 0; d < 4; ++d) out[i][part][d] += tile[i][part][d];
        }
    }
}

// dcontext, q (M, .), k, v (N, .) -> dq (M, .) and statistics (M, heads, 4): the largest score, 1 / the sum of exp,
// delta; the fourth is for 16 bytes. tiles (tiles, 4), keep, scale and dropout's arguments: as in attention.cu.
extern "C" __global__ __launch_bounds__(THREADS, AT_ONCE) void attention_backward_queries(
    const STORED* __restrict__ dcontext, int dcontext_stride, const STORED* __restrict__ q,
    const STORED* __restrict__ k, const STORED* __restrict__ v, int q_stride, int kv_stride,
    const int* __restrict__ tiles, const unsigned char* __restrict__ keep, int heads, float scale,
    const int* __restrict__ places, unsigned long long key, unsigned long long limit, float share,
    float* __restrict__ statistics, STORED* __restrict__ dq, int dq_stride) {
    __shared__ __align__(16) float query_rows[ROWS * STEP];
    __shared__ __align__(16) float dcontext_rows[ROWS * STEP];
    __shared__ __align__(16) float key_rows[ROWS * STEP];
    __shared__ __align__(16) float value_rows[ROWS * STEP];
    __shared__ __align__(16) float weights[ROWS * WEIGHTS];
    const int first_query = tiles[4 * blockIdx.x], queries = tiles[4 * blockIdx.x + 1];
    const int first_key = tiles[4 * blockIdx.x + 2], keys = tiles[4 * blockIdx.x + 3];

    const int lane = threadIdx.x % 32, row = threadIdx.x / 32 * 16 + lane / 8, column = lane % 8;
    const Dropped drop = dropped(places, key, limit, share, heads);
    k += static_cast<long long>(first_key) * kv_stride + blockIdx.y * HEAD;
    v += static_cast<long long>(first_key) * kv_stride + blockIdx.y * HEAD;

    for (int top = ROWS * blockIdx.z; top < queries; top += ROWS * gridDim.z) {
        const long long first = first_query + top;
        const int left_over = queries - top;
        float largest[4], total[4], mean[4], dq_sum[4][PARTS][4];
#pragma unroll
        for (int i = 0; i < 4; ++i) largest[i] = MASKED, total[i] = mean[i] = 0.0f;
        clear(dq_sum);
        __syncthreads();  // all have finished with the part before
        load_rows<ROWS, THREADS>(query_rows, q + first * q_stride + blockIdx.y * HEAD, q_stride, left_over);
        load_rows<ROWS, THREADS>(dcontext_rows, dcontext + first * dcontext_stride + blockIdx.y * HEAD,
                                 dcontext_stride, left_over);

        for (int walk = 0; walk < 2; ++walk) {
            for (int left = 0; left < keys; left += ROWS) {
                const long long ahead = static_cast<long long>(left) * kv_stride;
                __syncthreads();  // all have finished with the tile before
                load_rows<ROWS, THREADS>(key_rows, k + ahead, kv_stride, keys - left);
                load_rows<ROWS, THREADS>(value_rows, v + ahead, kv_stride, keys - left);
                __syncthreads();

                float scores[4][COLUMNS], dprobs[4][COLUMNS];
                products_of_rows(query_rows + row * STEP, key_rows + column * STEP, scores);
                products_of_rows(dcontext_rows + row * STEP, value_rows + column * STEP, dprobs);
                bool passes[COLUMNS];  // where the score is a product, and not a constant in its place
#pragma unroll
                for (int j = 0; j < COLUMNS; ++j) {
                    const int number = left + column + 8 * j;
                    passes[j] = number < keys && (keep == nullptr || keep[first_key + number]);
#pragma unroll
                    for (int i = 0; i < 4; ++i) {
                        scores[i][j] = passes[j] ? scores[i][j] * scale : number < keys ? MASKED : beyond();
                        dprobs[i][j] = drop(dprobs[i][j], top + row + 4 * i, number);
                    }
                }
                if (walk == 0) {
#pragma unroll
                    for (int i = 0; i < 4; ++i) {
                        float most = largest[i];
#pragma unroll
                        for (int j = 0; j < COLUMNS; ++j) most = fmaxf(most, scores[i][j]);
                        most = largest_of_row(most);
                        const float shrink = expf(largest[i] - most);
                        float sum = 0.0f, weighted = 0.0f;
#pragma unroll
                        for (int j = 0; j < COLUMNS; ++j) {
                            const float p = expf(scores[i][j] - most);
                            sum += p;
                            weighted = fmaf(p, dprobs[i][j], weighted);
                        }
                        largest[i] = most;
                        total[i] = total[i] * shrink + sum;
                        mean[i] = mean[i] * shrink + weighted;
                    }
                } else {
#pragma unroll
                    for (int i = 0; i < 4; ++i) {
#pragma unroll
                        for (int j = 0; j < COLUMNS; ++j) {
                            const float p = expf(scores[i][j] - largest[i]) * total[i];
                            const float ds = p * (dprobs[i][j] - mean[i]) * scale;
                            weights[(row + 4 * i) * WEIGHTS + column + 8 * j] = passes[j] ? ds : 0.0f;
                        }
                    }
                    __syncwarp();
                    float tile[4][PARTS][4];
                    clear(tile);
                    add_weighted_rows<ROWS>(weights + row * WEIGHTS, WEIGHTS, key_rows, tile);
                    add(tile, dq_sum);
                }
            }
            if (walk == 0) {
#pragma unroll
                for (int i = 0; i < 4; ++i) {
                    total[i] = 1.0f / sum_of_row(total[i]);
                    mean[i] = sum_of_row(mean[i]) * total[i];
                }
            }
        }

#pragma unroll
        for (int i = 0; i < 4; ++i) {
            const int at = row + 4 * i;
            if (at >= left_over) continue;
            write_row(dq_sum[i], 1.0f, dq + (first + at) * dq_stride + blockIdx.y * HEAD);
            if (column == 0) {
                float* statistic = statistics + ((first + at) * heads + blockIdx.y) * 4;
                statistic[0] = largest[i];
                statistic[1] = total[i];
                statistic[2] = mean[i];
            }
        }
    }
}

// The same and statistics -> dk, dv (N, .). A row of tiles is now: first query row and queries of the whole sentence,
// first key row and keys of the tile; without queries dk and dv are 0 there. places: as before, of these tiles.
extern "C" __global__ __launch_bounds__(THREADS, AT_ONCE) void attention_backward_keys(
    const STORED* __restrict__ dcontext, int dcontext_stride, const STORED* __restrict__ q,
    const STORED* __restrict__ k, const STORED* __restrict__ v, int q_stride, int kv_stride,
    const int* __restrict__ tiles, const unsigned char* __restrict__ keep, int heads, float scale,
    const int* __restrict__ places, unsigned long long key, unsigned long long limit, float share,
    const float* __restrict__ statistics, STORED* __restrict__ dk, STORED* __restrict__ dv, int dkv_stride) {
    __shared__ __align__(16) float query_rows[ROWS * STEP];
    __shared__ __align__(16) float dcontext_rows[ROWS * STEP];
    __shared__ __align__(16) float key_rows[ROWS * STEP];
    __shared__ __align__(16) float value_rows[ROWS * STEP];
    __shared__ __align__(16) float weights[ROWS * WEIGHTS];
    const int first_query = tiles[4 * blockIdx.x], queries = tiles[4 * blockIdx.x + 1];
    const int first_key = tiles[4 * blockIdx.x + 2], keys = tiles[4 * blockIdx.x + 3];

    const int lane = threadIdx.x % 32, row = threadIdx.x / 32 * 16 + lane / 8, column = lane % 8;
    const Dropped drop = dropped(places, key, limit, share, heads);
    q += static_cast<long long>(first_query) * q_stride + blockIdx.y * HEAD;
    dcontext += static_cast<long long>(first_query) * dcontext_stride + blockIdx.y * HEAD;
    statistics += (static_cast<long long>(first_query) * heads + blockIdx.y) * 4;

    for (int top = ROWS * blockIdx.z; top < keys; top += ROWS * gridDim.z) {
        const long long first = first_key + top;
        const int left_over = keys - top;
        bool passes[4];
#pragma unroll
        for (int i = 0; i < 4; ++i) {
            const int at = row + 4 * i;
            passes[i] = at < left_over && (keep == nullptr || keep[first + at]);
        }
        float dk_sum[4][PARTS][4], dv_sum[4][PARTS][4];
        clear(dk_sum);
        clear(dv_sum);
        __syncthreads();  // all have finished with the part before
        load_rows<ROWS, THREADS>(key_rows, k + first * kv_stride + blockIdx.y * HEAD, kv_stride, left_over);
        load_rows<ROWS, THREADS>(value_rows, v + first * kv_stride + blockIdx.y * HEAD, kv_stride, left_over);

        for (int left = 0; left < queries; left += ROWS) {
            __syncthreads();  // all have finished with the tile before
            load_rows<ROWS, THREADS>(query_rows, q + static_cast<long long>(left) * q_stride, q_stride, queries - left);
            load_rows<ROWS, THREADS>(dcontext_rows, dcontext + static_cast<long long>(left) * dcontext_stride,
                                     dcontext_stride, queries - left);
            __syncthreads();

            float scores[4][COLUMNS], dprobs[4][COLUMNS];
            products_of_rows(key_rows + row * STEP, query_rows + column * STEP, scores);
            products_of_rows(value_rows + row * STEP, dcontext_rows + column * STEP, dprobs);
#pragma unroll
            for (int j = 0; j < COLUMNS; ++j) {
                const int number = left + column + 8 * j;
                const float* statistic = statistics + static_cast<long long>(min(number, queries - 1)) * heads * 4;
                const float largest = statistic[0], mean = statistic[2];
                const float divide = number < queries ? statistic[1] : 0.0f;
#pragma unroll
                for (int i = 0; i < 4; ++i) {
                    const int at = top + row + 4 * i;
                    const float p = expf((passes[i] ? scores[i][j] * scale : MASKED) - largest) * divide;
                    const float dp = drop(dprobs[i][j], number, at);
                    weights[(row + 4 * i) * WEIGHTS + column + 8 * j] = drop(p, number, at);
                    scores[i][j] = passes[i] ? p * (dp - mean) * scale : 0.0f;
                }
            }
            __syncwarp();
            float tile[4][PARTS][4];
            clear(tile);
            add_weighted_rows<ROWS>(weights + row * WEIGHTS, WEIGHTS, dcontext_rows, tile);
            add(tile, dv_sum);
            __syncwarp();
#pragma unroll
            for (int i = 0; i < 4; ++i) {
#pragma unroll
                for (int j = 0; j < COLUMNS; ++j) {
                    weights[(row + 4 * i) * WEIGHTS + column + 8 * j] = scores[i][j];
                }
            }
            __syncwarp();
            clear(tile);
            add_weighted_rows<ROWS>(weights + row * WEIGHTS, WEIGHTS, query_rows, tile);
            add(tile, dk_sum);
        }

#pragma unroll
        for (int i = 0; i < 4; ++i) {
            const int at = row + 4 * i;
            if (at >= left_over) continue;
            const long long to = (first + at) * dkv_stride + blockIdx.y * HEAD;
            write_row(dk_sum[i], 1.0f, dk + to);
            write_row(dv_sum[i], 1.0f, dv + to);
        }
    }
}
