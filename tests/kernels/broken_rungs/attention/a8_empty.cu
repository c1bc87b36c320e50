// Has no kernel.
__device__ float twice(float x) { return 2 * x; }
