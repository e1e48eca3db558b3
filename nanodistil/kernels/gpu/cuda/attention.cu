// Attention over packed sentences on the tensor cores: softmax(q k^T / sqrt(Dh)) v for float16 and bfloat16.
//
// A block takes QUERIES queries of one head of one sentence and walks over its keys, KEYS at a time (Dao et al. 2022);
// scores and probabilities of such a tile exist in registers only. For the softmax of a row whose end one has not seen
// (Milakov and Gimelshein 2018) keep the largest score m so far, the sum l of exp(s - m) and the sum of exp(s - m) v; a
// tile with a larger score m' first multiplies both sums by exp(m - m'). In the end context = sum / l. Rounded are only
// the probabilities, which the tensor cores want as they want q, k and v, and the result. exp is 2^x after one fused
// multiply-add that also scales: exp(scale (s - m)) = 2^(c s - c m), c = scale log2(e).
//
// A warp has 16 queries (a strip; or two strips, with 128 queries a block), alone: whatever is asked of a whole row of
// scores stays inside four neighbouring lanes. Keys and values come by cp.async, a tile ahead, into the other of two
// buffers: one barrier a tile says both "the tile is here" and "all have finished with the buffer that is filled next".
// Rows beyond the sentence are zeros, for P is 0 there, and 0 times anything but a number is not 0.
//
// A masked key scores MASKED, -2^126, a key beyond the sentence less: being a power of two it leaves c s - c m at
// exactly 0 if all keys are masked. That is uniform attention, where numpy_ops' -FLT_MAX could give 2^(1e30).
//
// Limits, the ladder, registers: docs/measurements.md; nothing of it is timed yet. Grid (tiles, heads), 128 threads.
// What the host promises: HEAD is a multiple of 16 up to 128, strides multiples of 8, pointers of 16 bytes.

#ifndef QUERIES
#define QUERIES 64
#endif

#include "attention_tiles.cuh"
#include "dropout.cuh"
#include "reach.cuh"

constexpr int STRIPS = QUERIES / (16 * WARPS);  // of 16 queries, a warp
#ifdef DROPOUT
constexpr bool DROPPED = true;  // the generator wants registers of its own
#else
constexpr bool DROPPED = false;
#endif
constexpr bool SMALL = HEAD <= 64 && STRIPS == 1;
constexpr int KEYS = SMALL && !DROPPED ? 64 : 32;  // a tile
constexpr int AT_ONCE = SMALL ? 4 : 2;             // blocks on a multiprocessor: at most 128 registers a thread, or 255
static_assert(STRIPS == 1 || (STRIPS == 2 && HEAD <= 64), "64 queries a block, or 128 of short heads");

// q (M, .), k, v (N, .) -> out (M, .), rows q_stride, kv_stride and out_stride apart, head h at columns h HEAD ...
// tiles (tiles, 4): first query row, queries (up to QUERIES; 0: nothing to do), first key row, keys (1 or more). keep
// (N,): 0 at masked keys, or null where there are none. scale: 1 / sqrt(HEAD). With -DDROPOUT the probabilities are
// dropped out; places (tiles, 4): number of the sentence in the batch, and in it that of the tile's first query and
// that of its first key, 0; its number of keys; key, limit: dropout.cuh; share: 1 - rate. Without, these are not
// looked at. With -DCAUSAL query m sees the first reach[m] keys of its sentence, reach (M,); without, reach is not
// looked at.
extern "C" __global__ __launch_bounds__(THREADS, AT_ONCE) void attention(
    const STORED* __restrict__ q, const STORED* __restrict__ k, const STORED* __restrict__ v, int q_stride,
    int kv_stride, const int* __restrict__ tiles, const unsigned char* __restrict__ keep, int heads,
    float scale, const int* __restrict__ places, unsigned long long key, unsigned long long limit, float share,
    STORED* __restrict__ out, int out_stride, const long long* __restrict__ reach) {
    __shared__ __align__(16) STORED key_tiles[2][KEYS * STEP];
    __shared__ __align__(16) STORED value_tiles[2][KEYS * STEP];
    const int first_query = tiles[4 * blockIdx.x], queries = tiles[4 * blockIdx.x + 1];
    const int first_key = tiles[4 * blockIdx.x + 2], keys = tiles[4 * blockIdx.x + 3];
    if (queries == 0) return;
    const int seen = seen_by_any(reach, first_query, queries, keys);

    const int lane = threadIdx.x % 32, row = lane / 4, column = lane % 4 * 2;  // of an accumulator
    const int top = threadIdx.x / 32 * (16 * STRIPS);                          // the warp's first query
    const bool working = top < queries;
    q += static_cast<long long>(first_query) * q_stride + blockIdx.y * HEAD;
    k += static_cast<long long>(first_key) * kv_stride + blockIdx.y * HEAD;
    v += static_cast<long long>(first_key) * kv_stride + blockIdx.y * HEAD;

    begin_copy<KEYS>(key_tiles[0], k, kv_stride, keys);
    begin_copy<KEYS>(value_tiles[0], v, kv_stride, keys);
    copy_async_commit();

    unsigned query[STRIPS][HEAD / 16][4];
    load_left(query, q, q_stride, top, queries);
#ifdef DROPOUT
    const unsigned long long head_key = key_of_head(key, places[4 * blockIdx.x] * heads + blockIdx.y);
    const int number_of_first = places[4 * blockIdx.x + 1] + top + row;
#endif

    float largest[STRIPS][2], total[STRIPS][2];  // of the rows `row` and row + 8; the total: of this lane's columns
    float context[STRIPS][HEAD / 8][4];
#pragma unroll
    for (int s = 0; s < STRIPS; ++s) {
        largest[s][0] = largest[s][1] = BEYOND;
        total[s][0] = total[s][1] = 0.0f;
    }
    clear(context);
#ifdef CAUSAL
    int reaches[STRIPS][2];  // of the same rows
#pragma unroll
    for (int s = 0; s < STRIPS; ++s) {
#pragma unroll
        for (int half = 0; half < 2; ++half) {
            reaches[s][half] = static_cast<int>(reach[first_query + min(top + 16 * s + 8 * half + row, queries - 1)]);
        }
    }
#endif

    for (int left = 0; left < seen; left += KEYS) {
        const int buffer = left / KEYS % 2;
        copy_async_wait<0>();
        __syncthreads();
        if (left + KEYS < seen) {
            const long long ahead = static_cast<long long>(left + KEYS) * kv_stride;
            begin_copy<KEYS>(key_tiles[1 - buffer], k + ahead, kv_stride, keys - left - KEYS);
            begin_copy<KEYS>(value_tiles[1 - buffer], v + ahead, kv_stride, keys - left - KEYS);
            copy_async_commit();
        }
        if (!working) continue;

        const float c = scale * LOG2_E;  // here and not before the loop: it spares a register that would be spilled
        float scores[STRIPS][KEYS / 8][4];
        products_of_rows(query, key_tiles[buffer], scores);
        if (keep != nullptr || left + KEYS > keys) {
#pragma unroll
            for (int n = 0; n < KEYS / 8; ++n) {
#pragma unroll
                for (int i = 0; i < 2; ++i) {
                    const int number = left + 8 * n + column + i;
                    if (number < keys && (keep == nullptr || keep[first_key + number])) continue;
#pragma unroll
                    for (int s = 0; s < STRIPS; ++s) {
                        scores[s][n][i] = scores[s][n][i + 2] = number < keys ? MASKED : BEYOND;
                    }
                }
            }
        }
#ifdef CAUSAL
#pragma unroll
        for (int n = 0; n < KEYS / 8; ++n) {
#pragma unroll
            for (int i = 0; i < 4; ++i) {
                const int number = left + 8 * n + column + i % 2;
#pragma unroll
                for (int s = 0; s < STRIPS; ++s) {
                    if (number >= reaches[s][i / 2]) scores[s][n][i] = BEYOND;
                }
            }
        }
#endif

#pragma unroll
        for (int s = 0; s < STRIPS; ++s) {
#pragma unroll
            for (int half = 0; half < 2; ++half) {
                float most = largest[s][half];
#pragma unroll
                for (int n = 0; n < KEYS / 8; ++n) {
                    most = fmaxf(most, fmaxf(scores[s][n][2 * half], scores[s][n][2 * half + 1]));
                }
                most = largest_of_row(most);
                const float shrink = fast_exp2(c * (largest[s][half] - most)), shift = -c * most;
                largest[s][half] = most;
                float sum = 0.0f;
#pragma unroll
                for (int n = 0; n < KEYS / 8; ++n) {
#pragma unroll
                    for (int i = 2 * half; i < 2 * half + 2; ++i) {
                        const float p = fast_exp2(fmaf(c, scores[s][n][i], shift));
                        sum += p;
                        scores[s][n][i] = p;
                    }
                }
                total[s][half] = total[s][half] * shrink + sum;
#pragma unroll
                for (int d = 0; d < HEAD / 8; ++d) {
                    context[s][d][2 * half] *= shrink;
                    context[s][d][2 * half + 1] *= shrink;
                }
            }
        }
#ifdef DROPOUT
#pragma unroll
        for (int s = 0; s < STRIPS; ++s) {
#pragma unroll
            for (int n = 0; n < KEYS / 8; ++n) {
#pragma unroll
                for (int i = 0; i < 4; ++i) {
                    const long long asker = number_of_first + 16 * s + i / 2 * 8;
                    const long long number = asker * keys + left + 8 * n + column + i % 2;
                    if (!is_kept(head_key, number, limit)) scores[s][n][i] = 0.0f;
                }
            }
        }
#endif

        add_weighted_rows(scores, value_tiles[buffer], context);
    }

    if (!working) return;  // a warp goes as one
#pragma unroll
    for (int s = 0; s < STRIPS; ++s) {
#pragma unroll
        for (int half = 0; half < 2; ++half) {
            float divide = 1.0f / sum_of_row(total[s][half]);
#ifdef DROPOUT
            divide /= share;
#endif
            const int at = top + 16 * s + 8 * half + row;
            if (at >= queries) continue;
            const long long to = static_cast<long long>(first_query + at) * out_stride + blockIdx.y * HEAD;
            write_row(context[s], half, divide, out + to);
        }
    }
}
