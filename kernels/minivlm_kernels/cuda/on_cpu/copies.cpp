#include "copies.h"

#include "tensor.h"

namespace cpu {

constexpr unsigned MOST_COPIES = 512;  // of a thread, on their way

struct Copy {
  void* to;
  const void* from;
  bool inside;  // else zeros are written
  bool has_arrived;
  int group;
  Place place;

  void arrive() {
    if (has_arrived) return;
    if (inside)
      memcpy(to, from, 16);
    else
      memset(to, 0, 16);
    has_arrived = true;
  }
};
static Copy copies[MOST_THREADS][MOST_COPIES];  // of each thread, the first Thread::copies

static Copy checked(const char* what, void* to, const void* from, bool inside, const Place& place) {
  check16(what, to, true, place);
  if (inside) check16(what, from, false, place);
  count(&Counts::bytes_to_shared, 16);
  note_store(to, place);
  return {to, from, inside, false, block.current->groups, place};
}

void copy_now(void* to, const void* from, bool inside, const Place& place) {
  checked("copy16", to, from, inside, place).arrive();
}

void copy_in_background(void* to, const void* from, bool inside, const Place& place) {
  Copy copy = checked("cp_async16", to, from, inside, place);
  if (schedule.at_once()) copy.arrive();
  Thread& me = *block.current;
  if (me.copies == MOST_COPIES) {
    fail("cp_async16 (%s): %s has more than %u copies on their way", name_of(place).text,
         name_of(me).text, MOST_COPIES);
  }
  copies[me.rank][me.copies++] = copy;
}

void wait_for_copies(int newest_groups) {
  Thread& me = *block.current;
  unsigned left = 0;
  for (unsigned i = 0; i < me.copies; i++) {
    Copy& copy = copies[me.rank][i];
    if (copy.group < me.groups - newest_groups)
      copy.arrive();
    else
      copies[me.rank][left++] = copy;
  }
  me.copies = left;
}

void check_no_copies() {
  for (unsigned rank = 0; rank < block.count; rank++) {
    const Thread& t = block.threads[rank];
    if (!t.copies) continue;
    fail("%s has returned, and never waited for the copy that it began at %s", name_of(t).text,
         name_of(copies[rank][0].place).text);
  }
}

}  // namespace cpu
