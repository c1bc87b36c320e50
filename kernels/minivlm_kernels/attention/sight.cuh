// What all .cu rungs of attention share: which query may look at which key, and a row's reductions.
// The kernels are compiled with -DC=…, the channels of a head: a multiple of 16, up to 128.
#pragma once
#include "warp.cuh"

using bf16 = __nv_bfloat16;
constexpr float LOG2_E = 1.44269504f;  // exp(x) = exp2(x · log₂e)

// Which keys the queries of one head may look at.
struct Sight {
  const unsigned char* mask;  // of query 0 and key 0 of the head; null where there is no mask
  long long query_step, key_step;
  int T, S;
  int reach;  // query i looks no further than key i + reach

  __device__ __forceinline__ bool sees(int i, int j) const {
    if (i >= T || j >= S || j > i + reach) return false;
    return mask == nullptr || mask[i * query_step + j * key_step];
  }

  // Queries from i on see every key up to j: then there is no need to ask pair by pair.
  __device__ __forceinline__ bool sees_all(int i, int j) const {
    return mask == nullptr && j < S && j <= i + reach;
  }

  // Queries up to i see no key from j on.
  __device__ __forceinline__ bool sees_none(int i, int j) const {
    return j >= S || j > i + reach;
  }

  // How many keys, from the first, queries up to i may see.
  __device__ __forceinline__ int keys_for(int i) const { return max(0, min(S, i + 1 + reach)); }
};

// A row of an mma's result is spread over four neighbouring lanes: their maximum, and their sum.
__device__ __forceinline__ float quad_max(float x) {
  x = fmaxf(x, __shfl_xor_sync(~0u, x, 1));
  return fmaxf(x, __shfl_xor_sync(~0u, x, 2));
}

__device__ __forceinline__ float quad_sum(float x) {
  x += __shfl_xor_sync(~0u, x, 1);
  return x + __shfl_xor_sync(~0u, x, 2);
}
