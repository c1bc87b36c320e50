from minivlm.cli import main
from minivlm.evaluate.score import Score
from minivlm.recipes.pretrained import PRETRAINED_CLIP
from minivlm.recipes.scenes_task import ScenesTask
from minivlm.recipes.train_clip import train_clip
from tests.recipes.runs import quiet


def test_the_shipped_towers_are_measured_and_not_written_to(capsys, monkeypatch):
    found = [Score("zero-shot of 64", 0.98, 1 / 64, 1000)]
    monkeypatch.setattr(ScenesTask, "evaluate", lambda self, clip: found)
    before = {path.name: path.read_bytes() for path in PRETRAINED_CLIP.iterdir()}
    assert main(["eval", "clip"]) == 0
    assert "zero-shot of 64  0.980" in capsys.readouterr().out
    assert {path.name: path.read_bytes() for path in PRETRAINED_CLIP.iterdir()} == before


def test_a_run_whose_log_is_lost_is_measured_all_the_same(small, tmp_path, capsys):
    copy = tmp_path / "run"
    train_clip(small, copy, quiet)
    for name in ("log.jsonl", "training.png", "scores.json"):
        (copy / name).unlink()
    assert main(["eval", "clip", str(copy)]) == 0
    assert (copy / "scores.json").exists()
    assert not (copy / "training.png").exists()
