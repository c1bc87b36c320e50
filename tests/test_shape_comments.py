import importlib.util
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import minivlm
from minivlm.data.chat import ASSISTANT, Turn
from minivlm.data.lessons import about_picture
from minivlm.evaluate.pope import Habits
from minivlm.evaluate.probes import choice
from minivlm.evaluate.zero_shot import class_embeddings
from minivlm.models.clip import CLIP
from minivlm.nn.block import Block
from minivlm.recipes.use_vlm import attention_of
from minivlm.tensor import Tensor
from tests.models.tiny import CONFIG, tiny_batch, tiny_clip
from tests.ops.cases import CASES
from tests.ops.test_gradients import leaves
from tests.recipes.small import untrained_vlm
from tests.shape_comments import check_shape_comments, claims, fits

SOURCES = sorted(Path(minivlm.__file__).parent.rglob("*.py"))


def every_op():
    for case in CASES:
        for shapes in AWKWARD[case.name]:
            case.ours(*leaves(shapes, np.float32)).sum().backward()


def every_tower():
    for pool in ("class", "mean"):
        model = tiny_clip(pool=pool)
        model.loss(*tiny_batch()).backward()
        model.vision.attention_maps(tiny_batch()[0])
    CLIP(replace(CONFIG, temperature=1.0), np.random.default_rng(0))(*tiny_batch())
    block = Block(8, 2, depth=1, causal=True, rng=np.random.default_rng(0))
    block.at(Tensor(np.ones((3, 5, 8), np.float32)), np.array([0, 2, 4])).sum().backward()


def every_evaluation():
    def encode(texts):
        return np.eye(4)[[len(text) % 4 for text in texts]]

    class_embeddings(encode, ["a", "bb", "ccc"], ["{}", "x {}"])
    choice("", np.eye(4)[:2], encode, [["a", "bb"], ["ccc", "a"]], [0, 1])


def every_answer():
    vlm = untrained_vlm()
    seen = vlm.look(np.zeros((1, 48, 48, 3), np.uint8))
    attention_of(vlm, seen, [about_picture("where?"), Turn(ASSISTANT, "at the top left")])
    Habits.of([{"cat", "dog"}, {"dog"}, set()], ("cat", "dog"))


EXERCISES = [every_op, every_tower, every_evaluation, every_answer]


def drawn(case):
    """A few shapes of a case, the same at each run, and not the smallest."""
    from hypothesis import HealthCheck, Phase, given, settings

    found = []

    @settings(
        max_examples=12,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(shapes=case.shapes)
    def collect(shapes):
        found.append(shapes)

    collect()
    return found


AWKWARD = {case.name: drawn(case) for case in CASES}


def test_every_shape_comment_is_met_and_true():
    met, false = check_shape_comments(SOURCES, lambda: [exercise() for exercise in EXERCISES])
    assert not false, "\n".join(sorted(false))
    everything = {(str(path), line) for path in SOURCES for line in claims(path)}
    assert len(everything) > 20
    assert sorted(everything - met) == []


def lying_copy(tmp_path, true, lie):
    source = Path(minivlm.__file__).parent / "ops" / "attention.py"
    text = source.read_text(encoding="utf-8")
    assert true in text
    path = tmp_path / "lie.py"
    path.write_text(text.replace(true, lie), encoding="utf-8")
    spec = importlib.util.spec_from_file_location("lie", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return path, module


@pytest.mark.parametrize(
    ("true", "lie"),
    [
        ("# (B, G, R·T, S)", "# (B, G, R·T, T)"),
        ("# (B, G, R·T, S)", "# (B, G, R·S, S)"),
        ("# (B, H, T, S)", "# (B, H, S, T)"),
        ("# (B, H, T, S)", "# (B, T, S)"),
    ],
)
def test_a_false_comment_is_caught(tmp_path, true, lie):
    path, module = lying_copy(tmp_path, true, lie)
    q, k, v = leaves([(2, 6, 3, 4), (2, 2, 5, 4), (2, 2, 5, 4)])
    _, false = check_shape_comments([path], lambda: module.attention(q, k, v))
    assert len(false) == 1
    assert "is said to be" in false.pop()


def test_a_comment_that_no_run_comes_by_is_not_met(tmp_path):
    path, module = lying_copy(tmp_path, "# (B, G, R·T, S)", "# (B, G, R·T, S)")
    in_attend, in_weights = ((str(path), line) for line in claims(path))
    Q, K, V = (x.data for x in leaves([(2, 6, 3, 4), (2, 2, 5, 4), (2, 2, 5, 4)]))

    met, false = check_shape_comments([path], lambda: module.attention_weights(Q, K))
    assert (met, false) == ({in_weights}, set())
    met, false = check_shape_comments([path], lambda: module.attend(Q, K, V))
    assert (met, false) == ({in_attend, in_weights}, set())


def test_an_axis_of_unknown_letters_or_half_a_length_is_false():
    assert not fits(["A·B"], (6,), {"A": 2})
    assert fits(["A·B"], (6,), {"A": 2, "B": 3})
    assert not fits(["C/2"], (2,), {"C": 5})
    assert fits(["C//2"], (2,), {"C": 5})


def test_axes_are_letters_numbers_and_their_products():
    lengths: dict[str, int] = {}
    assert fits(["B", "...", "D"], (2, 5, 6, 4), lengths)
    assert lengths == {"B": 2, "D": 4}
    assert fits(["B·D", "D/2", "B + 1"], (8, 2, 3), lengths)
    assert not fits(["B", "D"], (2, 5), lengths)
    assert not fits(["...", "D", "B"], (4,), lengths)
    with pytest.raises(ValueError, match="no length"):
        fits(["f(B)"], (2,), lengths)
