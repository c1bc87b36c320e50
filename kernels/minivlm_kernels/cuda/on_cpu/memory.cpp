#include "memory.h"

#include <sys/mman.h>
#include <unistd.h>

extern "C" {  // by shared.ld
extern char cuda_shared_pages[], cuda_shared_pages_end[];
extern char cuda_shared_begin[], cuda_shared_end[];
}

namespace cpu {

static size_t page() { return sysconf(_SC_PAGESIZE); }

void Region::make(const Words& its_name, size_t count, size_t alignment, size_t offset) {
  constexpr size_t GUARD = 1 << 20;
  const size_t inner = (count + alignment + page() - 1) / page() * page();
  const size_t all = inner + 2 * GUARD;
  void* mapped = mmap(nullptr, all, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (mapped == MAP_FAILED)
    fail("there is no memory for the %zu bytes of %s", count, its_name.text);
  name = its_name;
  pages = static_cast<char*>(mapped);
  length = all;
  guard = GUARD;
  if (mprotect(inner_begin(), inner, PROT_READ | PROT_WRITE))
    fail("there is no memory for the %zu bytes of %s", count, its_name.text);
  const uintptr_t last = reinterpret_cast<uintptr_t>(inner_end()) - count;
  data = reinterpret_cast<char*>(last - (last - offset) % alignment);
  bytes = count;
  memset(inner_begin(), POISON, data - inner_begin());
  memset(data + bytes, POISON, inner_end() - (data + bytes));
}

void Region::make_static() {
  name = words("the __shared__ arrays");
  pages = cuda_shared_pages;
  length = cuda_shared_pages_end - cuda_shared_pages;
  guard = page();
  data = cuda_shared_begin;
  bytes = cuda_shared_end - cuda_shared_begin;
  mprotect(pages, guard, PROT_NONE);
  mprotect(inner_end(), guard, PROT_NONE);
  memset(inner_begin(), POISON, inner_end() - inner_begin());
}

void Region::make_read_only() {
  mprotect(inner_begin(), inner_end() - inner_begin(), PROT_READ);
  is_read_only = true;
}

void Region::drop() {
  if (pages) munmap(pages, length);
  *this = {};
}

Words Region::name_of_byte(const void* address) const {
  return words("byte %td of %s, which has %zu bytes", static_cast<const char*>(address) - data,
               name.text, bytes);
}

void Region::check_poison() const {
  check_poison(inner_begin(), data);
  check_poison(data + bytes, inner_end());
}

void Region::check_poison(const char* from, const char* to) const {
  if (from == to) return;
  if (*from == char(POISON) && memcmp(from, from + 1, to - from - 1) == 0) return;
  while (*from == char(POISON)) from++;
  fail("out of bounds: a thread wrote %s", name_of_byte(from).text);
}

const Region* Memory::near(const void* address) const {
  if (static_shared.is_near(address)) return &static_shared;
  if (shared.is_near(address)) return &shared;
  for (int i = 0; i < count; i++) {
    if (arrays[i].is_near(address)) return &arrays[i];
  }
  return nullptr;
}

void Memory::check_poison() const {
  static_shared.check_poison();
  shared.check_poison();
  for (int i = 0; i < count; i++) {
    if (arrays[i].pages) arrays[i].check_poison();
  }
}

}  // namespace cpu
