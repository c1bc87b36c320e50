"""What rungs A5 to A8 say that they cost is what they do; and their tiles meet no bank conflict."""

import shutil

import numpy as np
import pytest

from minivlm_kernels.arrays import BF16, F32
from minivlm_kernels.attention import cuda
from minivlm_kernels.cuda import cpu
from minivlm_kernels.cuda.load import load
from tests.kernels import oracles
from tests.kernels.cuda_attention import (
    A5,
    A6,
    A7,
    A8,
    backward,
    compile_side_by_side,
    forward,
    forward_rungs,
    on_the_cpu,
    runs_cuda,
    some,
)
from tests.kernels.places import normal

pytestmark = [runs_cuda, on_the_cpu]

HEADS = {A5: [64], A6: [64], A7: [64, 112], A8: [64, 128]}  # those that are counted
PRODUCTS = """
#include "tiles.cuh"

extern "C" __global__ void products(const bf16* a, const bf16* b, bf16* out) {
  constexpr Place b_tile = 32 * C;
  start_copy<32, 128>(0, a, 0, 30);  // the last two rows are not there
  start_copy<32, 128>(b_tile, b, 0, 32);
  cp_async_commit();
  cp_async_wait<0>();
  __syncthreads();
  if (threadIdx.x >= 32) return;
  float s[2][4][4] = {};
  add_products(s, 0, b_tile);
  uint32_t p[2][4][2];
  for (int m = 0; m < 2; m++)
    for (int n = 0; n < 4; n++)
      for (int half = 0; half < 2; half++)
        p[m][n][half] = pack_bf16(s[m][n][2 * half], s[m][n][2 * half + 1]);
  float sums[2][C / 8][4] = {};
  add_weighted(sums, p, b_tile);
  write_rows(out, 0, 32, sums, 2.0f);
}
"""


@pytest.fixture(scope="module")
def products(tmp_path_factory):
    """A file with a kernel of one warp: 2 · (a · bᵀ) · b, by what A7 and A8 share."""
    folder = tmp_path_factory.mktemp("products")
    for header in ("tiles.cuh", "sight.cuh"):
        shutil.copy(cuda.HERE / header, folder)
    source = folder / "products.cu"
    source.write_text(PRODUCTS, "utf-8")
    compile_side_by_side(*((source, C) for C in cuda.HEADS))
    return source


@pytest.mark.parametrize("C", cuda.HEADS)
def test_swizzled_tiles_multiply_without_bank_conflicts(C, products):
    rng = np.random.default_rng(C)
    a, b = normal(rng, 30, C, dtype=BF16), normal(rng, 32, C, dtype=BF16)
    out = np.full((32, C), np.nan, BF16)
    with cpu.counted() as counts:
        load(products, a, C=C).launch("products", (1,), (128,), [a, b, out], 2 * 64 * C)
    p = (oracles.double(a) @ oracles.double(b).T).astype(BF16)
    right = 2 * oracles.double(p) @ oracles.double(b)
    assert oracles.relative_error(out[:30], right) < 4e-3
    np.testing.assert_array_equal(out[30:].astype(F32), 0)
    assert counts.conflict_degree == 1
    assert counts.tensor_multiply_adds == 2 * 32 * 32 * C


@forward_rungs
@pytest.mark.parametrize("tiles", [1, 2])
def test_forward_does_as_many_multiply_adds_as_it_says(rung, tiles):
    for C in HEADS[rung]:
        queries, keys = (128 if rung is A7 else 64), (48 if C == 112 else 64)
        q, k, v, _ = some(rung, H=2, T=2 * queries, S=tiles * keys, C=C)
        with cpu.counted() as counts:
            forward(rung, q, k, v)
        pairs = 2 * (2 * queries) * (tiles * keys)  # of 2 heads
        if rung is A5:
            assert counts.multiply_adds == pairs * 2 * C
        else:
            assert counts.tensor_multiply_adds == pairs * 2 * C
            assert counts.conflict_degree == 1
        size = q.itemsize
        blocks = 2 * 2
        read = blocks * (queries + 2 * tiles * keys) * C * size
        assert counts.bytes_to_shared == read
        assert counts.bytes_put == 2 * (2 * queries) * (C * size + 4)


@pytest.mark.parametrize("C", HEADS[A8])
def test_backward_does_as_many_multiply_adds_as_it_says(C):
    q, k, v, do = some(A8, H=2, T=128, S=256, C=C)
    o, lse = np.zeros_like(q), np.zeros(q.shape[:3], F32)
    with cpu.counted() as counts:
        backward(q, k, v, o, lse, do)
    assert counts.tensor_multiply_adds == 7 * (2 * 128 * 256) * C
    assert counts.conflict_degree == 1
    assert counts.bytes_put == 2 * (q.size + k.size + v.size) + 4 * lse.size


@pytest.mark.parametrize("rung", [A6, A7, A8], ids=["A6", "A7", "A8"])
def test_causal_attention_skips_what_no_query_of_a_block_sees(rung):
    q, k, v, do = some(rung, T=512, S=512)
    o, lse = np.zeros_like(q), np.zeros(q.shape[:3], F32)

    def counted(causal):
        with cpu.counted() as counts:
            if rung is A8:
                backward(q, k, v, o, lse, do, causal=causal)
            else:
                forward(rung, q, k, v, causal=causal)
        return counts

    some_keys, all_keys = counted(causal=True), counted(causal=False)
    assert 0.5 < some_keys.tensor_multiply_adds / all_keys.tensor_multiply_adds < 0.57
    assert 0.5 < some_keys.bytes_to_shared / all_keys.bytes_to_shared < 0.72


@pytest.mark.parametrize("rung", [A7, A8], ids=["A7", "A8"])
def test_a_warp_without_queries_multiplies_nothing(rung):
    q, k, v, do = some(rung, H=1, T=33, S=128)
    o, lse = np.zeros_like(q), np.zeros(q.shape[:3], F32)
    with cpu.counted() as counts:
        if rung is A8:
            backward(q, k, v, o, lse, do)
        else:
            forward(rung, q, k, v)
    rows = 64  # of two warps; the tiles of queries that keys walk over are as many
    products = 7 if rung is A8 else 2
    assert counts.tensor_multiply_adds == products * rows * 128 * 64
