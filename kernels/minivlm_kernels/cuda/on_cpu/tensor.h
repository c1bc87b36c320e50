// Tensor cores and matrix loads, emulated; warp.cuh tells which lane holds what.
#pragma once
#include "threads.h"

namespace cpu {

// What a lane brings to a product.
struct Operands {
  float* d;
  const uint32_t* a;
  uint32_t b0, b1;
};
void multiply(void** offers);

// What a lane brings to a load: its registers, and where a row is.
struct RowAndRegisters {
  uint32_t* registers;
  const void* row;
};
void load_matrices(void** offers);
void load_transposed(void** offers);

// Fails unless 16 bytes that the current thread names are aligned, and lie in shared memory, or in
// global memory if not `is_shared`.
void check16(const char* what, const void* address, bool is_shared, const Place& place);

}  // namespace cpu

inline void mma_bf16(float (&d)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1,
                     cpu::Place place = cpu::Place::here()) {
  cpu::Operands mine = {d, a, b0, b1};
  cpu::together("mma_bf16", place, &mine, cpu::multiply);
}

inline void ldmatrix_x4(uint32_t (&r)[4], const void* row, cpu::Place place = cpu::Place::here()) {
  cpu::check16("ldmatrix_x4", row, true, place);
  cpu::RowAndRegisters mine = {r, row};
  cpu::together("ldmatrix_x4", place, &mine, cpu::load_matrices);
}

inline void ldmatrix_x4_trans(uint32_t (&r)[4], const void* row,
                              cpu::Place place = cpu::Place::here()) {
  cpu::check16("ldmatrix_x4_trans", row, true, place);
  cpu::RowAndRegisters mine = {r, row};
  cpu::together("ldmatrix_x4_trans", place, &mine, cpu::load_transposed);
}
