// The words the kernels are written in: stored numbers, how they are read and written, and sums over threads.
//
// A kernel reads and writes one of three stored types and computes in float. Everywhere the limit is memory, not
// arithmetic, so the functions here are about moving bytes: a thread moves 16 of them at a time, which is the most one
// instruction can, and 8 numbers of a half type or 4 floats are what it gets for it. `STORED` is the stored type a
// file is compiled for.
//
// Reductions are butterflies, __shfl_xor_sync with 16, 8, 4, 2, 1: every lane ends with the same sum, to the last bit,
// since a sum of two is the same from either side. All threads of a warp, or of the block, must reach them.

#include "ptx.cuh"

#ifndef STORED
#define STORED float
#endif

struct float16 { unsigned short bits; };
struct bfloat16 { unsigned short bits; };

__device__ __forceinline__ float widened(float x) { return x; }
__device__ __forceinline__ float widened(float16 x) { return from_half_bits(x.bits); }
__device__ __forceinline__ float widened(bfloat16 x) { return from_bfloat16_bits(x.bits); }

// The stored number nearest to x, ties to even.
template <class T> __device__ __forceinline__ T rounded(float x);
template <> __device__ __forceinline__ float rounded<float>(float x) { return x; }
template <> __device__ __forceinline__ float16 rounded<float16>(float x) { return {half_bits(x)}; }
template <> __device__ __forceinline__ bfloat16 rounded<bfloat16>(float x) { return {bfloat16_bits(x)}; }

// Two numbers in one word, the first in its low half.
template <class T> __device__ __forceinline__ unsigned rounded_pair(float first, float second);
template <> __device__ __forceinline__ unsigned rounded_pair<float16>(float a, float b) { return half_pair(a, b); }
template <> __device__ __forceinline__ unsigned rounded_pair<bfloat16>(float a, float b) { return bfloat16_pair(a, b); }

template <class A, class B> struct Same { static constexpr bool value = false; };
template <class A> struct Same<A, A> { static constexpr bool value = true; };

// ----------------------------------------------------------------------------------------------- eight numbers at once

// Numbers are moved in pieces of PIECE: 16 bytes of a half type, twice 16 of float. `from` and `to` are on a multiple
// of 16 bytes.
constexpr int PIECE = 8;

template <class T>
__device__ __forceinline__ void load_piece(float (&to)[PIECE], const T* from) {
    if constexpr (Same<T, float>::value) {
        const float4 low = *reinterpret_cast<const float4*>(from), high = *reinterpret_cast<const float4*>(from + 4);
        to[0] = low.x, to[1] = low.y, to[2] = low.z, to[3] = low.w;
        to[4] = high.x, to[5] = high.y, to[6] = high.z, to[7] = high.w;
    } else {
        const uint4 words = *reinterpret_cast<const uint4*>(from);
        const unsigned word[4] = {words.x, words.y, words.z, words.w};
#pragma unroll
        for (int i = 0; i < 4; ++i) {
            to[2 * i] = widened(T{static_cast<unsigned short>(word[i] & 0xffff)});
            to[2 * i + 1] = widened(T{static_cast<unsigned short>(word[i] >> 16)});
        }
    }
}

template <class T>
__device__ __forceinline__ void store_piece(T* to, const float (&from)[PIECE]) {
    if constexpr (Same<T, float>::value) {
        *reinterpret_cast<float4*>(to) = make_float4(from[0], from[1], from[2], from[3]);
        *reinterpret_cast<float4*>(to + 4) = make_float4(from[4], from[5], from[6], from[7]);
    } else {
        *reinterpret_cast<uint4*>(to) =
            make_uint4(rounded_pair<T>(from[0], from[1]), rounded_pair<T>(from[2], from[3]),
                       rounded_pair<T>(from[4], from[5]), rounded_pair<T>(from[6], from[7]));
    }
}

// The piece that begins at number `start` of a row of `length`: in one go where all of it is there and it begins on 16
// bytes, as the pieces of a row do if its length is a multiple of 8; number by number where not. Past the end nothing
// is touched; loaded, it is 0.
__device__ __forceinline__ bool on_16_bytes(const void* at) {
    return reinterpret_cast<unsigned long long>(at) % 16 == 0;
}

template <class T>
__device__ __forceinline__ void load_piece_of(float (&to)[PIECE], const T* row, long long start, long long length) {
    if (start + PIECE <= length && on_16_bytes(row + start)) {
        load_piece(to, row + start);
    } else {
#pragma unroll
        for (int i = 0; i < PIECE; ++i) to[i] = start + i < length ? widened(row[start + i]) : 0.0f;
    }
}

template <class T>
__device__ __forceinline__ void store_piece_of(T* row, const float (&from)[PIECE], long long start, long long length) {
    if (start + PIECE <= length && on_16_bytes(row + start)) {
        store_piece(row + start, from);
    } else {
#pragma unroll
        for (int i = 0; i < PIECE; ++i)
            if (start + i < length) row[start + i] = rounded<T>(from[i]);
    }
}

// --------------------------------------------------------------------------------------------------- sums over threads

constexpr unsigned ALL_LANES = 0xffffffffu;

__device__ __forceinline__ float warp_sum(float x) {
#pragma unroll
    for (int lanes = 16; lanes > 0; lanes /= 2) x += __shfl_xor_sync(ALL_LANES, x, lanes);
    return x;
}

__device__ __forceinline__ double warp_sum(double x) {
#pragma unroll
    for (int lanes = 16; lanes > 0; lanes /= 2) x += __shfl_xor_sync(ALL_LANES, x, lanes);
    return x;
}

__device__ __forceinline__ float warp_max(float x) {
#pragma unroll
    for (int lanes = 16; lanes > 0; lanes /= 2) x = fmaxf(x, __shfl_xor_sync(ALL_LANES, x, lanes));
    return x;
}

// What the warps of a block of THREADS found, for every warp to go on with: lane l gets that of warp l, and where there
// are fewer than 32, from the first again. `scratch` is THREADS / 32 numbers of shared memory that nobody else uses. The
// barrier in front keeps a second call from overwriting what a slow thread of the first still reads.
template <int THREADS, class T>
__device__ __forceinline__ T of_warps(T x, T* scratch) {
    static_assert(THREADS % 32 == 0 && THREADS <= 1024);
    __syncthreads();
    if (threadIdx.x % 32 == 0) scratch[threadIdx.x / 32] = x;
    __syncthreads();
    return scratch[threadIdx.x % 32 % (THREADS / 32)];
}

// Over all THREADS of the block, for all of them. scratch: as above.
template <int THREADS>
__device__ __forceinline__ double block_sum(double x, double* scratch) {
    x = of_warps<THREADS>(warp_sum(x), scratch);
    return warp_sum(threadIdx.x % 32 < THREADS / 32 ? x : 0.0);
}
