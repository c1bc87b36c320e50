// What C4 and C5 share: cosines of 128 images and 256 texts at a time, by tensor cores.
//
// 8 warps share a tile. Each owns 64×64 cosines, as 4×8 results of mma, 16×8 each:
//
//                       256 texts
//                 64   64   64   64
//               ┌────┬────┬────┬────┐
//            64 │ w0 │ w1 │ w2 │ w3 │    For 16 of the E numbers a warp reads 64 + 64 rows of
//   128         ├────┼────┼────┼────┤    32 bytes, and makes 32 products of them: 128 bytes a
//   images   64 │ w4 │ w5 │ w6 │ w7 │    product, which shared memory gives in one cycle.
//               └────┴────┴────┴────┘
//
// Embeddings come in slices of 32 numbers. While one slice is multiplied, two more are on their
// way, those of the next tile too: E may be anything, and shared memory stays small.
#pragma once
#include "warp.cuh"

using bf16 = __nv_bfloat16;
constexpr float LOG2_E = 1.44269504f;  // exp(x) is exp2(x·log₂e), and exp2 is one instruction
constexpr float LN_2 = 0.693147181f;

constexpr int WARPS = 8;
constexpr int THREADS = 32 * WARPS;
constexpr int DOWN = 4;    // products of a warp, each of 16 images
constexpr int ACROSS = 8;  // and of 8 texts
constexpr int IMAGES = 2 * 16 * DOWN;
constexpr int TEXTS = 4 * 8 * ACROSS;

constexpr int SLICE = 32;  // numbers
constexpr int CHUNK = 8;   // numbers in 16 bytes, what one copy moves
constexpr int CHUNKS = SLICE / CHUNK;
constexpr int STAGES = 3;                        // slices in shared memory
constexpr int STAGE = (IMAGES + TEXTS) * SLICE;  // numbers in one

// A tile by its first image and its first text.
struct Tile {
  int i, j;

  __device__ __forceinline__ bool begins_inside(int N) const { return i < N && j < N; }
  __device__ __forceinline__ bool ends_inside(int N) const {
    return i + IMAGES <= N && j + TEXTS <= N;
  }

  // Some image i of the tile meets its own text, i.
  __device__ __forceinline__ bool has_matches() const { return i < j + TEXTS && j < i + IMAGES; }
};

// ---- Who holds which cosine.
//
// Of its warp's 64×64 cosines a lane holds c[m][n][half][e]. The image is 16m + 8·half + lane/4, as
// mma has it. But which texts are the 8 columns of a product is ours to choose, and product n takes
// two of every eight. So what four products leave with a lane are neighbours:
//
//     text       0 1    2 3    4 5    6 7    8 9    …    14 15    …    30 31    32 33    …
//     product    n = 0  n = 1  n = 2  n = 3  n = 0  …    n = 3    …    n = 3    n = 4    …
//     lane % 4   0      0      0      0      1      …    1        …    3        0        …
//
using Cosines = float[DOWN][ACROSS][2][2];

__device__ __forceinline__ int image_of(int m, int half) {
  const int warp = threadIdx.x / 32;
  const int lane = threadIdx.x % 32;
  return warp / 4 * 64 + 16 * m + 8 * half + lane / 4;
}

__device__ __forceinline__ int text_of(int n, int e) {
  const int warp = threadIdx.x / 32;
  const int lane = threadIdx.x % 32;
  return warp % 4 * 64 + n / 4 * 32 + lane % 4 * 8 + n % 4 * 2 + e;
}

// Calls f(m, n, half, e) for each cosine of a lane.
template <class Function>
__device__ __forceinline__ void for_each(Function f) {
#pragma unroll
  for (int m = 0; m < DOWN; m++) {
#pragma unroll
    for (int n = 0; n < ACROSS; n++) {
#pragma unroll
      for (int x = 0; x < 4; x++) f(m, n, x / 2, x % 2);
    }
  }
}

// ---- A slice in shared memory: rows of 4 chunks, so two rows fill all banks.
//
// ldmatrix reads a chunk of each of 8 rows, at once if no two of them lie in the same banks. But
// chunk c of all rows would lie in two places only. So a row keeps it at place c xor t, where t
// goes through 0, 1, 2, 3 along the rows that are read together: two by two for images (rows 0 to
// 7), from one eight to the next for texts (rows 0, 1, 8, 9, 16, 17, 24, 25: see above). It begins
// anew after 8 rows and after 32; so a step from product to product is the same for all lanes.
constexpr int IMAGE_STEP = 2;
constexpr int TEXT_STEP = 8;

template <int STEP>
__device__ __forceinline__ int at(int row, int chunk) {
  const int twist = row / STEP % CHUNKS;
  return row * SLICE + (chunk ^ twist) * CHUNK;
}

// Starts copies of numbers e to e + 31 of rows first, first + 1, … of a matrix (N, E), E a multiple
// of 8. What the matrix does not have becomes 0; there nothing is read, wherever `from` points.
template <int ROWS, int STEP>
__device__ __forceinline__ void start_copy(bf16* slice, const bf16* matrix, int N, int E, int first,
                                           int e) {
  constexpr int TOGETHER = THREADS / CHUNKS;  // rows
  const int row = threadIdx.x / CHUNKS;
  const int chunk = threadIdx.x % CHUNKS;
  const int column = e + chunk * CHUNK;
  const int there = column < E ? N - first - row : 0;  // so many rows from this one on
  const bf16* from = matrix + size_t(first + row) * E + column;
  bf16* to = slice + at<STEP>(row, chunk);
#pragma unroll
  for (int r = 0; r < ROWS; r += TOGETHER) {
    cp_async16(to + r * SLICE, from + size_t(r) * E, r < there);
  }
}

// The slices that a block multiplies, one after the other, of all tiles of its route.
// A Route has `Tile first()` and `advance(tile)`; its end is a tile that begins outside.
template <class Route>
struct Feed {
  const bf16* image;
  const bf16* text;
  int images, texts, E;  // rows that are further on count as 0
  Route route;
  bf16* stages;

  Tile tile = route.first();  // what is fetched next: of this tile
  int e = 0;                  // numbers e to e + 31,
  int fill = 0;               // into this stage
  int ready = 0;              // the stage that is multiplied next

  __device__ __forceinline__ void begin() {
    for (int s = 0; s < STAGES - 1; s++) fetch();
  }

  __device__ __forceinline__ void fetch() {
    bf16* slice = stages + fill * STAGE;
    start_copy<IMAGES, IMAGE_STEP>(slice, image, images, E, tile.i, e);
    start_copy<TEXTS, TEXT_STEP>(slice + IMAGES * SLICE, text, texts, E, tile.j, e);
    cp_async_commit();
    fill = fill + 1 == STAGES ? 0 : fill + 1;
    e += SLICE;
    if (e >= E) {
      e = 0;
      route.advance(tile);
    }
  }

  // The next slice, images and then texts, when it is there for all warps and all have read the one
  // before. That one's place is then free for `fetch`.
  __device__ __forceinline__ const bf16* next() {
    cp_async_wait<STAGES - 2>();
    __syncthreads();
    const bf16* slice = stages + ready * STAGE;
    ready = ready + 1 == STAGES ? 0 : ready + 1;
    return slice;
  }

  // What was fetched past the route's end is of no use; but none may arrive when the block is gone.
  __device__ __forceinline__ void end() { cp_async_wait<0>(); }
};

// What a warp multiplies at once: 16 numbers of its 64 images and of its 64 texts.
struct Operands {
  uint32_t image[DOWN][4];
  uint32_t text[ACROSS / 2][4];  // of two products

  // The k-th 16 numbers of a slice.
  __device__ __forceinline__ void load(const bf16* slice, int k) {
    const int warp = threadIdx.x / 32;
    const int lane = threadIdx.x % 32;
    const int image_row = lane % 16;
    const int text_row = lane % 8 / 2 * 8 + lane / 16 * 2 + lane % 2;
    const bf16* images = slice + warp / 4 * 64 * SLICE;
    const bf16* texts = slice + (IMAGES + warp % 4 * 64) * SLICE;
    images += at<IMAGE_STEP>(image_row, 2 * k + lane / 16);
    texts += at<TEXT_STEP>(text_row, 2 * k + lane / 8 % 2);
#pragma unroll
    for (int m = 0; m < DOWN; m++) ldmatrix_x4(image[m], images + 16 * m * SLICE);
#pragma unroll
    for (int n = 0; n < ACROSS; n += 2) {
      ldmatrix_x4(text[n / 2], texts + (n / 4 * 32 + n % 4 * 2) * SLICE);
    }
  }

  __device__ __forceinline__ void multiply(Cosines& c) const {
#pragma unroll
    for (int m = 0; m < DOWN; m++) {
#pragma unroll
      for (int n = 0; n < ACROSS; n++) {
        const uint32_t* pair = text[n / 2] + n % 2 * 2;
        mma_bf16(reinterpret_cast<float (&)[4]>(c[m][n]), image[m], pair[0], pair[1]);
      }
    }
  }
};

// The cosines of the next tile. Operands are loaded half a slice ahead of their products, so that
// tensor cores never wait for shared memory.
template <class Route>
__device__ __forceinline__ void next_tile(Cosines& c, Feed<Route>& feed) {
  for_each([&](int m, int n, int half, int e) { c[m][n][half][e] = 0.0f; });
  Operands first;
  Operands second;
  const bf16* slice = feed.next();
  first.load(slice, 0);
  feed.fetch();
  for (int e = SLICE; e < feed.E; e += SLICE) {
    second.load(slice, 1);
    first.multiply(c);
    slice = feed.next();
    first.load(slice, 0);
    feed.fetch();
    second.multiply(c);
  }
  second.load(slice, 1);
  first.multiply(c);
  second.multiply(c);
}

// The sum of x over the block, each time in the same order. `scratch` holds a float a warp.
__device__ __forceinline__ float block_sum(float x, float* scratch) {
#pragma unroll
  for (int lanes = 16; lanes > 0; lanes /= 2) x += __shfl_xor_sync(~0u, x, lanes);
  if (threadIdx.x % 32 == 0) scratch[threadIdx.x / 32] = x;
  __syncthreads();
  float sum = 0.0f;
  for (int w = 0; w < WARPS; w++) sum += scratch[w];
  return sum;
}
