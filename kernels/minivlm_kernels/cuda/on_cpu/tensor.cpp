#include "tensor.h"

#include "counts.h"
#include "memory.h"

namespace cpu {

static float low(uint32_t pair) { return same_bits<float>(pair << 16); }
static float high(uint32_t pair) { return same_bits<float>(pair & 0xffff0000u); }

using Eight = float __attribute__((vector_size(32)));  // a row of b or d, a register of the CPU

void multiply(void** offers) {
  Operands** lanes = reinterpret_cast<Operands**>(offers);
  float a[16][16];
  Eight b[16];
  for (unsigned lane = 0; lane < WARP; lane++) {
    const unsigned g = lane / 4, t = lane % 4 * 2;
    const Operands& mine = *lanes[lane];
    for (unsigned e = 0; e < 4; e++) {
      const unsigned row = g + e % 2 * 8, column = t + e / 2 * 8;
      a[row][column] = low(mine.a[e]);
      a[row][column + 1] = high(mine.a[e]);
    }
    b[t][g] = low(mine.b0);
    b[t + 1][g] = high(mine.b0);
    b[t + 8][g] = low(mine.b1);
    b[t + 9][g] = high(mine.b1);
  }
  for (unsigned row = 0; row < 16; row++) {
    Eight sum = {};
    for (unsigned k = 0; k < 16; k++) sum += a[row][k] * b[k];
    for (unsigned t = 0; t < 4; t++) {
      float* d = lanes[row % 8 * 4 + t]->d + row / 8 * 2;
      d[0] += sum[2 * t];
      d[1] += sum[2 * t + 1];
    }
  }
  count(&Counts::tensor_multiply_adds, 16 * 8 * 16);
}

template <bool TRANSPOSED>
static void load(void** offers) {
  RowAndRegisters** lanes = reinterpret_cast<RowAndRegisters**>(offers);
  for (unsigned m = 0; m < 4; m++) {
    uint16_t matrix[8][8];
    const void* rows[8];
    for (unsigned r = 0; r < 8; r++) {
      rows[r] = lanes[8 * m + r]->row;
      memcpy(matrix[r], rows[r], 16);
    }
    for (unsigned lane = 0; lane < WARP; lane++) {
      const unsigned g = lane / 4, t = lane % 4 * 2;
      const uint32_t first = TRANSPOSED ? matrix[t][g] : matrix[g][t];
      const uint32_t second = TRANSPOSED ? matrix[t + 1][g] : matrix[g][t + 1];
      lanes[lane]->registers[m] = first | second << 16;
    }
    count(&Counts::matrix_loads, 1);
    if (counting) count(&Counts::matrix_load_turns, turns(rows, 8));
  }
}

void load_matrices(void** offers) { load<false>(offers); }
void load_transposed(void** offers) { load<true>(offers); }

void check16(const char* what, const void* address, bool is_shared, const Place& place) {
  const Region* region = memory.near(address);
  const bool is_right = region && memory.is_shared(region) == is_shared;
  const bool is_aligned = reinterpret_cast<uintptr_t>(address) % 16 == 0;
  if (is_right && is_aligned && region->has(address, 16)) return;

  const Words who = words("%s (%s): %s", what, name_of(place).text, name_of(*block.current).text);
  if (!is_right)
    fail("%s gives an address that is not in %s memory", who.text, is_shared ? "shared" : "global");
  if (!is_aligned) {
    fail("misaligned: %s gives byte %td of %s, which is no multiple of 16", who.text,
         static_cast<const char*>(address) - region->data, region->name.text);
  }
  fail("out of bounds: %s gives %s", who.text, region->name_of_byte(address).text);
}

}  // namespace cpu
