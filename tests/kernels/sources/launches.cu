// What a launch hands over, in which order threads run, and what is counted.
#include "warp.cuh"

extern "C" __global__ void counts(const float* x, float* y) {
  DYNAMIC_SHARED(float, memory);
  copy16(memory + 4 * threadIdx.x, x + 4 * threadIdx.x, true);
  const float a = fmaf(memory[4 * threadIdx.x], 2.0f, 1.0f);
  put(y + threadIdx.x, exp2f(a) + expf(a));
}

extern "C" __global__ void where(int* block, int* thread) {
  const int b = blockIdx.x + gridDim.x * (blockIdx.y + gridDim.y * blockIdx.z);
  const int t = threadIdx.x + blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z);
  block[b * blockDim.x * blockDim.y * blockDim.z + t] = b;
  thread[b * blockDim.x * blockDim.y * blockDim.z + t] = t;
}

extern "C" __global__ void who_comes_first(int* order, int* next) {
  order[atomicAdd(next, 1)] = blockIdx.x * blockDim.x + threadIdx.x;
}

// What a block finds in its shared memory when it begins, wherever that is declared.
__device__ __forceinline__ float& in_a_function() {
  __shared__ float memory[8];
  return memory[5];
}

template <int N>
__device__ __forceinline__ float& in_a_template() {
  __shared__ float memory[N];
  return memory[N - 1];
}

extern "C" __global__ void finds(float* y) {
  __shared__ float memory[1];
  DYNAMIC_SHARED(float, more);
  float* all[] = {memory, more, &in_a_function(), &in_a_template<3>(), &in_a_template<7>()};
  for (int i = 0; i < 5; i++) {
    y[5 * blockIdx.x + i] = *all[i];
    *all[i] = i;
  }
  y[10 + blockIdx.x] = in_a_function() + in_a_template<3>() + in_a_template<7>();
}

extern "C" __global__ void rounds(const float* x, const float* z, float* y) {
  y[0] = x[0] * z[0] - x[1];
  y[1] = fmaf(x[0], z[0], -x[1]);
}

// Stores of 8 neighbouring lanes begin `pitch` numbers apart.
extern "C" __global__ void stores(const float* x, int pitch, int count) {
  DYNAMIC_SHARED(float, memory);
  for (int i = threadIdx.x; i < count; i += blockDim.x) copy16(memory + i * pitch, x, true);
}

extern "C" __global__ void mixed(const __nv_bfloat16* b, const unsigned char* mask, long long step,
                                 int n, float s, float* y) {
  for (int i = 0; i < n; i++) y[i] = mask == nullptr ? s : s * mask[i * step];
  y[n] = __bfloat162float(b[0]);
}
