"""The command as its users meet it: what it prints, and what it says of mistakes."""

import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from minivlm.cli import main
from minivlm.recipes.bench import report
from tests.recipes.small import SMALL

QUICK = [f"--{name.replace('_', '-')}={value}" for name, value in SMALL.items()]


@pytest.fixture
def pictures(tmp_path):
    """Two captioned pictures, and nothing wrong with them."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    for i in range(2):
        Image.fromarray(np.full((9, 9, 3), 99 * i, np.uint8)).save(folder / f"{i}.png")
        (folder / f"{i}.txt").write_text(f"picture {i}")
    return folder


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A finished run, hardly trained."""
    folder = tmp_path_factory.mktemp("runs") / "run"
    assert main(["train", "clip", "--data", "scenes", "--out", str(folder), *QUICK]) == 0
    return folder


def fails(capsys, *arguments, status=2):
    """What a command says on its way to a failing status: one sentence, and no traceback."""
    assert main([str(argument) for argument in arguments]) == status
    said = capsys.readouterr().err
    sentence = said.splitlines()[-1]
    assert sentence.startswith("minivlm: ")
    assert "Traceback" not in said
    return sentence


def test_train_and_eval_print_every_score(run, capsys):
    capsys.readouterr()
    assert main(["eval", "clip", str(run)]) == 0
    printed = capsys.readouterr().out
    for words in (
        "zero-shot of 64, unseen pairs",
        "shape",
        "background",
        "image recall@10",
        "nine",
    ):
        assert words in printed


def test_classify_prints_each_label_with_its_share(run, pictures, capsys):
    arguments = ["classify", "--model", str(run), "--labels", "a red star, a blue ring"]
    assert main([*arguments, "--template", "a photo of {}", str(pictures / "0.png")]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith(str(pictures / "0.png"))
    assert "a red star" in printed
    assert "a blue ring" in printed
    shares = [float(word.rstrip("%")) for word in printed.split() if word.endswith("%")]
    assert sum(shares) == pytest.approx(100, abs=0.2)


def test_search_prints_the_best_first(run, pictures, capsys):
    assert main(["search", "--model", str(run), "--top", "1", "a red star", str(pictures)]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 1


def test_scenes_are_drawn_into_a_file_and_the_terminal(tmp_path, capsys):
    out = tmp_path / "sheet.png"
    arguments = ["scenes", "--count", "3", "--things", "2", "--size", "48", "--show"]
    assert main([*arguments, "--out", str(out)]) == 0
    printed = capsys.readouterr().out
    assert printed.count("caption    ") == 3
    assert printed.count("question   ") == 9
    assert printed.count("▀") == 3 * 24 * 48
    with Image.open(out) as picture:
        assert picture.width > 500


def test_check_data_lists_everything_and_fails_if_anything_is_wrong(pictures, capsys):
    assert main(["check-data", str(pictures)]) == 0
    assert capsys.readouterr().out == "2 captions of 2 pictures, 0 problems\n"
    (pictures / "0.png").write_bytes(b"no picture")
    (pictures / "1.txt").write_text(" ")
    assert main(["check-data", str(pictures)]) == 2
    printed = capsys.readouterr().out.splitlines()
    assert len(printed) == 3
    assert any("0.png" in line for line in printed)
    assert any("1.txt" in line or "1.png" in line for line in printed)
    assert printed[-1].endswith("2 problems")


TRAIN = ["train", "clip", "--data"]


def test_a_missing_folder_is_named(tmp_path, capsys):
    assert "none" in fails(capsys, *TRAIN, tmp_path / "none", "--out", tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_an_unreadable_picture_is_named(pictures, tmp_path, capsys):
    (pictures / "1.png").write_bytes(b"\x89PNG\r\n\x1a\n broken")
    assert "1.png" in fails(capsys, *TRAIN, pictures, "--out", tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_table_without_the_columns_is_named_with_those_it_has(tmp_path, capsys):
    (tmp_path / "table.csv").write_text("picture,words\na.png,a\n")
    said = fails(capsys, *TRAIN, tmp_path / "table.csv", "--out", tmp_path / "run")
    assert "table.csv" in said
    assert "picture" in said
    assert "words" in said


def test_a_caption_with_no_picture_is_named_with_its_line(pictures, tmp_path, capsys):
    (pictures / "table.csv").write_text("filepath,title\n0.png,a\ngone.png,b\n")
    said = fails(capsys, *TRAIN, pictures / "table.csv", "--out", tmp_path / "run")
    assert "table.csv, line 3" in said
    assert "gone.png" in said


def test_an_empty_data_set_is_named(tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    assert "empty" in fails(capsys, *TRAIN, tmp_path / "empty", "--out", tmp_path / "run")


def test_a_width_that_is_no_multiple_of_heads_is_said_with_both(tmp_path, capsys):
    said = fails(
        capsys, *TRAIN, "scenes", "--width=65", "--heads=4", "--examples=200", "--batch=8",
        "--out", tmp_path / "run",
    )  # fmt: skip
    assert "width 65 is not a multiple of heads 4" in said
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("option", "sentence"),
    [
        ("--image=40", "image side 40 is not in 48..384"),
        ("--image=50", "image side 50 is not a multiple of patch 16"),
        ("--vocabulary=100", "a vocabulary of 100 is smaller than 259"),
        ("--context=2", "context 2 has no room"),
        ("--steps=0", "steps 0 is not positive"),
        ("--lr=-1", "lr -1.0 is not positive"),
        ("--vision-layers=0", "vision layers 0 is not positive"),
        ("--embed=0", "embed 0 is not positive"),
    ],
)
def test_an_option_out_of_its_range_is_said(tmp_path, capsys, option, sentence):
    out = tmp_path / "run"
    patch = ["--patch=8"] if option == "--image=40" else []
    assert sentence in fails(capsys, *TRAIN, "scenes", "--out", out, *QUICK, option, *patch)
    assert not out.exists()


def test_a_folder_with_other_things_in_it_is_left_alone(tmp_path, capsys):
    (tmp_path / "thesis.txt").write_text("years of work")
    said = fails(capsys, *TRAIN, "scenes", "--out", tmp_path, *QUICK)
    assert "not empty and no run, it has thesis.txt" in said
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.txt"]


def test_a_disk_that_cannot_be_written_is_a_sentence(tmp_path, capsys, monkeypatch):
    def full(path, content):
        raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr("minivlm.files.write_bytes", full)
    assert "No space left" in fails(capsys, *TRAIN, "scenes", "--out", tmp_path / "run", *QUICK)


def test_a_batch_larger_than_the_scenes_is_said(tmp_path, capsys):
    said = fails(
        capsys, *TRAIN, "scenes", "--examples=100", "--batch=90", "--out", tmp_path / "run"
    )
    assert "batch of 90 cannot be drawn" in said
    assert not (tmp_path / "run").exists()


def test_a_run_folder_in_use_is_named(run, tmp_path, capsys):
    hold = (
        "import sys, pathlib, minivlm.train.run as r\n"
        "with r.run_folder(pathlib.Path(sys.argv[1])): print('held', flush=True); sys.stdin.read()"
    )
    folder = tmp_path / "busy"
    command = [sys.executable, "-c", hold, str(folder)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        assert other.stdout.readline().strip() == b"held"
        assert "busy: in use" in fails(capsys, *TRAIN, "scenes", "--out", folder, *QUICK)
        other.kill()


def test_a_checkpoint_cut_short_is_named(run, tmp_path, capsys):
    folder = tmp_path / "copy"
    folder.mkdir()
    for name in ("config.json", "tokenizer.json", "model.safetensors"):
        (folder / name).write_bytes((run / name).read_bytes())
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:5000])
    assert "model.safetensors: cut short" in fails(capsys, "eval", "clip", folder)
    (folder / "config.json").write_text('{"model_type": "other"}')
    assert "config.json" in fails(capsys, "eval", "clip", folder)
    assert "not a run folder" in fails(capsys, "eval", "clip", tmp_path)


def test_other_mistakes_are_one_sentence_each(run, tmp_path, capsys):
    assert "finished" in fails(capsys, *TRAIN, "scenes", "--out", run, *QUICK)
    assert "--top 0" in fails(capsys, "search", "--model", run, "--top", "0", "x", tmp_path)
    assert "--count 0" in fails(capsys, "scenes", "--count", "0")
    assert "--size 20" in fails(capsys, "scenes", "--size", "20")
    assert "--things 10" in fails(capsys, "scenes", "--things", "10")
    assert "no such folder" in fails(capsys, "scenes", "--out", tmp_path / "none" / "x.png")
    assert "gone.png" in fails(
        capsys, "classify", "--model", run, "--labels", "a", tmp_path / "gone.png"
    )


def test_a_run_that_diverges_says_where_and_keeps_its_checkpoint(tmp_path, capsys, monkeypatch):
    from minivlm.models.clip import CLIP

    honest = CLIP.loss_of
    monkeypatch.setattr(CLIP, "loss_of", lambda self, *batch: honest(self, *batch) * float("nan"))
    said = fails(capsys, *TRAIN, "scenes", "--out", tmp_path / "run", *QUICK, status=1)
    assert "training stopped at step 0: the gradient of" in said
    assert (tmp_path / "run" / "checkpoint.safetensors").exists()


def test_too_little_memory_has_a_status_of_its_own(monkeypatch, capsys):
    def too_large(*arguments):
        raise MemoryError("Unable to allocate 9 TiB for an array with shape (1, 2)")

    monkeypatch.setattr("minivlm.recipes.show_scenes.show_scenes", too_large)
    assert "shape (1, 2)" in fails(capsys, "scenes", status=3)


def test_a_mistake_of_ours_keeps_its_traceback(monkeypatch):
    def broken(*arguments):
        raise ZeroDivisionError

    monkeypatch.setattr("minivlm.recipes.show_scenes.show_scenes", broken)
    with pytest.raises(ZeroDivisionError):
        main(["scenes"])


def test_an_unknown_option_and_no_command_exit_2(capsys):
    for arguments in (["train", "clip", "--nonsense"], [], ["fly"]):
        with pytest.raises(SystemExit) as stop:
            main(arguments)
        assert stop.value.code == 2


def test_help_names_every_command(capsys):
    with pytest.raises(SystemExit) as stop:
        main(["--help"])
    assert stop.value.code == 0
    printed = capsys.readouterr().out
    for command in ("train", "eval", "classify", "search", "scenes", "check-data", "bench"):
        assert command in printed


def test_the_bench_report_shows_both_and_their_ratio():
    text = report(
        {
            "seconds": {"minivlm": 0.2, "torch": 0.4},
            "peak_growth": {"minivlm": 2**20, "torch": 4 * 2**20},
            "peak_process": {"minivlm": 3 * 2**20, "torch": 4 * 2**20},
            "difference": 1e-6,
            "repeats": 5,
            "torch": "2.13.0",
        }
    )
    assert [line.split()[-1] for line in text.splitlines()[-3:]] == ["0.50", "0.25", "0.75"]


def test_bench_without_torch_says_what_to_install(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "torch", None)
    monkeypatch.delitem(sys.modules, "minivlm.recipes.bench_torch", raising=False)
    from minivlm.errors import InputError
    from minivlm.recipes.bench import child

    with pytest.raises(InputError, match=r"pip install \"minivlm\[reference\]\""):
        child("torch", 1)


def test_scenes_become_files_that_both_kinds_of_training_read(tmp_path, capsys):
    from minivlm.data.conversations import read_conversations

    folder = tmp_path / "scenes"
    assert main(["scenes", "--folder", str(folder), "--count", "3", "--size", "48"]) == 0
    names = sorted(path.name for path in folder.iterdir())
    pictures = [f"000{i}.{kind}" for i in range(3) for kind in ("png", "txt")]
    assert names == sorted([*pictures, "conversations.json"])
    assert main(["check-data", str(folder)]) == 0
    assert "3 captions of 3 pictures" in capsys.readouterr().out
    talks = list(read_conversations(folder / "conversations.json"))
    assert [talk.images for talk in talks] == [("0000.png",), ("0001.png",), ("0002.png",)]
    assert all(len(talk.turns) == 8 for talk in talks)
    assert all(talk.turns[0].pictures == (0,) for talk in talks)
    assert "not an empty folder" in fails(capsys, "scenes", "--folder", folder)
    assert "--count 10001" in fails(capsys, "scenes", "--folder", tmp_path, "--count", "10001")
