"""Any picture that Pillow opens, safely, as pixels that a model takes.

A file is not trusted: only common formats are tried, its size is checked before anything is
decoded, and every way in which Pillow fails becomes one sentence.
"""

import io
import struct
import warnings
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from minivlm.errors import InputError
from minivlm.tensor import Array

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP")
SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp"})
MOST_PIXELS = 64_000_000  # decoded, a picture of this size takes 192 MB
MOST_BYTES = 256_000_000

CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)  # of OpenAI's training pictures, RGB 0..1
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)
PLAIN_MEAN, PLAIN_STD = (0.5, 0.5, 0.5), (0.28, 0.28, 0.28)

_PILLOWS_ERRORS = (
    OSError,  # truncated and unknown files, too
    ValueError,
    SyntaxError,
    TypeError,
    NotImplementedError,
    EOFError,
    IndexError,
    KeyError,
    AttributeError,
    OverflowError,
    MemoryError,
    struct.error,
    Image.DecompressionBombError,
    Image.DecompressionBombWarning,
)


def open_image(path: Path) -> np.ndarray:
    """The pixels of a picture file; see `decode_image`.

    Raises:
        InputError: the file is missing, too large, or no picture that can be read.
    """
    try:
        if path.stat().st_size > MOST_BYTES:
            raise InputError(f"{path}: more than {MOST_BYTES // 1_000_000} MB is no picture")
        raw = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}") from None
    return decode_image(raw, str(path))


def decode_image(raw: bytes, name: str) -> np.ndarray:
    """The pixels of an encoded picture.

    The camera's rotation is applied, transparency is laid over white, 16-bit values are scaled to
    8, colours become RGB, and of an animation the first frame is taken.

    Args:
        raw: the bytes of a JPEG, PNG, WebP, GIF or BMP file.
        name: what to call it in an error.

    Returns:
        Pixels uint8 (height, width, 3), 0..255.

    Raises:
        InputError: it cannot be read, or has more than MOST_PIXELS pixels.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            warnings.filterwarnings("ignore", category=UserWarning)  # such as odd EXIF entries
            with Image.open(io.BytesIO(raw), formats=FORMATS) as image:
                width, height = image.size
                if width * height > MOST_PIXELS:
                    raise InputError(f"{name}: {width}×{height} pixels are too many")
                image.load()
                return np.asarray(_to_rgb(ImageOps.exif_transpose(image)))
    except InputError:
        raise
    except _PILLOWS_ERRORS as error:
        reason = str(error).split("\n")[0].split(" <")[0] or type(error).__name__
        raise InputError(f"{name}: not a readable picture ({reason})") from None


def resize_and_crop(image: np.ndarray, size: int) -> np.ndarray:
    """The middle square of a picture, as CLIP sees it.

    Args:
        image: uint8 (height, width, 3).
        size: side in pixels of the result; the shorter side is scaled to it (bicubic).

    Returns:
        Pixels uint8 (size, size, 3).

    Source: openai/CLIP, clip/clip.py, _transform: torchvision's Resize and CenterCrop.
    """
    height, width = image.shape[:2]
    shorter = min(height, width)
    scaled = (max(size, size * width // shorter), max(size, size * height // shorter))
    resized = Image.fromarray(image).resize(scaled, Image.Resampling.BICUBIC)
    left, top = round((scaled[0] - size) / 2), round((scaled[1] - size) / 2)
    return np.asarray(resized.crop((left, top, left + size, top + size)))


def pixels(
    images: np.ndarray,
    mean: tuple[float, float, float] = PLAIN_MEAN,
    std: tuple[float, float, float] = PLAIN_STD,
) -> Array:
    """What a model takes: uint8 (B, S, S, 3), 0..255, -> float32 (B, 3, S, S), normalised."""
    scale = (1 / (255 * np.asarray(std))).astype(np.float32)[:, None, None]
    shift = (np.asarray(mean) / std).astype(np.float32)[:, None, None]
    y = images.transpose(0, 3, 1, 2).astype(np.float32, order="C")
    y *= scale
    y -= shift
    return y


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I") or image.mode == "F":
        # Pillow would clip at 255, and turn a 16-bit ramp into two levels
        values = np.asarray(image).astype(np.float64)
        most = 255.0 if image.mode == "F" and values.max(initial=0) <= 255 else 65535.0
        grey = np.clip(values * (255 / most), 0, 255).round().astype(np.uint8)
        return Image.fromarray(grey).convert("RGB")
    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        return Image.alpha_composite(white, image).convert("RGB")
    return image.convert("RGB")
