// Tiles of bf16 in shared memory without bank conflicts, copied in the background, and the two
// products that attention needs of them. A7 tells why; A8 uses the same.
#pragma once
#include "sight.cuh"

constexpr int CHUNK = 8;  // numbers in 16 bytes, what one lane copies and ldmatrix reads

// A place in the block's shared memory, counted in numbers. A tile, rows of C numbers without
// padding, is known by the place where it begins, a multiple of 64.
using Place = unsigned;

__device__ __forceinline__ bf16* shared(Place place) {
  DYNAMIC_SHARED(bf16, memory);
  return memory + place;
}

// ldmatrix reads one chunk of each of 8 rows at once. Shared memory serves them together if they
// lie in different banks: at places that differ modulo 8 chunks. With C = 64 a row has 8 chunks,
// and a column of chunks is always the same place, read 8 times, one after the other. So row r
// keeps its chunk c at c xor r:
//
//     row 0 |  0  1 [2] 3  4  5  6  7
//     row 1 |  1  0  3 [2] 5  4  7  6       where chunk 2 of each row lies:
//     row 2 | [2] 3  0  1  6  7  4  5       8 rows, 8 different places
//     row 3 |  3 [2] 1  0  7  6  5  4
//      …
//
// Rows of other lengths begin at 2 or 4 different places by themselves, so that only SWIZZLE of 8
// rows would meet; an xor with so many values keeps those apart.
constexpr int SWIZZLE = C % 64 == 0 ? 8 : C % 32 == 0 ? 4 : 2;

__device__ __forceinline__ Place place_of(Place tile, unsigned row, unsigned chunk) {
  const unsigned twist = row / (8 / SWIZZLE) % SWIZZLE;
  return tile + row * C + (chunk ^ twist) * CHUNK;
}

// From chunk 0 or 1 of a row: so many rows down, a multiple of 8, and chunks to the right, an even
// number. The twist stays, so one xor finds the place.
__device__ __forceinline__ Place moved(Place from, int rows, int chunks) {
  const int within = chunks % SWIZZLE;
  return (from ^ within * CHUNK) + (chunks - within) * CHUNK + rows * C;
}

// Starts copying rows first … first + ROWS − 1 of a matrix (count, C) into a tile, with all THREADS
// of the block; rows past the last become zeros. A row is copied by LANES neighbours.
constexpr int LANES = C > 64 ? 16 : C > 32 ? 8 : 4;

template <int ROWS, int THREADS>
__device__ __forceinline__ void start_copy(Place tile, const bf16* matrix, int first, int count) {
  constexpr int AT_ONCE = THREADS / LANES;
  static_assert(AT_ONCE % 8 == 0 && ROWS % AT_ONCE == 0, "a thread's rows must share their twist");
  const unsigned row = threadIdx.x / LANES;
  const unsigned chunk = threadIdx.x % LANES;
  if (chunk >= C / CHUNK) return;
  const Place to = place_of(tile, row, chunk);
  const bf16* from = matrix + (size_t(first) + row) * C + chunk * CHUNK;
  if (first + ROWS <= count) {
#pragma unroll
    for (int r = 0; r < ROWS; r += AT_ONCE) cp_async16(shared(to + r * C), from + r * C, true);
  } else {
#pragma unroll 1
    for (int r = 0; r < ROWS; r += AT_ONCE) {
      const bool inside = first + int(row) + r < count;
      cp_async16(shared(to + r * C), inside ? from + r * C : matrix, inside);
    }
  }
}

// sums (16·M × 8·N) += a · bᵀ over C channels, for tiles a of 16·M rows and b of 8·N rows. What one
// ldmatrix reads of b serves 2·M products.
template <int M, int N>
__device__ __forceinline__ void add_products(float (&sums)[M][N][4], Place a, Place b) {
  const unsigned lane = threadIdx.x % 32;
  const Place of_a = place_of(a, lane % 16, lane / 16);
  const Place of_b = place_of(b, lane / 16 * 8 + lane % 8, lane / 8 % 2);
#pragma unroll
  for (int c = 0; c < C / CHUNK; c += 2) {
    uint32_t left[M][4];
#pragma unroll
    for (int m = 0; m < M; m++) ldmatrix_x4(left[m], shared(moved(of_a, 16 * m, c)));
#pragma unroll
    for (int n = 0; n < N; n += 2) {
      uint32_t right[4];
      ldmatrix_x4(right, shared(moved(of_b, 8 * n, c)));
#pragma unroll
      for (int m = 0; m < M; m++) {
        mma_bf16(sums[m][n], left[m], right[0], right[1]);
        mma_bf16(sums[m][n + 1], left[m], right[2], right[3]);
      }
    }
  }
}

// sums (16·M × C) += p · b for weights p (16·M × 8·N) in registers and a tile b of 8·N rows. What
// mma leaves in a lane is what the next mma wants of its left operand there, in bf16: of rows
// lane / 4 and that + 8, p[m][n][0] and [1], columns 8·n + 2·(lane % 4) and the next.
template <int M, int N>
__device__ __forceinline__ void add_weighted(float (&sums)[M][C / 8][4],
                                             const uint32_t (&p)[M][N][2], Place b) {
  const unsigned lane = threadIdx.x % 32;
  const Place of_b = place_of(b, lane % 16, lane / 16);
#pragma unroll
  for (int c = 0; c < C / CHUNK; c += 2) {
#pragma unroll
    for (int n = 0; n < N; n += 2) {
      uint32_t right[4];
      ldmatrix_x4_trans(right, shared(moved(of_b, 8 * n, c)));
#pragma unroll
      for (int m = 0; m < M; m++) {
        const uint32_t left[4] = {p[m][n][0], p[m][n][1], p[m][n + 1][0], p[m][n + 1][1]};
        mma_bf16(sums[m][c], left, right[0], right[1]);
        mma_bf16(sums[m][c + 1], left, right[2], right[3]);
      }
    }
  }
}

// Scores of pairs that may not see each other become −∞. Rows are queries from i0 on and columns
// keys from j0 on, or the other way round where KEYS_ARE_ROWS. First all is asked, a bit for each
// score: asking and hiding at once would keep dozens of addresses in registers.
template <bool KEYS_ARE_ROWS, int M, int N>
__device__ __forceinline__ void hide(float (&s)[M][N][4], const Sight& sight, int i0, int j0) {
  const int lane = threadIdx.x % 32;
#pragma unroll
  for (int m = 0; m < M; m++) {
    uint32_t seen = 0;
#pragma unroll 1
    for (int n = 0; n < N; n++) {
#pragma unroll
      for (int e = 0; e < 4; e++) {
        const int row = 16 * m + lane / 4 + e / 2 * 8;
        const int column = 8 * n + lane % 4 * 2 + e % 2;
        const int i = i0 + (KEYS_ARE_ROWS ? column : row);
        const int j = j0 + (KEYS_ARE_ROWS ? row : column);
        seen |= uint32_t(sight.sees(i, j)) << (4 * n + e);
      }
    }
#pragma unroll
    for (int n = 0; n < N; n++) {
#pragma unroll
      for (int e = 0; e < 4; e++) {
        if (!(seen >> (4 * n + e) & 1)) s[m][n][e] = -INFINITY;
      }
    }
  }
}

// Writes sums as rows first … of a matrix (count, C) in bf16; in block m, the rows up to 7 times
// factor[m][0], those from 8 on times factor[m][1].
template <int M>
__device__ __forceinline__ void write_rows(bf16* matrix, int first, int count,
                                           const float (&sums)[M][C / 8][4],
                                           const float (&factor)[M][2]) {
  const int lane = threadIdx.x % 32;
#pragma unroll
  for (int m = 0; m < M; m++) {
#pragma unroll
    for (int half = 0; half < 2; half++) {
      const int row = first + 16 * m + 8 * half + lane / 4;
      if (row >= count) continue;
      uint32_t* to = reinterpret_cast<uint32_t*>(matrix + size_t(row) * C) + lane % 4;
#pragma unroll
      for (int c = 0; c < C / 8; c++) {
        const float left = sums[m][c][2 * half] * factor[m][half];
        const float right = sums[m][c][2 * half + 1] * factor[m][half];
        put(to + 4 * c, pack_bf16(left, right));
      }
    }
  }
}

// The same with one factor for all rows.
template <int M>
__device__ __forceinline__ void write_rows(bf16* matrix, int first, int count,
                                           const float (&sums)[M][C / 8][4], float factor) {
  float same[M][2];
#pragma unroll
  for (int m = 0; m < M; m++) same[m][0] = same[m][1] = factor;
  write_rows<M>(matrix, first, count, sums, same);
}
