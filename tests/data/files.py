"""Small data sets on disk, good and bad, for the tests beside this file."""

import io
import tarfile
from pathlib import Path

import numpy as np
from PIL import Image


def noise(height=12, width=16, seed=0):
    """Colours uint8 (height, width, 3)."""
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def encoded(image, form="PNG", **options):
    """The bytes of a file that holds an array, or a Pillow image."""
    if isinstance(image, np.ndarray):
        image = Image.fromarray(image)
    file = io.BytesIO()
    image.save(file, form, **options)
    return file.getvalue()


def put(path: Path, content: bytes | str):
    """Write a file and the folders above it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def tar(path: Path, members, **options):
    """An archive of (name or TarInfo, bytes)."""
    with tarfile.open(path, "w", **options) as archive:
        for header, content in members:
            if isinstance(header, str):
                header = tarfile.TarInfo(header)
                header.size = len(content)
            archive.addfile(header, io.BytesIO(content))
    return path


def sentences(found):
    """The errors among what a reader gave, in words, and the rest."""
    found = list(found)
    errors = [str(item) for item in found if isinstance(item, Exception)]
    return errors, [item for item in found if not isinstance(item, Exception)]
