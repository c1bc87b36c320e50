// A8: attention's gradients on tensor cores.
//
// A4's two walks, each block the only writer of what it sums. The weights are computed anew:
// p = exp(score − lse). Then ds = p (do·v − δ) with δ = Σ do·o, and
//
//     attention_keys      a block owns keys and walks over queries:  dv = pᵀ do,  dk = dsᵀ q / √C
//     attention_queries   a block owns queries and walks over keys:  dq = ds k / √C
//
// The new idea is in the first. Computed the usual way, p would have queries as its rows, and pᵀ
// would have to go through shared memory. So the scores are computed transposed, sᵀ = k qᵀ:
//
//              queries →                             channels →
//     keys  [ pᵀ  or dsᵀ ]  as mma leaves it   ·  [ do  or q ]   gives dv or dk
//      ↓      16 × 64          in registers     queries ↓
//
// and what comes out of one product is the left operand of the next, as p was in A6. In the second
// kernel ds has queries as rows, as it should. Both compute s and dp: 7 products instead of 5, but
// no atomics, and the same bits in every run.
//
// δ is summed from o as forward rounded it. Where one key has nearly all the weight, do·v − δ is
// hardly more than that rounding: so it is wherever o is kept in bf16.
//
// Specification, in NumPy:
//
//     scores = np.where(look, q @ k.mT * C**-0.5, -np.inf)
//     p = np.exp(scores - np.where(lse == -np.inf, np.inf, lse)[..., None])
//     delta = (do * o).sum(-1, keepdims=True)
//     ds = p * (do @ v.mT - delta)
//     dv = p.mT @ do
//     dk = ds.mT @ q * C**-0.5
//     dq = ds @ k * C**-0.5
//
// Costs: for each head 14·T·S·C operations; of causal ones half. Products of 16×8×16: for 128
// queries and 128 keys, 7·(128/16)·(128/8)·(C/16) = 56·C. From memory, in bf16: q and do once for
// each block of keys, k and v once for each 128 queries; most of it from the L2 cache.
//
// Measured: not yet on hardware.
#include "tiles.cuh"

constexpr int THREADS = 128;  // 4 warps
constexpr int WARPS = THREADS / 32;

// A row that sees nothing has lse = −∞, and one past the last has none: +∞ gives both p = 0.
__device__ __forceinline__ float log2_lse(const float* lse, int i, int T) {
  if (i >= T || lse[i] == -INFINITY) return INFINITY;
  return lse[i] * LOG2_E;
}

template <int M, int N>
__device__ __forceinline__ void clear(float (&x)[M][N][4]) {
#pragma unroll
  for (int m = 0; m < M; m++) {
#pragma unroll
    for (int n = 0; n < N; n++) {
#pragma unroll
      for (int e = 0; e < 4; e++) x[m][n][e] = 0.0f;
    }
  }
}

// ---- δ = Σ do·o, one warp a row. Grid: ⌈rows / 4⌉ blocks.
extern "C" __global__ void __launch_bounds__(THREADS)
    attention_delta(const bf16* o, const bf16* d_o, float* delta, long long rows) {
  const long long row = (long long)blockIdx.x * WARPS + threadIdx.x / 32;
  if (row >= rows) return;
  float sum = 0.0f;
  for (int c = threadIdx.x % 32; c < C; c += 32) {
    sum = fmaf(__bfloat162float(o[row * C + c]), __bfloat162float(d_o[row * C + c]), sum);
  }
#pragma unroll
  for (int step = 16; step > 0; step /= 2) sum += __shfl_xor_sync(~0u, sum, step);
  if (threadIdx.x % 32 == 0) put(delta + row, sum);
}

// ---- dk and dv: a block owns keys.
namespace keys {

constexpr int M = C <= 64 ? 2 : 1;  // blocks of 16 keys of a warp: dk and dv fill its registers
constexpr int KEYS = 16 * M * WARPS;
constexpr int QUERIES = C <= 64 ? 32 : 64;  // of a tile
constexpr int N = QUERIES / 8;

constexpr Place k_tile = 0;
constexpr Place v_tile = k_tile + KEYS * C;
constexpr Place stages = v_tile + KEYS * C;  // two, each with a tile of q and one of do
constexpr Place do_after_q = QUERIES * C;
constexpr Place next_stage = 2 * QUERIES * C;
constexpr Place statistics = stages + 2 * next_stage;  // of each stage: lse and δ, in float

// The walk over queries: of each query head that shares these keys, the tiles that see any.
struct Walk {
  int first_head, first_tile, tiles;

  __device__ __forceinline__ int head(int step) const { return first_head + step / tiles; }
  __device__ __forceinline__ int query(int step) const {
    return (first_tile + step % tiles) * QUERIES;
  }
};

__device__ __forceinline__ float* statistics_of(int stage) {
  return reinterpret_cast<float*>(shared(statistics)) + stage * (2 * QUERIES);
}

// What this thread brings to a tile's statistics: one lse, or one δ.
__device__ __forceinline__ float statistic(const float* lse, const float* delta, int i0, int T) {
  const int i = i0 + threadIdx.x % QUERIES;
  if (threadIdx.x < QUERIES) return log2_lse(lse, i, T);
  return i < T ? delta[i] : 0.0f;
}

// From sᵀ and dpᵀ to pᵀ and dsᵀ, pairs of neighbouring queries in bf16.
__device__ __forceinline__ void weigh(uint32_t (&p)[M][N][2], uint32_t (&ds)[M][N][2],
                                      const float (&s)[M][N][4], const float (&dp)[M][N][4],
                                      const float* of_queries, float log2_scale) {
  const float2* lse = reinterpret_cast<const float2*>(of_queries) + threadIdx.x % 4;
  const float2* delta = lse + QUERIES / 2;
#pragma unroll
  for (int n = 0; n < N; n++) {
    const float2 lse_pair = lse[4 * n];
    const float2 delta_pair = delta[4 * n];
#pragma unroll
    for (int m = 0; m < M; m++) {
#pragma unroll
      for (int half = 0; half < 2; half++) {
        const int e = 2 * half;
        const float left = exp2f(fmaf(s[m][n][e], log2_scale, -lse_pair.x));
        const float right = exp2f(fmaf(s[m][n][e + 1], log2_scale, -lse_pair.y));
        p[m][n][half] = pack_bf16(left, right);
        ds[m][n][half] = pack_bf16(left * (dp[m][n][e] - delta_pair.x),
                                   right * (dp[m][n][e + 1] - delta_pair.y));
      }
    }
  }
}

}  // namespace keys

// Grid: B·G·⌈S/KEYS⌉ blocks. Shared: (2·KEYS + 4·QUERIES)·C numbers in bf16, 4·QUERIES in float.
extern "C" __global__ void __launch_bounds__(THREADS, 2)
    attention_keys(const bf16* q, const bf16* k, const bf16* v, const bf16* d_o, const float* lse,
                   const float* delta, bf16* dk, bf16* dv, const unsigned char* mask,
                   long long mask_b, long long mask_h, long long mask_t, long long mask_s, int H,
                   int G, int T, int S, int reach, float scale) {
  using namespace keys;
  const int blocks = (S + KEYS - 1) / KEYS;  // of a head
  const int key_head = blockIdx.x / blocks;
  const int j0 = blockIdx.x % blocks * KEYS;
  const int mine = threadIdx.x / 32 * 16 * M;
  const int sharing = H / G;
  const int first_tile = max(0, j0 - reach) / QUERIES;
  const int tiles = max(0, (T + QUERIES - 1) / QUERIES - first_tile);
  const Walk walk = {key_head * sharing, first_tile, tiles};

  const auto start = [&](int step) {  // copies of a tile of queries
    const size_t row = size_t(walk.head(step)) * T;
    const Place stage = stages + step % 2 * next_stage;
    start_copy<QUERIES, THREADS>(stage, q + row * C, walk.query(step), T);
    start_copy<QUERIES, THREADS>(stage + do_after_q, d_o + row * C, walk.query(step), T);
    cp_async_commit();
    return statistic(lse + row, delta + row, walk.query(step), T);
  };
  const auto keep = [&](int step, float value) {
    if (threadIdx.x < 2 * QUERIES) statistics_of(step % 2)[threadIdx.x] = value;
  };

  float d_k[M][C / 8][4];
  float d_v[M][C / 8][4];
  clear(d_k);
  clear(d_v);
  const int steps = sharing * tiles;
  const size_t keys_of_head = size_t(key_head) * S * C;
  if (steps > 0) {
    start_copy<KEYS, THREADS>(k_tile, k + keys_of_head, j0, S);
    start_copy<KEYS, THREADS>(v_tile, v + keys_of_head, j0, S);
    keep(0, start(0));
  }
  for (int step = 0; step < steps; step++) {
    cp_async_wait<0>();
    __syncthreads();  // this tile has arrived for all, and all have done with the one before
    float ahead = 0.0f;
    if (step + 1 < steps) ahead = start(step + 1);
    const int head = walk.head(step);
    const int i0 = walk.query(step);
    const Place stage = stages + step % 2 * next_stage;
    const Sight sight = {mask ? mask + head / H * mask_b + head % H * mask_h : nullptr,
                         mask_t, mask_s, T, S, reach};
    const int first = j0 + mine;
    if (!sight.sees_none(i0 + QUERIES - 1, first)) {
      float s[M][N][4] = {};
      float dp[M][N][4] = {};
      add_products(s, k_tile + mine * C, stage);
      add_products(dp, v_tile + mine * C, stage + do_after_q);
      if (!sight.sees_all(i0, first + 16 * M - 1)) hide<true>(s, sight, i0, first);
      uint32_t p[M][N][2];
      uint32_t ds[M][N][2];
      weigh(p, ds, s, dp, statistics_of(step % 2), scale * LOG2_E);
      add_weighted(d_v, p, stage + do_after_q);
      add_weighted(d_k, ds, stage);
    }
    keep(step + 1, ahead);  // the other buffer: its readers are past the barrier above
  }
  write_rows(dk + keys_of_head, j0 + mine, S, d_k, scale);
  write_rows(dv + keys_of_head, j0 + mine, S, d_v, 1.0f);
}

// ---- dq: a block owns queries.
namespace queries {

constexpr int M = 2;  // blocks of 16 queries of a warp
constexpr int QUERIES = 16 * M * WARPS;
constexpr int KEYS = C <= 64 ? 64 : 32;  // of a tile
constexpr int N = KEYS / 8;

constexpr Place q_tile = 0;
constexpr Place do_tile = q_tile + QUERIES * C;
constexpr Place stages = do_tile + QUERIES * C;  // two, each with a tile of k and one of v
constexpr Place v_after_k = KEYS * C;
constexpr Place next_stage = 2 * KEYS * C;

// From s and dp to ds, pairs of neighbouring keys in bf16.
__device__ __forceinline__ void weigh(uint32_t (&ds)[M][N][2], const float (&s)[M][N][4],
                                      const float (&dp)[M][N][4], const float (&lse)[M][2],
                                      const float (&delta)[M][2], float log2_scale) {
#pragma unroll
  for (int m = 0; m < M; m++) {
#pragma unroll
    for (int n = 0; n < N; n++) {
#pragma unroll
      for (int half = 0; half < 2; half++) {
        const int e = 2 * half;
        const float left = exp2f(fmaf(s[m][n][e], log2_scale, -lse[m][half]));
        const float right = exp2f(fmaf(s[m][n][e + 1], log2_scale, -lse[m][half]));
        ds[m][n][half] = pack_bf16(left * (dp[m][n][e] - delta[m][half]),
                                   right * (dp[m][n][e + 1] - delta[m][half]));
      }
    }
  }
}

}  // namespace queries

// Grid: B·H·⌈T/128⌉ blocks. Shared: (2·128 + 4·KEYS)·C numbers in bf16.
extern "C" __global__ void __launch_bounds__(THREADS, 2)
    attention_queries(const bf16* q, const bf16* k, const bf16* v, const bf16* d_o,
                      const float* lse, const float* delta, bf16* dq, const unsigned char* mask,
                      long long mask_b, long long mask_h, long long mask_t, long long mask_s, int H,
                      int G, int T, int S, int reach, float scale) {
  using namespace queries;
  const int blocks = (T + QUERIES - 1) / QUERIES;  // of a head
  const int head = blockIdx.x / blocks;
  const int i0 = (blocks - 1 - blockIdx.x % blocks) * QUERIES;  // the last queries first
  const int mine = threadIdx.x / 32 * 16 * M;
  const int first = i0 + mine;
  const Sight sight = {mask ? mask + head / H * mask_b + head % H * mask_h : nullptr,
                       mask_t, mask_s, T, S, reach};
  const size_t row = size_t(head) * T;
  const size_t keys_of_head = size_t(head / (H / G)) * S * C;

  float row_lse[M][2];
  float row_delta[M][2];
#pragma unroll
  for (int m = 0; m < M; m++) {
#pragma unroll
    for (int half = 0; half < 2; half++) {
      const int i = first + 16 * m + 8 * half + threadIdx.x % 32 / 4;
      row_lse[m][half] = log2_lse(lse + row, i, T);
      row_delta[m][half] = i < T ? delta[row + i] : 0.0f;
    }
  }

  float d_q[M][C / 8][4];
  clear(d_q);
  const int tiles = (sight.keys_for(min(T, i0 + QUERIES) - 1) + KEYS - 1) / KEYS;
  if (tiles > 0) {
    start_copy<QUERIES, THREADS>(q_tile, q + row * C, i0, T);
    start_copy<QUERIES, THREADS>(do_tile, d_o + row * C, i0, T);
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
    if (first >= T || sight.sees_none(first + 16 * M - 1, j0)) continue;
    float s[M][N][4] = {};
    float dp[M][N][4] = {};
    add_products(s, q_tile + mine * C, stage);
    add_products(dp, do_tile + mine * C, stage + v_after_k);
    if (!sight.sees_all(first, j0 + KEYS - 1)) hide<false>(s, sight, first, j0);
    uint32_t ds[M][N][2];
    weigh(ds, s, dp, row_lse, row_delta, scale * LOG2_E);
    add_weighted(d_q, ds, stage);
  }
  write_rows(dq + row * C, first, T, d_q, scale);
}
