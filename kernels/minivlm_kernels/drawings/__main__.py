"""Writes the drawings: python -m minivlm_kernels.drawings kernels/drawings."""

import sys
from pathlib import Path

from minivlm_kernels.drawings import drawings

if len(sys.argv) != 2:
    sys.exit("usage: python -m minivlm_kernels.drawings FOLDER")
folder = Path(sys.argv[1])
folder.mkdir(parents=True, exist_ok=True)
for name, text in drawings().items():
    (folder / f"{name}.svg").write_text(text, encoding="utf-8")
