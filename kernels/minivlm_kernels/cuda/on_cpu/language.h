// The words of CUDA C++ that g++ does not know.
#pragma once
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define __noinline__ __attribute__((noinline))
#define __launch_bounds__(...)
#define __align__(n) __attribute__((aligned(n)))
#define __constant__ static const
#define __shared__ static __attribute__((section("cuda_shared")))

struct uint3 {
  unsigned x, y, z;
};
struct dim3 {
  unsigned x = 1, y = 1, z = 1;
};
struct __align__(8) float2 {
  float x, y;
};
struct __align__(16) float4 {
  float x, y, z, w;
};
struct __align__(8) int2 {
  int x, y;
};
struct __align__(16) int4 {
  int x, y, z, w;
};
struct __align__(8) uint2 {
  unsigned x, y;
};
struct __align__(16) uint4 {
  unsigned x, y, z, w;
};
inline float2 make_float2(float x, float y) { return {x, y}; }
inline float4 make_float4(float x, float y, float z, float w) { return {x, y, z, w}; }
inline int2 make_int2(int x, int y) { return {x, y}; }
inline int4 make_int4(int x, int y, int z, int w) { return {x, y, z, w}; }
inline uint2 make_uint2(unsigned x, unsigned y) { return {x, y}; }
inline uint4 make_uint4(unsigned x, unsigned y, unsigned z, unsigned w) { return {x, y, z, w}; }

using std::max;
using std::min;

namespace cpu {
// What was done, since the counts were last taken. `python` reads them in this order.
struct Counts {
  uint64_t tensor_multiply_adds;  // by mma_bf16
  uint64_t multiply_adds;         // by fmaf; counted with -DCOUNTED alone
  uint64_t exponentials;          // likewise
  uint64_t bytes_to_shared;       // by copy16 and cp_async16
  uint64_t bytes_put;             // by put
  uint64_t matrix_loads;          // 8×8 matrices by ldmatrix: one turn of shared memory each,
  uint64_t matrix_load_turns;     // were it not for banks that collide
};
static Counts counts;

#ifdef COUNTED
inline float counted_fmaf(float a, float b, float c) {
  counts.multiply_adds++;
  return __builtin_fmaf(a, b, c);
}
inline float counted_exp2f(float x) {
  counts.exponentials++;
  return __builtin_exp2f(x);
}
inline float counted_expf(float x) {
  counts.exponentials++;
  return __builtin_expf(x);
}
#endif
}  // namespace cpu

#ifdef COUNTED
#define fmaf cpu::counted_fmaf
#define __fmaf_rn cpu::counted_fmaf
#define exp2f cpu::counted_exp2f
#define expf cpu::counted_expf
#define __expf cpu::counted_expf
#else
#define __fmaf_rn fmaf
#define __expf expf
#endif
#define __logf logf
#define __log2f log2f
inline float __fdividef(float a, float b) { return a / b; }
inline float rsqrtf(float x) { return 1.0f / sqrtf(x); }

template <class To, class From>
inline To same_bits(From from) {
  static_assert(sizeof(To) == sizeof(From), "bits are kept, not converted");
  To to;
  memcpy(&to, &from, sizeof(To));
  return to;
}
inline int __float_as_int(float x) { return same_bits<int>(x); }
inline float __int_as_float(int x) { return same_bits<float>(x); }
inline unsigned __float_as_uint(float x) { return same_bits<unsigned>(x); }
inline float __uint_as_float(unsigned x) { return same_bits<float>(x); }

template <class T>
inline T __ldg(const T* p) {
  return *p;
}
inline void __threadfence() {}
inline void __threadfence_block() {}
