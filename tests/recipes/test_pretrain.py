"""The models that come with minivlm: how good they are, and that their recipe teaches."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from minivlm.recipes.demo import Plan
from minivlm.recipes.measure_vlm import accuracies, fresh_scenes, measure_vlm
from minivlm.recipes.pretrain import pretrain, shipped_plan
from minivlm.recipes.pretrained import PRETRAINED, PRETRAINED_CLIP, PRETRAINED_VLM
from minivlm.recipes.scenes_task import TEST, ScenesTask
from minivlm.recipes.trained_clip import TrainedCLIP
from minivlm.recipes.trained_vlm import TrainedVLM
from minivlm.tensorfile import read_arrays
from tests.recipes.runs import quiet

UNUSED = TEST + 700  # scenes that neither training nor any measuring elsewhere has seen


def shortened(plan: Plan) -> Plan:
    """The shipped recipe on scenes of one thing, for some seconds."""
    assert plan.vlm is not None
    towers = replace(plan.clip, steps=60, batch=64, examples=1500)
    vlm = replace(
        plan.vlm,
        things=1,
        examples=1500,
        batch=40,
        reading_steps=60,
        alignment_steps=30,
        instruction_steps=260,
    )
    return Plan(towers, vlm, tested=30)


@pytest.fixture(scope="module")
def retrained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pretrain") / "run"
    pretrain(folder, shortened(shipped_plan(folder, seed=1)), quiet)
    return folder


def test_the_recipe_cut_short_teaches_to_look(retrained):
    vlm = TrainedVLM.load(retrained / "vlm")
    measured = measure_vlm(vlm, 1, count=60, seed=UNUSED)
    seen, blind = accuracies(measured.asked), accuracies(measured.asked, blind=True)
    assert seen["background"]["all"] > 0.9  # guessing: 0.25
    assert seen["color"]["all"] > 0.5  # 0.125
    assert seen["mean"]["all"] > blind["mean"]["all"] + 0.2
    assert measured.captions.chair < measured.blind_captions.chair


def test_what_is_packed_is_the_run_in_half_the_bytes(retrained):
    for name in ("clip", "vlm"):
        whole, _ = read_arrays(retrained / name / "model.safetensors")
        half, _ = read_arrays(retrained / "packed" / name / "model.safetensors")
        assert {array.dtype for array in half.values()} == {np.dtype(np.float16)}
        assert whole.keys() == half.keys()
        for key, array in whole.items():
            np.testing.assert_allclose(half[key], array, rtol=1e-3, atol=1e-6)
        for file in ("config.json", "tokenizer.json", "scores.json"):
            packed = (retrained / "packed" / name / file).read_text()
            assert str(retrained) not in packed  # no path of the machine that made it
    vlm = TrainedVLM.load(retrained / "packed" / "vlm")
    _, images = fresh_scenes(vlm, 1, 5, UNUSED)
    assert len(vlm.answers(vlm.look(images), ["what color is the background?"] * 5)) == 5


def test_the_shipped_models_are_those_of_the_recipe():
    plan = shipped_plan(Path("run"), seed=0)
    assert plan.vlm is not None
    assert TrainedCLIP.load_settings(PRETRAINED_CLIP) == plan.clip
    vlm = TrainedVLM.load(PRETRAINED_VLM)
    assert vlm.settings == replace(plan.vlm, clip="clip")
    eye = TrainedCLIP.load(PRETRAINED_CLIP).model.vision.state_dict()
    for name, array in vlm.model.vision.state_dict().items():
        assert np.array_equal(array, eye[name]), name
    assert sum(path.stat().st_size for path in PRETRAINED.rglob("*")) < 2_000_000


def test_the_shipped_model_answers_about_one_to_four_things():
    measured = measure_vlm(TrainedVLM.load(PRETRAINED_VLM), 4, count=60, seed=UNUSED)
    table = accuracies(measured.asked)
    assert table["mean"]["all"] >= 0.97
    assert table["relation"]["all"] >= 0.94
    assert min(row["all"] for row in table.values()) >= 0.9
    assert accuracies(measured.unseen)["mean"]["all"] >= 0.93
    assert min(h.f1 for h in measured.hallucination) >= 0.97
    assert measured.captions.exact >= 0.94
    assert measured.captions.chair <= 0.02


def test_the_shipped_towers_name_and_find():
    clip = TrainedCLIP.load(PRETRAINED_CLIP)
    scores = {s.name: s.value for s in ScenesTask(clip.settings, UNUSED).evaluate(clip)}
    assert scores["zero-shot of 64"] >= 0.97
    assert scores["zero-shot of 64, unseen pairs"] >= 0.93
    assert min(scores["text recall@1 of 256"], scores["image recall@1 of 256"]) >= 0.97
