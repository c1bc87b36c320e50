#include "counts.h"

#include <algorithm>
#include <tuple>
#include <vector>

namespace cpu {

// Shared memory is lines of 128 bytes, and 16 bytes lie in one of 8 columns. A turn serves one place
// of each column.
unsigned turns(const void* const* places, unsigned number) {
  unsigned in_column[8] = {};
  for (unsigned i = 0; i < number; i++) {
    if (std::find(places, places + i, places[i]) != places + i) continue;  // served to both
    in_column[reinterpret_cast<uintptr_t>(places[i]) / 16 % 8]++;
  }
  return *std::max_element(in_column, in_column + 8);
}

struct Store {
  unsigned rank;
  int line;
  unsigned number;  // of the thread's stores at this line
  const void* to;

  // The hardware takes those of 8 neighbouring lanes together: the n-th of each at a line.
  auto group() const { return std::make_tuple(rank / 8, line, number); }
};
static std::vector<Store> stores;

void note_store(const void* to, const Place& place) {
  if (counting) stores.push_back({block.current->rank, place.line, 0, to});
}

static void number_stores() {
  std::stable_sort(stores.begin(), stores.end(), [](const Store& a, const Store& b) {
    return std::tie(a.rank, a.line) < std::tie(b.rank, b.line);
  });
  for (size_t i = 1; i < stores.size(); i++) {
    const Store& before = stores[i - 1];
    Store& now = stores[i];
    if (now.rank == before.rank && now.line == before.line) now.number = before.number + 1;
  }
}

void count_stores() {
  number_stores();
  std::sort(stores.begin(), stores.end(),
            [](const Store& a, const Store& b) { return a.group() < b.group(); });
  for (size_t first = 0, end; first < stores.size(); first = end) {
    const void* places[8];
    for (end = first; end < stores.size() && stores[end].group() == stores[first].group(); end++) {
      places[end - first] = stores[end].to;
    }
    count(&Counts::copies, 1);
    count(&Counts::copy_turns, turns(places, end - first));
  }
  forget_stores();
}

void forget_stores() { stores.clear(); }

}  // namespace cpu

// Hands the counts over, and begins anew.
extern "C" __attribute__((visibility("default"))) void take_counts(cpu::Counts* out) {
  *out = cpu::counts;
  cpu::counts = {};
}
