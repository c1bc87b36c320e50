// Copies from global to shared memory, now or in the background, and stores.
//
// A copy in the background may arrive at any time until the wait that asks for it. Under schedule 0
// it arrives as late as it may, so that who reads before the wait reads what was there; under
// schedule 1 at once, so that who still reads what it overwrites reads something else; else by
// chance.
#pragma once
#include "counts.h"
#include "memory.h"

namespace cpu {

void copy_now(void* to, const void* from, bool inside, const Place& place);
void copy_in_background(void* to, const void* from, bool inside, const Place& place);

// The current thread's copies have arrived, up to those of its newest groups.
void wait_for_copies(int newest_groups);

// Fails if a thread of the block has returned while copies were on their way.
void check_no_copies();

}  // namespace cpu

inline void copy16(void* shared, const void* global, bool inside,
                   cpu::Place place = cpu::Place::here()) {
  cpu::copy_now(shared, global, inside, place);
}

inline void cp_async16(void* shared, const void* global, bool inside,
                       cpu::Place place = cpu::Place::here()) {
  cpu::copy_in_background(shared, global, inside, place);
}

inline void cp_async_commit() { cpu::block.current->groups++; }

template <int N>
inline void cp_async_wait() {
  cpu::wait_for_copies(N);
}

template <class T>
inline void put(T* global, T value) {
  cpu::count(&cpu::Counts::bytes_put, sizeof(T));
  *global = value;
}

#define DYNAMIC_SHARED(T, name) T* name = reinterpret_cast<T*>(cpu::memory.shared.data)
