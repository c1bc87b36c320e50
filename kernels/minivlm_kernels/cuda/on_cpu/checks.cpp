// With -fsanitize=bounds,alignment the compiler checks each index of an array whose size it knows,
// and that each address is a multiple of its type's alignment, as a GPU demands. It calls these two
// functions where that is not so.
#include "memory.h"
#include "threads.h"

namespace cpu {

// As the compiler lays them out.
struct Location {
  const char* file;
  uint32_t line, column;
};
struct Type {
  uint16_t kind, info;
  char name[1];  // in quotes
};
struct Refused {
  Location location;
  const Type* type;
};

static Words name_of(const Location& l) { return name_of(Place{l.file, int(l.line)}); }

}  // namespace cpu

extern "C" void __ubsan_handle_out_of_bounds(const cpu::Refused* refused, intptr_t index) {
  cpu::fail("out of bounds: %s takes number %td of an array %s (%s)",
            cpu::name_of(*cpu::block.current).text, index, refused->type->name,
            cpu::name_of(refused->location).text);
}

extern "C" void __ubsan_handle_type_mismatch_v1(const cpu::Refused* refused, const char* address) {
  const cpu::Region* region = cpu::memory.near(address);
  const cpu::Words at = region ? region->name_of_byte(address) : cpu::words("%p", address);
  cpu::fail("misaligned: %s finds no %s at %s (%s)", cpu::name_of(*cpu::block.current).text,
            refused->type->name, at.text, cpu::name_of(refused->location).text);
}
