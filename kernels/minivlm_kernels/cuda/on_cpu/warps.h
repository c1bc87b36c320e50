// What the 32 lanes of a warp exchange, and what all threads may do to one number.
//
// Only whole warps exchange here; a mask that names some lanes is refused.
#pragma once
#include "threads.h"

namespace cpu {

inline unsigned lane() { return block.current->rank % WARP; }

inline void whole(const char* what, unsigned mask, int line) {
  if (mask == ~0u) return;
  fail("%s at line %d: mask %#x names some lanes only, which is not emulated", what, line, mask);
  block.current->wait = Wait::DONE;
  to_scheduler();
}

// Each lane offers a value and gets that of another.
template <class T>
inline T exchange(const char* what, int line, T value, unsigned from) {
  struct Offer {
    T value;
    unsigned from;
    T got;
  } mine{value, from, value};
  together(what, line, mine, [](Offer** all) {
    for (unsigned l = 0; l < WARP; l++) all[l]->got = all[all[l]->from]->value;
  });
  return mine.got;
}

}  // namespace cpu

inline void __syncwarp(unsigned mask = ~0u, int line = __builtin_LINE()) {
  cpu::whole("__syncwarp", mask, line);
  int nothing = 0;
  cpu::together("__syncwarp", line, nothing, [](int**) {});
}

template <class T>
inline T __shfl_sync(unsigned mask, T value, int from, int width = 32,
                     int line = __builtin_LINE()) {
  cpu::whole("__shfl_sync", mask, line);
  return cpu::exchange("__shfl_sync", line, value,
                       cpu::lane() / width * width + unsigned(from) % width);
}
template <class T>
inline T __shfl_xor_sync(unsigned mask, T value, int by, int width = 32,
                         int line = __builtin_LINE()) {
  cpu::whole("__shfl_xor_sync", mask, line);
  return cpu::exchange("__shfl_xor_sync", line, value, (cpu::lane() ^ by) % 32);
}
template <class T>
inline T __shfl_down_sync(unsigned mask, T value, unsigned by, int width = 32,
                          int line = __builtin_LINE()) {
  cpu::whole("__shfl_down_sync", mask, line);
  const unsigned lane = cpu::lane();
  return cpu::exchange("__shfl_down_sync", line, value,
                       lane % width + by < unsigned(width) ? lane + by : lane);
}
template <class T>
inline T __shfl_up_sync(unsigned mask, T value, unsigned by, int width = 32,
                        int line = __builtin_LINE()) {
  cpu::whole("__shfl_up_sync", mask, line);
  const unsigned lane = cpu::lane();
  return cpu::exchange("__shfl_up_sync", line, value, lane % width >= by ? lane - by : lane);
}

inline unsigned __ballot_sync(unsigned mask, int yes, int line = __builtin_LINE()) {
  cpu::whole("__ballot_sync", mask, line);
  unsigned vote = yes != 0;
  cpu::together("__ballot_sync", line, vote, [](unsigned** all) {
    unsigned votes = 0;
    for (unsigned l = 0; l < 32; l++) votes |= *all[l] << l;
    for (unsigned l = 0; l < 32; l++) *all[l] = votes;
  });
  return vote;
}
inline int __any_sync(unsigned mask, int yes, int line = __builtin_LINE()) {
  return __ballot_sync(mask, yes, line) != 0;
}
inline int __all_sync(unsigned mask, int yes, int line = __builtin_LINE()) {
  return __ballot_sync(mask, yes, line) == ~0u;
}

// One thread runs at a time, so these are as they look. The order is the schedule's.
template <class T>
inline T atomicAdd(T* p, T value) {
  const T before = *p;
  *p = before + value;
  return before;
}
template <class T>
inline T atomicMax(T* p, T value) {
  const T before = *p;
  *p = std::max(before, value);
  return before;
}
template <class T>
inline T atomicMin(T* p, T value) {
  const T before = *p;
  *p = std::min(before, value);
  return before;
}
template <class T>
inline T atomicExch(T* p, T value) {
  const T before = *p;
  *p = value;
  return before;
}
template <class T>
inline T atomicCAS(T* p, T expected, T value) {
  const T before = *p;
  if (before == expected) *p = value;
  return before;
}
