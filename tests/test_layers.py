"""A file imports only from layers below its own (architecture.md)."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "minivlm"
KERNELS = ROOT / "kernels"
LAYERS = [  # from the bottom; packages of one layer do not import each other
    {"errors", "memory", "watch"},
    {"files"},
    {"tensor"},
    {"device", "gradcheck", "tensorfile", "tracing"},
    {"ops"},
    {"nn", "tokenizers", "data"},
    {"models"},
    {"train", "evaluate"},
    {"viz"},
    {"course"},
    {"recipes"},
    {"cli"},
    {"__main__", "__init__"},
]
LEVEL = {name: level for level, names in enumerate(LAYERS) for name in names}
FORBIDDEN = {  # besides what the levels say
    "train": {"models", "tokenizers", "data"},
    "evaluate": {"models", "tokenizers", "nn"},
    "tokenizers": set(LEVEL) - {"errors", "files"},
    "data": set(LEVEL) - {"errors", "files"},
}
BELOW_KERNELS = {
    "errors",
    "files",
    "memory",
    "tensor",
    "device",
    "ops",
}  # what the plug-in may know
LONGEST = 330
LONGER = {"tensor.py": 390}  # the core in one piece


def part_of(path: Path, root: Path) -> str:
    """The part of the package that a file belongs to: its folder, or its own name."""
    parts = path.relative_to(root).parts
    return parts[0].removesuffix(".py")


def imported(source: str) -> set[str]:
    """The parts of minivlm that a source imports, wherever in the file."""
    names = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            names.add(node.module or "")
        elif isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
    ours = [name.split(".") for name in names if name.split(".")[0] == "minivlm"]
    return {parts[1] if len(parts) > 1 else "__init__" for parts in ours}


def wrong_arrows(part: str, source: str) -> list[str]:
    """Imports that point up or sideways."""
    return [
        f"{part} -> {other}"
        for other in sorted(imported(source) - {part})
        if LEVEL.get(other, len(LAYERS)) >= LEVEL[part] or other in FORBIDDEN.get(part, ())
    ]


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda p: str(p.name))
def test_a_file_imports_only_from_layers_below(path):
    assert wrong_arrows(part_of(path, PACKAGE), path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    ("part", "source"),
    [
        ("ops", "from minivlm.models.clip import CLIP"),
        ("ops", "def f():\n    import minivlm.nn.layers"),
        ("train", "from minivlm.models.clip import CLIP"),
        ("nn", "from minivlm.data.image import pixels"),
        ("evaluate", "from minivlm.train.loop import train"),
        ("tensor", "from minivlm.ops.linear import linear"),
        ("tokenizers", "from minivlm.tensor import Array"),
        ("data", "from minivlm.gradcheck import gradcheck"),
        ("cli", "from minivlm.a_part_that_no_layer_names import anything"),
    ],
)
def test_an_arrow_that_points_up_or_sideways_is_caught(part, source):
    assert len(wrong_arrows(part, source)) == 1


def test_an_arrow_that_points_down_passes():
    assert wrong_arrows("nn", "from minivlm.ops.linear import linear\nimport numpy") == []
    assert wrong_arrows("data", "from minivlm.errors import InputError") == []


@pytest.mark.parametrize("path", sorted(KERNELS.rglob("*.py")), ids=lambda p: str(p.name))
def test_kernels_know_minivlm_s_ops_and_what_is_below(path):
    allowed = BELOW_KERNELS | ({"viz"} if path.parent.name == "drawings" else set())
    assert imported(path.read_text(encoding="utf-8")) <= allowed


def test_minivlm_never_imports_the_kernels():
    for path in PACKAGE.rglob("*.py"):
        if "course" in path.parts:  # some exercises are kernels; they need the extra
            continue
        imports = r"^\s*(import|from) minivlm_kernels"
        assert not re.search(imports, path.read_text(encoding="utf-8"), re.MULTILINE), path


SOURCES = [
    path
    for folder in ("minivlm", "kernels", "tests", "docs")
    for ending in ("py", "cu", "cuh", "h")
    for path in sorted((ROOT / folder).rglob(f"*.{ending}"))
]


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.name))
def test_no_file_is_much_longer_than_three_hundred_lines(path):
    lines = path.read_text(encoding="utf-8").count("\n")
    assert lines <= LONGER.get(path.name, LONGEST)


def test_the_kernels_folder_never_shadows_the_package_of_that_name():
    assert not (ROOT / "kernels" / "__init__.py").exists()


def test_importing_minivlm_imports_nothing_heavy():
    code = "import sys, minivlm, minivlm.tensor, minivlm.models.clip; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = {name.split(".")[0] for name in done.stdout.split()}
    assert "numpy" in loaded
    assert not loaded & {"torch", "cupy", "sklearn", "matplotlib", "transformers", "numba"}
