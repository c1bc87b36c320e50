#include "fibers.h"

#include <sys/mman.h>
#include <unistd.h>

#ifndef UCONTEXT
extern "C" void cuda_cpu_switch(cpu::Fiber* from, cpu::Fiber* to);
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
  mov (%rsi), %rsp
  pop %r15
  pop %r14
  pop %r13
  pop %r12
  pop %rbx
  pop %rbp
  ret
.size cuda_cpu_switch, . - cuda_cpu_switch
)");
#endif

namespace cpu {

#ifdef UCONTEXT
void switch_to(Fiber& from, Fiber& to) { swapcontext(&from, &to); }

void begin(Fiber& fiber, char* bottom, char* top, void (*body)()) {
  getcontext(&fiber);
  fiber.uc_stack.ss_sp = bottom;
  fiber.uc_stack.ss_size = top - bottom;
  makecontext(&fiber, body, 0);
}
#else
void switch_to(Fiber& from, Fiber& to) { cuda_cpu_switch(&from, &to); }

void begin(Fiber& fiber, char*, char* top, void (*body)()) {
  void** stack = reinterpret_cast<void**>(top);
  *--stack = nullptr;  // where body would return to
  *--stack = reinterpret_cast<void*>(body);
  for (int registers = 0; registers < 6; registers++) *--stack = nullptr;
  fiber.stack_pointer = stack;
}
#endif

static size_t page() { return sysconf(_SC_PAGESIZE); }
static size_t stride() { return Stacks::BYTES + page(); }

void Stacks::make(size_t wanted) {
  if (wanted <= count) return;
  if (pages) munmap(pages, count * stride());
  count = 0;
  void* mapped = mmap(nullptr, wanted * stride(), PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  pages = mapped == MAP_FAILED ? nullptr : static_cast<char*>(mapped);
  if (!pages) fail("there is no memory for the stacks of %zu threads", wanted);
  count = wanted;
  for (size_t i = 0; i < count; i++) mprotect(pages + i * stride(), page(), PROT_NONE);
}

char* Stacks::bottom(size_t i) const { return pages + i * stride() + page(); }

char* Stacks::top(size_t i) const {
  // Stacks that began at the same place of a page would share few lines of the cache.
  return bottom(i) + BYTES - i * 17 % 64 * 64;
}

bool Stacks::has_guard_at(const void* address) const {
  const size_t offset = static_cast<const char*>(address) - pages;
  return address >= pages && offset < count * stride() && offset % stride() < page();
}

}  // namespace cpu
