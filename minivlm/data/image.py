"""From a picture file to the numbers a model sees.

`open_image` reads what people really have: phone pictures that say "turn me", palettes, CMYK,
alpha, 16-bit scans, animations, and files that are damaged, hostile or no picture at all. Then
CLIP's own preprocessing: shorter side to size, the middle cut out, mean and deviation removed.

Source: github.com/openai/CLIP, clip/clip.py, `_transform`.
"""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image, ImageOps
from PIL.BmpImagePlugin import BmpImageFile
from PIL.GifImagePlugin import GifImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.WebPImagePlugin import WebPImageFile

from minivlm.errors import InputError

CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)  # of OpenAI's training pictures, in 0..1
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)
PLAIN_MEAN = (0.5, 0.5, 0.5)  # for models of our own, which never saw those
PLAIN_STD = (0.28, 0.28, 0.28)

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp"})
MOST_PIXELS = 2**26  # 67 million, 8192 by 8192; a larger picture is not decoded
MOST_OBLONG = 100  # times as long as short; the long side of 1 by 60,000,000 would fill memory

# The first bytes say what a file is; its name may lie. Calling these readers, rather than
# Image.open, keeps Pillow's dozens of other formats shut, and keeps its own pixel limit, a global
# that warns at one size and raises at another, from speaking before ours does.
_READERS = {
    b"\xff\xd8\xff": JpegImageFile,
    b"\x89PNG\r\n\x1a\n": PngImageFile,
    b"RIFF": WebPImageFile,
    b"GIF8": GifImageFile,
    b"BM": BmpImageFile,
}


def open_image(source: Path | bytes, name: str | None = None) -> np.ndarray:
    """The picture in a file as a person would see it, on white where it is transparent.

    Args:
        source: a file, or the bytes of one: JPEG, PNG, WebP, GIF or BMP.
        name: what to call it in an error; a file's path if None.

    Returns:
        Red, green and blue, uint8 (height, width, 3). Of an animation, the first frame.

    Raises:
        InputError: the file is missing, no picture, damaged, cut off, too large or too oblong.
    """
    try:
        with open(source, "rb") if isinstance(source, Path) else io.BytesIO(source) as file:
            return _rgb(_read(file))
    except MemoryError:
        raise
    except Exception as error:  # Pillow promises no list of what a damaged file makes it raise
        reason = " ".join(str(error).split()) or type(error).__name__
        if isinstance(error, OSError) and error.strerror:
            reason = error.strerror
        elif not isinstance(error, InputError):
            reason = f"not a readable picture ({reason})"
        name = name or (str(source) if isinstance(source, Path) else "picture")
        raise InputError(f"{name}: {reason}") from None


def _read(file: BinaryIO) -> Image.Image:
    """The decoded picture, its header checked beforehand, turned as its EXIF says."""
    start = file.read(16)
    reader = next((r for mark, r in _READERS.items() if start.startswith(mark)), None)
    if reader is None:
        what = "not a JPEG, PNG, WebP, GIF or BMP picture"
        raise InputError(what if start else "the file is empty")
    file.seek(0)
    image = reader(file)
    width, height = image.size
    if width * height > MOST_PIXELS:
        raise InputError(f"{width} x {height} pixels, more than {MOST_PIXELS} in all")
    if max(image.size) > MOST_OBLONG * min(image.size):
        raise InputError(f"{width} x {height} pixels, a side over {MOST_OBLONG} times the other")
    image.load()
    return ImageOps.exif_transpose(image)


def _rgb(image: Image.Image) -> np.ndarray:
    """A decoded picture of any mode as uint8 (height, width, 3)."""
    if image.mode.startswith("I"):  # 16-bit grey, of which Pillow's convert leaves two levels
        grey = (np.asarray(image).astype(np.uint32) + 128) // 257  # 65535 = 255 · 257
        return np.repeat(grey.astype(np.uint8)[:, :, None], 3, axis=2)
    if image.has_transparency_data:
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image.convert("RGBA"))
    return np.array(image.convert("RGB"))


def resize_and_crop(image: np.ndarray, size: int) -> np.ndarray:
    """CLIP's view of a picture: the shorter side made `size` pixels, the middle square of that.

    Unlike OpenAI's, which turns palettes into colours after resizing, this takes colours; for
    pictures without a palette or alpha the bytes are equal.

    Args:
        image: uint8 (height, width, 3).
        size: side of the square in pixels.

    Returns:
        uint8 (size, size, 3).
    """
    height, width, _ = image.shape
    long = int(size * max(height, width) / min(height, width))
    high, wide = (size, long) if height <= width else (long, size)
    resized = Image.fromarray(image).resize((wide, high), Image.Resampling.BICUBIC)
    top, left = round((high - size) / 2), round((wide - size) / 2)
    return np.asarray(resized)[top : top + size, left : left + size].copy()


def pixels(
    images: np.ndarray,
    mean: Sequence[float] = PLAIN_MEAN,
    std: Sequence[float] = PLAIN_STD,
) -> np.ndarray:
    """Model input: bytes to 0..1, minus the mean, over the deviation, colours first.

    Args:
        images: uint8 (B, S, S, 3).
        mean: of each colour, in 0..1; CLIP_MEAN for OpenAI's weights.
        std: likewise.

    Returns:
        float32 (B, 3, S, S).

    Raises:
        ValueError: the images are not uint8 (B, S, S, 3).
    """
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[3] != 3:
        raise ValueError(f"images are {images.dtype} {images.shape}, not uint8 (B, S, S, 3)")
    center = np.array(mean, np.float32).reshape(3, 1, 1)
    spread = np.array(std, np.float32).reshape(3, 1, 1)
    scaled = images.transpose(0, 3, 1, 2).astype(np.float32, order="C")
    scaled *= 1 / (255 * spread)
    scaled -= center / spread
    return scaled
