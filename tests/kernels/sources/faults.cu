// Kernels that do wrong, one thing each, and kernels beside them that do not.
#include "warp.cuh"

extern "C" __global__ void reverse(const float* x, float* y, int n) {
  __shared__ float tile[64];
  const int i = threadIdx.x;
  if (i < n) tile[i] = x[i];
  __syncthreads();
  if (i < n) y[i] = tile[n - 1 - i];
}

extern "C" __global__ void reverse_without_barrier(const float* x, float* y, int n) {
  __shared__ float tile[64];
  const int i = threadIdx.x;
  if (i < n) tile[i] = x[i];
  if (i < n) y[i] = tile[n - 1 - i];
}

extern "C" __global__ void reads_past_the_end(const float* x, float* y, int by) {
  y[threadIdx.x] = x[int(threadIdx.x) + by];
}

extern "C" __global__ void writes_past_the_end(float* y, int at) { y[at] = 1; }

extern "C" __global__ void reads_shared(float* y, int at) {
  DYNAMIC_SHARED(float, memory);
  y[0] = memory[at];
}

extern "C" __global__ void writes_shared(float* y, int at) {
  DYNAMIC_SHARED(float, memory);
  memory[at] = 2;
  y[0] = memory[at];
}

extern "C" __global__ void touches_nothing_of_ours(float* y) { y[0] = *(volatile float*)16; }

extern "C" __global__ void two_barriers(float* y) {
  if (threadIdx.x < 16)
    __syncthreads();
  else
    __syncthreads();
  y[0] = 1;
}

extern "C" __global__ void leaves_before_the_barrier(float* y) {
  if (threadIdx.x == 5) return;
  __syncthreads();
  y[0] = 1;
}

extern "C" __global__ void leaves_before_the_shuffle(float* y) {
  if (threadIdx.x < 7) return;
  y[0] = __shfl_xor_sync(~0u, 1.0f, 1);
}

extern "C" __global__ void shuffles_with_one_half(float* y) {
  if (threadIdx.x < 16)
    y[0] = __shfl_xor_sync(~0u, 1.0f, 1);
  else
    __syncwarp();
}

extern "C" __global__ void shuffles(float* y) {
  y[threadIdx.x] = __shfl_xor_sync(~0u, float(threadIdx.x), 1);
}

extern "C" __global__ void names_some_lanes(float* y) {
  y[threadIdx.x] = __shfl_xor_sync(0xffffu, 1.0f, 1);
}

extern "C" __global__ void copies_to_an_odd_place(const float* x, float* y) {
  DYNAMIC_SHARED(float, memory);
  copy16(memory + 1, x, true);
  y[0] = memory[1];
}

extern "C" __global__ void copies(const float* x, float* y, int waits) {
  DYNAMIC_SHARED(float, memory);
  cp_async16(memory, x, true);
  cp_async_commit();
  cp_async16(memory + 4, x + 4, false);
  cp_async_commit();
  if (waits == 2) cp_async_wait<0>();
  if (waits == 1) cp_async_wait<1>();
  for (int i = 0; i < 8; i++) y[i] = memory[i];
  cp_async_wait<0>();
}

extern "C" __global__ void forgets_to_wait(const float* x) {
  DYNAMIC_SHARED(float, memory);
  cp_async16(memory, x, true);
}

extern "C" __global__ void overwrites_what_is_read(const float* x, float* y) {
  DYNAMIC_SHARED(float, memory);
  memory[threadIdx.x] = 7;
  __syncthreads();
  if (threadIdx.x == 32) cp_async16(memory, x, true);  // while warp 0 may still read it
  cp_async_commit();
  y[threadIdx.x] = memory[threadIdx.x % 4];
  cp_async_wait<0>();
}

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
  order[atomicAdd(next, 1)] = threadIdx.x;
}

extern "C" __global__ void mixed(const __nv_bfloat16* b, const unsigned char* mask, long long step, int n,
                                 float s, float* y) {
  for (int i = 0; i < n; i++) y[i] = mask == nullptr ? s : s * mask[i * step];
  y[n] = __bfloat162float(b[0]);
}
