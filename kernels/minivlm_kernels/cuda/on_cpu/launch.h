// A launch: arrays are copied to where they are guarded, blocks run one after another, and what was
// written is copied back.
#pragma once
#include <utility>

#include "faults.h"

namespace cpu {

// An argument, as `cpu.py` describes it.
struct Argument {
  const char* name;
  void* value;  // of a number or a null pointer
  void* array;
  uint64_t bytes;       // of an array
  uint64_t offset;      // of an array within what it is a view of
  uint64_t is_written;  // an array that may change
};

// A launch, as `cpu.py` describes it, up to what its program adds.
struct Launch {
  const Argument* given;
  dim3 grid, size;
  uint64_t shared_bytes;
  uint64_t order;         // of threads
  uint64_t heeds_ctrl_c;  // by ending; else it is passed on
  uint64_t counting;      // what is done
  void (*body)(void**);
  int count;              // of arguments
  unsigned most_threads;  // of a block, by __launch_bounds__, or 0
};

// What went wrong, or null.
const Failure* run(const Launch& launch);

// The first number in __launch_bounds__(…), where there is one.
constexpr unsigned bound(unsigned threads = 0, unsigned = 0, unsigned = 0) { return threads; }

// A kernel as a function of pointers to its arguments.
template <auto kernel>
struct Kernel;
template <class... A, void (*kernel)(A...)>
struct Kernel<kernel> {
  static constexpr int COUNT = sizeof...(A);

  static void run(void** values) { run(values, std::index_sequence_for<A...>{}); }

  template <size_t... I>
  static void run(void** values, std::index_sequence<I...>) {
    kernel(*static_cast<A*>(values[I])...);
  }
};

}  // namespace cpu
