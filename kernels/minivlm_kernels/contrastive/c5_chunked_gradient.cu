// C5: the gradient, 1024 images at a time; a library does the products.
//
// The slopes of the loss along the cosines are an N×N matrix G; the gradients are d_image = G text
// and d_text = Gᵀ image. C3 makes a tile of G and multiplies it on the spot. But plain products are
// what libraries do best. They want G in memory, so there it is: a strip at a time, in bf16, in a
// workspace that all strips share.
//
//                    all N texts
//              ┌────────────────────────┐
//              ┆                        ┆
//              ├────────────────────────┤
//     1024     │ ▓ ▓ ▓ ▓   G of a strip │   →  d_image of the strip = G · text
//     images   ├────────────────────────┤
//              ┆           ↓            ┆
//              └────────────────────────┘
//               d_text += Gᵀ · the strip's images        (cuda.py calls the library)
//
// The kernels here are C4's loop with another end: cosines become slopes, and with their neighbours
// (see score_tile.cuh) leave as 16 bytes at once.
//
// Specification, in NumPy:
//
//     N, E = image.shape
//     d_image, d_text, d_log_scale = np.empty((N, E)), np.zeros((N, E)), 0
//     for start in range(0, N, 1024):
//         strip = slice(start, start + 1024)
//         cosines = image[strip] @ text.T
//         logits = scale * cosines
//         p = np.exp(logits - row_lse[strip, None]) + np.exp(logits - col_lse)
//         match = np.eye(len(p), N, start)
//         G = scale / N * (p / 2 - match)
//         d_image[strip] = G @ text
//         d_text += G.T @ image[strip]
//         d_log_scale += np.sum(G * cosines)
//
// Costs: 2 N²E operations here, 4 N²E in the library; with C4's 2 N²E that is 8 in all, where two
// losses of one direction each, their cosines computed anew for either gradient, take 20. 2 N²
// exponentials; 2 N² bytes of slopes are written and twice read, d_text is read and written
// N / 1024 times. The workspace is 2 · 1024 bytes a pair.
//
// Measured: not yet on hardware.
//
// Source: a reused workspace of 1024 rows between a loss and its products, as in Liger-Kernel's
// fused linear cross-entropy, arXiv:2410.10989.
#include "score_tile.cuh"

// The tiles of a strip, dealt out to P blocks: those of the first 256 texts from top to bottom,
// then those of the next. Blocks that run at the same time so read the same texts.
struct Strip {
  int start;               // its first image
  int height;              // of its tiles, all together
  int step_down, step_on;  // to the tile P further

  __device__ __forceinline__ Strip(int start, int end) : start(start) {
    const int down = (end - start + IMAGES - 1) / IMAGES;
    height = down * IMAGES;
    step_down = int(gridDim.x) % down * IMAGES;
    step_on = int(gridDim.x) / down * TEXTS;
  }

  __device__ __forceinline__ Tile first() const {
    const int down = height / IMAGES;
    return {start + int(blockIdx.x) % down * IMAGES, int(blockIdx.x) / down * TEXTS};
  }

  __device__ __forceinline__ void advance(Tile& tile) const {
    tile.i += step_down;
    tile.j += step_on;
    if (tile.i >= start + height) {
      tile.i -= height;
      tile.j += TEXTS;
    }
  }
};

// How InfoNCE pulls a pair apart: by what is thought of it, from either side, less what is true.
// No probability is over 1, which holds where no one asks, too: outside of the N×N pairs.
struct InfoNce {
  const float* row_lse;
  const float* col_lse;
  float factor;

  // What there is to know of an image, and of a text. Outside, cosines are 0 and no pull counts.
  __device__ __forceinline__ float of_image(int i, bool inside) const {
    return inside ? row_lse[i] * LOG2_E : 0.0f;
  }
  __device__ __forceinline__ float of_text(int j, bool inside) const {
    return inside ? col_lse[j] * LOG2_E : 0.0f;
  }

  __device__ __forceinline__ float pull(float cosine, float image, float text, bool match) const {
    const float x = cosine * factor;
    const float p = exp2f(fminf(x - image, 0.0f)) + exp2f(fminf(x - text, 0.0f));
    return match ? p - 2.0f : p;
  }
};

// How SigLIP's loss does: by the chance of a match, less 1 where there is one.
struct Sigmoid {
  float factor;
  float bias;

  // Outside there is no chance: 1 / (1 + exp(∞)) = 0.
  __device__ __forceinline__ float of_image(int, bool inside) const {
    return inside ? bias : -INFINITY;
  }
  __device__ __forceinline__ float of_text(int, bool inside) const {
    return inside ? 0.0f : -INFINITY;
  }

  __device__ __forceinline__ float pull(float cosine, float image, float text, bool match) const {
    const float yes = cosine * factor + image + text;
    const float wrong = __fdividef(1.0f, 1.0f + exp2f(match ? yes : -yes));
    return match ? -wrong : wrong;
  }
};

// What a block adds up over its pairs.
struct Totals {
  float along_scale = 0.0f;  // Σ pull · cosine
  float along_bias = 0.0f;   // Σ pull
};

// Puts the slopes of a tile, pull · weight, into the workspace, whose rows hold `pitch` numbers.
template <bool MATCHES, class Loss>
__device__ __forceinline__ void put_slopes(bf16* G, int pitch, const Cosines& c, const Loss& loss,
                                           Tile tile, int start, int end, int N, float weight,
                                           Totals& totals) {
  Totals here;
  float images[DOWN][2];
#pragma unroll
  for (int m = 0; m < DOWN; m++) {
#pragma unroll
    for (int half = 0; half < 2; half++) {
      const int i = tile.i + image_of(m, half);
      images[m][half] = loss.of_image(i, i < end);
    }
  }
#pragma unroll
  for (int n0 = 0; n0 < ACROSS; n0 += 4) {
    const int j0 = tile.j + text_of(n0, 0);  // of eight neighbours
    float texts[4][2];
#pragma unroll
    for (int x = 0; x < 8; x++) texts[x / 2][x % 2] = loss.of_text(j0 + x, j0 + x < N);
#pragma unroll
    for (int m = 0; m < DOWN; m++) {
#pragma unroll
      for (int half = 0; half < 2; half++) {
        const int i = tile.i + image_of(m, half);
        uint32_t words[4];
#pragma unroll
        for (int n = 0; n < 4; n++) {
          float pulls[2];
#pragma unroll
          for (int e = 0; e < 2; e++) {
            const float cosine = c[m][n0 + n][half][e];
            const bool match = MATCHES && i < end && i == j0 + 2 * n + e;
            pulls[e] = loss.pull(cosine, images[m][half], texts[n][e], match);
            here.along_scale += pulls[e] * cosine;
            here.along_bias += pulls[e];
          }
          words[n] = pack_bf16(pulls[0] * weight, pulls[1] * weight);
        }
        if (i < end && j0 < N) {
          bf16* to = G + size_t(i - start) * pitch + j0;
          put(reinterpret_cast<uint4*>(to), make_uint4(words[0], words[1], words[2], words[3]));
        }
      }
    }
  }
  totals.along_scale += here.along_scale;
  totals.along_bias += here.along_bias;
}

// The slopes of a strip.
template <class Loss>
__device__ __forceinline__ Totals put_strip(bf16* G, const bf16* image, const bf16* text, int N,
                                            int E, int start, int end, const Loss& loss,
                                            float weight, bf16* stages) {
  const int pitch = (N + CHUNK - 1) / CHUNK * CHUNK;
  const Strip strip(start, end);
  Feed<Strip> feed = {image, text, end, N, E, strip, stages};
  Totals totals;
  feed.begin();
  for (Tile tile = strip.first(); tile.begins_inside(N); strip.advance(tile)) {
    Cosines c;
    next_tile(c, feed);
    if (tile.has_matches()) {
      put_slopes<true>(G, pitch, c, loss, tile, start, end, N, weight, totals);
    } else {
      put_slopes<false>(G, pitch, c, loss, tile, start, end, N, weight, totals);
    }
  }
  feed.end();
  return totals;
}

extern "C" __global__ void __launch_bounds__(THREADS, 1)
info_nce_slopes(const bf16* image, const bf16* text, const float* scale, const float* row_lse,
                const float* col_lse, int N, int E, int start, int end, bf16* G,
                float* d_log_scale) {
  DYNAMIC_SHARED(bf16, shared);
  const InfoNce loss = {row_lse, col_lse, *scale * LOG2_E};
  const float weight = 0.5f * *scale / N;
  const Totals totals = put_strip(G, image, text, N, E, start, end, loss, weight, shared);
  float* scratch = reinterpret_cast<float*>(shared + STAGES * STAGE);
  const float along_scale = block_sum(totals.along_scale, scratch);
  if (threadIdx.x == 0) put(d_log_scale + blockIdx.x, along_scale * weight);
}

extern "C" __global__ void __launch_bounds__(THREADS, 1)
sigmoid_slopes(const bf16* image, const bf16* text, const float* scale, const float* bias, int N,
               int E, int start, int end, bf16* G, float* d_log_scale, float* d_bias) {
  DYNAMIC_SHARED(bf16, shared);
  const Sigmoid loss = {*scale * LOG2_E, *bias * LOG2_E};
  const float weight = *scale / N;
  const Totals totals = put_strip(G, image, text, N, E, start, end, loss, weight, shared);
  float* scratch = reinterpret_cast<float*>(shared + STAGES * STAGE);
  const float along_scale = block_sum(totals.along_scale, scratch);
  const float along_bias = block_sum(totals.along_bias, scratch + WARPS);
  if (threadIdx.x == 0) {
    put(d_log_scale + blockIdx.x, along_scale * weight);
    put(d_bias + blockIdx.x, along_bias / N);
  }
}
