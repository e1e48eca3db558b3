// Rows in shared memory, and the two products that attention is made of, in plain float32.
//
// Attention and its derivative ask for two kinds of products of matrices of rows HEAD numbers long:
//
//     (16, n) = A B^T         every row of A with every row of B: scores.            products_of_rows
//     (16, HEAD) += W B       rows of B, added up with weights: context, dq, dk, dv. add_weighted_rows
//
// Nothing else, transposed or not: dk = dS^T q is the second kind, once dS^T is what one computes
// (attention_backward.cu).
//
// A warp has 16 rows of A, a lane a register tile: lane l the rows l / 8 + 4 i, i < 4, of A, and of B the rows l % 8 +
// 8 j, or, in the second kind, the columns 4 (l % 8) .. + 3 and those every 32 further. It reads 16 bytes at a time:
// for 4 x 4 results 8 reads and 64 multiplications. The 8 rows a warp reads at once must lie in different banks, hence
// the length of a row, an odd multiple of 16 bytes; the reads of A are 4 rows for 32 lanes, the others get them along.
//
// A row of weights or scores belongs to one warp, 8 neighbouring lanes of it: sums over a row take three shuffles, and
// weights on their way from one product to the other, through shared memory, no barrier of the block.

#ifndef HEAD
#define HEAD 64
#endif

constexpr int WIDE = (HEAD + 3) / 4 * 4;              // of a row: whole 16 bytes, the last filled up with zeros
constexpr int STEP = WIDE / 4 % 2 ? WIDE : WIDE + 4;  // from one row to the next
constexpr int PARTS = (WIDE + 31) / 32;               // of 32 columns
constexpr float MASKED = -3.4028234663852886e38f;     // what a masked key scores: the least there is, see numpy_ops
static_assert(HEAD <= 128, "48 KB of shared memory hold heads of up to 128");

// What a key beyond the sentence scores: -inf, exp of which is 0 even where all others are masked.
__device__ __forceinline__ float beyond() { return __uint_as_float(0xff800000u); }

// COUNT rows, `stride` apart, of which `rows` exist -> shared memory; the others are zeros. Reached by all THREADS.
template <int COUNT, int THREADS>
__device__ __forceinline__ void load_rows(float* tile, const STORED* from, int stride, int rows) {
#pragma unroll 8
    for (int i = threadIdx.x; i < COUNT * WIDE; i += THREADS) {
        const int row = i / WIDE, column = i % WIDE;
        const bool there = row < rows && column < HEAD;
        tile[row * STEP + column] = there ? widened(from[static_cast<long long>(row) * stride + column]) : 0.0f;
    }
}

// out[i][j] = row 4 i of left times row 8 j of right. left, right: this lane's first row.
template <int N>
__device__ __forceinline__ void products_of_rows(const float* left, const float* right, float (&out)[4][N]) {
#pragma unroll
    for (int i = 0; i < 4; ++i) {
#pragma unroll
        for (int j = 0; j < N; ++j) out[i][j] = 0.0f;
    }
#pragma unroll 4
    for (int d = 0; d < WIDE; d += 4) {
        float4 a[4], b[N];
#pragma unroll
        for (int i = 0; i < 4; ++i) a[i] = *reinterpret_cast<const float4*>(left + 4 * i * STEP + d);
#pragma unroll
        for (int j = 0; j < N; ++j) b[j] = *reinterpret_cast<const float4*>(right + 8 * j * STEP + d);
#pragma unroll
        for (int i = 0; i < 4; ++i) {
#pragma unroll
            for (int j = 0; j < N; ++j) {
                out[i][j] = fmaf(a[i].x, b[j].x, out[i][j]);
                out[i][j] = fmaf(a[i].y, b[j].y, out[i][j]);
                out[i][j] = fmaf(a[i].z, b[j].z, out[i][j]);
                out[i][j] = fmaf(a[i].w, b[j].w, out[i][j]);
            }
        }
    }
}

// out[i] += the sum over COUNT rows of weight times row, columns lane % 8 * 4 + 32 part. weights: this lane's first
// row of them, weights_step apart; rows: the first row.
template <int COUNT>
__device__ __forceinline__ void add_weighted_rows(const float* weights, int weights_step, const float* rows,
                                                  float (&out)[4][PARTS][4]) {
    const int column = threadIdx.x % 8 * 4;
#pragma unroll 2
    for (int n = 0; n < COUNT; n += 4) {
        float w[4][4];
#pragma unroll
        for (int i = 0; i < 4; ++i) {
            const float4 four = *reinterpret_cast<const float4*>(weights + 4 * i * weights_step + n);
            w[i][0] = four.x, w[i][1] = four.y, w[i][2] = four.z, w[i][3] = four.w;
        }
#pragma unroll
        for (int m = 0; m < 4; ++m) {
#pragma unroll
            for (int part = 0; part < PARTS; ++part) {
                if (WIDE % 32 != 0 && column + 32 * part >= WIDE) continue;
                const float4 b = *reinterpret_cast<const float4*>(rows + (n + m) * STEP + column + 32 * part);
#pragma unroll
                for (int i = 0; i < 4; ++i) {
                    out[i][part][0] = fmaf(w[i][m], b.x, out[i][part][0]);
                    out[i][part][1] = fmaf(w[i][m], b.y, out[i][part][1]);
                    out[i][part][2] = fmaf(w[i][m], b.z, out[i][part][2]);
                    out[i][part][3] = fmaf(w[i][m], b.w, out[i][part][3]);
                }
            }
        }
    }
}

__device__ __forceinline__ void clear(float (&out)[4][PARTS][4]) {
#pragma unroll
    for (int i = 0; i < 4; ++i) {
#pragma unroll
        for (int part = 0; part < PARTS; ++part) {
            out[i][part][0] = out[i][part][1] = out[i][part][2] = out[i][part][3] = 0.0f;
        }
    }
}

// A lane's piece of one row, times `factor`, to its place in memory. to: the row's first number.
template <typename T>
__device__ __forceinline__ void write_row(const float (&row)[PARTS][4], float factor, T* to) {
#pragma unroll
    for (int part = 0; part < PARTS; ++part) {
#pragma unroll
        for (int i = 0; i < 4; ++i) {
            const int column = threadIdx.x % 8 * 4 + 32 * part + i;
            if (column < HEAD) to[column] = rounded<T>(row[part][i] * factor);
        }
    }
}

// The largest, and the sum, over the eight lanes that share a row.
__device__ __forceinline__ float largest_of_row(float x) {
    x = fmaxf(x, __shfl_xor_sync(ALL_LANES, x, 1));
    x = fmaxf(x, __shfl_xor_sync(ALL_LANES, x, 2));
    return fmaxf(x, __shfl_xor_sync(ALL_LANES, x, 4));
}

__device__ __forceinline__ float sum_of_row(float x) {
    x += __shfl_xor_sync(ALL_LANES, x, 1);
    x += __shfl_xor_sync(ALL_LANES, x, 2);
    return x + __shfl_xor_sync(ALL_LANES, x, 4);
}
