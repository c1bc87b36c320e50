// What a warp can do that C++ has no word for: tensor-core products, matrix loads, copies that
// run in the background. One small function each; PTX on a GPU. On a CPU, cuda_cpu.h defines the
// same names (and CUDA_ON_CPU), so a kernel's text is the same in both places.
//
// Source: PTX ISA 8.5, "mma.m16n8k16", "ldmatrix", "cp.async".
#pragma once
#ifndef CUDA_ON_CPU
#include <cuda_bf16.h>

using uint32_t = unsigned int;
#define INFINITY __int_as_float(0x7f800000)  // NVRTC has no <math.h>

// The launch's dynamic shared memory, as an array of T; 1024-byte aligned, for swizzles.
#define DYNAMIC_SHARED(T, name)                                \
  extern __shared__ __align__(1024) unsigned char name##_raw[]; \
  T* name = reinterpret_cast<T*>(name##_raw)

// d (16×8, float) += a (16×16, bf16) · b (16×8, bf16), spread over the 32 lanes of a warp.
// With g = lane / 4 and t = lane % 4, a lane holds
//   d: rows g and g+8 (d[0..1] and d[2..3]), columns 2t and 2t+1;
//   a: a[0] row g, a[1] row g+8, columns 2t, 2t+1; a[2], a[3] the same, columns + 8;
//   b: b0 rows 2t, 2t+1 of column g; b1 the same, rows + 8.
__device__ __forceinline__ void mma_bf16(float (&d)[4], const uint32_t (&a)[4], uint32_t b0,
                                         uint32_t b1) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 "
      "{%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

// Four 8×8 matrices of 16-bit numbers from shared memory: lane i gives the address of row i % 8
// of matrix i / 8 (16 bytes, aligned); r[m] then holds, of matrix m, row lane / 4, columns
// 2 (lane % 4) and + 1: the layout of a and b above.
__device__ __forceinline__ void ldmatrix_x4(uint32_t (&r)[4], const void* row) {
  unsigned address = static_cast<unsigned>(__cvta_generic_to_shared(row));
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(address)
               : "memory");
}

// The same, each matrix transposed on the way.
__device__ __forceinline__ void ldmatrix_x4_trans(uint32_t (&r)[4], const void* row) {
  unsigned address = static_cast<unsigned>(__cvta_generic_to_shared(row));
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(address)
               : "memory");
}

// 16 bytes from global to shared memory, past the registers, in the background; zeros where
// `inside` is false (`global` must then still be a valid address). Arrives at cp_async_wait.
__device__ __forceinline__ void cp_async16(void* shared, const void* global, bool inside) {
  unsigned address = static_cast<unsigned>(__cvta_generic_to_shared(shared));
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(address), "l"(global),
               "r"(inside ? 16 : 0)
               : "memory");
}

// Closes a group of copies.
__device__ __forceinline__ void cp_async_commit() { asm volatile("cp.async.commit_group;" ::: "memory"); }

// Waits until at most N of this thread's newest groups are still on their way.
template <int N>
__device__ __forceinline__ void cp_async_wait() {
  asm volatile("cp.async.wait_group %0;" ::"n"(N) : "memory");
}

// 16 bytes from global to shared memory, now; zeros where `inside` is false.
__device__ __forceinline__ void copy16(void* shared, const void* global, bool inside) {
  *static_cast<uint4*>(shared) =
      inside ? *static_cast<const uint4*>(global) : make_uint4(0, 0, 0, 0);
}

// A store to global memory; the CPU's header counts them.
template <class T>
__device__ __forceinline__ void put(T* global, T value) {
  *global = value;
}
#endif

// Two floats rounded to bf16 in one register, `low` in its lower half.
__device__ __forceinline__ uint32_t pack_bf16(float low, float high) {
  __nv_bfloat162 pair = __floats2bfloat162_rn(low, high);
  return *reinterpret_cast<uint32_t*>(&pair);
}
