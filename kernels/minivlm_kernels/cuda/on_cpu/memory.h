// What a kernel may touch: its arguments' arrays and its shared memory. Each such region lies between
// guards, pages that no one may touch, and ends right before one, up to what alignment asks. Bytes
// between region and guard are poison, and that someone wrote them is found out.
#pragma once
#include "faults.h"

namespace cpu {

constexpr int POISON = 0xff;  // NaN in float and bf16, −1 in int

struct Region {
  Words name;
  char* pages = nullptr;  // a guard, the bytes, another guard
  size_t length = 0;      // of all three
  size_t guard = 0;       // of one
  char* data = nullptr;
  size_t bytes = 0;
  bool is_read_only = false;

  // Maps new pages. The data begins `offset` bytes after a multiple of `alignment`.
  void make(const Words& its_name, size_t count, size_t alignment, size_t offset);
  // Takes the pages that shared.ld made for __shared__ arrays.
  void make_static();
  void make_read_only();
  void drop();

  bool has(const void* address, size_t count) const {
    return address >= data && static_cast<const char*>(address) + count <= data + bytes;
  }
  bool is_near(const void* address) const { return address >= pages && address < pages + length; }

  // Such as "byte 12 of y, which has 8 bytes".
  Words name_of_byte(const void* address) const;
  // Fails if someone wrote beside the data.
  void check_poison() const;

 private:
  char* inner_begin() const { return pages + guard; }
  char* inner_end() const { return pages + length - guard; }
  void check_poison(const char* from, const char* to) const;
};

constexpr int MOST_ARGUMENTS = 64;
struct Memory {
  Region static_shared, shared;
  Region arrays[MOST_ARGUMENTS];  // one for each argument; empty for a number
  int count;                      // of arguments

  // The region that an address lies in or right beside, or null.
  const Region* near(const void* address) const;
  bool is_shared(const Region* r) const { return r == &static_shared || r == &shared; }
  void check_poison() const;
};
inline Memory memory;

}  // namespace cpu
