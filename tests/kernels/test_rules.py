import numpy as np
import pytest

from minivlm_kernels.arrays import BF16, F32
from minivlm_kernels.rules import (
    REFERENCE,
    Settings,
    choose_attention,
    choose_contrast,
)

PLAIN = Settings()
ROUNDED = Settings(precision="bfloat16")
F64, F16 = np.dtype(np.float64), np.dtype(np.float16)


@pytest.mark.parametrize(
    ("dtype", "C", "T", "settings", "capability", "forward", "backward", "becomes"),
    [
        (F32, 64, 500, PLAIN, (9, 0), "A5", "A4", F32),
        (F32, 24, 500, PLAIN, (7, 5), "A3", "A4", F32),
        (F32, 64, 500, ROUNDED, (9, 0), "A7", "A8", BF16),
        (BF16, 128, 65, PLAIN, (9, 0), "A7", "A8", BF16),
        (BF16, 128, 64, PLAIN, (8, 0), "A6", "A8", BF16),
        (BF16, 16, 1, PLAIN, None, "A6", "A8", BF16),
        (F32, 129, 500, PLAIN, (9, 0), REFERENCE, REFERENCE, None),
        (BF16, 256, 500, PLAIN, (9, 0), REFERENCE, REFERENCE, F32),
        (F64, 64, 500, PLAIN, (9, 0), REFERENCE, REFERENCE, None),
        (F16, 64, 500, ROUNDED, (9, 0), REFERENCE, REFERENCE, None),
        (BF16, 64, 500, PLAIN, (7, 5), REFERENCE, REFERENCE, F32),
        (F32, 64, 500, ROUNDED, (7, 5), REFERENCE, REFERENCE, None),
    ],
)
def test_each_attention_has_its_rungs(
    dtype, C, T, settings, capability, forward, backward, becomes
):
    choice = choose_attention(dtype, C, T, settings, capability)
    assert (choice.forward, choice.backward, choice.dtype) == (forward, backward, becomes)
    assert choice.fallback == (forward == REFERENCE)


@pytest.mark.parametrize(
    ("dtype", "N", "diagonal", "settings", "capability", "forward", "backward", "fallback"),
    [
        (BF16, 2, True, PLAIN, (9, 0), "C4", "C5", False),
        (F32, 2, True, ROUNDED, None, "C4", "C5", False),
        (F32, 4096, True, PLAIN, (9, 0), REFERENCE, REFERENCE, False),
        (F32, 4097, True, PLAIN, (9, 0), "C2", "C3", False),
        (F32, 1, True, Settings(dense_up_to=0), None, "C2", "C3", False),
        (BF16, 9999, False, PLAIN, (9, 0), REFERENCE, REFERENCE, True),
        (F64, 9999, True, PLAIN, (9, 0), REFERENCE, REFERENCE, True),
        (BF16, 9999, True, PLAIN, (7, 5), REFERENCE, REFERENCE, True),
    ],
)
def test_each_contrast_has_its_rungs(
    dtype, N, diagonal, settings, capability, forward, backward, fallback
):
    choice = choose_contrast(dtype, N, diagonal, settings, capability)
    assert (choice.forward, choice.backward) == (forward, backward)
    assert choice.fallback == fallback


def test_a_reason_says_what_was_given_and_what_is_supported():
    old = choose_attention(BF16, 64, 9, PLAIN, (7, 5))
    assert old.why == "bfloat16 needs compute capability 8.0, this GPU has 7.5"
    long = choose_attention(F32, 144, 9, PLAIN, (9, 0))
    assert long.why == "head size 144 is over 128, the longest of a rung"
    double = choose_contrast(F64, 9, True, PLAIN, (9, 0))
    assert double.why == "rungs take float32 and bfloat16, not float64"


@pytest.mark.parametrize("wrong", [{"precision": "float16"}, {"dense_up_to": -1}])
def test_settings_are_checked(wrong):
    with pytest.raises(ValueError, match=r"float16|-1"):
        Settings(**wrong)
