// A6: tensor cores.
//
// In bf16, one instruction of a whole warp (mma.sync) multiplies 16×16 by 16×8 and adds in float32:
// 4096 operations, where A5's fused multiply-adds did 64. Who holds which number is fixed. With
// g = lane / 4 and t = lane % 4, a lane holds of the result d, and wants of the left operand a:
//
//              columns 2t, 2t+1    columns 2t+8, 2t+9
//     row g      d[0], d[1]                                 d: 16×8, float32
//     row g+8    d[2], d[3]
//
//     row g      a[0], a pair        a[2], a pair           a: 16×16, bf16
//     row g+8    a[1], a pair        a[3], a pair
//
// So two results side by side, rounded to bf16, are a left operand: s = q kᵀ becomes p, and p goes
// into p · v without leaving the registers (FlashAttention-2, arXiv:2307.08691). A warp owns 16
// queries with all their keys, so that a row's maximum is found among four lanes.
//
// ldmatrix brings operands from shared memory in this layout, 8 rows of 16 bytes at once; the rows
// are padded by 16 bytes, or those 8 would lie in the same banks and be read one after the other.
// v is transposed on the way.
//
// Specification, in NumPy:
//
//     scores = np.where(look, q @ k.mT * C**-0.5, -np.inf)
//     top = np.maximum(scores.max(-1, keepdims=True), -1e30)
//     p = np.exp(scores - top)
//     total = p.sum(-1, keepdims=True)
//     o = p @ v / np.maximum(total, 1e-30)
//     with np.errstate(divide="ignore"):
//         lse = (top + np.log(total))[..., 0]
//
// Costs: for each head 4·T·S·C operations; products of 16×8×16 for a block of 64 queries and a tile
// of 64 keys, 2·(64/16)·(64/8)·(C/16) = 4·C. From memory, k and v once for each 64 queries:
// T/64 · 4·S·C bytes, most of them from the L2 cache.
//
// Measured: not yet on hardware.
#include "sight.cuh"

constexpr int THREADS = 128;  // 4 warps
constexpr int QUERIES = 64;   // of a block: each warp owns 16
constexpr int KEYS = 64;      // of a tile
constexpr int N = KEYS / 8;   // results of an mma, side by side, that hold a row's scores
constexpr int ROW = C + 8;    // numbers from row to row in shared memory

// What a lane keeps of its warp's 16 rows: half 0 is row g, half 1 row g + 8.
struct Rows {
  float o[C / 8][4];  // Σ p v so far
  float top[2];       // the greatest score so far
  float sum[2];       // Σ p so far, of this lane's columns
};

// Copies rows first … first + 63 of a matrix (count, C); rows past the last become zeros.
__device__ __forceinline__ void load_tile(bf16* tile, const bf16* matrix, int first, int count) {
  for (int x = threadIdx.x; x < 64 * C / 8; x += THREADS) {
    const int row = x / (C / 8);
    const int c = x % (C / 8) * 8;
    const bool inside = first + row < count;
    const size_t from = inside ? size_t(first + row) * C + c : 0;
    copy16(tile + row * ROW + c, matrix + from, inside);
  }
}

// This warp's 16 queries as left operands, 16 channels each: they stay in registers.
__device__ __forceinline__ void load_queries(uint32_t (&q)[C / 16][4], const bf16* q_rows) {
  const int lane = threadIdx.x % 32;
#pragma unroll
  for (int c = 0; c < C / 16; c++) {
    ldmatrix_x4(q[c], q_rows + lane % 16 * ROW + 16 * c + lane / 16 * 8);
  }
}

// s = q kᵀ.
__device__ __forceinline__ void score(float (&s)[N][4], const uint32_t (&q)[C / 16][4],
                                      const bf16* k_tile) {
  const int lane = threadIdx.x % 32;
#pragma unroll
  for (int c = 0; c < C / 16; c++) {
#pragma unroll
    for (int n = 0; n < N; n += 2) {
      uint32_t k[4];  // of 16 keys, 16 channels: two right operands
      const int key = 8 * n + lane / 16 * 8 + lane % 8;
      ldmatrix_x4(k, k_tile + key * ROW + 16 * c + lane / 8 % 2 * 8);
      mma_bf16(s[n], q[c], k[0], k[1]);
      mma_bf16(s[n + 1], q[c], k[2], k[3]);
    }
  }
}

// Scores get their scale; those that must not be seen become −∞.
__device__ __forceinline__ void scale_and_hide(float (&s)[N][4], const Sight& sight, int i0, int j0,
                                               float scale) {
  const int lane = threadIdx.x % 32;
#pragma unroll
  for (int n = 0; n < N; n++) {
#pragma unroll
    for (int e = 0; e < 4; e++) {
      const int i = i0 + lane / 4 + e / 2 * 8;
      const int j = j0 + 8 * n + lane % 4 * 2 + e % 2;
      s[n][e] = sight.sees(i, j) ? s[n][e] * scale : -INFINITY;
    }
  }
}

// Scores s become weights p = exp(s − top); where they raise top, what was summed shrinks.
__device__ __forceinline__ void softmax_step(float (&s)[N][4], Rows& rows) {
#pragma unroll
  for (int half = 0; half < 2; half++) {
    float top = rows.top[half];
#pragma unroll
    for (int n = 0; n < N; n++) top = fmaxf(top, fmaxf(s[n][2 * half], s[n][2 * half + 1]));
    top = quad_max(top);
    const float base = top == -INFINITY ? 0.0f : top;  // −∞ − (−∞) would be NaN
    const float shrink = expf(rows.top[half] - base);
    rows.top[half] = top;
    rows.sum[half] *= shrink;
#pragma unroll
    for (int n = 0; n < N; n++) {
#pragma unroll
      for (int e = 2 * half; e < 2 * half + 2; e++) {
        s[n][e] = expf(s[n][e] - base);
        rows.sum[half] += s[n][e];
      }
    }
#pragma unroll
    for (int c = 0; c < C / 8; c++) {
      rows.o[c][2 * half] *= shrink;
      rows.o[c][2 * half + 1] *= shrink;
    }
  }
}

// o += p · v: two neighbouring results of 16×8, rounded to bf16, are a left operand of 16×16.
__device__ __forceinline__ void accumulate(Rows& rows, const float (&p)[N][4], const bf16* v_tile) {
  const int lane = threadIdx.x % 32;
#pragma unroll
  for (int n = 0; n < N; n += 2) {
    const uint32_t left[4] = {pack_bf16(p[n][0], p[n][1]), pack_bf16(p[n][2], p[n][3]),
                              pack_bf16(p[n + 1][0], p[n + 1][1]),
                              pack_bf16(p[n + 1][2], p[n + 1][3])};
#pragma unroll
    for (int c = 0; c < C / 8; c += 2) {
      uint32_t v[4];  // of 16 keys, 16 channels: two right operands
      ldmatrix_x4_trans(v, v_tile + (8 * n + lane % 16) * ROW + 8 * c + lane / 16 * 8);
      mma_bf16(rows.o[c], left, v[0], v[1]);
      mma_bf16(rows.o[c + 1], left, v[2], v[3]);
    }
  }
}

// o and lse of this warp's rows, from the first on.
__device__ __forceinline__ void finish(const Rows& rows, bf16* o, float* lse, int first, int T) {
  const int lane = threadIdx.x % 32;
#pragma unroll
  for (int half = 0; half < 2; half++) {
    const float sum = quad_sum(rows.sum[half]);
    const float inverse = sum > 0.0f ? 1.0f / sum : 0.0f;
    const int i = first + lane / 4 + 8 * half;
    if (i >= T) continue;
    uint32_t* pairs = reinterpret_cast<uint32_t*>(o + size_t(i) * C) + lane % 4;
#pragma unroll
    for (int c = 0; c < C / 8; c++) {
      const float left = rows.o[c][2 * half] * inverse;
      const float right = rows.o[c][2 * half + 1] * inverse;
      put(pairs + 4 * c, pack_bf16(left, right));
    }
    if (lane % 4 == 0) put(lse + i, sum > 0.0f ? rows.top[half] + logf(sum) : -INFINITY);
  }
}

// Grid: B·H·⌈T/64⌉ blocks. Shared: 3·64·ROW numbers in bf16.
extern "C" __global__ void __launch_bounds__(THREADS, 2)
    attention_tensor_cores(const bf16* q, const bf16* k, const bf16* v, bf16* o, float* lse,
                           const unsigned char* mask, long long mask_b, long long mask_h,
                           long long mask_t, long long mask_s, int H, int G, int T, int S,
                           int reach, float scale) {
  DYNAMIC_SHARED(bf16, shared);
  bf16* q_tile = shared;
  bf16* k_tile = q_tile + QUERIES * ROW;
  bf16* v_tile = k_tile + KEYS * ROW;

  const int blocks = (T + QUERIES - 1) / QUERIES;  // of a head
  const int head = blockIdx.x / blocks;
  const int i0 = blockIdx.x % blocks * QUERIES;
  const int mine = threadIdx.x / 32 * 16;  // of the block: this warp's first row
  const Sight sight = {mask ? mask + head / H * mask_b + head % H * mask_h : nullptr,
                       mask_t, mask_s, T, S, reach};
  q += size_t(head) * T * C;
  k += size_t(head / (H / G)) * S * C;
  v += size_t(head / (H / G)) * S * C;
  o += size_t(head) * T * C;
  lse += size_t(head) * T;

  Rows rows;
#pragma unroll
  for (int half = 0; half < 2; half++) {
    rows.top[half] = -INFINITY;
    rows.sum[half] = 0.0f;
  }
#pragma unroll
  for (int c = 0; c < C / 8; c++) {
#pragma unroll
    for (int e = 0; e < 4; e++) rows.o[c][e] = 0.0f;
  }

  load_tile(q_tile, q, i0, T);
  __syncthreads();
  uint32_t q_rows[C / 16][4];
  load_queries(q_rows, q_tile + mine * ROW);
  const int keys = sight.keys_for(min(T, i0 + QUERIES) - 1);
  for (int j0 = 0; j0 < keys; j0 += KEYS) {
    load_tile(k_tile, k, j0, S);
    load_tile(v_tile, v, j0, S);
    __syncthreads();
    float s[N][4] = {};
    score(s, q_rows, k_tile);
    scale_and_hide(s, sight, i0 + mine, j0, scale);
    softmax_step(s, rows);
    accumulate(rows, s, v_tile);
    __syncthreads();  // all have read k and v, and the next tile may take their place
  }
  finish(rows, o, lse, i0 + mine, T);
}
