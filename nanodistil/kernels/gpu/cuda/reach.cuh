// Causal attention: a query sees the first `reach` keys of its sentence, 1 or more, and the others are not there.
//
// So a block need not walk further than its furthest query sees; and every row begins with a key that it sees, before
// the first that it does not, which keeps the least score there is from ever being a row's largest.

#ifdef CAUSAL

// The largest reach of a block's queries: reach (queries,). Warp; all warps of a block find the same.
__device__ __forceinline__ int furthest(const long long* reach, int queries) {
    int most = 0;
    for (int i = threadIdx.x % 32; i < queries; i += 32) most = max(most, static_cast<int>(reach[i]));
#pragma unroll
    for (int lanes = 16; lanes > 0; lanes /= 2) most = max(most, __shfl_xor_sync(ALL_LANES, most, lanes));
    return most;
}

#endif

// How many of a block's keys any of its queries sees. Warp.
__device__ __forceinline__ int seen_by_any(const long long* reach, int first_query, int queries, int keys) {
#ifdef CAUSAL
    return min(keys, furthest(reach + first_query, queries));
#else
    return keys;
#endif
}
