// The threads of one block, as fibers, and the schedule: who runs when.
//
// A GPU promises no order but that of barriers. So one warp runs as far ahead as barriers let it
// before the next one moves at all: whatever lacks a barrier is then read too early or overwritten
// too soon. Schedule 0 takes warps and lanes first to last, 1 last to first, others at random.
#pragma once
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <numeric>
#include <random>
#include <vector>

#include "language.h"

#if !defined(__x86_64__) || defined(SLOW_FIBERS)
#include <ucontext.h>
#define UCONTEXT 1
#endif

namespace cpu {

constexpr unsigned WARP = 32;
constexpr size_t STACK = 128 << 10;

enum class Wait { NONE, BLOCK, WARP, DONE };

struct PendingCopy {
  void* to;
  const void* from;
  bool inside;
  int group;
};

struct Thread {
#ifdef UCONTEXT
  ucontext_t context;
#else
  void* stack_pointer;
#endif
  std::vector<char> stack;
  uint3 index;
  unsigned rank;
  Wait wait;
  int line;          // where it waits
  const char* what;  // for what
  void* offered;     // its part in what its warp does together
  std::vector<PendingCopy> copies;
  int groups;  // of copies, closed so far
};

struct Block {
  std::vector<Thread> threads;
  Thread* current;
  uint3 index;
  dim3 size, grid;
  unsigned order;
  std::mt19937 random;
  void (*body)(void*);
  void* argument;
  char* shared;
  char error[512];
#ifdef UCONTEXT
  ucontext_t scheduler;
#else
  void* scheduler;
#endif
};
static Block block;

// ---- Fibers: a switch keeps the registers that a call must keep, and changes the stack.
#ifdef UCONTEXT
inline void to_scheduler() { swapcontext(&block.current->context, &block.scheduler); }
inline void to_thread(Thread& t) {
  block.current = &t;
  swapcontext(&block.scheduler, &t.context);
}
#else
extern "C" void cuda_cpu_switch(void** save, void* load);
asm(R"(
.text
.globl cuda_cpu_switch
.hidden cuda_cpu_switch
.type cuda_cpu_switch, @function
cuda_cpu_switch:
  push %rbp
  push %rbx
  push %r12
  push %r13
  push %r14
  push %r15
  mov %rsp, (%rdi)
  mov %rsi, %rsp
  pop %r15
  pop %r14
  pop %r13
  pop %r12
  pop %rbx
  pop %rbp
  ret
)");
inline void to_scheduler() { cuda_cpu_switch(&block.current->stack_pointer, block.scheduler); }
inline void to_thread(Thread& t) {
  block.current = &t;
  cuda_cpu_switch(&block.scheduler, t.stack_pointer);
}
#endif

inline void run_thread() {
  block.body(block.argument);
  block.current->wait = Wait::DONE;
  to_scheduler();
  abort();  // no one runs a thread that is done
}

inline void prepare(Thread& t) {
  if (t.stack.empty()) t.stack.resize(STACK);
#ifdef UCONTEXT
  getcontext(&t.context);
  t.context.uc_stack.ss_sp = t.stack.data();
  t.context.uc_stack.ss_size = t.stack.size();
  makecontext(&t.context, run_thread, 0);
#else
  uintptr_t top = reinterpret_cast<uintptr_t>(t.stack.data() + t.stack.size()) & ~uintptr_t(15);
  void** stack = reinterpret_cast<void**>(top);
  *--stack = nullptr;  // where run_thread would return to
  *--stack = reinterpret_cast<void*>(run_thread);
  for (int registers = 0; registers < 6; registers++) *--stack = nullptr;
  t.stack_pointer = stack;
#endif
  t.wait = Wait::NONE;
  t.copies.clear();
  t.groups = 0;
}

inline void wait_for(Wait wait, const char* what, int line) {
  Thread& t = *block.current;
  t.wait = wait;
  t.what = what;
  t.line = line;
  to_scheduler();
}

// Says what went wrong; the launch ends there.
template <class... A>
inline bool fail(const char* format, A... a) {
  snprintf(block.error, sizeof(block.error), format, a...);
  return false;
}

// ---- The schedule.
inline std::vector<unsigned> in_order(unsigned first, unsigned count) {
  std::vector<unsigned> order(count);
  std::iota(order.begin(), order.end(), first);
  if (block.order == 1) std::reverse(order.begin(), order.end());
  if (block.order > 1) std::shuffle(order.begin(), order.end(), block.random);
  return order;
}

// Runs a warp until all its threads wait at a barrier of the block, or are done.
inline bool run_warp(unsigned warp) {
  const unsigned first = warp * WARP;
  const unsigned lanes = std::min(WARP, unsigned(block.threads.size()) - first);
  // What a warp does together, the last to come does for all, and lets the others go on.
  for (bool moved = true; moved;) {
    moved = false;
    for (unsigned t : in_order(first, lanes)) {
      if (block.threads[t].wait == Wait::NONE) {
        moved = true;
        to_thread(block.threads[t]);
      }
    }
  }
  for (unsigned t = first; t < first + lanes; t++) {
    const Thread& thread = block.threads[t];
    if (thread.wait != Wait::WARP) continue;
    for (unsigned other = first; other < first + lanes; other++) {
      const Thread& o = block.threads[other];
      if (o.wait == Wait::WARP && o.line == thread.line && o.what == thread.what) continue;
      if (o.wait == Wait::DONE)
        return fail("%s at line %d: thread %u waits for thread %u, which has returned",
                    thread.what, thread.line, t, other);
      return fail("%s at line %d: thread %u waits for thread %u, which waits at line %d (%s)",
                  thread.what, thread.line, t, other, o.line, o.what);
    }
    return fail("%s at line %d: its warp has only %u threads", thread.what, thread.line, lanes);
  }
  return true;
}

inline bool run_block() {
  const unsigned count = block.threads.size();
  for (Thread& t : block.threads) prepare(t);
  for (;;) {
    for (unsigned warp : in_order(0, (count + WARP - 1) / WARP)) {
      if (!run_warp(warp)) return false;
    }
    const Thread* waiting = nullptr;
    const Thread* done = nullptr;
    for (const Thread& t : block.threads) (t.wait == Wait::DONE ? done : waiting) = &t;
    if (!waiting) return true;
    for (const Thread& t : block.threads) {
      if (t.wait == Wait::BLOCK && t.line != waiting->line)
        return fail("divergent barrier: thread %u waits at __syncthreads() in line %d, thread %u "
                    "at the one in line %d", t.rank, t.line, waiting->rank, waiting->line);
    }
    if (done)
      return fail("divergent barrier: thread %u waits at __syncthreads() in line %d, and thread "
                  "%u has returned", waiting->rank, waiting->line, done->rank);
    for (Thread& t : block.threads) t.wait = Wait::NONE;
  }
}

// What the lanes of a warp do together. Each offers a T; when the last one comes, `act` gets all.
template <class T, class Act>
inline void together(const char* what, int line, T& mine, Act act) {
  Thread& me = *block.current;
  me.offered = &mine;
  const unsigned first = me.rank / WARP * WARP;
  const unsigned lanes = std::min(WARP, unsigned(block.threads.size()) - first);
  T* all[WARP];
  for (unsigned lane = 0; lane < lanes; lane++) {
    Thread& t = block.threads[first + lane];
    const bool here = &t == &me ||
                      (t.wait == Wait::WARP && t.line == line && t.what == what);
    if (!here || lanes < WARP) return wait_for(Wait::WARP, what, line);
    all[lane] = static_cast<T*>(t.offered);
  }
  act(all);
  for (unsigned lane = 0; lane < lanes; lane++) block.threads[first + lane].wait = Wait::NONE;
}

}  // namespace cpu

#define threadIdx (cpu::block.current->index)
#define blockIdx (cpu::block.index)
#define blockDim (cpu::block.size)
#define gridDim (cpu::block.grid)
#define warpSize 32

inline void __syncthreads(int line = __builtin_LINE()) {
  cpu::wait_for(cpu::Wait::BLOCK, "__syncthreads()", line);
}
