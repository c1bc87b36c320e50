"""Each rung says in NumPy what it computes; here that is run, and held to the library."""

import ast
import math
from pathlib import Path
from textwrap import dedent

import numpy as np
import pytest

import minivlm_kernels
from minivlm.ops.activations import quick_gelu
from minivlm.tensor import Tensor
from tests.kernels import oracles

ROOT = Path(minivlm_kernels.__file__).parent
RUNGS = sorted(
    path
    for folder in ("basics", "attention", "contrastive")
    for path in (ROOT / folder).glob("[abc][0-9]_*")
    if path.suffix in (".py", ".cu")
)
HEADING = "Specification, in NumPy:"


def opening_words(path):
    """What a rung's file opens with: its docstring, or its `//` lines without the slashes."""
    text = path.read_text("utf-8")
    if path.suffix == ".py":
        return ast.get_docstring(ast.parse(text), clean=False) or ""
    lines = []
    for line in text.splitlines():
        if not line.startswith("//"):
            break
        lines.append(line.removeprefix("//").removeprefix(" "))
    return "\n".join(lines)


def specification(path):
    """The code below the heading, as far as it is indented.

    Raises:
        ValueError: there is none.
    """
    lines = iter(opening_words(path).splitlines())
    if HEADING not in (line.strip() for line in lines):  # goes as far as the heading
        raise ValueError(f'{path.name} does not open with a block "{HEADING}"')
    code = []
    for line in lines:
        if line.strip() and not line.startswith("    "):
            break
        code.append(line)
    if not "".join(code).strip():
        raise ValueError(f'{path.name} has nothing below "{HEADING}"')
    return dedent("\n".join(code))


def computed(path, names, **given):
    """What the specification makes of what it is given, the names in order."""
    scope = {"np": np, "math": math, **given}
    with np.errstate(all="ignore"):  # the logarithm of 0 is −∞, and rightly so
        exec(compile(specification(path), f"{path.name}, its specification", "exec"), scope)
    return {name: scope[name] for name in names}


def attention_case():
    """Queries that see all keys, some, and none; a key that no one sees."""
    rng = np.random.default_rng(0)
    q, do = (rng.standard_normal((2, 2, 5, 4)) for _ in range(2))
    k, v = (rng.standard_normal((2, 2, 7, 4)) for _ in range(2))
    look = rng.random((2, 2, 5, 7)) < 0.7
    look[:, :, 0] = True
    look[:, :, 3] = False
    look[..., 2] = False
    return q, k, v, do, look


def check_attention_forward(path):
    q, k, v, _, look = attention_case()
    got = computed(path, ["o", "lse"], q=q, k=k, v=v, look=look, C=4)
    o, lse = oracles.attention(q, k, v, look)
    compare(got, o=o, lse=lse)


def check_attention_backward(path):
    q, k, v, do, look = attention_case()
    o, lse = oracles.attention(q, k, v, look)
    given = {"q": q, "k": k, "v": v, "o": o, "lse": lse, "do": do, "look": look, "C": 4}
    got = computed(path, ["dq", "dk", "dv"], **given)
    dq, dk, dv = oracles.attention_gradients(q, k, v, do, look)
    compare(got, dq=dq, dk=dk, dv=dv)


def contrastive_case():
    rng = np.random.default_rng(1)
    image, text = rng.standard_normal((2, 7, 5))
    image /= np.linalg.norm(image, axis=1, keepdims=True)
    text /= np.linalg.norm(text, axis=1, keepdims=True)
    names = ["nats", "row_lse", "col_lse", "d_image", "d_text", "d_log_scale"]
    right = dict(zip(names, oracles.info_nce(image, text, 9.0), strict=True))
    return {"image": image, "text": text, "scale": np.array([9.0])}, right


def check_contrastive_forward(path):
    given, right = contrastive_case()
    names = ["nats", "row_lse", "col_lse"]
    compare(computed(path, names, **given), **{name: right[name] for name in names})


def check_contrastive_backward(path):
    given, right = contrastive_case()
    given |= {"row_lse": right["row_lse"], "col_lse": right["col_lse"]}
    names = ["d_image", "d_text", "d_log_scale"]
    compare(computed(path, names, **given), **{name: right[name] for name in names})


def check_a_first_step(path):
    rng = np.random.default_rng(2)
    x, a, b = 3 * rng.standard_normal((4, 6)), rng.random((4, 5)), rng.random((5, 3))
    image, text, scale = rng.random((4, 3)), rng.random((5, 3)), np.array([9.0])
    right = {
        "b1_map": {"y": quick_gelu(Tensor(x)).data},
        "b2_matmul": {"out": a @ b},
        "b3_tiled_matmul": {"out": a @ b},
        "b4_row_lse": {"lse": np.logaddexp.reduce(scale * image @ text.T, axis=1)},
    }[path.stem]
    given = {"x": x, "a": a, "b": b, "image": image, "text": text, "scale": scale}
    compare(computed(path, list(right), **given), **right)


def compare(got, **right):
    for name, expected in right.items():
        assert np.size(got[name]) == np.size(expected), name
        np.testing.assert_allclose(
            np.reshape(got[name], np.shape(expected)), expected, rtol=1e-9, atol=1e-12, err_msg=name
        )


CHECKS = {
    ("basics", "forward"): check_a_first_step,
    ("attention", "forward"): check_attention_forward,
    ("attention", "backward"): check_attention_backward,
    ("contrastive", "forward"): check_contrastive_forward,
    ("contrastive", "backward"): check_contrastive_backward,
}


def check(path):
    """Runs the specification of one rung, forward or backward as the file's name says."""
    back = "backward" in path.stem or "gradient" in path.stem
    CHECKS[path.parent.name, "backward" if back else "forward"](path)


@pytest.mark.parametrize("path", RUNGS, ids=lambda path: path.name)
def test_a_rungs_specification_is_what_the_library_computes(path):
    check(path)


def test_the_rungs_are_found():
    found = {path.name for path in RUNGS}
    assert {"b1_map.py", "a1_naive.py", "a4_flash_backward.py", "c2_streaming.py"} <= found


GOOD = """scores = np.where(look, q @ k.mT / np.sqrt(C), -np.inf)
top = np.maximum(scores.max(-1, keepdims=True), -1e300)
weights = np.exp(scores - top)
total = weights.sum(-1, keepdims=True)
o = weights @ v / np.maximum(total, 1)
lse = (top + np.log(total))[..., 0]"""


def written(folder, name, code, heading=HEADING):
    """A rung's file with this specification."""
    lines = ["An idea.", "", heading, "", *("    " + line for line in code.splitlines()), "", "x"]
    path = folder / "attention" / name
    path.parent.mkdir()
    if path.suffix == ".py":
        path.write_text('"""' + "\n".join(lines) + '\n"""\n', "utf-8")
    else:
        path.write_text("\n".join(f"// {line}".rstrip() for line in lines) + "\nint x;\n", "utf-8")
    return path


@pytest.mark.parametrize("name", ["a1_x.py", "a5_x.cu"])
def test_a_good_specification_passes_in_either_language(tmp_path, name):
    check(written(tmp_path, name, GOOD))


@pytest.mark.parametrize("name", ["a1_x.py", "a5_x.cu"])
@pytest.mark.parametrize(
    ("code", "heading", "error", "sentence"),
    [
        (GOOD, "Costs:", ValueError, "does not open with a block"),
        ("", HEADING, ValueError, "has nothing below"),
        (GOOD.replace("np.sqrt(C)", "C"), HEADING, AssertionError, "o"),
        (GOOD.replace("np.maximum(total, 1)", "total"), HEADING, AssertionError, "o"),
        (GOOD.rsplit("\n", 1)[0], HEADING, KeyError, "lse"),
    ],
)
def test_a_specification_that_is_missing_or_wrong_fails(
    tmp_path, name, code, heading, error, sentence
):
    with pytest.raises(error, match=sentence):
        check(written(tmp_path, name, code, heading))
