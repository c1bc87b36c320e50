// bfloat16: the upper half of a float, rounded to nearest, ties to even.
#pragma once
#include "language.h"

struct __nv_bfloat16 {
  uint16_t bits;
};
struct __align__(4) __nv_bfloat162 {
  __nv_bfloat16 x, y;
};

inline float __bfloat162float(__nv_bfloat16 x) {
  return same_bits<float>(uint32_t(x.bits) << 16);
}
inline __nv_bfloat16 __float2bfloat16(float x) {
  const uint32_t bits = same_bits<uint32_t>(x);
  if ((bits & 0x7fffffff) > 0x7f800000) return {0x7fff};  // NaN, as the hardware writes it
  return {uint16_t((bits + 0x7fff + (bits >> 16 & 1)) >> 16)};
}
inline __nv_bfloat16 __float2bfloat16_rn(float x) { return __float2bfloat16(x); }
inline __nv_bfloat162 __floats2bfloat162_rn(float x, float y) {
  return {__float2bfloat16(x), __float2bfloat16(y)};
}
inline float __low2float(__nv_bfloat162 v) { return __bfloat162float(v.x); }
inline float __high2float(__nv_bfloat162 v) { return __bfloat162float(v.y); }
inline float2 __bfloat1622float2(__nv_bfloat162 v) {
  return {__bfloat162float(v.x), __bfloat162float(v.y)};
}
