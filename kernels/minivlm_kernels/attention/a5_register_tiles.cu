// A5: feed the arithmetic from registers.
//
// A3's thread reads a number from shared memory for every multiply-add; in the cycle that a warp's
// read takes, an SM could do the multiply-adds of four warps. Here a thread owns a rectangle of
// scores, 8 × 4: for each channel it reads 8 numbers of q and 4 of k, four channels at once, and
// does 32 multiply-adds with them. Likewise for o: 8 weights, C/16 values, and a multiply-add for
// each pair.
//
// A block has 64 queries, and each of its 4 warps 16 of them with all 64 keys of a tile. Its lanes,
// 16 values of tx by 2 of ty, share those out like this:
//
//      key    0  1  …  15  16  …  32  …  48  …  63
//     row 0   #  .      .   #      #      #      .        # is owned by lane tx = 0, ty = 0:
//     row 1   .  .      .   .      .      .      .        rows ty, ty + 2, … ty + 14,
//     row 2   #  .      .   #      #      #      .        keys tx, tx + 16, tx + 32, tx + 48
//      …
//     row 15  .  .      .   .      .      .      .
//
// Lanes 2·tx and 2·tx + 1 read the same keys, lanes of one ty the same queries: shared memory
// sends a number once to all who ask for it. What differs lies in different banks, for rows are
// padded. A row's scores are all in one warp, and shuffles find their maximum. The weights then
// take the place of k.
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
// Costs: for each head 4·T·S·C operations in float32; fused multiply-adds for a block of 64 queries
// and a tile of 64 keys, 2·64·64·C. From shared memory, of 128 bytes a cycle: 24 cycles for 32
// cycles of multiply-adds in q·k, 32 for 64 in p·v where C = 128. From memory, k and v once for
// each 64 queries: T/64 · 8·S·C bytes, most of them from the L2 cache.
//
// Measured: not yet on hardware.
#include "sight.cuh"

constexpr int THREADS = 128;  // 4 warps
constexpr int QUERIES = 64;   // of a block
constexpr int KEYS = 64;      // of a tile

// What a thread owns.
constexpr int MY_ROWS = 8;
constexpr int MY_KEYS = 4;
constexpr int MY_CHANNELS = C / 16;
constexpr int AT_ONCE = MY_CHANNELS % 4 == 0 ? 4 : MY_CHANNELS % 2 == 0 ? 2 : 1;  // neighbours

// Numbers that are read and written together.
template <int n>
struct alignas(4 * n) Floats {
  float at[n];
};

// Lengths of rows in shared memory, in numbers. Half a warp reads 16 bytes at once of each of 2
// rows of q, or of 8 of k: with 4 numbers more than channels, all in different banks. Weights are
// written one by one, in 2 rows at once, which 16 more keep apart.
constexpr int Q_ROW = C + 4;
constexpr int K_ROW = C + 4;
constexpr int V_ROW = C;
constexpr int P_ROW = KEYS + 16;
constexpr int K_OR_P = KEYS * K_ROW > QUERIES * P_ROW ? KEYS * K_ROW : QUERIES * P_ROW;

// What a thread keeps of its rows.
struct Rows {
  float o[MY_ROWS][MY_CHANNELS];  // Σ p v so far
  float top[MY_ROWS];             // the greatest score so far
  float sum[MY_ROWS];             // Σ p so far, of this thread's keys
};

// Copies rows first … first + 63 of a matrix (count, C); rows past the last become zeros.
__device__ __forceinline__ void load_tile(float* tile, int row_length, const float* matrix,
                                          int first, int count) {
  for (int x = threadIdx.x; x < 64 * C / 4; x += THREADS) {
    const int row = x / (C / 4);
    const int c = x % (C / 4) * 4;
    const bool inside = first + row < count;
    const size_t from = inside ? size_t(first + row) * C + c : 0;
    copy16(tile + row * row_length + c, matrix + from, inside);
  }
}

// s = q · k over all channels, for this thread's rows and keys.
__device__ __forceinline__ void score(float (&s)[MY_ROWS][MY_KEYS], const float* q_rows,
                                      const float* k_rows) {
#pragma unroll 4
  for (int c = 0; c < C; c += 4) {
    Floats<4> k[MY_KEYS];
#pragma unroll
    for (int f = 0; f < MY_KEYS; f++) {
      k[f] = *reinterpret_cast<const Floats<4>*>(k_rows + 16 * f * K_ROW + c);
    }
#pragma unroll
    for (int e = 0; e < MY_ROWS; e++) {
      const Floats<4> q = *reinterpret_cast<const Floats<4>*>(q_rows + 2 * e * Q_ROW + c);
#pragma unroll
      for (int f = 0; f < MY_KEYS; f++) {
#pragma unroll
        for (int x = 0; x < 4; x++) s[e][f] = fmaf(q.at[x], k[f].at[x], s[e][f]);
      }
    }
  }
}

// Scores get their scale; those that must not be seen become −∞.
__device__ __forceinline__ void scale_and_hide(float (&s)[MY_ROWS][MY_KEYS], const Sight& sight,
                                               int i0, int j0, float scale) {
#pragma unroll
  for (int e = 0; e < MY_ROWS; e++) {
#pragma unroll
    for (int f = 0; f < MY_KEYS; f++) {
      s[e][f] = sight.sees(i0 + 2 * e, j0 + 16 * f) ? s[e][f] * scale : -INFINITY;
    }
  }
}

// Scores s become weights p = exp(s − top); where they raise top, what was summed shrinks.
__device__ __forceinline__ void softmax_step(float (&s)[MY_ROWS][MY_KEYS], Rows& rows) {
#pragma unroll
  for (int e = 0; e < MY_ROWS; e++) {
    float top = fmaxf(fmaxf(s[e][0], s[e][1]), fmaxf(s[e][2], s[e][3]));
#pragma unroll
    for (int step = 16; step > 1; step /= 2) top = fmaxf(top, __shfl_xor_sync(~0u, top, step));
    top = fmaxf(top, rows.top[e]);
    const float base = top == -INFINITY ? 0.0f : top;  // −∞ − (−∞) would be NaN
    const float shrink = expf(rows.top[e] - base);
    rows.top[e] = top;
    rows.sum[e] *= shrink;
#pragma unroll
    for (int f = 0; f < MY_KEYS; f++) {
      s[e][f] = expf(s[e][f] - base);
      rows.sum[e] += s[e][f];
    }
#pragma unroll
    for (int w = 0; w < MY_CHANNELS; w++) rows.o[e][w] *= shrink;
  }
}

// o += p · v over the tile's keys, for this thread's rows and channels.
__device__ __forceinline__ void accumulate(Rows& rows, const float* p_rows,
                                           const float* v_columns) {
#pragma unroll 2
  for (int j = 0; j < KEYS; j += 4) {
    Floats<4> p[MY_ROWS];
#pragma unroll
    for (int e = 0; e < MY_ROWS; e++) {
      p[e] = *reinterpret_cast<const Floats<4>*>(p_rows + 2 * e * P_ROW + j);
    }
#pragma unroll
    for (int x = 0; x < 4; x++) {
#pragma unroll
      for (int w = 0; w < MY_CHANNELS; w += AT_ONCE) {
        const Floats<AT_ONCE> v =
            *reinterpret_cast<const Floats<AT_ONCE>*>(v_columns + (j + x) * V_ROW + 16 * w);
#pragma unroll
        for (int e = 0; e < MY_ROWS; e++) {
#pragma unroll
          for (int y = 0; y < AT_ONCE; y++) {
            rows.o[e][w + y] = fmaf(p[e].at[x], v.at[y], rows.o[e][w + y]);
          }
        }
      }
    }
  }
}

// o and lse of this thread's rows: first, first + 2, …
__device__ __forceinline__ void finish(const Rows& rows, float* o, float* lse, int first, int T) {
  const int tx = threadIdx.x % 32 / 2;
#pragma unroll
  for (int e = 0; e < MY_ROWS; e++) {
    float sum = rows.sum[e];
#pragma unroll
    for (int step = 16; step > 1; step /= 2) sum += __shfl_xor_sync(~0u, sum, step);
    const float inverse = sum > 0.0f ? 1.0f / sum : 0.0f;
    const int i = first + 2 * e;
    if (i >= T) continue;
#pragma unroll
    for (int w = 0; w < MY_CHANNELS; w += AT_ONCE) {
      Floats<AT_ONCE> part;
#pragma unroll
      for (int y = 0; y < AT_ONCE; y++) part.at[y] = rows.o[e][w + y] * inverse;
      put(reinterpret_cast<Floats<AT_ONCE>*>(o + size_t(i) * C + 16 * w + tx * AT_ONCE), part);
    }
    if (tx == 0) put(lse + i, sum > 0.0f ? rows.top[e] + logf(sum) : -INFINITY);
  }
}

// Grid: B·H·⌈T/64⌉ blocks. Shared: 64·Q_ROW + K_OR_P + 64·V_ROW numbers in float.
extern "C" __global__ void __launch_bounds__(THREADS, 2)
    attention_register_tiles(const float* q, const float* k, const float* v, float* o, float* lse,
                             const unsigned char* mask, long long mask_b, long long mask_h,
                             long long mask_t, long long mask_s, int H, int G, int T, int S,
                             int reach, float scale) {
  DYNAMIC_SHARED(float, shared);
  float* q_tile = shared;
  float* k_tile = q_tile + QUERIES * Q_ROW;
  float* p_tile = k_tile;
  float* v_tile = k_tile + K_OR_P;

  const int blocks = (T + QUERIES - 1) / QUERIES;  // of a head
  const int head = blockIdx.x / blocks;
  const int i0 = blockIdx.x % blocks * QUERIES;
  const int tx = threadIdx.x % 32 / 2;
  const int ty = threadIdx.x % 2;
  const int row = threadIdx.x / 32 * 16 + ty;  // of the block: this thread's first
  const Sight sight = {mask ? mask + head / H * mask_b + head % H * mask_h : nullptr,
                       mask_t, mask_s, T, S, reach};
  q += size_t(head) * T * C;
  k += size_t(head / (H / G)) * S * C;
  v += size_t(head / (H / G)) * S * C;

  Rows rows;
#pragma unroll
  for (int e = 0; e < MY_ROWS; e++) {
    rows.top[e] = -INFINITY;
    rows.sum[e] = 0.0f;
#pragma unroll
    for (int w = 0; w < MY_CHANNELS; w++) rows.o[e][w] = 0.0f;
  }

  load_tile(q_tile, Q_ROW, q, i0, T);
  const int keys = sight.keys_for(min(T, i0 + QUERIES) - 1);
  for (int j0 = 0; j0 < keys; j0 += KEYS) {
    load_tile(k_tile, K_ROW, k, j0, S);
    load_tile(v_tile, V_ROW, v, j0, S);
    __syncthreads();
    float s[MY_ROWS][MY_KEYS] = {};
    score(s, q_tile + row * Q_ROW, k_tile + tx * K_ROW);
    scale_and_hide(s, sight, i0 + row, j0 + tx, scale);
    softmax_step(s, rows);
    __syncthreads();  // all have read k, and p may take its place
#pragma unroll
    for (int e = 0; e < MY_ROWS; e++) {
#pragma unroll
      for (int f = 0; f < MY_KEYS; f++) p_tile[(row + 2 * e) * P_ROW + tx + 16 * f] = s[e][f];
    }
    __syncwarp();  // a row's weights come from its own warp
    accumulate(rows, p_tile + row * P_ROW, v_tile + tx * AT_ONCE);
    __syncthreads();  // all have read p and v, and the next tile may take their place
  }

  finish(rows, o + size_t(head) * T * C, lse + size_t(head) * T, i0 + row, T);
}
