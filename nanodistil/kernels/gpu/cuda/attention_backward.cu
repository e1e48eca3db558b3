// The derivative of attention on the tensor cores, for float16 and bfloat16, without a matrix of scores in memory and
// without atomics.
//
// The plan is that of attention_backward_float32.cu, which says why: one kernel whose blocks own queries, walks over
// the keys twice and leaves dq and three numbers of every row, another whose blocks own keys, walks over the queries
// and leaves dk and dv. The tiles and products are those of attention.cu (attention_tiles.cuh). What must be in shared
// memory for one product as it lies, and for another transposed, is the same tile, for ldmatrix does both:
//
//     queries    S = q k^T      dP = dcontext v^T      dq += dS k            q, dcontext in registers, tiles of k, v
//     keys       S^T = k q^T    dP^T = v dcontext^T    dv += R^T dcontext    k, v in registers, tiles of q, dcontext
//                                                      dk += dS^T q
//
// Rounded to STORED are R and dS, as factors, and the results. dS is rounded before it is multiplied by the scale 1 /
// sqrt(Dh), which comes last: three bits further from where float16 loses small numbers. All else is float32; so is
// delta, from P and dP as they were computed and not from the rounded context.
//
// What was not tried, registers: docs/measurements.md; not timed yet. Grid (tiles, heads), 128 threads; alignment and
// heads as in attention.cu.

#include "attention_tiles.cuh"
#include "dropout.cuh"

constexpr int TILE = HEAD <= 96 ? 32 : 16;   // rows of what a block walks over; what it owns are 64
constexpr int AT_ONCE = HEAD <= 64 ? 3 : 2;  // blocks on a multiprocessor: at most 168 registers a thread, or 255

// dcontext, q (M, .), k, v (N, .) -> dq (M, .) and statistics (M, heads, 4): the largest product q k, 1 / the sum of
// exp, delta, 0. tiles, keep, scale and dropout's arguments: as in attention.cu.
extern "C" __global__ __launch_bounds__(THREADS, AT_ONCE) void attention_backward_queries(
    const STORED* __restrict__ dcontext, int dcontext_stride, const STORED* __restrict__ q,
    const STORED* __restrict__ k, const STORED* __restrict__ v, int q_stride, int kv_stride,
    const int* __restrict__ tiles, const unsigned char* __restrict__ keep, int heads, float scale,
    const int* __restrict__ places, unsigned long long key, unsigned long long limit, float share,
    float* __restrict__ statistics, STORED* __restrict__ dq, int dq_stride) {
    __shared__ __align__(16) STORED key_tiles[2][TILE * STEP];
    __shared__ __align__(16) STORED value_tiles[2][TILE * STEP];
    const int first_query = tiles[4 * blockIdx.x], queries = tiles[4 * blockIdx.x + 1];
    const int first_key = tiles[4 * blockIdx.x + 2], keys = tiles[4 * blockIdx.x + 3];
    if (queries == 0) return;

    const int lane = threadIdx.x % 32, row = lane / 4, column = lane % 4 * 2;  // of an accumulator
    const int top = threadIdx.x / 32 * 16;                                     // the warp's first query
    const bool working = top < queries;
    k += static_cast<long long>(first_key) * kv_stride + blockIdx.y * HEAD;
    v += static_cast<long long>(first_key) * kv_stride + blockIdx.y * HEAD;
    begin_copy<TILE>(key_tiles[0], k, kv_stride, keys);
    begin_copy<TILE>(value_tiles[0], v, kv_stride, keys);
    copy_async_commit();

    unsigned query[1][HEAD / 16][4], gradient[1][HEAD / 16][4];
    load_left(query, q + static_cast<long long>(first_query) * q_stride + blockIdx.y * HEAD, q_stride, top, queries);
    load_left(gradient, dcontext + static_cast<long long>(first_query) * dcontext_stride + blockIdx.y * HEAD,
              dcontext_stride, top, queries);
#ifdef DROPOUT
    const unsigned long long head_key = key_of_head(key, places[4 * blockIdx.x] * heads + blockIdx.y);
    const int number_of_first = places[4 * blockIdx.x + 1] + top + row;
    const float grown = 1.0f / share;  // what stays
#endif

    float largest[2] = {BEYOND, BEYOND}, total[2] = {0.0f, 0.0f}, mean[2] = {0.0f, 0.0f};
    float dq_sum[1][HEAD / 8][4];
    clear(dq_sum);
    const int count = (keys + TILE - 1) / TILE;

    for (int step = 0; step < 2 * count; ++step) {  // `count` tiles, and the same again
        const bool again = step >= count;
        const int left = (again ? step - count : step) * TILE;
        copy_async_wait<0>();
        __syncthreads();
        if (step + 1 < 2 * count) {
            const int next = (step + 1 < count ? step + 1 : step + 1 - count) * TILE;
            const long long ahead = static_cast<long long>(next) * kv_stride;
            begin_copy<TILE>(key_tiles[(step + 1) % 2], k + ahead, kv_stride, keys - next);
            begin_copy<TILE>(value_tiles[(step + 1) % 2], v + ahead, kv_stride, keys - next);
            copy_async_commit();
        }
        if (!working) continue;

        const float c = scale * LOG2_E;
        float scores[1][TILE / 8][4], dprobs[1][TILE / 8][4];
        products_of_rows(query, key_tiles[step % 2], scores);
        products_of_rows(gradient, value_tiles[step % 2], dprobs);
        if (keep != nullptr || left + TILE > keys) {
#pragma unroll
            for (int n = 0; n < TILE / 8; ++n) {
#pragma unroll
                for (int i = 0; i < 2; ++i) {
                    const int number = left + 8 * n + column + i;
                    if (number < keys && (keep == nullptr || keep[first_key + number])) continue;
                    scores[0][n][i] = scores[0][n][i + 2] = number < keys ? MASKED : BEYOND;
                }
            }
        }
#ifdef DROPOUT
#pragma unroll
        for (int n = 0; n < TILE / 8; ++n) {
#pragma unroll
            for (int i = 0; i < 4; ++i) {
                const long long asker = number_of_first + i / 2 * 8;
                const long long number = asker * keys + left + 8 * n + column + i % 2;
                dprobs[0][n][i] = is_kept(head_key, number, limit) ? dprobs[0][n][i] * grown : 0.0f;
            }
        }
#endif

        if (!again) {
#pragma unroll
            for (int half = 0; half < 2; ++half) {
                float most = largest[half];
#pragma unroll
                for (int n = 0; n < TILE / 8; ++n) {
                    most = fmaxf(most, fmaxf(scores[0][n][2 * half], scores[0][n][2 * half + 1]));
                }
                most = largest_of_row(most);
                const float shrink = fast_exp2(c * (largest[half] - most)), shift = -c * most;
                float sum = 0.0f, weighted = 0.0f;
#pragma unroll
                for (int n = 0; n < TILE / 8; ++n) {
#pragma unroll
                    for (int i = 2 * half; i < 2 * half + 2; ++i) {
                        const float p = fast_exp2(fmaf(c, scores[0][n][i], shift));
                        sum += p;
                        weighted = fmaf(p, dprobs[0][n][i], weighted);
                    }
                }
                largest[half] = most;
                total[half] = total[half] * shrink + sum;
                mean[half] = mean[half] * shrink + weighted;
                if (step + 1 == count) {
                    total[half] = 1.0f / sum_of_row(total[half]);
                    mean[half] = sum_of_row(mean[half]) * total[half];
                }
            }
        } else {
#pragma unroll
            for (int n = 0; n < TILE / 8; ++n) {
#pragma unroll
                for (int i = 0; i < 4; ++i) {
                    const int half = i / 2;
                    const float p = fast_exp2(fmaf(c, scores[0][n][i], -c * largest[half])) * total[half];
                    // A masked score was replaced by a constant: nothing passes it, even where P is not 0.
                    scores[0][n][i] = scores[0][n][i] == MASKED ? 0.0f : p * (dprobs[0][n][i] - mean[half]);
                }
            }
            add_weighted_rows(scores, key_tiles[step % 2], dq_sum);
        }
    }

    if (!working) return;  // a warp goes as one
#pragma unroll
    for (int half = 0; half < 2; ++half) {
        const int at = top + 8 * half + row;
        if (at >= queries) continue;
        const long long to = first_query + at;
        write_row(dq_sum[0], half, scale, dq + to * dq_stride + blockIdx.y * HEAD);
        if (column == 0) {
            float4* statistic = reinterpret_cast<float4*>(statistics) + to * heads + blockIdx.y;
            *statistic = make_float4(largest[half], total[half], mean[half], 0.0f);
        }
    }
}

// The same and statistics -> dk, dv (N, .). A row of tiles is now: first query row and queries of the whole sentence,
// first key row and keys of the tile (0: nothing to do); without queries dk and dv are 0 there. places: as before, of
// these tiles.
extern "C" __global__ __launch_bounds__(THREADS, 2) void attention_backward_keys(
    const STORED* __restrict__ dcontext, int dcontext_stride, const STORED* __restrict__ q,
    const STORED* __restrict__ k, const STORED* __restrict__ v, int q_stride, int kv_stride,
    const int* __restrict__ tiles, const unsigned char* __restrict__ keep, int heads, float scale,
    const int* __restrict__ places, unsigned long long key, unsigned long long limit, float share,
    const float* __restrict__ statistics, STORED* __restrict__ dk, STORED* __restrict__ dv, int dkv_stride) {
    __shared__ __align__(16) STORED query_tiles[2][TILE * STEP];
    __shared__ __align__(16) STORED dcontext_tiles[2][TILE * STEP];
    __shared__ __align__(16) float statistic_tiles[2][TILE * 4];
    const int first_query = tiles[4 * blockIdx.x], queries = tiles[4 * blockIdx.x + 1];
    const int first_key = tiles[4 * blockIdx.x + 2], keys = tiles[4 * blockIdx.x + 3];
    if (keys == 0) return;

    const int lane = threadIdx.x % 32, row = lane / 4, column = lane % 4 * 2;  // of an accumulator
    const int top = threadIdx.x / 32 * 16;                                     // the warp's first key
    const bool working = top < keys;
    q += static_cast<long long>(first_query) * q_stride + blockIdx.y * HEAD;
    dcontext += static_cast<long long>(first_query) * dcontext_stride + blockIdx.y * HEAD;
    statistics += (static_cast<long long>(first_query) * heads + blockIdx.y) * 4;

    // Begins to copy the tile of queries `left`, left + 1, ... into buffer number `buffer`; zeros where there are none,
    // of statistics too, and with them P is 0.
    const auto begin = [&](int buffer, int left) {
        begin_copy<TILE>(query_tiles[buffer], q + static_cast<long long>(left) * q_stride, q_stride, queries - left);
        begin_copy<TILE>(dcontext_tiles[buffer], dcontext + static_cast<long long>(left) * dcontext_stride,
                         dcontext_stride, queries - left);
        const int at = left + threadIdx.x;
        if (threadIdx.x < TILE) {
            const float* statistic = statistics + static_cast<long long>(at) * heads * 4;
            copy_async_16(statistic_tiles[buffer] + 4 * threadIdx.x, statistic, at < queries);
        }
        copy_async_commit();
    };
    if (queries > 0) begin(0, 0);  // else nobody would wait for it

    unsigned keys_left[1][HEAD / 16][4], values_left[1][HEAD / 16][4];
    load_left(keys_left, k + static_cast<long long>(first_key) * kv_stride + blockIdx.y * HEAD, kv_stride, top, keys);
    load_left(values_left, v + static_cast<long long>(first_key) * kv_stride + blockIdx.y * HEAD, kv_stride, top, keys);
    bool passes[2];  // where the score is a product, and not a constant in its place
#pragma unroll
    for (int half = 0; half < 2; ++half) {
        const int at = top + 8 * half + row;
        passes[half] = at < keys && (keep == nullptr || keep[first_key + at]);
    }
#ifdef DROPOUT
    const int* place = places + 4 * blockIdx.x;
    const unsigned long long head_key = key_of_head(key, place[0] * heads + blockIdx.y);
    const int number_of_first = place[2] + top + row, keys_of_sentence = place[3];
    const float grown = 1.0f / share;  // what stays
#endif
    float dk_sum[1][HEAD / 8][4], dv_sum[1][HEAD / 8][4];
    clear(dk_sum);
    clear(dv_sum);

    for (int left = 0; left < queries; left += TILE) {
        const int buffer = left / TILE % 2;
        copy_async_wait<0>();
        __syncthreads();
        if (left + TILE < queries) begin(1 - buffer, left + TILE);
        if (!working) continue;

        const float c = scale * LOG2_E;
        float scores[1][TILE / 8][4], dprobs[1][TILE / 8][4];
        products_of_rows(keys_left, query_tiles[buffer], scores);
        products_of_rows(values_left, dcontext_tiles[buffer], dprobs);
#pragma unroll
        for (int n = 0; n < TILE / 8; ++n) {
#pragma unroll
            for (int i = 0; i < 2; ++i) {
                const float4 statistic =
                    *reinterpret_cast<const float4*>(statistic_tiles[buffer] + 4 * (8 * n + column + i));
#pragma unroll
                for (int half = 0; half < 2; ++half) {
                    float& score = scores[0][n][i + 2 * half];
                    float& dprob = dprobs[0][n][i + 2 * half];
                    const float product = passes[half] ? score : MASKED;
                    const float p = fast_exp2(fmaf(c, product, -c * statistic.x)) * statistic.y;
                    float r = p, dp = dprob;
#ifdef DROPOUT
                    const long long asker = left + 8 * n + column + i;
                    const bool stays = is_kept(head_key, asker * keys_of_sentence + number_of_first + 8 * half, limit);
                    r = stays ? p * grown : 0.0f;
                    dp = stays ? dp * grown : 0.0f;
#endif
                    score = r;
                    dprob = passes[half] ? p * (dp - statistic.z) : 0.0f;
                }
            }
        }
        add_weighted_rows(scores, dcontext_tiles[buffer], dv_sum);
        add_weighted_rows(dprobs, query_tiles[buffer], dk_sum);
    }

    if (!working) return;  // a warp goes as one
#pragma unroll
    for (int half = 0; half < 2; ++half) {
        const int at = top + 8 * half + row;
        if (at >= keys) continue;
        const long long to = static_cast<long long>(first_key + at) * dkv_stride + blockIdx.y * HEAD;
        write_row(dk_sum[0], half, scale, dk + to);
        write_row(dv_sum[0], half, 1.0f, dv + to);
    }
}
