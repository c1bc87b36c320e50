// A launch: arrays between guard pages, blocks one after another, and what went wrong in words.
#pragma once
#include <csetjmp>
#include <csignal>
#include <sys/mman.h>
#include <unistd.h>

#include <utility>

#include "copies.h"

extern "C" {  // the section of all __shared__ arrays, where there are any
extern char __start_cuda_shared[] __attribute__((weak, visibility("hidden")));
extern char __stop_cuda_shared[] __attribute__((weak, visibility("hidden")));
}

namespace cpu {

// Memory that ends where a page begins that no one may touch, and begins after another one.
struct Guarded {
  char* pages = nullptr;
  size_t length = 0;  // of all pages, both guards among them
  char* data = nullptr;
  size_t bytes = 0;

  void make(size_t wanted, size_t alignment) {
    const size_t page = sysconf(_SC_PAGESIZE);
    const size_t rounded = (wanted + alignment - 1) / alignment * alignment;
    const size_t inner = (std::max(rounded, size_t(1)) + page - 1) / page * page;
    length = inner + 2 * page;
    pages = static_cast<char*>(
        mmap(nullptr, length, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));
    if (pages == MAP_FAILED) throw std::bad_alloc();
    mprotect(pages + page, inner, PROT_READ | PROT_WRITE);
    bytes = wanted;
    data = pages + page + inner - rounded;
    memset(pages + page, 0xff, inner);
  }
  void drop() {
    if (pages) munmap(pages, length);
    pages = nullptr;
  }
  bool holds(const char* address) const { return address >= pages && address < pages + length; }

  // The few bytes between its end and the guard page, which alignment leaves, are as they were.
  bool is_whole() const {
    const char* end = pages + length - sysconf(_SC_PAGESIZE);
    return std::all_of(data + bytes, const_cast<char*>(end), [](char c) { return c == char(0xff); });
  }
};

// An argument of a launch, as Python describes it.
struct Argument {
  void* value;         // of a number
  void* array;         // of an array
  uint64_t bytes;      // of an array; 0 for a number or a null pointer
  int64_t is_written;  // an array that may change
};

static std::vector<Guarded> arrays;  // one for each argument
static Guarded shared_memory;
static sigjmp_buf escape;

inline void on_fault(int, siginfo_t* info, void*) {
  const char* address = static_cast<const char*>(info->si_addr);
  const unsigned thread = block.current ? block.current->rank : 0;
  for (size_t i = 0; i < arrays.size(); i++) {
    const Guarded& g = arrays[i];
    if (g.pages && g.holds(address)) {
      const long offset = address - g.data;
      fail("out of bounds: thread %u touches byte %ld of argument %zu, which has %zu bytes", thread,
           offset, i, g.bytes);
      siglongjmp(escape, 1);
    }
  }
  if (shared_memory.pages && shared_memory.holds(address)) {
    fail("out of bounds: thread %u touches byte %ld of %zu bytes of shared memory", thread,
         long(address - shared_memory.data), shared_memory.bytes);
    siglongjmp(escape, 1);
  }
  fail("thread %u touches memory that belongs to no argument", thread);
  siglongjmp(escape, 1);
}

// Faults are caught while kernels run, on a stack of their own.
struct Catching {
  struct sigaction segv, bus;
  stack_t before;
  std::vector<char> stack = std::vector<char>(64 << 10);

  Catching() {
    stack_t mine{};
    mine.ss_sp = stack.data();
    mine.ss_size = stack.size();
    sigaltstack(&mine, &before);
    struct sigaction action{};
    action.sa_sigaction = on_fault;
    action.sa_flags = SA_SIGINFO | SA_ONSTACK;
    sigaction(SIGSEGV, &action, &segv);
    sigaction(SIGBUS, &action, &bus);
  }
  ~Catching() {
    sigaction(SIGSEGV, &segv, nullptr);
    sigaction(SIGBUS, &bus, nullptr);
    sigaltstack(&before, nullptr);
  }
};

inline bool check_block() {
  for (const Thread& t : block.threads) {
    if (!t.copies.empty())
      return fail("thread %u ended with %zu copies that it never waited for", t.rank,
                  t.copies.size());
  }
  if (!shared_memory.is_whole()) return fail("out of bounds: written past the end of shared memory");
  return true;
}

inline bool run_grid(size_t static_bytes) {
  const dim3 grid = block.grid;
  for (unsigned z = 0; z < grid.z; z++) {
    for (unsigned y = 0; y < grid.y; y++) {
      for (unsigned x = 0; x < grid.x; x++) {
        block.index = {x, y, z};
        memset(shared_memory.data, 0xff, shared_memory.bytes);
        if (static_bytes) memset(__start_cuda_shared, 0xff, static_bytes);
        block.error[0] = 0;
        if (!run_block() || block.error[0] || !check_block()) return false;
      }
    }
  }
  for (size_t i = 0; i < arrays.size(); i++) {
    if (arrays[i].pages && !arrays[i].is_whole())
      return fail("out of bounds: written past the end of argument %zu", i);
  }
  return true;
}

template <class... A, size_t... I>
inline void call(void (*kernel)(A...), void** values, std::index_sequence<I...>) {
  kernel(*static_cast<std::remove_reference_t<A>*>(values[I])...);
}

template <class... A>
inline const char* launch(void (*kernel)(A...), const Argument* given, dim3 grid, dim3 size,
                          size_t shared_bytes, unsigned order) {
  constexpr size_t COUNT = sizeof...(A);
  static void* values[COUNT + 1];
  static void (*body)(A...);
  body = kernel;
  block.grid = grid;
  block.size = size;
  block.order = order;
  block.random.seed(order);
  block.error[0] = 0;
  const unsigned count = size.x * size.y * size.z;
  block.threads.resize(count);
  for (unsigned rank = 0; rank < count; rank++) {
    Thread& t = block.threads[rank];
    t.rank = rank;
    t.index = {rank % size.x, rank / size.x % size.y, rank / size.x / size.y};
  }
  arrays.assign(COUNT, Guarded{});
  for (size_t i = 0; i < COUNT; i++) {
    values[i] = given[i].value;
    if (given[i].array) {
      arrays[i].make(given[i].bytes, 16);
      memcpy(arrays[i].data, given[i].array, given[i].bytes);
      values[i] = &arrays[i].data;
    }
  }
  shared_memory.make(shared_bytes, 1024);
  block.shared = shared_memory.data;
  block.argument = values;
  block.body = [](void* values) {
    call(body, static_cast<void**>(values), std::index_sequence_for<A...>{});
  };
  const size_t static_bytes = __start_cuda_shared ? __stop_cuda_shared - __start_cuda_shared : 0;
  bool ok = false;
  {
    Catching catching;
    if (sigsetjmp(escape, 1) == 0) ok = run_grid(static_bytes);
  }
  for (size_t i = 0; i < COUNT; i++) {
    if (ok && given[i].array && given[i].is_written)
      memcpy(given[i].array, arrays[i].data, given[i].bytes);
    arrays[i].drop();
  }
  shared_memory.drop();
  if (ok) return nullptr;
  static char words[640];
  snprintf(words, sizeof(words), "block (%u, %u, %u): %s", block.index.x, block.index.y,
           block.index.z, block.error);
  return words;
}

}  // namespace cpu

extern "C" __attribute__((visibility("default"))) void take_counts(cpu::Counts* out) {
  *out = cpu::counts;
  cpu::counts = {};
}
