// What a kernel did wrong, told in one sentence. Whoever finds it says so and never comes back: the
// launch ends there.
#pragma once
#include <setjmp.h>

#include "language.h"

namespace cpu {

// A line of a source file. As a default argument, `Place::here()` is where the caller stands.
struct Place {
  const char* file;
  int line;

  static constexpr Place here(const char* file = __builtin_FILE(), int line = __builtin_LINE()) {
    return {file, line};
  }
  bool operator==(const Place& other) const {
    return line == other.line && (file == other.file || strcmp(file, other.file) == 0);
  }
};

// A part of a sentence, formatted as by printf.
struct Words {
  char text[200];
};
Words words(const char* format, ...) __attribute__((format(printf, 1, 2)));
Words name_of(const Place& place);  // such as a6_tensor_cores.cu:120

// `cpu.py` knows this layout.
struct Failure {
  char sentence[512];
  uint64_t instruction;  // that the processor refused: its address in the library, or 0
  uint64_t interrupted;  // by Ctrl-C
  uint64_t is_in_block;  // else in the launch itself
  uint3 block;
};
inline Failure failure;
inline sigjmp_buf escape;  // to the launch

[[noreturn]] void fail(const char* format, ...) __attribute__((format(printf, 1, 2)));

}  // namespace cpu
