// Dropout's mask: whether number i of an array is kept is a function of a key and of i alone.
//
// kept and pair_key of numpy_backward.py are the definition, dropout.py says why it is made this way; the masks are
// the same to the last bit on every backend. So a kernel makes the piece of the mask it needs, where it needs it, and
// the backward pass makes it again. Two multiplications of 64 bits a number: some 20 instructions here, where there
// are only multipliers of 32 bits.

// `mixed` of numpy_backward.py: 64 bits, stirred until each depends on all.
__device__ __forceinline__ unsigned long long stirred(unsigned long long x) {
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9ull;
    x = (x ^ (x >> 27)) * 0x94D049BB133111EBull;
    return x ^ (x >> 31);
}

// The number-th step of the generator with this key, number from 0.
__device__ __forceinline__ unsigned long long drawn(unsigned long long key, unsigned long long number) {
    return stirred(key + (number + 1) * 0x9E3779B97F4A7C15ull);
}

// `pair_key`: the key of the probabilities of one head of one sentence. item: sentence * heads + head.
__device__ __forceinline__ unsigned long long key_of_head(unsigned long long key, int item) { return drawn(key, item); }

// `kept` for one number of an array. limit: round(rate * 2^32), of the numbers' upper halves; from it on they stay.
__device__ __forceinline__ bool is_kept(unsigned long long key, unsigned long long number, unsigned long long limit) {
    return drawn(key, number) >> 32 >= limit;
}
