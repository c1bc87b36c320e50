// Kernels that do wrong, one thing each, and kernels beside them that do not. Tests find a line by
// the kernel's name.
#include <pthread.h>
#include <signal.h>

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

extern "C" __global__ void reads(const float* x, float* y, int by) {
  y[threadIdx.x] = x[int(threadIdx.x) + by];
}

extern "C" __global__ void writes(float* y, int at) { y[at] = 1; }

extern "C" __global__ void writes_const(const float* x) { const_cast<float*>(x)[1] = 1; }

extern "C" __global__ void reads_shared(float* y, int at) {
  DYNAMIC_SHARED(float, memory);
  y[0] = memory[at];
}

extern "C" __global__ void writes_shared(float* y, int at) {
  DYNAMIC_SHARED(float, memory);
  memory[at] = 2;
  y[0] = memory[at];
}

extern "C" __global__ void writes_static_shared(float* y, int at) {
  __shared__ float memory[8];
  float* p = memory;  // the compiler no longer knows how many there are
  p[at] = 2;
  y[0] = p[at];
}

extern "C" __global__ void takes_a_number(float* y, int at) {
  __shared__ float memory[8];
  memory[at] = 2;
  y[0] = memory[at];
}

extern "C" __global__ void takes_a_register(float* y, int at) {
  float registers[4] = {};
  for (int i = 0; i < at; i++) registers[i] += i;
  y[0] = registers[at - 1];
}

extern "C" __global__ void reads_four(const float* x, float4* y, int at) {
  y[threadIdx.x] = *reinterpret_cast<const float4*>(x + 4 * threadIdx.x + at);
}

extern "C" __global__ void puts_through(float* y, float* z) {
  put(y, 1.0f);
  put(z, 1.0f);
}

extern "C" __global__ void touches_nothing_of_ours(float* y) {
  y[0] = *reinterpret_cast<volatile float*>(size_t(1) << 40);
}

extern "C" __global__ void divides(int* y) { y[0] = 100 / (int(threadIdx.x) - 3); }

__noinline__ __device__ float deep(int n) {
  volatile float much[256];
  for (int i = 0; i < 256; i++) much[i] = n;
  return n == 0 ? much[0] : deep(n - 1) + much[n % 256];
}

extern "C" __global__ void calls_itself(float* y, int n) { y[0] = deep(n); }

extern "C" __global__ void is_interrupted(float* y) {
  raise(SIGINT);  // as if someone had pressed Ctrl-C
  y[0] = 1;
}

// A thread of the CPU that has nothing to do with kernels.
extern "C" __global__ void someone_else_crashes(float* y) {
  pthread_t other;
  const auto crash = [](void* nothing) { return *static_cast<void* volatile*>(nothing); };
  pthread_create(&other, nullptr, crash, nullptr);
  pthread_join(other, nullptr);
}

extern "C" __global__ void __launch_bounds__(2 * (16), 1) is_bounded(float* y) { y[0] = 1; }

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

extern "C" __global__ void some_lanes_wait_for_the_block(float* y) {
  if (threadIdx.x < 16)
    __syncthreads();
  else
    __syncwarp();
  y[0] = 1;
}

extern "C" __global__ void shuffles(float* y) {
  y[threadIdx.x] = __shfl_xor_sync(~0u, float(threadIdx.x), 1);
}

extern "C" __global__ void names_some_lanes(float* y) {
  y[threadIdx.x] = __shfl_xor_sync(0xffffu, 1.0f, 1);
}

extern "C" __global__ void copies_from_to(const float* x, int from, int to, float* y) {
  DYNAMIC_SHARED(float, memory);
  copy16(memory + to, x + from, true);
  y[0] = memory[to];
}

extern "C" __global__ void copies_in_background_from_to(const float* x, int from, int to) {
  DYNAMIC_SHARED(float, memory);
  cp_async16(memory + to, x + from, true);
  cp_async_commit();
  cp_async_wait<0>();
}

extern "C" __global__ void copies_nothing_from(const float* x, int from, float* y) {
  DYNAMIC_SHARED(float, memory);
  copy16(memory, x + from, false);
  y[0] = memory[0];
}

extern "C" __global__ void copies_to_global(const float* x, float* y) { copy16(y, x, true); }

extern "C" __global__ void loads_matrices_at(unsigned* y, int at) {
  DYNAMIC_SHARED(uint32_t, memory);
  memory[threadIdx.x] = threadIdx.x;
  __syncwarp();
  uint32_t r[4];
  ldmatrix_x4(r, memory + at);
  y[threadIdx.x] = r[0];
}

extern "C" __global__ void loads_global_matrices(const unsigned* x, unsigned* y) {
  uint32_t r[4];
  ldmatrix_x4_trans(r, x);
  y[threadIdx.x] = r[0];
}

extern "C" __global__ void copies_much(const float* x, int count) {
  DYNAMIC_SHARED(float, memory);
  for (int i = 0; i < count; i++) cp_async16(memory, x, true);
  cp_async_commit();
  cp_async_wait<0>();
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

extern "C" __global__ void writes_where_a_copy_goes(const float* x, float* y) {
  DYNAMIC_SHARED(float, memory);
  cp_async16(memory, x, true);
  memory[0] = 5;
  cp_async_commit();
  cp_async_wait<0>();
  y[0] = memory[0];
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
  cp_async_commit();
  cp_async_wait<0>();
}
