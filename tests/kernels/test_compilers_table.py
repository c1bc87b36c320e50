"""The table of registers and spills: how it reads, and that each difference is told."""

import pytest

from minivlm_kernels.compilers.examine import ARCHS, Broken, Kernel, Outcome, gather, sentences
from minivlm_kernels.compilers.figures import Figures
from minivlm_kernels.compilers.table import OTHERS, differences, render

VERSIONS = {"numba": "0.68.1", "nvidia-nvvm": "13.0.88"}


def kernel(name, size="any", ladder="attention", file="a1_naive.py"):
    return Kernel(ladder, file, name, size)


def figures(registers=32, spilled=0, stack=0, shared=0, threads=128, warps=48):
    return Figures(registers, spilled, stack, shared, threads, warps)


def on_all(**changed):
    return dict.fromkeys(ARCHS, figures(**changed))


def small_table():
    return {
        kernel("scores", "16"): on_all(registers=40, shared=2112),
        kernel("scores", "64"): {
            "sm_75": figures(registers=255, spilled=8, stack=16, warps=8),
            "sm_80": figures(registers=255, spilled=8, stack=16, warps=8),
            "sm_90": figures(registers=254, warps=8),
        },
        kernel("softmax"): on_all(),
        kernel("softmax", file="a2_tiled.py"): on_all(),
        kernel("loss", "any", "contrastive", "c4_tensor_cores.cu"): {"sm_90": figures()},
    }


def test_a_table_reads_well():
    text = render(small_table(), VERSIONS)
    assert EXPECTED in text
    assert "- numba 0.68.1\n- nvidia-nvvm 13.0.88\n" in text


EXPECTED = """\
| rung        | kernel  |   C | sm_75 | sm_80 | sm_90 |   spilled |       stack | threads | shared | warps |
| ----------- | ------- | --: | ----: | ----: | ----: | --------: | ----------: | ------: | -----: | ----: |
| a1_naive.py | scores  |  16 |    40 |    40 |    40 |         0 |           0 |     128 |   2112 |    48 |
|             |         |  64 |   255 |   255 |   254 | 8 / 8 / 0 | 16 / 16 / 0 |     128 |      0 |     8 |
|             | softmax | any |    32 |    32 |    32 |         0 |           0 |     128 |      0 |    48 |
| a2_tiled.py | softmax | any |    32 |    32 |    32 |         0 |           0 |     128 |      0 |    48 |
"""  # noqa: E501


def changed(changes):
    """What is told when the small table is committed and these kernels are changed, or dropped."""
    fresh = {key: given for key, given in {**small_table(), **changes}.items() if given}
    return differences(render(small_table(), VERSIONS), render(fresh, VERSIONS))


def test_an_unchanged_table_differs_in_nothing():
    assert changed({}) == []


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"registers": 41}, "registers on sm_75 41, in the table 40"),
        ({"spilled": 4}, "spilled 4, in the table 0"),
        ({"stack": 8}, "stack 8, in the table 0"),
        ({"threads": 256}, "threads 256, in the table 128"),
        ({"shared": 2116}, "shared 2116, in the table 2112"),
        ({"warps": 40}, "warps 40, in the table 48"),
    ],
)
def test_each_changed_figure_is_told(change, told):
    now = {"registers": 40, "shared": 2112, **change}
    sentences = changed({kernel("scores", "16"): on_all(**now)})
    assert sentences[0] == f"attention/a1_naive.py scores, C = 16: {told}"


def test_kernels_that_came_or_went_are_told():
    new = kernel("mean", "64", "contrastive", "c1_dense.py")
    assert changed({new: on_all()}) == ["contrastive/c1_dense.py mean, E = 64: not in the table"]
    assert changed({kernel("softmax"): None}) == [
        "attention/a1_naive.py softmax, C = any: in the table, but there is no such kernel"
    ]


def test_a_kind_of_gpu_that_a_rung_no_longer_compiles_for_is_told():
    lost = {"sm_80": figures(), "sm_90": figures()}
    assert changed({kernel("softmax"): lost}) == [
        "attention/a1_naive.py softmax, C = any: registers on sm_75 none, in the table 32"
    ]


def test_with_other_compilers_nothing_is_compared():
    fresh = render({}, {"numba": "0.69.0", "nvidia-nvvm": "13.0.88"})
    assert differences(render(small_table(), VERSIONS), fresh) == [
        f"{OTHERS}: numba 0.68.1 (installed: 0.69.0)"
    ]


def test_edited_words_around_the_figures_are_told():
    text = render(small_table(), VERSIONS)
    (sentence,) = differences(text.replace("No GPU is needed", "A GPU is needed"), text)
    assert sentence == "the figures agree with the table, but the words around them do not"


def test_sizes_of_a_kernel_stand_side_by_side_and_kinds_of_gpu_in_one_row():
    by_size = {kernel(name, size): figures() for size in ("16", "64") for name in ("one", "two")}
    outcomes = [Outcome(arch, by_size, [Broken("a1", "16", arch, "wrong")]) for arch in ARCHS]
    table, broken = gather(outcomes)
    assert [(each.name, each.size) for each in table] == [
        ("one", "16"),
        ("one", "64"),
        ("two", "16"),
        ("two", "64"),
    ]
    assert all(tuple(by_arch) == ARCHS for by_arch in table.values())
    assert broken == ["a1 (size 16; sm_75, sm_80, sm_90): wrong"]


def test_a_rule_broken_in_many_sizes_is_told_once():
    broken = [Broken("a1", size, arch, "wrong") for size in ("16", "64") for arch in ARCHS]
    assert sentences([*broken, Broken("a1", "16", "sm_75", "worse")]) == [
        "a1 (size 16, 64; sm_75, sm_80, sm_90): wrong",
        "a1 (size 16; sm_75): worse",
    ]
