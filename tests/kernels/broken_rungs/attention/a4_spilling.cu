// Wants C numbers at once in registers, and with 1024 threads a block a thread has no more than 64.
extern "C" __global__ void __launch_bounds__(1024) mixed(float* x) {
  float row[C];
#pragma unroll
  for (int c = 0; c < C; c++) row[c] = x[c * 1024 + threadIdx.x];
  for (int again = 0; again < 100; again++) {
#pragma unroll
    for (int c = 0; c < C; c++) row[c] = row[c] * row[(c + 7) % C] + row[(c + 1) % C];
  }
#pragma unroll
  for (int c = 0; c < C; c++) x[c * 1024 + threadIdx.x] = row[c];
}

extern "C" __global__ void alone(float* x) { x[threadIdx.x] += 1; }
