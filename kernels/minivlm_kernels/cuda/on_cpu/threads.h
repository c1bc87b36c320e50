// The threads of one block, and the schedule: who runs when.
//
// A GPU promises no order but that of barriers. So one warp runs as far ahead as barriers let it
// before the next one moves at all, and one lane as far as its warp lets it: whatever lacks a
// barrier is then read too early or overwritten too soon. Schedule 0 takes blocks, warps and lanes
// first to last, schedule 1 last to first, others at random.
#pragma once
#include "faults.h"

namespace cpu {

constexpr unsigned WARP = 32;
constexpr unsigned MOST_THREADS = 1024;

enum class State { READY, AT_BARRIER, IN_WARP, DONE };

struct Thread {
  uint3 index;
  unsigned rank;  // in the block
  State state;
  Place place;      // where it waits
  unsigned copies;  // in the background, on their way (copies.h)
  int groups;       // of such copies, closed so far
};

struct Block {
  Thread threads[MOST_THREADS];
  unsigned count;   // of threads
  Thread* current;  // who runs, or null
  uint3 index;
  dim3 size, grid;
  void (*body)(void**);  // the kernel
  void** values;         // its arguments
};
inline Block block;

// Which one of several comes first: by `number` 0 or 1 as told above, by others at random.
struct Schedule {
  unsigned number;
  uint64_t random;

  void begin(unsigned its_number);
  unsigned below(unsigned n);  // at random
  bool at_once();              // shall a copy in the background arrive at once?
  void draw(unsigned* turns, unsigned count);  // 0 … count − 1, in order
};
inline Schedule schedule;

Words name_of(const Thread& thread);

// The current thread waits; others run.
void wait(State state, const Place& place);

// What the lanes of a warp do together: each offers something. The last one to come does for all
// what is to be done with 32 offers, and goes on.
void together(const char* what, const Place& place, void* mine, void (*act)(void** offers));

// All threads of the block, from their beginning to their end.
void run_block();

}  // namespace cpu

#define threadIdx (cpu::block.current->index)
#define blockIdx (cpu::block.index)
#define blockDim (cpu::block.size)
#define gridDim (cpu::block.grid)
#define warpSize 32

inline void __syncthreads(cpu::Place place = cpu::Place::here()) {
  cpu::wait(cpu::State::AT_BARRIER, place);
}
