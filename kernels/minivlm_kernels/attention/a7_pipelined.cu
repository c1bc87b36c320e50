// A7: tensor cores that do not wait.
//
// A6 computes while memory rests, and copies while the tensor cores rest. Four changes:
//
//  * cp.async copies the next tile of keys and values in the background, into a second buffer:
//
//        copies    | tile 0 | tile 1 | tile 2 |  …
//        products           | tile 0 | tile 1 | tile 2 |  …
//
//  * A warp owns 32 queries instead of 16, so what it reads of k and v feeds 4 products instead
//    of 2. Shared memory gives an SM 128 bytes a cycle: with 2 products for each 512 bytes, a
//    Hopper's tensor cores would be busy half of the time.
//  * Rows are swizzled instead of padded (tiles.cuh): two buffers, and two blocks on an SM, fit.
//  * exp2 is the hardware's; tiles that all queries see whole are not asked about pair by pair;
//    and blocks with the last queries, which under causality see most keys, are launched first.
//
// Specification, in NumPy:
//
//     scores = np.where(look, q @ k.mT * C**-0.5, -np.inf)
//     top = np.maximum(scores.max(-1, keepdims=True), -1e30)
//     p = np.exp2((scores - top) * np.log2(np.e))
//     total = p.sum(-1, keepdims=True)
//     o = p @ v / np.maximum(total, 1e-30)
//     with np.errstate(divide="ignore"):
//         lse = (top + np.log(total))[..., 0]
//
// Costs: for each head 4·T·S·C operations; of causal ones half. Products of 16×8×16: for a block
// of 128 queries and a tile of 64 keys, 2·(128/16)·(64/8)·(C/16) = 8·C. From memory, k and v once
// for each 128 queries: T/128 · 4·S·C bytes, most of them from the L2 cache.
//
// Measured: not yet on hardware.
#include "tiles.cuh"

constexpr int THREADS = 128;  // 4 warps
constexpr int M = 2;          // blocks of 16 queries that a warp owns
constexpr int QUERIES = THREADS / 32 * 16 * M;
constexpr int KEYS = C == 112 ? 48 : 64;  // of a tile; with 112 channels, 64 overflow the registers
constexpr int N = KEYS / 8;

// What a lane keeps of its warp's rows: in block m of 16, half 0 is row lane / 4, half 1 that + 8.
struct Rows {
  float o[M][C / 8][4];  // Σ p v so far
  float top[M][2];       // the greatest score so far
  float sum[M][2];       // Σ p so far, of this lane's columns
};

__device__ __forceinline__ void begin(Rows& rows) {
#pragma unroll
  for (int m = 0; m < M; m++) {
    rows.top[m][0] = rows.top[m][1] = -INFINITY;
    rows.sum[m][0] = rows.sum[m][1] = 0.0f;
#pragma unroll
    for (int c = 0; c < C / 8; c++) {
#pragma unroll
      for (int e = 0; e < 4; e++) rows.o[m][c][e] = 0.0f;
    }
  }
}

// Scores s become weights p = exp(scale (s − top)); where they raise top, what was summed shrinks.
__device__ __forceinline__ void softmax_step(uint32_t (&p)[M][N][2], const float (&s)[M][N][4],
                                             Rows& rows, float scale) {
  const float log2_scale = scale * LOG2_E;
#pragma unroll
  for (int m = 0; m < M; m++) {
#pragma unroll
    for (int half = 0; half < 2; half++) {
      float top = rows.top[m][half];
#pragma unroll
      for (int n = 0; n < N; n++) {
        top = fmaxf(top, fmaxf(s[m][n][2 * half], s[m][n][2 * half + 1]));
      }
      top = quad_max(top);
      const float base = top == -INFINITY ? 0.0f : top * log2_scale;  // −∞ − (−∞) would be NaN
      const float shrink = exp2f(fmaf(rows.top[m][half], log2_scale, -base));
      float sum = rows.sum[m][half] * shrink;
#pragma unroll
      for (int n = 0; n < N; n++) {
        const float left = exp2f(fmaf(s[m][n][2 * half], log2_scale, -base));
        const float right = exp2f(fmaf(s[m][n][2 * half + 1], log2_scale, -base));
        sum += left + right;
        p[m][n][half] = pack_bf16(left, right);
      }
      rows.top[m][half] = top;
      rows.sum[m][half] = sum;
#pragma unroll
      for (int c = 0; c < C / 8; c++) {
        rows.o[m][c][2 * half] *= shrink;
        rows.o[m][c][2 * half + 1] *= shrink;
      }
    }
  }
}

// o and lse of this warp's rows, from the first on.
__device__ __forceinline__ void finish(const Rows& rows, bf16* o, float* lse, int first, int T,
                                       float scale) {
  const int lane = threadIdx.x % 32;
  float inverse[M][2];
#pragma unroll
  for (int m = 0; m < M; m++) {
#pragma unroll
    for (int half = 0; half < 2; half++) {
      const float sum = quad_sum(rows.sum[m][half]);
      inverse[m][half] = sum > 0.0f ? 1.0f / sum : 0.0f;
      const int i = first + 16 * m + 8 * half + lane / 4;
      if (i < T && lane % 4 == 0) {
        put(lse + i, sum > 0.0f ? rows.top[m][half] * scale + logf(sum) : -INFINITY);
      }
    }
  }
  write_rows<M>(o, first, T, rows.o, inverse);
}

// Grid: B·H·⌈T/128⌉ blocks. Shared: (128 + 4·KEYS)·C numbers in bf16.
extern "C" __global__ void __launch_bounds__(THREADS, 2)
    attention_pipelined(const bf16* q, const bf16* k, const bf16* v, bf16* o, float* lse,
                        const unsigned char* mask, long long mask_b, long long mask_h,
                        long long mask_t, long long mask_s, int H, int G, int T, int S, int reach,
                        float scale) {
  const int blocks = (T + QUERIES - 1) / QUERIES;  // of a head
  const int head = blockIdx.x / blocks;
  const int i0 = (blocks - 1 - blockIdx.x % blocks) * QUERIES;  // the last queries first
  const int mine = threadIdx.x / 32 * 16 * M;
  const Sight sight = {mask ? mask + head / H * mask_b + head % H * mask_h : nullptr,
                       mask_t, mask_s, T, S, reach};
  const size_t keys_of_head = size_t(head / (H / G)) * S * C;

  constexpr Place q_tile = 0;
  constexpr Place stages = q_tile + QUERIES * C;  // two, each with a tile of k and one of v
  constexpr Place v_after_k = KEYS * C;
  constexpr Place next_stage = 2 * KEYS * C;

  const int tiles = (sight.keys_for(min(T, i0 + QUERIES) - 1) + KEYS - 1) / KEYS;
  Rows rows;
  begin(rows);
  if (tiles > 0) {
    start_copy<QUERIES, THREADS>(q_tile, q + size_t(head) * T * C, i0, T);
    start_copy<KEYS, THREADS>(stages, k + keys_of_head, 0, S);
    start_copy<KEYS, THREADS>(stages + v_after_k, v + keys_of_head, 0, S);
    cp_async_commit();
  }
  for (int tile = 0; tile < tiles; tile++) {
    const int j0 = tile * KEYS;
    const Place stage = stages + tile % 2 * next_stage;
    cp_async_wait<0>();
    __syncthreads();  // this tile has arrived for all, and all have done with the one before
    if (tile + 1 < tiles) {
      const Place ahead = stages + (tile + 1) % 2 * next_stage;
      start_copy<KEYS, THREADS>(ahead, k + keys_of_head, j0 + KEYS, S);
      start_copy<KEYS, THREADS>(ahead + v_after_k, v + keys_of_head, j0 + KEYS, S);
      cp_async_commit();
    }
    const int first = i0 + mine;
    if (first >= T || sight.sees_none(first + 16 * M - 1, j0)) continue;
    float s[M][N][4] = {};
    add_products(s, q_tile + mine * C, stage);
    if (!sight.sees_all(first, j0 + KEYS - 1)) hide<false>(s, sight, first, j0);
    uint32_t p[M][N][2];
    softmax_step(p, s, rows, scale);
    add_weighted(rows.o, p, stage + v_after_k);
  }
  finish(rows, o + size_t(head) * T * C, lse + size_t(head) * T, i0 + mine, T, scale);
}
