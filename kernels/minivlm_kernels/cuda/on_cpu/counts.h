// What kernels do, counted when a launch asks for it. Arithmetic is counted with -DCOUNTED alone,
// because that costs time.
#pragma once
#include "threads.h"

namespace cpu {

// `cpu.py` reads them in this order.
struct Counts {
  uint64_t tensor_multiply_adds;  // by mma_bf16
  uint64_t multiply_adds;         // by fmaf
  uint64_t exponentials;          // by exp2f and its kin
  uint64_t bytes_to_shared;       // by copy16 and cp_async16
  uint64_t bytes_put;             // by put
  uint64_t matrix_loads;          // 8×8 matrices by ldmatrix: one turn of shared memory each,
  uint64_t matrix_load_turns;     // were it not for banks that collide
  uint64_t copies;                // of 8 lanes by copy16 and cp_async16: likewise
  uint64_t copy_turns;
};
inline Counts counts;
inline bool counting;

inline void count(uint64_t Counts::*what, uint64_t number) {
  if (counting) counts.*what += number;
}

// Turns in which shared memory serves 16 bytes for each of up to 8 lanes.
unsigned turns(const void* const* places, unsigned number);

// Lanes of a warp store at the same time on a GPU, and one after another here. So stores are noted
// and counted when the block has run.
void note_store(const void* to, const Place& place);
void count_stores();
void forget_stores();  // of a launch that failed

inline float counted_fmaf(float a, float b, float c) {
  count(&Counts::multiply_adds, 1);
  return fmaf(a, b, c);
}
inline float counted_exp2f(float x) {
  count(&Counts::exponentials, 1);
  return exp2f(x);
}
inline float counted_expf(float x) {
  count(&Counts::exponentials, 1);
  return expf(x);
}

}  // namespace cpu

#ifdef COUNTED
#define fmaf cpu::counted_fmaf
#define exp2f cpu::counted_exp2f
#define expf cpu::counted_expf
#endif
