// What a warp does together, laid open: each lane's registers go to memory.
#include "warp.cuh"

extern "C" __global__ void multiply(const unsigned* a, const unsigned* b, float* d) {
  const int lane = threadIdx.x;
  uint32_t left[4];
  float sums[4];
  for (int e = 0; e < 4; e++) left[e] = a[4 * lane + e];
  for (int e = 0; e < 4; e++) sums[e] = d[4 * lane + e];
  mma_bf16(sums, left, b[2 * lane], b[2 * lane + 1]);
  for (int e = 0; e < 4; e++) d[4 * lane + e] = sums[e];
}

extern "C" __global__ void load(const __nv_bfloat16* x, unsigned* plain, unsigned* transposed,
                                int pitch) {
  DYNAMIC_SHARED(__nv_bfloat16, memory);
  for (int i = threadIdx.x; i < 32 * 8; i += 32) memory[i / 8 * pitch + i % 8] = x[i];
  __syncwarp();
  uint32_t r[4];
  ldmatrix_x4(r, memory + threadIdx.x * pitch);
  for (int m = 0; m < 4; m++) plain[4 * threadIdx.x + m] = r[m];
  ldmatrix_x4_trans(r, memory + threadIdx.x * pitch);
  for (int m = 0; m < 4; m++) transposed[4 * threadIdx.x + m] = r[m];
}

extern "C" __global__ void exchange(const int* x, int* y) {
  const int lane = threadIdx.x % 32;
  int* mine = y + 8 * threadIdx.x;
  const int value = x[threadIdx.x];
  mine[0] = __shfl_sync(~0u, value, 3);
  mine[1] = __shfl_xor_sync(~0u, value, 5);
  mine[2] = __shfl_down_sync(~0u, value, 4);
  mine[3] = __shfl_up_sync(~0u, value, 4);
  mine[4] = __shfl_sync(~0u, value, 1, 8);
  mine[5] = __ballot_sync(~0u, value % 3 == 0);
  mine[6] = __any_sync(~0u, lane == 9);
  mine[7] = __all_sync(~0u, lane < 31);
}

// Within groups of 8 lanes.
extern "C" __global__ void exchange_in_groups(const float* x, float* y) {
  float* mine = y + 6 * threadIdx.x;
  const float value = x[threadIdx.x];
  mine[0] = __shfl_sync(~0u, value, 11, 8);
  mine[1] = __shfl_up_sync(~0u, value, 3, 8);
  mine[2] = __shfl_down_sync(~0u, value, 3, 8);
  mine[3] = __shfl_xor_sync(~0u, value, 6, 8);
  mine[4] = __shfl_xor_sync(~0u, value, 8, 8);  // earlier groups may be read, later ones not
  mine[5] = __shfl_up_sync(~0u, value, 32);
}

extern "C" __global__ void round_off(const float* x, __nv_bfloat16* y, float* again,
                                     unsigned* packed, int n) {
  for (int i = threadIdx.x; i < n; i += blockDim.x) {
    y[i] = __float2bfloat16(x[i]);
    again[i] = __bfloat162float(y[i]);
    packed[i] = pack_bf16(x[i], x[n - 1 - i]);
  }
}

// Four numbers for each pair of x.
extern "C" __global__ void halves(const float* x, float* y) {
  const __nv_bfloat162 pair = __floats2bfloat162_rn(x[2 * threadIdx.x], x[2 * threadIdx.x + 1]);
  float* mine = y + 4 * threadIdx.x;
  mine[0] = __low2float(pair);
  mine[1] = __high2float(pair);
  mine[2] = max(x[2 * threadIdx.x], x[2 * threadIdx.x + 1]);
  mine[3] = min(x[2 * threadIdx.x], x[2 * threadIdx.x + 1]);
}

extern "C" __global__ void change(float* sum, int* numbers, int* before) {
  const int i = threadIdx.x;
  atomicAdd(sum, 1.0f);
  atomicMax(numbers, i);
  atomicMin(numbers + 1, i);
  before[3 * i] = atomicAdd(numbers + 2, 2);
  before[3 * i + 1] = atomicExch(numbers + 3, i);
  before[3 * i + 2] = atomicCAS(numbers + 4, 7, i);
}
