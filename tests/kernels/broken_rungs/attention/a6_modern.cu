// Copies in the background, which Turing cannot: there is no code for sm_75.
#include "warp.cuh"

extern "C" __global__ void copied(const float* from, float* to) {
  __shared__ __align__(16) float some[4];
  cp_async16(some, from, true);
  cp_async_commit();
  cp_async_wait<0>();
  to[threadIdx.x] = some[threadIdx.x];
}
