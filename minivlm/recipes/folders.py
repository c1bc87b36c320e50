"""Whether a run may begin, or go on, in a folder: asked before anything is read or written."""

from collections.abc import Callable
from pathlib import Path

from minivlm.errors import InputError
from minivlm.recipes.settings import Settings


def check_folder(
    folder: Path, settings: Settings, load_settings: Callable[[Path], Settings], measure: str
) -> None:
    """Refuse a folder that holds something else, another run, or a finished one.

    Args:
        folder: may be missing or empty.
        settings: of the run that is to begin or go on.
        load_settings: reads those of the run that is there.
        measure: the command that shows a finished run.

    Raises:
        InputError: the folder is refused.
    """
    if not (folder / "config.json").exists():
        others = sorted({p.name for p in folder.glob("[!.]*")} - {"tokenizer.json"})
        if others:
            raise InputError(
                f"{folder}: not empty and no run, it has {others[0]}; use another --out"
            )
        return
    check_same(folder, settings, load_settings)
    if (folder / "model.safetensors").exists():
        raise InputError(f"{folder}: this run is finished; see it with: {measure} {folder}")


def check_same(folder: Path, settings: Settings, load_settings: Callable[[Path], Settings]) -> None:
    """Refuse a folder that holds a run with other settings.

    Raises:
        InputError: it does; the first setting that differs is named.
    """
    if difference := settings.difference(load_settings(folder)):
        raise InputError(
            f"{folder}: holds a run with other settings ({difference}); use another --out"
        )
