// The words a masked language model thinks of first: softmax over the vocabulary at its k largest logits, a block a row.
//
// A row of logits is 122 KB for the sake of five numbers. The rows of 256 masked words are 31 MB: fetching them, and
// ranking them on the host, 0.3 ms a row with NumPy, takes longer than a model should. Here they are read where they were just
// written, in the second level's cache. (Ranking inside the projection would not write them at all. That would save
// twice 122 KB a row of that cache, where the projection has read 47 MB of weights.)
//
// It is a tournament. Thread t knows the best of the words t, t + AT_WORK, ..., some 60 of them. The best of all threads'
// is the first word; only the thread that brought it then goes through its words again, for its next. So a place costs
// one comparison across the block and 60 reads of one thread, in a total order: by logit, equal ones by number.
//
// The sum is float64, as those of losses.cu. A logit that is infinite or none makes all probabilities of its row NaN,
// and its words may be none.

#include "device.cuh"

constexpr int AT_WORK = 512, WARPS = AT_WORK / 32;

struct Word {
    float logit;
    int number;
};

__device__ __forceinline__ bool before(Word a, Word b) {
    return a.logit > b.logit || (a.logit == b.logit && a.number < b.number);
}

// The best of this thread's words that come after `last`: x (V,).
__device__ __forceinline__ Word next_after(Word last, const float* x, int V) {
    Word best = {__int_as_float(0xff800000), 0x7fffffff};  // -infinity, and a number that no word has
#pragma unroll 4
    for (int j = threadIdx.x; j < V; j += AT_WORK) {
        const Word word = {x[j], j};
        if (before(last, word) && before(word, best)) best = word;
    }
    return best;
}

__device__ __forceinline__ Word warp_best(Word word) {
#pragma unroll
    for (int lanes = 16; lanes > 0; lanes /= 2) {
        const Word other = {__shfl_xor_sync(ALL_LANES, word.logit, lanes),
                            __shfl_xor_sync(ALL_LANES, word.number, lanes)};
        if (before(other, word)) word = other;
    }
    return word;
}

// Over the block, for all threads. scratch: WARPS words of shared memory.
__device__ __forceinline__ Word block_best(Word word, Word* scratch) {
    return warp_best(of_warps<AT_WORK>(warp_best(word), scratch));
}

// softmax(x) at its k largest, largest first: x (M, V) -> probs, words (M, k). Grid M, AT_WORK threads.
extern "C" __global__ __launch_bounds__(AT_WORK) void most_probable(const float* __restrict__ logits,
                                                                    float* __restrict__ probs,
                                                                    long long* __restrict__ words, int V, int k) {
    __shared__ double sums[WARPS];
    __shared__ Word bests[WARPS];
    const float* x = logits + static_cast<long long>(blockIdx.x) * V;
    Word mine = next_after({__int_as_float(0x7f800000), -1}, x, V);  // after infinity: all
    Word word = block_best(mine, bests);
    const float top = word.logit;
    double share = 0.0;
#pragma unroll 4
    for (int j = threadIdx.x; j < V; j += AT_WORK) share += expf(x[j] - top) + 0.0f * x[j];
    const double total = block_sum<AT_WORK>(share, sums);
    for (int n = 0; n < k; ++n) {
        if (n > 0) word = block_best(mine, bests);
        if (threadIdx.x == 0) {
            const long long at = static_cast<long long>(blockIdx.x) * k + n;
            probs[at] = static_cast<float>(expf(word.logit - top) / total);
            words[at] = word.number;
        }
        if (n + 1 < k && word.number % AT_WORK == threadIdx.x) mine = next_after(word, x, V);
    }
}
