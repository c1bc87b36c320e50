// 64 KB of shared memory, all of it fixed in the code: more than 48 must be asked for at launch.
extern "C" __global__ void kernel(float* x) {
  __shared__ float rows[16384];
  rows[threadIdx.x] = x[threadIdx.x];
  __syncthreads();
  x[threadIdx.x] = rows[threadIdx.x ^ 1];
}
