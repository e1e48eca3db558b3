// A row of D numbers in the registers of one warp.
//
// Lane l holds piece l, piece l + 32, ...: PIECES of them, so that D <= 256 PIECES, and one instruction of a warp moves
// 512 bytes that lie side by side. PIECES is a constant of the compilation, since registers cannot be indexed at run
// time: 3 for D = 768, which is 24 registers and no number too many. Up to D = 4096 (128 registers) nothing spills.
//
// Where D is no multiple of 8, rows begin on any address, and numbers are moved one by one. Numbers past D are 0.

#include "device.cuh"

#ifndef PIECES
#define PIECES 3
#endif

using Row = float[PIECES][PIECE];

__device__ __forceinline__ int piece_start(int p) { return (p * 32 + static_cast<int>(threadIdx.x) % 32) * PIECE; }

template <class T>
__device__ __forceinline__ void load_row(Row& row, const T* from, int D) {
#pragma unroll
    for (int p = 0; p < PIECES; ++p) load_piece_of(row[p], from, piece_start(p), D);
}

template <class T>
__device__ __forceinline__ void add_row(Row& row, const T* from, int D) {
#pragma unroll
    for (int p = 0; p < PIECES; ++p) {
        float more[PIECE];
        load_piece_of(more, from, piece_start(p), D);
#pragma unroll
        for (int i = 0; i < PIECE; ++i) row[p][i] += more[i];
    }
}

template <class T>
__device__ __forceinline__ void store_row(T* to, const Row& row, int D) {
#pragma unroll
    for (int p = 0; p < PIECES; ++p) store_piece_of(to, row[p], piece_start(p), D);
}
