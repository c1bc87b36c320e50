#include "launch.h"

#include "copies.h"
#include "counts.h"
#include "fibers.h"
#include "memory.h"
#include "signals.h"
#include "threads.h"

namespace cpu {

static void* values[MOST_ARGUMENTS];

static void prepare_block(const Launch& launch) {
  const dim3& size = launch.size;
  block.size = size;
  block.grid = launch.grid;
  block.count = size.x * size.y * size.z;
  block.body = launch.body;
  block.values = values;
  if (launch.most_threads && block.count > launch.most_threads)
    fail("__launch_bounds__ allows %u threads, not %u", launch.most_threads, block.count);
  for (unsigned rank = 0; rank < block.count; rank++) {
    block.threads[rank].rank = rank;
    block.threads[rank].index = {rank % size.x, rank / size.x % size.y, rank / size.x / size.y};
  }
  stacks.make(block.count);
  schedule.begin(launch.order);
}

static void prepare_memory(const Launch& launch) {
  memory.static_shared.make_static();
  memory.shared.make(words("dynamic shared memory"), launch.shared_bytes, 1024, 0);
  memory.count = launch.count;
  for (int i = 0; i < launch.count; i++) {
    const Argument& given = launch.given[i];
    values[i] = given.value;
    if (!given.array) continue;
    Region& region = memory.arrays[i];
    region.make(words("%s, argument %d", given.name, i), given.bytes, 16, given.offset % 16);
    memcpy(region.data, given.array, given.bytes);
    if (!given.is_written) region.make_read_only();
    values[i] = &region.data;
  }
}

static void run_grid() {
  const dim3& grid = block.grid;
  const uint64_t count = uint64_t(grid.x) * grid.y * grid.z;
  const uint64_t first = schedule.number > 1 ? schedule.below(count) : 0;
  failure.is_in_block = 1;
  for (uint64_t turn = 0; turn < count; turn++) {
    const uint64_t rank = schedule.number == 1 ? count - 1 - turn : (first + turn) % count;
    block.index.x = rank % grid.x;
    block.index.y = rank / grid.x % grid.y;
    block.index.z = rank / grid.x / grid.y;
    memset(memory.static_shared.data, POISON, memory.static_shared.bytes);
    memset(memory.shared.data, POISON, memory.shared.bytes);
    run_block();
    check_no_copies();
    memory.check_poison();
    count_stores();
  }
}

static void copy_back(const Launch& launch) {
  for (int i = 0; i < launch.count; i++) {
    const Argument& given = launch.given[i];
    if (given.array && given.is_written) memcpy(given.array, memory.arrays[i].data, given.bytes);
  }
}

const Failure* run(const Launch& launch) {
  failure = {};
  block.current = nullptr;
  counting = launch.counting;
  forget_stores();
  catch_signals(launch.heeds_ctrl_c);
  if (sigsetjmp(escape, 1) == 0) {
    prepare_block(launch);
    prepare_memory(launch);
    run_grid();
    copy_back(launch);
  }
  release_signals();
  memory.shared.drop();
  for (int i = 0; i < launch.count; i++) memory.arrays[i].drop();
  failure.block = block.index;
  return failure.sentence[0] ? &failure : nullptr;
}

}  // namespace cpu
