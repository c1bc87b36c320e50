// What the 32 lanes of a warp exchange, and what all threads may do to one number.
//
// Only whole warps exchange here; a mask that names some lanes is refused.
#pragma once
#include "threads.h"

namespace cpu {

inline unsigned lane() { return block.current->rank % WARP; }

inline void need_all(const char* what, unsigned mask, const Place& place) {
  if (mask != ~0u)
    fail("%s (%s): %s gives a mask of some lanes, %#x; only whole warps are emulated", what,
         name_of(place).text, name_of(*block.current).text, mask);
}

// Each lane offers a value and gets that of another, or its own where there is no such lane.
template <class T>
inline T exchange(const char* what, unsigned mask, const Place& place, T value, unsigned from,
                  bool exists) {
  need_all(what, mask, place);
  struct Offer {
    T value;
    unsigned from;
    T got;
  } mine = {value, exists ? from : lane(), value};
  together(what, place, &mine, [](void** offers) {
    Offer** all = reinterpret_cast<Offer**>(offers);
    for (unsigned l = 0; l < WARP; l++) all[l]->got = all[all[l]->from]->value;
  });
  return mine.got;
}

// Each lane votes, and gets the votes of all.
inline unsigned votes(const char* what, unsigned mask, const Place& place, bool yes) {
  need_all(what, mask, place);
  unsigned vote = yes;
  together(what, place, &vote, [](void** offers) {
    unsigned** all = reinterpret_cast<unsigned**>(offers);
    unsigned votes = 0;
    for (unsigned l = 0; l < WARP; l++) votes |= *all[l] << l;
    for (unsigned l = 0; l < WARP; l++) *all[l] = votes;
  });
  return vote;
}

}  // namespace cpu

// Lanes exchange within groups of `width`; by xor, also with earlier groups.
template <class T>
inline T __shfl_sync(unsigned mask, T value, int from, int width = 32,
                     cpu::Place place = cpu::Place::here()) {
  const unsigned first = cpu::lane() / width * width;
  return cpu::exchange("__shfl_sync", mask, place, value, first + (from & (width - 1)), true);
}
template <class T>
inline T __shfl_xor_sync(unsigned mask, T value, int by, int width = 32,
                         cpu::Place place = cpu::Place::here()) {
  const unsigned from = cpu::lane() ^ by;
  const bool exists = from / width <= cpu::lane() / width;
  return cpu::exchange("__shfl_xor_sync", mask, place, value, from, exists);
}
template <class T>
inline T __shfl_down_sync(unsigned mask, T value, unsigned by, int width = 32,
                          cpu::Place place = cpu::Place::here()) {
  const bool exists = cpu::lane() % width + by < unsigned(width);
  return cpu::exchange("__shfl_down_sync", mask, place, value, cpu::lane() + by, exists);
}
template <class T>
inline T __shfl_up_sync(unsigned mask, T value, unsigned by, int width = 32,
                        cpu::Place place = cpu::Place::here()) {
  const bool exists = cpu::lane() % width >= by;
  return cpu::exchange("__shfl_up_sync", mask, place, value, cpu::lane() - by, exists);
}

inline unsigned __ballot_sync(unsigned mask, int yes, cpu::Place place = cpu::Place::here()) {
  return cpu::votes("__ballot_sync", mask, place, yes != 0);
}
inline int __any_sync(unsigned mask, int yes, cpu::Place place = cpu::Place::here()) {
  return cpu::votes("__any_sync", mask, place, yes != 0) != 0;
}
inline int __all_sync(unsigned mask, int yes, cpu::Place place = cpu::Place::here()) {
  return cpu::votes("__all_sync", mask, place, yes != 0) == ~0u;
}
inline void __syncwarp(unsigned mask = ~0u, cpu::Place place = cpu::Place::here()) {
  cpu::votes("__syncwarp", mask, place, false);
}

// One thread runs at a time, so these are as they look. The order is the schedule's.
template <class T>
inline T atomicExch(T* p, std::common_type_t<T> value) {
  const T before = *p;
  *p = value;
  return before;
}
template <class T>
inline T atomicAdd(T* p, std::common_type_t<T> value) {
  return atomicExch(p, *p + value);
}
template <class T>
inline T atomicMax(T* p, std::common_type_t<T> value) {
  return atomicExch(p, max(*p, value));
}
template <class T>
inline T atomicMin(T* p, std::common_type_t<T> value) {
  return atomicExch(p, min(*p, value));
}
template <class T>
inline T atomicCAS(T* p, std::common_type_t<T> expected, std::common_type_t<T> value) {
  const T before = *p;
  return before == expected ? atomicExch(p, value) : before;
}
