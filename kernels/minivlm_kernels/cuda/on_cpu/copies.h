// Copies from global to shared memory, now or in the background, and stores.
//
// A copy in the background may arrive at any time until the wait that asks for it. Under schedule 0
// it arrives as late as it may, so that who reads before the wait reads what was there; under
// schedule 1 at once, so that who still reads what it overwrites is served right; else by chance.
#pragma once
#include "tensor.h"

namespace cpu {

inline void copy(const PendingCopy& c) {
  if (c.inside)
    memcpy(c.to, c.from, 16);
  else
    memset(c.to, 0, 16);
}

inline void arrive(int groups) {
  Thread& t = *block.current;
  auto late = std::stable_partition(t.copies.begin(), t.copies.end(),
                                    [&](const PendingCopy& c) { return c.group < groups; });
  std::for_each(t.copies.begin(), late, copy);
  t.copies.erase(t.copies.begin(), late);
}

}  // namespace cpu

inline void cp_async16(void* shared, const void* global, bool inside,
                       int line = __builtin_LINE()) {
  cpu::is_aligned("cp_async16", shared, line);
  cpu::is_aligned("cp_async16", global, line);
  cpu::Block& b = cpu::block;
  const cpu::PendingCopy c{shared, global, inside, b.current->groups};
  cpu::counts.bytes_to_shared += 16;
  if (b.order == 1 || (b.order > 1 && b.random() % 2))
    cpu::copy(c);
  else
    b.current->copies.push_back(c);
}

inline void cp_async_commit() { cpu::block.current->groups++; }

template <int N>
inline void cp_async_wait() {
  cpu::arrive(cpu::block.current->groups - N);
}

inline void copy16(void* shared, const void* global, bool inside, int line = __builtin_LINE()) {
  cpu::is_aligned("copy16", shared, line);
  cpu::is_aligned("copy16", global, line);
  cpu::counts.bytes_to_shared += 16;
  cpu::copy({shared, global, inside, 0});
}

template <class T>
inline void put(T* global, T value) {
  cpu::counts.bytes_put += sizeof(T);
  *global = value;
}

#define DYNAMIC_SHARED(T, name) T* name = reinterpret_cast<T*>(cpu::block.shared)
