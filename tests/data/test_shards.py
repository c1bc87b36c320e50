import io
import itertools
import re
import tarfile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minivlm.data import shards
from minivlm.data.image import open_image
from minivlm.data.shards import Member, read_shard
from minivlm.errors import InputError
from tests.data.files import encoded, noise, put, sentences, tar

PICTURE = encoded(noise())
PAIR = [("1.png", PICTURE), ("1.txt", b"one")]


def special(name, kind, **fields):
    header = tarfile.TarInfo(name)
    header.type = kind
    for field, value in fields.items():
        setattr(header, field, value)
    return header


def test_members_of_one_name_are_a_sample_and_their_bytes_are_read_when_asked_for(tmp_path):
    raws = [encoded(noise(seed=seed), "PNG") for seed in range(3)]
    members = [
        (f"a/{n}.{e}", c) for n, raw in enumerate(raws) for e, c in (("PNG", raw), ("txt", b"x"))
    ]
    found = list(read_shard(tar(tmp_path / "0.tar", members)))
    assert len(found) == 3
    for seed, sample in enumerate(found):
        assert not isinstance(sample, InputError)
        picture, text = sample
        assert np.array_equal(open_image(picture.read_bytes()), noise(seed=seed))
        assert (text.name, text.read_bytes()) == (f"a/{seed}.txt", b"x")
        assert str(picture) == f"{tmp_path / '0.tar'}: a/{seed}.PNG"


def test_txt_goes_before_json_and_other_endings_and_folders_are_left_alone(tmp_path):
    members = [
        (special("a", tarfile.DIRTYPE), b""),
        ("a/1.json", b"{}"),
        ("a/1.jpg", b""),
        ("a/1.txt", b""),
        ("a/1.cls", b""),
        ("a/2.webp", b""),
        ("a/2.json", b""),
    ]
    found = [
        pair for pair in read_shard(tar(tmp_path / "0.tar", members)) if isinstance(pair, tuple)
    ]
    assert [text.name for _, text in found] == ["a/1.txt", "a/2.json"]


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_names_may_be_long_and_of_any_language(form, tmp_path):
    name = "ü" * 40 + "/" + "n" * 40
    found = list(
        read_shard(
            tar(tmp_path / "0.tar", [(f"{name}.jpg", b"1"), (f"{name}.txt", b"2")], format=form)
        )
    )
    assert [[m.read_bytes() for m in pair] for pair in found if isinstance(pair, tuple)] == [
        [b"1", b"2"]
    ]


@pytest.mark.parametrize(
    ("members", "problem"),
    [
        ([("2.txt", b"")], "2: no pictures in a sample, where one is expected"),
        ([("2.png", b"")], "2: no caption, neither .txt nor .json"),
        ([("2.png", b""), ("2.jpg", b""), ("2.txt", b"")], "2: 2 pictures in a sample"),
        ([("2.png", b""), ("2.png", b""), ("2.txt", b"")], "2.png: this name is there twice"),
        ([("2.v1.png", b""), ("2.txt", b"")], "2: no pictures"),
        ([("README", b"")], "README: no pictures"),
        ([("/etc/2.png", b""), ("/etc/2.txt", b"")], "/etc/2.png: a name that leads out"),
        ([("a/../../2.png", b"")], "a/../../2.png: a name that leads out"),
        (
            [(special("2.png", tarfile.SYMTYPE, linkname="/etc/passwd"), b""), ("2.txt", b"")],
            "2.png: a link or device",
        ),
        ([(special("2.png", tarfile.LNKTYPE, linkname="1.png"), b"")], "2.png: a link or device"),
        ([(special("2.png", tarfile.CHRTYPE), b"")], "2.png: a link or device"),
        ([(special("2.png", tarfile.FIFOTYPE), b"")], "2.png: a link or device"),
    ],
)
def test_a_bad_sample_is_one_error_and_those_around_it_are_read(members, problem, tmp_path):
    path = tar(tmp_path / "0.tar", [*PAIR, *members, ("3.png", b""), ("3.txt", b"")])
    found = list(read_shard(path))
    assert [isinstance(item, InputError) for item in found] == [False, True, False]
    assert sentences(found)[0][0].startswith(f"{path}: {problem}")


def test_a_sample_whose_members_do_not_follow_each_other_is_an_error(tmp_path):
    path = tar(tmp_path / "0.tar", [*PAIR, ("2.png", b""), ("2.txt", b""), *PAIR])
    errors, good = sentences(read_shard(path))
    assert (errors, len(good)) == ([f"{path}: 1: this sample was there before, further up"], 2)


def test_a_member_that_is_too_large_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(shards, "MOST_BYTES", 1000)
    path = tar(tmp_path / "0.tar", [("1.png", bytes(1001)), ("1.txt", b"")])
    assert sentences(read_shard(path))[0] == [f"{path}: 1.png: 1001 bytes, more than 1000"]


def test_a_sparse_member_is_refused_since_its_bytes_do_not_lie_as_they_read(tmp_path):
    header = tarfile.TarInfo("1.png")
    header.size = 512
    header.pax_headers = {"GNU.sparse.map": "0,512", "GNU.sparse.size": "1024"}
    path = tar(tmp_path / "0.tar", [(header, bytes(512))], format=tarfile.PAX_FORMAT)
    assert sentences(read_shard(path))[0] == [f"{path}: 1.png: a link or device, not a plain file"]


def whole(count=4):
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        for n in range(count):
            for name, content in ((f"{n}.png", PICTURE), (f"{n}.txt", b"words")):
                header = tarfile.TarInfo(name)
                header.size = len(content)
                archive.addfile(header, io.BytesIO(content))
    return file.getvalue()


@pytest.mark.parametrize("left", range(0, 14_000, 250))
def test_an_archive_that_is_cut_off_is_one_error_after_the_samples_that_are_whole(left, tmp_path):
    raw = whole()
    with tarfile.open(fileobj=io.BytesIO(raw)) as archive:
        ends = [m.offset_data + m.size for m in archive if m.name.endswith(".txt")]
    path = put(tmp_path / "0.tar", raw[:left])
    errors, good = sentences(read_shard(path))
    assert len(good) == sum(end <= left for end in ends)
    if left < ends[-1]:
        assert len(errors) == 1
        assert errors[0].startswith(f"{path}: not a whole, uncompressed tar archive: ")


def test_a_damaged_header_in_the_middle_is_an_error_after_what_could_be_read(tmp_path):
    raw = bytearray(whole())
    second = bytes(raw).index(b"1.png")
    raw[second + 150] ^= 1  # its checksum
    path = put(tmp_path / "0.tar", bytes(raw))
    errors, good = sentences(read_shard(path))
    assert len(good) == 1
    assert errors == [
        f"{path}: not a whole, uncompressed tar archive: damaged or cut off after 0.txt"
    ]


def test_a_compressed_or_missing_archive_is_an_error(tmp_path):
    packed = tmp_path / "0.tar"
    with tarfile.open(packed, "w:gz"):
        pass
    for path, why in ((packed, "not a whole, uncompressed"), (tmp_path / "1.tar", "No such file")):
        (error,) = read_shard(path)
        assert re.search(why, str(error))


def test_a_negative_size_does_not_send_the_reader_round_in_circles(tmp_path):
    header = tarfile.TarInfo("1.png")
    header.size = -1024  # back to the header before
    start = io.BytesIO()
    with tarfile.open(fileobj=start, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("0.png"))
        archive.addfile(tarfile.TarInfo("0.txt"))
        whole_so_far = archive.offset
    raw = start.getvalue()[:whole_so_far] + header.tobuf(tarfile.GNU_FORMAT) + bytes(1024)
    path = put(tmp_path / "0.tar", raw)
    errors, good = sentences(itertools.islice(read_shard(path), 10))
    assert len(good) == 1
    assert len(errors) == 1
    assert errors[0].endswith("1.png has a negative size")


def test_a_member_of_an_archive_that_has_shrunk_cannot_be_read(tmp_path):
    path = put(tmp_path / "0.tar", bytes(100))
    with pytest.raises(OSError, match="ends before"):
        Member(path, "1.png", 90, 20).read_bytes()


@pytest.mark.filterwarnings("ignore")
@settings(max_examples=300, derandomize=True, deadline=None)
@given(
    changes=st.lists(st.tuples(st.integers(0, 8000), st.integers(0, 255)), min_size=1, max_size=6),
    headers_only=st.booleans(),
)
def test_a_damaged_archive_gives_samples_and_errors_and_nothing_else(
    changes, headers_only, tmp_path_factory
):
    raw = bytearray(whole(2))
    starts = [m.offset for m in tarfile.open(fileobj=io.BytesIO(raw))]  # noqa: SIM115
    for place, value in changes:
        place = starts[place % len(starts)] + place % 160 if headers_only else place % len(raw)
        raw[place] = value
    for start in starts:  # a forger would mend the checksums
        header = raw[start : start + 512]
        total = sum(header[:148]) + 8 * 32 + sum(header[156:])
        raw[start + 148 : start + 156] = b"%06o\0 " % total
    path = put(tmp_path_factory.getbasetemp() / "fuzz.tar", bytes(raw))
    for item in read_shard(path):
        assert isinstance(item, InputError) or len(item) == 2
