// Losses and their gradients on the GPU, a block a row.
//
// A row of logits is as long as the vocabulary, 122 KB, and is walked over three times: for the largest, for the sum of
// the exponentials, for the gradient. It comes from memory the first time and from the cache after that, since the rows
// that are worked on at once fit the second level's. Exponentials are computed twice rather than kept.
//
// They are float32; sums over a row are float64. That is what a GPU has few units for, down to 1 for 64 on cheap ones,
// but an addition or two a number do not show beside reading it three times, and nothing is left to say about 30522
// terms. A thread adds up its share, every AT_WORK-th number; then butterflies add those of the lanes and of the warps:
// one order, whatever the GPU. Each row's loss is written down, and the host adds them.
//
// losses and gradients: dx is added to, scale times the gradient. `losses` (M,) float64.
//
// Compiled for AT_WORK, of a block: as many as a row can use.

#include "device.cuh"

#ifndef AT_WORK
#define AT_WORK 512
#endif
constexpr int WARPS = AT_WORK / 32;

__device__ __forceinline__ float row_max(const float* x, int V, float* scratch) {
    float most = __int_as_float(0xff800000);  // -infinity
#pragma unroll 4
    for (int j = threadIdx.x; j < V; j += AT_WORK) most = fmaxf(most, x[j]);
    return warp_max(of_warps<AT_WORK>(warp_max(most), scratch));
}

// -log softmax(x)[label]: x (M, V), labels (M,), adding to dx (M, V). 0 for a negative label. Grid M.
extern "C" __global__ __launch_bounds__(AT_WORK) void cross_entropy(const float* __restrict__ logits,
                                                                    const long long* __restrict__ labels, float scale,
                                                                    double* __restrict__ losses,
                                                                    float* __restrict__ dlogits, int V) {
    __shared__ double sums[WARPS];
    __shared__ float tops[WARPS];
    const long long label = labels[blockIdx.x];
    if (label < 0) {  // the whole block
        if (threadIdx.x == 0) losses[blockIdx.x] = 0.0;
        return;
    }
    const float* x = logits + static_cast<long long>(blockIdx.x) * V;
    float* dx = dlogits + static_cast<long long>(blockIdx.x) * V;
    const float top = row_max(x, V, tops);
    double share = 0.0;
#pragma unroll 4
    for (int j = threadIdx.x; j < V; j += AT_WORK) share += j == label ? 0.0f : expf(x[j] - top);
    // The label's own is left out of the sum, or 1 - softmax would be lost where softmax is nearly 1.
    const double others = block_sum<AT_WORK>(share, sums), at_label = expf(x[label] - top), total = others + at_label;
    const float factor = static_cast<float>(scale / total);
#pragma unroll 4
    for (int j = threadIdx.x; j < V; j += AT_WORK)
        dx[j] += j == label ? -static_cast<float>(scale * (others / total)) : factor * expf(x[j] - top);
    if (threadIdx.x == 0) losses[blockIdx.x] = log(total) - (static_cast<double>(x[label]) - top);
}

// KL(p_T || p_S) with p = softmax(x / temperature): 2 x (M, V), adding to dstudent (M, V). inverse: 1 / temperature;
// scale: the loss's, divided by the temperature. With p = e / Z it is sum of e_T (t - s) / Z_T + log Z_S - log Z_T.
// Grid M.
extern "C" __global__ __launch_bounds__(AT_WORK) void divergence(const float* __restrict__ student,
                                                                 const float* __restrict__ teacher, float inverse,
                                                                 float scale, double* __restrict__ losses,
                                                                 float* __restrict__ dstudent, int V) {
    __shared__ double sums[WARPS];
    __shared__ float tops[WARPS];
    const long long at = static_cast<long long>(blockIdx.x) * V;
    const float *s = student + at, *t = teacher + at;
    float* ds = dstudent + at;
    const float s_top = row_max(s, V, tops), t_top = row_max(t, V, tops);
    double s_share = 0.0, t_share = 0.0, apart = 0.0;
#pragma unroll 2
    for (int j = threadIdx.x; j < V; j += AT_WORK) {
        const float s_below = (s[j] - s_top) * inverse, t_below = (t[j] - t_top) * inverse, e = expf(t_below);
        s_share += expf(s_below);
        t_share += e;
        apart += static_cast<double>(e) * (t_below - s_below);
    }
    const double z_s = block_sum<AT_WORK>(s_share, sums), z_t = block_sum<AT_WORK>(t_share, sums);
    const double difference = block_sum<AT_WORK>(apart, sums) / z_t;
    const float s_factor = static_cast<float>(scale / z_s), t_factor = static_cast<float>(scale / z_t);
#pragma unroll 2
    for (int j = threadIdx.x; j < V; j += AT_WORK)
        ds[j] += s_factor * expf((s[j] - s_top) * inverse) - t_factor * expf((t[j] - t_top) * inverse);
    if (threadIdx.x == 0) losses[blockIdx.x] = difference + log(z_s) - log(z_t);
}

// The sum of (student - teacher)^2: 2 x (M, V), adding to dstudent (M, V). Grid M.
extern "C" __global__ __launch_bounds__(AT_WORK) void squared_error(const float* __restrict__ student,
                                                                    const float* __restrict__ teacher, float scale,
                                                                    double* __restrict__ losses,
                                                                    float* __restrict__ dstudent, int V) {
    __shared__ double sums[WARPS];
    const long long at = static_cast<long long>(blockIdx.x) * V;
    double share = 0.0;
#pragma unroll 4
    for (int j = threadIdx.x; j < V; j += AT_WORK) {
        const float difference = student[at + j] - teacher[at + j];
        share += static_cast<double>(difference) * difference;
        dstudent[at + j] += 2.0f * scale * difference;
    }
    share = block_sum<AT_WORK>(share, sums);
    if (threadIdx.x == 0) losses[blockIdx.x] = share;
}

// 1 - cos(student, teacher): 2 x (N, D), adding to dstudent (N, D). With u and t the two directions, d = scale
// (u cos - t) / |student|. Grid N.
extern "C" __global__ __launch_bounds__(AT_WORK) void cosine_distance(const float* __restrict__ student,
                                                                      const float* __restrict__ teacher, float scale,
                                                                      double* __restrict__ losses,
                                                                      float* __restrict__ dstudent, int V) {
    __shared__ double sums[WARPS];
    const long long at = static_cast<long long>(blockIdx.x) * V;
    double ss = 0.0, tt = 0.0, st = 0.0;
    for (int j = threadIdx.x; j < V; j += AT_WORK) {
        const double s = student[at + j], t = teacher[at + j];
        ss += s * s;
        tt += t * t;
        st += s * t;
    }
    ss = block_sum<AT_WORK>(ss, sums);
    tt = block_sum<AT_WORK>(tt, sums);
    st = block_sum<AT_WORK>(st, sums);
    const double both = sqrt(ss) * sqrt(tt), along = scale * st / both / ss, away = scale / both;
    for (int j = threadIdx.x; j < V; j += AT_WORK)
        dstudent[at + j] += static_cast<float>(along * student[at + j] - away * teacher[at + j]);
    if (threadIdx.x == 0) losses[blockIdx.x] = 1.0 - st / both;
}
