// Tensor cores and matrix loads, emulated number by number; warp.cuh tells who holds what.
#pragma once
#include "bfloat16.h"
#include "threads.h"

namespace cpu {

inline float low(uint32_t pair) { return same_bits<float>(pair << 16); }
inline float high(uint32_t pair) { return same_bits<float>(pair & 0xffff0000u); }

// A thread did something that the hardware traps; the launch ends there.
inline void stop() {
  block.current->wait = Wait::DONE;
  to_scheduler();
}

struct Product {
  float* d;
  const uint32_t* a;
  uint32_t b0, b1;
};

inline void multiply(Product** lanes) {
  float a[16][16], b[8][16];  // b by columns
  for (unsigned lane = 0; lane < WARP; lane++) {
    const unsigned g = lane / 4, t = lane % 4 * 2;
    const Product& p = *lanes[lane];
    for (unsigned half = 0; half < 2; half++) {
      a[g][t + 8 * half] = low(p.a[2 * half]);
      a[g][t + 8 * half + 1] = high(p.a[2 * half]);
      a[g + 8][t + 8 * half] = low(p.a[2 * half + 1]);
      a[g + 8][t + 8 * half + 1] = high(p.a[2 * half + 1]);
    }
    b[g][t] = low(p.b0);
    b[g][t + 1] = high(p.b0);
    b[g][t + 8] = low(p.b1);
    b[g][t + 9] = high(p.b1);
  }
  for (unsigned lane = 0; lane < WARP; lane++) {
    const unsigned g = lane / 4, t = lane % 4 * 2;
    for (unsigned e = 0; e < 4; e++) {
      const float* row = a[g + e / 2 * 8];
      const float* column = b[t + e % 2];
      float sum = 0;
      for (unsigned k = 0; k < 16; k++) sum += row[k] * column[k];
      lanes[lane]->d[e] += sum;
    }
  }
  counts.tensor_multiply_adds += 16 * 8 * 16;
}

struct MatrixLoad {
  uint32_t* registers;
  const char* row;
};

// Shared memory serves 8 rows of 16 bytes in one turn if they lie in 8 different columns of its 128
// bytes; each further row in the same column takes a turn more.
inline void count_turns(MatrixLoad** lanes) {
  for (unsigned m = 0; m < 4; m++) {
    unsigned rows[8] = {};
    for (unsigned r = 0; r < 8; r++) rows[reinterpret_cast<uintptr_t>(lanes[8 * m + r]->row) / 16 % 8]++;
    counts.matrix_loads++;
    counts.matrix_load_turns += *std::max_element(rows, rows + 8);
  }
}

template <bool TRANSPOSED>
inline void load_matrices(MatrixLoad** lanes) {
  count_turns(lanes);
  for (unsigned m = 0; m < 4; m++) {
    uint16_t matrix[8][8];
    for (unsigned r = 0; r < 8; r++) memcpy(matrix[r], lanes[8 * m + r]->row, 16);
    for (unsigned lane = 0; lane < WARP; lane++) {
      const unsigned g = lane / 4, t = lane % 4 * 2;
      const uint32_t first = TRANSPOSED ? matrix[t][g] : matrix[g][t];
      const uint32_t second = TRANSPOSED ? matrix[t + 1][g] : matrix[g][t + 1];
      lanes[lane]->registers[m] = first | second << 16;
    }
  }
}

inline bool is_aligned(const char* what, const void* p, int line) {
  if (reinterpret_cast<uintptr_t>(p) % 16 == 0) return true;
  fail("%s at line %d: thread %u gives an address that is no multiple of 16 bytes", what, line,
       block.current->rank);
  stop();
  return false;
}

}  // namespace cpu

inline void mma_bf16(float (&d)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1,
                     int line = __builtin_LINE()) {
  cpu::Product mine{d, a, b0, b1};
  cpu::together("mma_bf16", line, mine, cpu::multiply);
}

inline void ldmatrix_x4(uint32_t (&r)[4], const void* row, int line = __builtin_LINE()) {
  cpu::is_aligned("ldmatrix_x4", row, line);
  cpu::MatrixLoad mine{r, static_cast<const char*>(row)};
  cpu::together("ldmatrix_x4", line, mine, cpu::load_matrices<false>);
}

inline void ldmatrix_x4_trans(uint32_t (&r)[4], const void* row, int line = __builtin_LINE()) {
  cpu::is_aligned("ldmatrix_x4_trans", row, line);
  cpu::MatrixLoad mine{r, static_cast<const char*>(row)};
  cpu::together("ldmatrix_x4_trans", line, mine, cpu::load_matrices<true>);
}
