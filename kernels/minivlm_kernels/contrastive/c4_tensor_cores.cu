// C4: the streaming loss as a matrix product on tensor cores.
//
// C2 with the loop of a matrix product (score_tile.cuh). Where that would write its tile, this one
// reduces it and forgets it:
//
//                  all texts, 256 at a time →
//              ┌───────┬───────┬ ─ ─ ─ ┬───────┐
//     128      │ tile  │       │       │       │ → (max, sum) of each image, kept by its lanes
//     images   └───┬───┴───┬───┴ ─ ─ ─ ┴───┬───┘   until the band's end
//                  ↓       ↓               ↓
//              one line of (max, sum) of each text, the block's own, in memory
//
// There are as many blocks as the GPU has multiprocessors. Block p takes bands p, p + P, … of 128
// images, and adds all of them up in its line: P lines, however many images there are. A second
// kernel merges the lines. No two blocks write the same number, so there are no atomics, and the
// same bits come out each time.
//
// Specification, in NumPy:
//
//     N, P = len(image), min(2, -(-len(image) // 128))
//     row_lse, diagonal = np.empty(N), np.empty(N)
//     lines = np.full((P, N), -np.inf)
//     for start in range(0, N, 128):
//         band = slice(start, start + 128)
//         logits = scale * image[band] @ text.T
//         row_lse[band] = np.logaddexp.reduce(logits, axis=1)
//         diagonal[band] = np.diagonal(logits, start)
//         p = start // 128 % P
//         lines[p] = np.logaddexp(lines[p], np.logaddexp.reduce(logits, axis=0))
//     col_lse = np.logaddexp.reduce(lines, axis=0)
//     nats = np.mean(((row_lse - diagonal) + (col_lse - diagonal)) / 2)
//
// Costs: 2 N²E operations, 2 N² exponentials. From the L2 cache 2 N²E (1/128 + 1/256) bytes; from
// memory all texts once for P bands. 8 P + 12 bytes a pair beside the embeddings.
//
// Measured: not yet on hardware.
#include "score_tile.cuh"

constexpr float LOWEST = -1e30f;  // where a running maximum begins: below every logit, but finite

// Σ 2^x over some x, as sum · 2^top with the greatest of them as top: nothing can overflow.
struct alignas(8) Partial {
  float top, sum;
};
constexpr Partial NOTHING = {LOWEST, 0.0f};

__device__ __forceinline__ Partial merged(Partial a, Partial b) {
  const float top = fmaxf(a.top, b.top);
  return {top, a.sum * exp2f(a.top - top) + b.sum * exp2f(b.top - top)};
}

__device__ __forceinline__ float log_sum(Partial a) { return (a.top + log2f(a.sum)) * LN_2; }

// Behind the stages in shared memory: what a block reduces its tiles with.
struct Sums {
  Partial rows[DOWN][2][THREADS];  // each lane's own, of its 16 columns; registers are full
  Partial columns[2][TEXTS];    // of 64 images each
  Partial quarters[4][IMAGES];  // of rows, by the four warps that share them
  float warps[WARPS];
};

// A block's bands of 128 images, each from left to right.
struct Bands {
  int N;

  __device__ __forceinline__ Tile first() const { return {int(blockIdx.x) * IMAGES, 0}; }

  __device__ __forceinline__ void advance(Tile& tile) const {
    tile.j += TEXTS;
    if (tile.j >= N) {
      tile.j = 0;
      tile.i += int(gridDim.x) * IMAGES;
    }
  }

  __device__ __forceinline__ bool is_first(Tile tile) const {
    return tile.i < int(gridDim.x) * IMAGES;
  }
  __device__ __forceinline__ bool is_at_end(Tile tile) const { return tile.j + TEXTS >= N; }
};

// Cosines become logits, factor · cosine, and −∞ outside of the N×N pairs. With scale · log₂e as
// the factor, exp(logit) is 2^x.
__device__ __forceinline__ void to_logits(Cosines& x, float factor, Tile tile, int N) {
  for_each([&](int m, int n, int half, int e) { x[m][n][half][e] *= factor; });
  if (tile.ends_inside(N)) return;
  for_each([&](int m, int n, int half, int e) {
    const bool inside = tile.i + image_of(m, half) < N && tile.j + text_of(n, e) < N;
    if (!inside) x[m][n][half][e] = -INFINITY;
  });
}

// Logits of the pairs on the diagonal.
__device__ __forceinline__ void put_matches(float* diagonal, const Cosines& x, Tile tile, int N) {
  for_each([&](int m, int n, int half, int e) {
    const int i = tile.i + image_of(m, half);
    const int j = tile.j + text_of(n, e);
    if (i == j && i < N) put(diagonal + i, x[m][n][half][e] * LN_2);
  });
}

__device__ __forceinline__ void begin_rows(Sums& sums) {
#pragma unroll
  for (int m = 0; m < DOWN; m++) {
    sums.rows[m][0][threadIdx.x] = NOTHING;
    sums.rows[m][1][threadIdx.x] = NOTHING;
  }
}

// Rows: a lane adds the 16 columns that it holds to what it keeps for itself.
__device__ __forceinline__ void add_rows(Sums& sums, const Cosines& x) {
#pragma unroll
  for (int m = 0; m < DOWN; m++) {
#pragma unroll
    for (int half = 0; half < 2; half++) {
      const Partial before = sums.rows[m][half][threadIdx.x];
      float top = before.top;
#pragma unroll
      for (int n = 0; n < ACROSS; n++) top = fmaxf(top, fmaxf(x[m][n][half][0], x[m][n][half][1]));
      float sum = 0.0f;
#pragma unroll
      for (int n = 0; n < ACROSS; n++) {
        sum += exp2f(x[m][n][half][0] - top);
        sum += exp2f(x[m][n][half][1] - top);
      }
      sum += before.sum * exp2f(before.top - top);
      sums.rows[m][half][threadIdx.x] = {top, sum};
    }
  }
}

// Columns: the 8 rows that a lane holds, then the 8 lanes that share a column.
__device__ __forceinline__ void sum_columns(Sums& sums, const Cosines& x) {
  const int warp = threadIdx.x / 32;
  const int lane = threadIdx.x % 32;
#pragma unroll
  for (int n = 0; n < ACROSS; n++) {
#pragma unroll
    for (int e = 0; e < 2; e++) {
      float top = LOWEST;
#pragma unroll
      for (int m = 0; m < DOWN; m++) top = fmaxf(top, fmaxf(x[m][n][0][e], x[m][n][1][e]));
#pragma unroll
      for (int lanes = 4; lanes < 32; lanes *= 2) {
        top = fmaxf(top, __shfl_xor_sync(~0u, top, lanes));
      }
      float sum = 0.0f;
#pragma unroll
      for (int m = 0; m < DOWN; m++) {
        sum += exp2f(x[m][n][0][e] - top);
        sum += exp2f(x[m][n][1][e] - top);
      }
#pragma unroll
      for (int lanes = 4; lanes < 32; lanes *= 2) sum += __shfl_xor_sync(~0u, sum, lanes);
      if (lane < 4) sums.columns[warp / 4][text_of(n, e)] = {top, sum};
    }
  }
}

// At a band's end: the 4 lanes that share a row, then the 4 warps. A thread writes one row.
__device__ __forceinline__ void put_rows(float* row_lse, Sums& sums, Tile tile, int N) {
  const int thread = threadIdx.x;
  const int warp = thread / 32;
#pragma unroll
  for (int m = 0; m < DOWN; m++) {
#pragma unroll
    for (int half = 0; half < 2; half++) {
      Partial row = sums.rows[m][half][thread];
#pragma unroll
      for (int lanes = 1; lanes < 4; lanes *= 2) {
        const float top = __shfl_xor_sync(~0u, row.top, lanes);
        const float sum = __shfl_xor_sync(~0u, row.sum, lanes);
        row = merged(row, {top, sum});
      }
      if (thread % 4 == 0) sums.quarters[warp % 4][image_of(m, half)] = row;
    }
  }
  __syncthreads();  // all four quarters are there
  const int i = tile.i + thread;
  if (thread < IMAGES && i < N) {
    Partial row = sums.quarters[0][thread];
    for (int w = 1; w < 4; w++) row = merged(row, sums.quarters[w][thread]);
    put(row_lse + i, log_sum(row));
  }
}

// Log-sum-exps of rows (N,), logits of the diagonal (N,), and (max, sum) of columns (P, N, 2).
extern "C" __global__ void __launch_bounds__(THREADS, 1)
info_nce(const bf16* image, const bf16* text, const float* scale, int N, int E, float* row_lse,
         float* diagonal, float* lines) {
  DYNAMIC_SHARED(bf16, shared);
  Sums& sums = *reinterpret_cast<Sums*>(shared + STAGES * STAGE);
  Partial* line = reinterpret_cast<Partial*>(lines) + size_t(blockIdx.x) * N;
  const Bands bands = {N};
  Feed<Bands> feed = {image, text, N, N, E, bands, shared};
  const float factor = *scale * LOG2_E;

  feed.begin();
  for (Tile tile = bands.first(); tile.begins_inside(N); bands.advance(tile)) {
    if (tile.j == 0) begin_rows(sums);
    Cosines x;
    next_tile(x, feed);
    to_logits(x, factor, tile, N);
    if (tile.has_matches()) put_matches(diagonal, x, tile, N);

    const int column = threadIdx.x;
    const int j = tile.j + column;
    Partial before = NOTHING;  // asked for now, for memory is slow
    if (j < N && !bands.is_first(tile)) before = line[j];
    add_rows(sums, x);
    sum_columns(sums, x);
    __syncthreads();  // both halves of the columns are there
    if (j < N) line[j] = merged(before, merged(sums.columns[0][column], sums.columns[1][column]));
    if (bands.is_at_end(tile)) put_rows(row_lse, sums, tile, N);
  }
  feed.end();
}

// P lines become one log-sum-exp a column. What the diagonal holds becomes each pair's surprise,
// the mean of the image's among texts and the text's among images. A thread a pair.
extern "C" __global__ void merge_lines(const float* lines, int P, int N, const float* row_lse,
                                       float* col_lse, float* diagonal) {
  const int j = blockIdx.x * blockDim.x + threadIdx.x;
  if (j >= N) return;
  Partial column = NOTHING;
  for (int p = 0; p < P; p++) {
    column = merged(column, reinterpret_cast<const Partial*>(lines)[size_t(p) * N + j]);
  }
  const float lse = log_sum(column);
  const float match = diagonal[j];
  put(col_lse + j, lse);
  put(diagonal + j, 0.5f * ((row_lse[j] - match) + (lse - match)));
}

// Σ −log σ(z) over a lane's pairs, z = ±(logit + bias), + where image and text match. That is
// max(−z, 0) + log(1 + t) with t = exp(−|z|); and of 16 pairs, Σ log(1 + t) = log(1 + q), where
// 1 + q is the product of all 1 + t. Small t are not lost in q, as they would be in 1 + t.
template <bool MATCHES>
__device__ __forceinline__ float surprise(const Cosines& x, float bias, Tile tile, int N) {
  float sum = 0.0f;
#pragma unroll
  for (int m = 0; m < DOWN; m++) {
#pragma unroll
    for (int half = 0; half < 2; half++) {
      const int i = tile.i + image_of(m, half);
      float q = 0.0f;
#pragma unroll
      for (int n = 0; n < ACROSS; n++) {
#pragma unroll
        for (int e = 0; e < 2; e++) {
          const bool match = MATCHES && i < N && i == tile.j + text_of(n, e);
          const float no = x[m][n][half][e] + bias;
          const float t = exp2f(fabsf(no) * -LOG2_E);
          sum += fmaxf(match ? -no : no, 0.0f);
          q += t * (1.0f + q);
        }
      }
      sum += log1pf(q);
    }
  }
  return sum;
}

// SigLIP's loss: the surprises of each band of images with all texts.
extern "C" __global__ void __launch_bounds__(THREADS, 1)
sigmoid(const bf16* image, const bf16* text, const float* scale, const float* bias, int N, int E,
        float* surprises) {
  DYNAMIC_SHARED(bf16, shared);
  Sums& sums = *reinterpret_cast<Sums*>(shared + STAGES * STAGE);
  const Bands bands = {N};
  Feed<Bands> feed = {image, text, N, N, E, bands, shared};

  feed.begin();
  float sum = 0.0f;
  for (Tile tile = bands.first(); tile.begins_inside(N); bands.advance(tile)) {
    Cosines x;
    next_tile(x, feed);
    to_logits(x, *scale, tile, N);
    sum += tile.has_matches() ? surprise<true>(x, *bias, tile, N)
                              : surprise<false>(x, *bias, tile, N);
    if (bands.is_at_end(tile)) {
      const float band = block_sum(sum, sums.warps);
      if (threadIdx.x == 0) put(surprises + tile.i / IMAGES, band);
      sum = 0.0f;
    }
  }
  feed.end();
}
