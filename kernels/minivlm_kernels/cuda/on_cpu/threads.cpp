#include "threads.h"

#include "fibers.h"

namespace cpu {

struct Warp {
  Thread* threads;
  unsigned lanes;
  unsigned order[WARP];  // in which its lanes take turns
  unsigned turn;         // how many had theirs in this round
  bool again;            // someone was released: there shall be another round
  // What its lanes do together: those that have come wait for the rest.
  const char* what;
  Place place;
  unsigned here;
  void* offers[WARP];
};

static Warp warps[MOST_THREADS / WARP];
static Fiber fibers[MOST_THREADS];
static Fiber scheduler;

static Warp& warp_of(const Thread& t) { return warps[t.rank / WARP]; }

Words name_of(const Thread& thread) {
  if (block.size.y * block.size.z == 1) return words("thread %u", thread.rank);
  return words("thread (%u, %u, %u)", thread.index.x, thread.index.y, thread.index.z);
}

// ---- The schedule.

void Schedule::begin(unsigned its_number) {
  number = its_number;
  random = 0x9e3779b97f4a7c15u * (uint64_t(number) + 1);
}

unsigned Schedule::below(unsigned n) {  // xorshift64*
  random ^= random >> 12;
  random ^= random << 25;
  random ^= random >> 27;
  return (random * 0x2545f4914f6cdd1du >> 32) % n;
}

bool Schedule::at_once() { return number == 1 || (number > 1 && below(2)); }

void Schedule::draw(unsigned* turns, unsigned count) {
  for (unsigned i = 0; i < count; i++) turns[i] = number == 1 ? count - 1 - i : i;
  if (number < 2) return;
  for (unsigned i = count - 1; i > 0; i--) {
    const unsigned other = below(i + 1);
    const unsigned mine = turns[i];
    turns[i] = turns[other];
    turns[other] = mine;
  }
}

// The next lane of a warp that can run, or the scheduler if all wait for other warps or are done.
static Fiber& next_of(Warp& warp) {
  for (;;) {
    while (warp.turn < warp.lanes) {
      Thread& t = warp.threads[warp.order[warp.turn++]];
      if (t.state != State::READY) continue;
      block.current = &t;
      return fibers[t.rank];
    }
    if (!warp.again) return scheduler;
    warp.again = false;
    warp.turn = 0;
    schedule.draw(warp.order, warp.lanes);
  }
}

void wait(State state, const Place& place) {
  Thread& me = *block.current;
  me.state = state;
  me.place = place;
  switch_to(fibers[me.rank], next_of(warp_of(me)));
}

static void run_thread() {
  block.body(block.values);
  wait(State::DONE, {"", 0});
  abort();  // no one runs a thread that is done
}

// ---- Warps.

[[noreturn]] static void deadlock(const Warp& warp, const Thread& missing, const char* does) {
  const Thread* waiting = warp.threads;
  while (waiting->state != State::IN_WARP) waiting++;
  fail("deadlock: %s waits at %s (%s) for %s, which %s", name_of(*waiting).text, warp.what,
       name_of(warp.place).text, name_of(missing).text, does);
}

void together(const char* what, const Place& place, void* mine, void (*act)(void** offers)) {
  Thread& me = *block.current;
  Warp& warp = warp_of(me);
  if (warp.lanes < WARP) {
    fail("%s (%s) needs 32 lanes, and the warp of %s has %u", what, name_of(place).text,
         name_of(me).text, warp.lanes);
  }
  if (warp.here == 0) {
    warp.what = what;
    warp.place = place;
  } else if (!(warp.place == place) || warp.what != what) {
    deadlock(warp, me, words("waits at %s (%s)", what, name_of(place).text).text);
  }
  warp.offers[me.rank % WARP] = mine;
  warp.here++;
  if (warp.here < WARP) return wait(State::IN_WARP, place);
  act(warp.offers);
  for (unsigned lane = 0; lane < WARP; lane++) warp.threads[lane].state = State::READY;
  warp.here = 0;
  warp.again = true;
}

// Until all its threads wait at a barrier of the block, or are done.
static void run_warp(Warp& warp) {
  warp.turn = warp.lanes;
  warp.again = true;
  Fiber& first = next_of(warp);
  if (&first != &scheduler) switch_to(scheduler, first);
  block.current = nullptr;
  for (unsigned lane = 0; warp.here && lane < WARP; lane++) {
    const Thread& t = warp.threads[lane];
    if (t.state == State::DONE) deadlock(warp, t, "has returned");
    if (t.state == State::AT_BARRIER)
      deadlock(warp, t, words("waits at __syncthreads (%s)", name_of(t.place).text).text);
  }
}

// ---- The block.

// None can run. Are all done? Else all must wait at one barrier.
static bool all_are_done() {
  const Thread *waiting = nullptr, *done = nullptr;
  for (unsigned rank = 0; rank < block.count; rank++) {
    const Thread& t = block.threads[rank];
    if (t.state == State::DONE) {
      done = &t;
    } else if (!waiting) {
      waiting = &t;
    } else if (!(t.place == waiting->place)) {
      fail("divergent barrier: %s waits at __syncthreads (%s), and %s at another one (%s)",
           name_of(*waiting).text, name_of(waiting->place).text, name_of(t).text,
           name_of(t.place).text);
    }
  }
  if (waiting && done) {
    fail("divergent barrier: %s waits at __syncthreads (%s), and %s has returned",
         name_of(*waiting).text, name_of(waiting->place).text, name_of(*done).text);
  }
  return !waiting;
}

void run_block() {
  const unsigned count = (block.count + WARP - 1) / WARP;
  for (unsigned w = 0; w < count; w++) {
    warps[w].threads = block.threads + w * WARP;
    warps[w].lanes = min(WARP, block.count - w * WARP);
    warps[w].here = 0;
  }
  for (unsigned rank = 0; rank < block.count; rank++) {
    begin(fibers[rank], stacks.bottom(rank), stacks.top(rank), run_thread);
    block.threads[rank].copies = block.threads[rank].groups = 0;
  }
  do {
    for (unsigned rank = 0; rank < block.count; rank++) block.threads[rank].state = State::READY;
    unsigned order[MOST_THREADS / WARP];
    schedule.draw(order, count);
    for (unsigned turn = 0; turn < count; turn++) run_warp(warps[order[turn]]);
  } while (!all_are_done());
}

}  // namespace cpu
