"""The demo from nothing to its report, at sizes that take seconds, and stopped at every turn."""

import base64
import shutil
import signal
from dataclasses import replace
from functools import partial
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from minivlm.data.lessons import PROMPT
from minivlm.data.phrases import describe
from minivlm.errors import InputError
from minivlm.files import read_json
from minivlm.recipes import demo as recipe
from minivlm.recipes import eval_vlm, train_clip
from minivlm.recipes.demo import Plan, demo
from minivlm.recipes.lessons import shown_scenes
from minivlm.recipes.measure_vlm import TEST_SEED, fresh_scenes, measure_vlm
from minivlm.recipes.report import write_report
from minivlm.recipes.settings import ClipSettings, defaults_for
from minivlm.recipes.trained_vlm import TrainedVLM
from minivlm.recipes.vlm_settings import VlmSettings
from minivlm.train.log import Progress
from minivlm.train.run import Interrupted, run_folder
from tests.recipes.demos import cards_of, changed, contents, pixels, report_of, sections
from tests.recipes.scripted import truth
from tests.recipes.small import SMALL, SMALL_VLM

TESTED = 4
# With fewer steps there are no words whose attention could be drawn.
WORDY = {"reading_steps": 30, "instruction_steps": 60, "reading_lr": 0.05, "instruction_lr": 0.05}


def quiet(sentence):
    pass


def tiny(folder):
    eye = str(folder / "clip")
    vlm = VlmSettings("scenes", clip=eye, **SMALL_VLM | WORDY)
    return Plan(ClipSettings("scenes", **SMALL), vlm, TESTED)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """The folder of a demo that was not stopped, its plan, and what it told."""
    folder, said = tmp_path_factory.mktemp("runs") / "demo", []
    plan = tiny(folder)
    demo(folder, plan, said.append)
    return folder, plan, said


@pytest.fixture
def copy(finished, tmp_path):
    """The same in a folder of its own, which may be spoiled, and the plan."""
    folder, plan, _ = finished
    shutil.copytree(folder, tmp_path / "demo")
    report = (folder / "report.html").read_bytes()  # which names its folder
    here = report.replace(str(folder).encode(), str(tmp_path / "demo").encode())
    (tmp_path / "demo" / "report.html").write_bytes(here)
    return tmp_path / "demo", plan


# What it leaves.


def test_it_says_what_it_does_step_by_step_and_how_to_go_on(finished):
    folder, _, said = finished
    told = "\n".join(said)
    steps = [told.index(f"Step {n} of 3") for n in (1, 2, 3)]
    stages = [told.index(f"Stage {n}, ") for n in (0, 1, 2)]
    places = [steps[0], steps[1], *stages, steps[2], told.index("questions, right")]
    assert all(a < b for a, b in pairwise(places))
    assert f"Open {folder / 'report.html'} in a browser." in told
    assert f'minivlm ask --model {folder / "vlm"} IMAGE "' in said[-1]


def test_its_report_has_every_section_and_needs_nothing_from_elsewhere(finished):
    folder, _, _ = finished
    found = report_of(folder)
    assert sections(folder) == "12345678"
    assert all(link.startswith("data:image/png;base64,") for link in found.links())
    shown = [base64.b64decode(link.split(",")[1]) for link in found.links()]
    for name in ("samples", "training", "similarity", "retrieval"):
        assert (folder / "clip" / f"{name}.png").read_bytes() in shown
    for name in ("stages", "attention"):
        assert (folder / "vlm" / f"{name}.png").read_bytes() in shown


def test_its_report_has_every_score(finished):
    folder, _, _ = finished
    found = report_of(folder)
    for s in read_json(folder / "clip" / "scores.json"):
        assert [s["name"], f"{s['value']:.3f}", f"{s['chance']:.3f}"] in found.rows
    scores = read_json(folder / "vlm" / "scores.json")
    for kind, row in scores["vqa"].items():
        numbers = [row.get(column) for column in ("all", "1", "2")]
        others = [scores[name][kind]["all"] for name in ("vqa_unseen_pairs", "vqa_without_picture")]
        shown = ["" if share is None else f"{share:.3f}" for share in (*numbers, *others)]
        assert [kind, *shown] in found.rows
    for h in scores["pope"]:
        keys = ("accuracy", "precision", "recall", "f1", "yes_rate")
        assert [h["setting"], *(f"{h[key]:.3f}" for key in keys)] in found.rows
    for name, key in (("with picture", "captions"), ("no picture", "captions_without_picture")):
        keys = ("exact", "chair", "recall", "position", "background")
        assert [name, *(f"{scores[key][k]:.3f}" for k in keys)] in found.rows
    perplexity = f"Perplexity of right answers: {scores['perplexity']:.3f}; 1 is certainty."
    assert perplexity in found.within("p")


def test_its_examples_are_beside_their_own_pictures(finished):
    folder, plan, _ = finished
    vlm = TrainedVLM.load(folder / "vlm")
    scenes, images = fresh_scenes(vlm, plan.vlm.things, TESTED, TEST_SEED)
    of_picture = {image.tobytes(): scene for scene, image in zip(scenes, images, strict=True)}
    cards = cards_of(folder)
    assert len(cards) >= 12
    for source, question, verdict, reference in cards:
        scene, (mark, answer) = of_picture[pixels(source).tobytes()], (verdict[0], verdict[2:])
        assert truth(scene, question) == (reference or answer)
        assert mark == ("✗" if reference else "✓")
        assert reference != answer


def test_its_report_shows_what_is_said_after_each_stage(finished):
    folder, plan, _ = finished
    scenes, images = shown_scenes(plan.vlm.things, plan.clip.image)
    found = report_of(folder)
    by_name = {image["alt"]: image["src"] for image in found.named("img")}
    first, second = (read_json(folder / "vlm" / f"captions-{n}.json") for n in (1, 2))
    for scene, image, *said in zip(scenes, images, first, second, strict=True):
        np.testing.assert_array_equal(pixels(by_name[describe(scene)]), image)
        assert ["", describe(scene), *said] in found.rows


def test_its_tables_are_told_and_its_last_answer_is_about_a_full_scene(finished):
    folder, plan, said = finished
    lines = read_json(folder / "vlm" / "tables.json")
    at = said.index(lines[0])
    assert said[at : at + len(lines)] == lines
    vlm = TrainedVLM.load(folder / "vlm")
    scenes, images = fresh_scenes(vlm, plan.vlm.things, TESTED, TEST_SEED)
    full = next(i for i, scene in enumerate(scenes) if len(scene.things) == plan.vlm.things)
    answer = vlm.answers(vlm.look(images[full : full + 1]), [PROMPT])[0]
    assert said[at + len(lines)] == f"\n{PROMPT} {answer}"


# Stopped, and gone on with.


def test_a_second_time_it_tells_what_it_knows_and_changes_nothing(copy):
    folder, plan = copy
    before, said = contents(folder), []
    demo(folder, plan, said.append)
    assert said[:3] == [
        "Two towers: done before.",
        "Talking: done before.",
        "Measuring: done before.",
    ]
    assert said[3:-2] == read_json(folder / "vlm" / "tables.json")
    assert changed(folder, before) == set()


def test_stopped_while_it_was_measured_it_is_measured_again(copy, monkeypatch):
    folder, plan = copy
    before, said = contents(folder), []
    for name in ("scores.json", "examples.json", "tables.json", "attention.png"):
        (folder / "vlm" / name).unlink()

    def stopped(*arguments):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(recipe.Chat, "write_attention", stopped)
        with pytest.raises(KeyboardInterrupt):
            demo(folder, plan, quiet)
    assert not (folder / "vlm" / "scores.json").exists()
    demo(folder, plan, said.append)
    assert said[:2] == ["Two towers: done before.", "Talking: done before."]
    assert changed(folder, before) == set()


def test_stopped_while_the_towers_were_drawn_they_are_measured_and_drawn(copy, monkeypatch):
    folder, plan = copy
    before, towers = contents(folder), Plan(plan.clip, None)
    for path in (folder / "clip" / "scores.json", *folder.glob("clip/*.png")):
        path.unlink()

    def stopped(*arguments):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(train_clip, "write_pictures", stopped)
        with pytest.raises(KeyboardInterrupt):
            demo(folder, towers, quiet)
    assert not (folder / "clip" / "scores.json").exists()
    demo(folder, plan, quiet)
    assert changed(folder, before) == set()


def test_stopped_while_it_learns_it_goes_on_to_the_same_bits(copy, monkeypatch):
    folder, plan = copy
    before, said = contents(folder), []
    shutil.rmtree(folder / "vlm")
    (folder / "report.html").unlink()
    honest = Progress.show

    def show(bar, step):
        honest(bar, step)
        if (folder / "vlm" / "stage-2.jsonl").exists() and step.number == 6:
            signal.raise_signal(signal.SIGINT)

    with monkeypatch.context() as patched:
        patched.setattr(Progress, "show", show)
        with pytest.raises(Interrupted, match="stopped in stage 2 after step 7 of 60"):
            demo(folder, plan, quiet)
    assert not (folder / "vlm" / "model.safetensors").exists()
    demo(folder, plan, said.append)
    assert said[0] == "Two towers: done before."
    assert "Going on from step 7 of 60." in said
    assert changed(folder, before) == set()


def test_the_report_grows_with_each_step(copy):
    folder, _ = copy
    (folder / "vlm" / "scores.json").unlink()
    write_report(folder)
    assert sections(folder) == "1234"
    (folder / "vlm" / "model.safetensors").unlink()
    write_report(folder)
    assert sections(folder) == "123"
    shutil.rmtree(folder / "clip")
    write_report(folder)
    assert sections(folder) == ""


def test_the_towers_alone_are_a_demo_too(copy):
    folder, plan = copy
    shutil.rmtree(folder / "vlm")
    said = []
    demo(folder, Plan(plan.clip, None), said.append)
    assert sections(folder) == "123"
    assert {path.name for path in folder.iterdir()} == {"clip", "report.html", ".lock"}
    assert said[-1].endswith("in a browser.")


def test_a_model_that_says_nothing_is_reported_like_any_other(copy, monkeypatch):
    folder, plan = copy
    for name in ("scores.json", "attention.png"):
        (folder / "vlm" / name).unlink()
    monkeypatch.setattr(TrainedVLM, "stream", lambda *arguments: iter([""]))
    demo(folder, plan, quiet)
    assert (folder / "vlm" / "scores.json").exists()
    assert {"5", "7", "8"} <= set(sections(folder))


def test_measuring_it_otherwise_leaves_its_examples_beside_their_pictures(copy, monkeypatch):
    folder, plan = copy
    before = cards_of(folder)
    monkeypatch.setattr(eval_vlm, "measure_vlm", partial(measure_vlm, count=TESTED + 1))
    eval_vlm.eval_vlm(folder / "vlm", 1, quiet)
    demo(folder, plan, quiet)
    assert cards_of(folder) == before


# What is refused.


@pytest.mark.parametrize(
    ("clip", "vlm", "sentence"),
    [
        ({"seed": 1}, {}, r"clip: holds a run with other settings \(seed 0 there, 1 here\)"),
        ({"steps": 3}, None, r"clip: holds a run with other settings \(steps 6 there, 3 here\)"),
        ({}, {"things": 3}, r"vlm: holds a run with other settings \(things 2 there, 3 here\)"),
    ],
)
def test_a_folder_with_other_runs_is_refused_and_left_alone(copy, clip, vlm, sentence):
    folder, plan = copy
    before = contents(folder)
    other = None if vlm is None else replace(plan.vlm, **vlm)
    with pytest.raises(InputError, match=sentence):
        demo(folder, Plan(replace(plan.clip, **clip), other), quiet)
    assert changed(folder, before) == set()


def test_a_folder_in_use_is_refused(copy):
    folder, plan = copy
    with run_folder(folder), pytest.raises(InputError, match="in use by another minivlm process"):
        demo(folder, plan, quiet)


# Its usual sizes.


def test_the_usual_plan_is_a_model_on_the_eye_of_its_own_towers(tmp_path):
    plan = Plan.usual(tmp_path / "demo", 5, quick=False)
    sizes = {"seed": 5, "examples": recipe.SCENES}
    assert plan.clip == replace(defaults_for("scenes"), steps=recipe.STEPS, **sizes)
    assert plan.vlm == VlmSettings("scenes", clip=str(tmp_path / "demo" / "clip"), **sizes)
    assert plan.tested == recipe.TESTED
    assert not (tmp_path / "demo").exists()


def test_the_quick_plan_is_the_towers_alone_with_fewer_steps(tmp_path):
    plan = Plan.usual(tmp_path, 0, quick=True)
    assert plan.vlm is None
    assert plan.clip.steps == recipe.QUICK_STEPS < Plan.usual(tmp_path, 0, False).clip.steps
    assert replace(plan.clip, steps=defaults_for("scenes").steps) == defaults_for("scenes")


def test_a_relative_folder_gives_the_same_eye_wherever_it_is_run_from(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    plan = Plan.usual(Path("demo"), 0, quick=False)
    assert plan.vlm.clip == str(tmp_path.resolve() / "demo" / "clip")


def test_scores_of_another_command_do_not_stand_for_the_demos_own_measuring(copy):
    folder, plan = copy
    for name in ("examples.json", "tables.json", "attention.png"):
        (folder / "vlm" / name).unlink()
    demo(folder, plan, quiet)
    assert (folder / "vlm" / "tables.json").exists()
    assert {"5", "6", "7"} <= set(sections(folder))
