import struct
import warnings
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from minivlm.data.image import (
    CLIP_MEAN,
    CLIP_STD,
    MOST_OBLONG,
    MOST_PIXELS,
    PLAIN_MEAN,
    PLAIN_STD,
    open_image,
    pixels,
    resize_and_crop,
)
from minivlm.errors import InputError
from tests.data.files import encoded, noise, put

LOSSLESS = {"PNG": {}, "BMP": {}, "WEBP": {"lossless": True}}


@pytest.mark.parametrize("form", LOSSLESS)
def test_lossless_formats_give_back_every_pixel(form, tmp_path):
    path = put(tmp_path / "any.name", encoded(noise(), form, **LOSSLESS[form]))
    image = open_image(path)
    assert image.dtype == np.uint8
    assert np.array_equal(image, noise())


@pytest.mark.parametrize("form", ["JPEG", "GIF", "WEBP"])
def test_lossy_formats_come_close(form):
    smooth = np.linspace(40, 200, 16 * 16 * 3).reshape(16, 16, 3).astype(np.uint8)
    image = open_image(encoded(smooth, form)).astype(int)
    assert image.shape == smooth.shape
    assert np.abs(image - smooth).mean() < 8


def test_a_picture_can_be_written_to_by_its_owner():
    image = open_image(encoded(noise()))
    image[0, 0] = 0
    assert image[0, 0].tolist() == [0, 0, 0]


def test_grey_and_black_and_white_become_three_equal_colours():
    grey = noise()[..., 0]
    assert np.array_equal(open_image(encoded(grey)), np.repeat(grey[..., None], 3, 2))
    ink = np.where(grey > 128, 255, 0).astype(np.uint8)
    image = open_image(encoded(Image.fromarray(ink).convert("1")))
    assert np.array_equal(image, np.repeat(ink[..., None], 3, 2))


def test_a_16_bit_ramp_keeps_its_256_levels():
    ramp = (np.arange(256, dtype=np.uint16) * 257).reshape(16, 16)
    image = open_image(encoded(ramp))
    assert np.array_equal(image[..., 0].ravel(), np.arange(256))
    assert np.array_equal(image[..., 0], image[..., 2])


def test_16_bits_are_rounded_to_the_nearest_level():
    values = np.array([[0, 128, 129, 385, 386, 65406, 65407, 65535]], np.uint16)
    assert open_image(encoded(values))[0, :, 0].tolist() == [0, 0, 1, 1, 2, 254, 255, 255]


def test_what_is_transparent_is_white():
    rgba = np.dstack([noise(), np.full((12, 16), 255, np.uint8)])
    rgba[0, :, 3] = 0
    for form in LOSSLESS.keys() - {"BMP"}:
        image = open_image(encoded(rgba, form, **LOSSLESS[form]))
        assert (image[0] == 255).all()
        assert np.array_equal(image[1:], noise()[1:])
    half = np.array([[[0, 128]]], np.uint8)  # black, half of it there
    assert abs(int(open_image(encoded(Image.fromarray(half, "LA")))[0, 0, 0]) - 127) <= 1


@pytest.mark.parametrize("form", ["PNG", "GIF"])
def test_a_palette_with_a_transparent_entry_is_white_there(form):
    image = Image.new("P", (2, 1))
    image.putpalette([10, 20, 30, 200, 100, 50])
    image.putpixel((1, 0), 1)
    assert open_image(encoded(image, form))[0].tolist() == [[10, 20, 30], [200, 100, 50]]
    clear = open_image(encoded(image, form, transparency=0))
    assert clear[0].tolist() == [[255, 255, 255], [200, 100, 50]]


def test_a_transparent_colour_without_alpha_is_white():
    image = Image.fromarray(np.array([[[1, 2, 3], [4, 5, 6]]], np.uint8))
    assert open_image(encoded(image, transparency=(1, 2, 3)))[0].tolist() == [[255] * 3, [4, 5, 6]]


def test_cmyk_becomes_the_colours_it_stands_for():
    red = Image.new("CMYK", (16, 16), (0, 255, 255, 0))
    image = open_image(encoded(red, "JPEG", quality=95)).astype(int)
    assert np.abs(image - [255, 0, 0]).max() < 12


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_picture_is_turned_as_its_exif_says(form, orientation):
    upright = np.zeros((16, 32, 3), np.uint8)
    upright[:8, :16] = 255  # top left
    turn_back = {
        1: lambda a: a,
        2: lambda a: a[:, ::-1],
        3: lambda a: a[::-1, ::-1],
        4: lambda a: a[::-1],
        5: lambda a: a.transpose(1, 0, 2),
        6: lambda a: np.rot90(a, 1),
        7: lambda a: a[::-1, ::-1].transpose(1, 0, 2),
        8: lambda a: np.rot90(a, -1),
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = np.ascontiguousarray(turn_back(upright))
    image = open_image(encoded(stored, form, exif=exif)).astype(int)
    assert image.shape == upright.shape
    assert np.abs(image - upright).max() < 60


@pytest.mark.parametrize("form", ["GIF", "WEBP", "PNG"])
def test_of_an_animation_the_first_frame_is_seen(form):
    colors = [(255, 0, 0), (0, 255, 0), (0, 0, 255)]
    frames = [Image.new("RGB", (16, 16), color) for color in colors]
    raw = encoded(frames[0], form, save_all=True, append_images=frames[1:])
    assert np.abs(open_image(raw).astype(int) - colors[0]).max() < 8


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "GIF", "BMP"])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_a_file_that_is_cut_off_is_an_error(form, share, tmp_path):
    raw = encoded(noise(64, 64), form)
    path = put(tmp_path / "cut.img", raw[: int(share * len(raw))])
    with pytest.raises(InputError, match=r"^.*cut\.img: .+"):
        open_image(path)


def test_what_is_no_picture_is_an_error_of_one_line(tmp_path):
    for content, why in [
        (b"", "the file is empty"),
        (b"Dear diary,", "not a JPEG, PNG, WebP, GIF or BMP picture"),
        (b"RIFF\x24\x00\x00\x00WAVEfmt ", "not a readable picture"),
        (b"BMW, Audi and Opel", "not a readable picture"),
        (encoded(noise(), "TIFF"), "not a JPEG, PNG, WebP, GIF or BMP picture"),
    ]:
        path = put(tmp_path / "photo.jpg", content)
        with pytest.raises(InputError, match=why) as caught:
            open_image(path)
        assert str(caught.value).startswith(f"{path}: ")
        assert "\n" not in str(caught.value)


def test_a_missing_file_and_a_folder_are_errors(tmp_path):
    with pytest.raises(InputError, match=r"no\.png: No such file or directory$"):
        open_image(tmp_path / "no.png")
    with pytest.raises(InputError, match="Is a directory"):
        open_image(tmp_path)


def test_an_error_calls_the_picture_what_it_was_told():
    with pytest.raises(InputError, match=r"^row 7: the file is empty$"):
        open_image(b"", "row 7")


def png_header(width, height):
    """A PNG that claims a size, with a few bytes of pixels."""

    def chunk(kind, content):
        return (
            struct.pack(">I", len(content))
            + kind
            + content
            + struct.pack(">I", zlib.crc32(kind + content))
        )

    start = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    data = chunk(b"IDAT", zlib.compress(bytes(1000)))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", start) + data + chunk(b"IEND", b"")


@pytest.mark.parametrize("width", [8193, 12_000, 2**31 - 1])
def test_a_bomb_is_refused_by_its_header_whatever_pillows_own_limit_is(width, monkeypatch):
    height = min(width, MOST_PIXELS // 8192)
    for limit in (None, 1, Image.MAX_IMAGE_PIXELS):
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
        with pytest.raises(InputError, match=rf"bomb: {width} x {height} pixels, more than"):
            open_image(png_header(width, height), "bomb")
    gif = bytearray(encoded(noise(), "GIF"))
    gif[6:10] = b"\xff\xff\xff\xff"
    with pytest.raises(InputError, match="65535 x 65535 pixels, more than"):
        open_image(bytes(gif))


def test_pillows_own_limit_does_not_matter_for_good_pictures(monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert open_image(encoded(noise())).shape == (12, 16, 3)


def test_a_picture_like_a_thread_is_refused():
    just = encoded(np.zeros((1, MOST_OBLONG, 3), np.uint8))
    assert open_image(just).shape == (1, MOST_OBLONG, 3)
    with pytest.raises(InputError, match="101 x 1 pixels, a side over 100 times the other"):
        open_image(encoded(np.zeros((1, MOST_OBLONG + 1, 3), np.uint8)))


EXIF = Image.Exif()
EXIF[0x0112] = 6
GOOD = {
    "PNG": encoded(noise(), "PNG", exif=EXIF),
    "16 bit": encoded(noise()[..., 0].astype(np.uint16) * 257),
    "JPEG": encoded(noise(), "JPEG", exif=EXIF),
    "GIF": encoded(noise(), "GIF", transparency=0),
    "WEBP": encoded(noise(), "WEBP", exif=EXIF),
    "BMP": encoded(noise(), "BMP"),
}


@pytest.mark.filterwarnings("ignore")  # as in use: Pillow warns of odd EXIF and reads on
@settings(max_examples=400, derandomize=True, deadline=None)
@given(
    form=st.sampled_from(sorted(GOOD)),
    changes=st.lists(st.tuples(st.integers(0, 2000), st.integers(0, 255)), min_size=1, max_size=8),
    cut=st.integers(0, 40),
)
def test_a_damaged_file_is_a_picture_or_an_input_error(form, changes, cut):
    raw = bytearray(GOOD[form])
    for place, value in changes:
        raw[place % len(raw)] = value
    try:
        image = open_image(bytes(raw[: len(raw) - cut]))
    except InputError:
        pass
    else:
        assert image.dtype == np.uint8
        assert image.ndim == 3
        assert image.shape[2] == 3


def openai(image, size):
    """CLIP's Resize and CenterCrop as torchvision does them, by Pillow's own calls."""
    picture = Image.fromarray(image)
    width, height = picture.size
    short, long = (width, height) if width <= height else (height, width)
    new_short, new_long = size, int(size * long / short)
    new = (new_short, new_long) if width <= height else (new_long, new_short)
    picture = picture.resize(new, Image.Resampling.BICUBIC)
    top = round((picture.height - size) / 2.0)
    left = round((picture.width - size) / 2.0)
    return np.asarray(picture.crop((left, top, left + size, top + size)))


@settings(max_examples=100, derandomize=True, deadline=None)
@given(height=st.integers(1, 90), width=st.integers(1, 90), size=st.integers(1, 48))
def test_resize_and_crop_is_openais_to_the_byte(height, width, size):
    image = noise(height, width)
    square = resize_and_crop(image, size)
    assert square.shape == (size, size, 3)
    assert np.array_equal(square, openai(image, size))


def test_resize_and_crop_keeps_a_square_of_the_right_size():
    assert np.array_equal(resize_and_crop(noise(20, 20), 20), noise(20, 20))


@pytest.mark.parametrize(("mean", "std"), [(CLIP_MEAN, CLIP_STD), (PLAIN_MEAN, PLAIN_STD)])
def test_pixels_are_normalised_with_colours_first(mean, std):
    images = np.stack([noise(16, 16, seed) for seed in range(3)])
    found = pixels(images, mean, std)
    expected = ((images / 255 - np.array(mean)) / np.array(std)).transpose(0, 3, 1, 2)
    assert found.dtype == np.float32
    assert found.flags.c_contiguous
    assert np.abs(found - expected).max() < 1e-6


def test_pixels_refuse_what_is_not_bytes_or_has_no_three_colours():
    for wrong in (np.zeros((1, 4, 4, 3)), np.zeros((4, 4, 3), np.uint8), noise()[None, ..., :2]):
        with pytest.raises(ValueError, match="not uint8"):
            pixels(wrong)
