// Attention over packed sentences in float32: softmax(q k^T / sqrt(Dh)) v with ordinary multiplications.
//
// For dtype float32, where the tensor cores are no help (they round float32 factors to 10 or 11 bits), and for
// whatever attention.cu cannot take: heads of any size up to 128, strides of any alignment. With -DSTORED=float16 or
// bfloat16 q, k, v and the result are those, the arithmetic stays.
//
// The walk is that of attention.cu, see there: a block has up to 64 queries of one head of one sentence and goes over
// the keys, KEYS at a time, with the largest score, the sum and the weighted sum of values so far. What differs is
// that products are register tiles fed from shared memory (attention_rows.cuh), so the probabilities of a tile go
// through shared memory from one product to the other; and that accuracy is the point:
//
// - exp is expf, to 2 units in the last place, of a difference, not 2^x of a fused product.
// - what a tile adds to the context is summed apart and then joined, context = shrink context + tile: sums of KEYS and
// of T / KEYS numbers instead of one of T, for the price of a few registers, as `linear` of numpy_ops has it.
//
// The multipliers are the limit; the loads of a tile are hidden by other blocks on the multiprocessor, so there is no
// second buffer, which would cost half of them their place. Figures: docs/measurements.md.
//
// Grid (tiles, heads), 128 threads; arguments as in attention.cu.

#include "device.cuh"
#include "dropout.cuh"
#include "reach.cuh"
#include "attention_rows.cuh"

constexpr int QUERIES = 64, THREADS = 128;
constexpr int KEYS = HEAD <= 64 ? 32 : 8;  // a tile
constexpr int WEIGHTS = KEYS + 8;          // from one row of probabilities to the next: 4 rows of 8 lie in all banks

#ifdef DROPOUT
constexpr int AT_ONCE = HEAD <= 64 ? 3 : 2;  // blocks on a multiprocessor: at most 168 registers, or 255
#else
constexpr int AT_ONCE = HEAD <= 64 ? 4 : 2;  // at most 128, or 255
#endif

extern "C" __global__ __launch_bounds__(THREADS, AT_ONCE) void attention(
    const STORED* __restrict__ q, const STORED* __restrict__ k, const STORED* __restrict__ v, int q_stride,
    int kv_stride, const int* __restrict__ tiles, const unsigned char* __restrict__ keep, int heads,
    float scale, const int* __restrict__ places, unsigned long long key, unsigned long long limit, float share,
    STORED* __restrict__ out, int out_stride, const long long* __restrict__ reach) {
    __shared__ __align__(16) float query_rows[QUERIES * STEP];
    __shared__ __align__(16) float key_rows[KEYS * STEP];
    __shared__ __align__(16) float value_rows[KEYS * STEP];
    __shared__ __align__(16) float probs[QUERIES * WEIGHTS];
    const int first_query = tiles[4 * blockIdx.x], queries = tiles[4 * blockIdx.x + 1];
    const int first_key = tiles[4 * blockIdx.x + 2], keys = tiles[4 * blockIdx.x + 3];
    if (queries == 0) return;
    const int seen = seen_by_any(reach, first_query, queries, keys);

    const int lane = threadIdx.x % 32, top = threadIdx.x / 32 * 16;  // the warp's first query
    const int row = top + lane / 8, column = lane % 8;               // the lane's first row and first key of a tile
    q += static_cast<long long>(first_query) * q_stride + blockIdx.y * HEAD;
    k += static_cast<long long>(first_key) * kv_stride + blockIdx.y * HEAD;
    v += static_cast<long long>(first_key) * kv_stride + blockIdx.y * HEAD;
    out += static_cast<long long>(first_query) * out_stride + blockIdx.y * HEAD;
#ifdef DROPOUT
    const unsigned long long head_key = key_of_head(key, places[4 * blockIdx.x] * heads + blockIdx.y);
    const int number_of_first = places[4 * blockIdx.x + 1];
#endif

    load_rows<QUERIES, THREADS>(query_rows, q, q_stride, queries);
    float largest[4], total[4], context[4][PARTS][4];  // the total: of this lane's keys
#pragma unroll
    for (int i = 0; i < 4; ++i) largest[i] = MASKED, total[i] = 0.0f;
    clear(context);
    int reaches[4];  // of this lane's rows
#pragma unroll
    for (int i = 0; i < 4; ++i) {
#ifdef CAUSAL
        reaches[i] = static_cast<int>(reach[first_query + min(row + 4 * i, queries - 1)]);
#else
        reaches[i] = keys;
#endif
    }

    for (int left = 0; left < seen; left += KEYS) {
        __syncthreads();  // all have finished with the tile before
        load_rows<KEYS, THREADS>(key_rows, k + static_cast<long long>(left) * kv_stride, kv_stride, keys - left);
        load_rows<KEYS, THREADS>(value_rows, v + static_cast<long long>(left) * kv_stride, kv_stride, keys - left);
        __syncthreads();
        if (top >= queries) continue;

        float scores[4][KEYS / 8];
        products_of_rows(query_rows + row * STEP, key_rows + column * STEP, scores);
        float shrink[4];
#pragma unroll
        for (int i = 0; i < 4; ++i) {
            float most = largest[i];
#pragma unroll
            for (int j = 0; j < KEYS / 8; ++j) {
                const int number = left + column + 8 * j;
                float score = scores[i][j] * scale;
                if (keep != nullptr && number < keys && keep[first_key + number] == 0) score = MASKED;
                scores[i][j] = number < reaches[i] ? score : beyond();
                most = fmaxf(most, scores[i][j]);
            }
            most = largest_of_row(most);
            shrink[i] = expf(largest[i] - most);
            largest[i] = most;
            float sum = 0.0f;
#pragma unroll
            for (int j = 0; j < KEYS / 8; ++j) {
                float p = expf(scores[i][j] - most);
                sum += p;
#ifdef DROPOUT
                const long long asker = number_of_first + row + 4 * i;
                if (!is_kept(head_key, asker * keys + left + column + 8 * j, limit)) p = 0.0f;
#endif
                probs[(row + 4 * i) * WEIGHTS + column + 8 * j] = p;
            }
            total[i] = total[i] * shrink[i] + sum;
        }
        __syncwarp();

        float tile[4][PARTS][4];
        clear(tile);
        add_weighted_rows<KEYS>(probs + row * WEIGHTS, WEIGHTS, value_rows, tile);
#pragma unroll
        for (int i = 0; i < 4; ++i) {
#pragma unroll
            for (int part = 0; part < PARTS; ++part) {
#pragma unroll
                for (int d = 0; d < 4; ++d) {
                    context[i][part][d] = fmaf(context[i][part][d], shrink[i], tile[i][part][d]);
                }
            }
        }
    }

    if (top >= queries) return;  // a warp goes as one
#pragma unroll
    for (int i = 0; i < 4; ++i) {
        float divide = 1.0f / sum_of_row(total[i]);
#ifdef DROPOUT
        divide /= share;
#endif
        const int at = row + 4 * i;
        if (at < queries) write_row(context[i], divide, out + static_cast<long long>(at) * out_stride);
    }
}
