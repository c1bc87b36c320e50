// Fibers: a stack each, and a switch from one to another, which keeps the registers that a call
// must keep and changes the stack.
#pragma once
#include "faults.h"

#if !defined(__x86_64__) || defined(PORTABLE_FIBERS)
#include <ucontext.h>
#define UCONTEXT 1
#endif

namespace cpu {

#ifdef UCONTEXT
using Fiber = ucontext_t;
#else
struct Fiber {
  void* stack_pointer;
};
#endif

void switch_to(Fiber& from, Fiber& to);

// The fiber will begin with a call of `body`, which never returns.
void begin(Fiber& fiber, char* bottom, char* top, void (*body)());

// The stacks of a block's threads, a page below each that no one may touch; kept from launch to
// launch.
struct Stacks {
  static constexpr size_t BYTES = 64 << 10;
  char* pages = nullptr;
  size_t count = 0;

  void make(size_t wanted);
  char* bottom(size_t i) const;
  char* top(size_t i) const;
  bool has_guard_at(const void* address) const;
};
inline Stacks stacks;

}  // namespace cpu
