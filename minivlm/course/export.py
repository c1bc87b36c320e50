"""What an instructor hands out, and what grades it: a folder of stubs, and a zip for Gradescope."""

from __future__ import annotations

import io
import zipfile
from importlib.resources import files
from pathlib import Path

from minivlm.course.start import start
from minivlm.errors import InputError
from minivlm.files import write_bytes

SETTINGS = "settings.toml"
EPOCH = (2026, 1, 1, 0, 0, 0)  # of every file in the zip, so that the same input gives the same zip
LEFT_OUT = ("pretrained", "pages", "__pycache__")
NEEDS = "numpy>=2.0,<2.5\nscipy>=1.13\npillow>=11\nsafetensors>=0.5\nmatplotlib>=3.9\ntqdm>=4.66\n"
KERNELS_NEED = "threadpoolctl>=3.5\nnumba>=0.61\nnumba-cuda>=0.30,<0.31\nml_dtypes>=0.5\n"


def handout(folder: Path, variants: int = 0) -> Path:
    """A folder to hand out: `start`'s, with no solution in it.

    Args:
        folder: where it is made, a new folder inside it.
        variants: a seed that chooses variants; 0 for none.
    """
    folder.mkdir(parents=True, exist_ok=True)
    return start(folder / "minivlm-course", variants).path


def gradescope(folder: Path, settings: Path | None) -> Path:
    """`autograder.zip`, to be uploaded to Gradescope.

    Args:
        folder: where it is written.
        settings: a file such as `grade --hidden` takes; it is put in.

    Raises:
        InputError: the settings cannot be read.
    """
    folder.mkdir(parents=True, exist_ok=True)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as zipped:
        for name in ("setup.sh", "run_autograder"):
            page = files("minivlm.course").joinpath("pages", name).read_text(encoding="utf-8")
            _add(zipped, name, page, executable=True)
        _add(zipped, "requirements.txt", NEEDS + KERNELS_NEED)
        if settings is not None:
            try:
                _add(zipped, SETTINGS, settings.read_text(encoding="utf-8"))
            except OSError as error:
                raise InputError(f"{settings}: {error.strerror}") from None
        for root, package in _packages():
            for path in sorted(package.rglob("*")):
                inside = path.relative_to(root)
                if path.suffix in (".py", ".toml") and not set(LEFT_OUT) & set(inside.parts):
                    _add(zipped, f"library/{inside.as_posix()}", path.read_text(encoding="utf-8"))
    target = folder / "autograder.zip"
    write_bytes(target, buffer.getvalue())
    return target


def _packages() -> list[tuple[Path, Path]]:
    """The library and its kernels, each with the folder it is imported from."""
    package = Path(__file__).parents[1]
    root = package.parent
    kernels = root / "kernels" if (root / "kernels" / "minivlm_kernels").is_dir() else root
    return [(root, package), (kernels, kernels / "minivlm_kernels")]


def _add(zipped: zipfile.ZipFile, name: str, text: str, executable: bool = False) -> None:
    entry = zipfile.ZipInfo(name, EPOCH)
    entry.compress_type = zipfile.ZIP_DEFLATED
    entry.external_attr = (0o755 if executable else 0o644) << 16
    zipped.writestr(entry, text)
