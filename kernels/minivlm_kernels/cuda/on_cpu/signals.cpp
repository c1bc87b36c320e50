#include "signals.h"

#include <dlfcn.h>
#include <pthread.h>
#include <signal.h>
#include <ucontext.h>

#include "fibers.h"
#include "memory.h"
#include "threads.h"

namespace cpu {

constexpr int CAUGHT[] = {SIGSEGV, SIGBUS, SIGFPE, SIGINT};

static struct sigaction before[4];  // who got them
static int count;                   // of those that are caught
static stack_t stack_before;
static pthread_t runner;  // of kernels

static void pass_on(int signal, siginfo_t* info, void* context) {
  for (int i = 0; i < count; i++) {
    if (CAUGHT[i] != signal) continue;
    if (before[i].sa_flags & SA_SIGINFO)
      before[i].sa_sigaction(signal, info, context);
    else if (before[i].sa_handler != SIG_DFL && before[i].sa_handler != SIG_IGN)
      before[i].sa_handler(signal);
    else
      sigaction(signal, &before[i], nullptr);  // what was refused is tried again, without us
  }
}

// The instruction that was refused, and what it was about to do.
#if defined(__x86_64__) && defined(__linux__)
static uintptr_t instruction(const ucontext_t* c) { return c->uc_mcontext.gregs[REG_RIP]; }
static const char* access(const ucontext_t* c) {
  return c->uc_mcontext.gregs[REG_ERR] & 2 ? "writes" : "reads";
}
#else
static uintptr_t instruction(const ucontext_t*) { return 0; }
static const char* access(const ucontext_t*) { return "touches"; }
#endif

static void on_signal(int signal, siginfo_t* info, void* context) {
  if (!pthread_equal(runner, pthread_self()) || !block.current) {
    pass_on(signal, info, context);
    return;
  }
  const ucontext_t* where = static_cast<const ucontext_t*>(context);
  const uintptr_t at = instruction(where);
  const Words thread = name_of(*block.current);
  if (signal == SIGINT) {
    failure.interrupted = 1;
    fail("%s was interrupted", thread.text);
  }
  Dl_info library;
  if (at && dladdr(reinterpret_cast<void*>(at), &library))
    failure.instruction = at - reinterpret_cast<uintptr_t>(library.dli_fbase);
  if (signal == SIGFPE) fail("%s divides an integer by zero", thread.text);
  if (stacks.has_guard_at(info->si_addr))
    fail("%s needs more than %zu bytes of stack", thread.text, Stacks::BYTES);
  if (const Region* region = memory.near(info->si_addr)) {
    const bool is_inside = region->has(info->si_addr, 1);  // then only writing is forbidden
    fail("%s: %s %s %s", is_inside ? "const" : "out of bounds", thread.text, access(where),
         region->name_of_byte(info->si_addr).text);
  }
  fail("%s %s memory that belongs to no argument, at address %p", thread.text, access(where),
       info->si_addr);
}

void catch_signals(bool ctrl_c) {
  count = ctrl_c ? 4 : 3;
  static char stack[64 << 10];  // not the thread's own, which may be used up
  stack_t mine = {};
  mine.ss_sp = stack;
  mine.ss_size = sizeof(stack);
  sigaltstack(&mine, &stack_before);
  runner = pthread_self();
  struct sigaction action = {};
  action.sa_sigaction = on_signal;
  action.sa_flags = SA_SIGINFO | SA_ONSTACK;
  for (int i = 0; i < count; i++) sigaction(CAUGHT[i], &action, &before[i]);
}

void release_signals() {
  for (int i = 0; i < count; i++) sigaction(CAUGHT[i], &before[i], nullptr);
  sigaltstack(&stack_before, nullptr);
}

}  // namespace cpu
