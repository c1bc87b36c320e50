import numpy as np
import pytest

from minivlm.errors import InputError
from minivlm.recipes.train_clip import train_clip
from minivlm.recipes.trained_clip import TrainedCLIP
from minivlm.recipes.use_clip import classify, search


@pytest.fixture(scope="module")
def colours(tmp_path_factory):
    """A CLIP that knows three colours, and pictures of them."""
    from dataclasses import replace

    from PIL import Image

    from minivlm.recipes.settings import ClipSettings
    from tests.recipes.conftest import SMALL

    folder = tmp_path_factory.mktemp("colours")
    rng = np.random.default_rng(0)
    tones = {"red": (200, 30, 30), "green": (30, 200, 30), "blue": (30, 30, 200)}
    for i in range(30):
        name = list(tones)[i % 3]
        pixels = np.clip(np.array(tones[name]) + rng.normal(0, 9, (20, 20, 3)), 0, 255)
        Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{name}-{i}.png")
        (folder / f"{name}-{i}.txt").write_text(name)
    settings = replace(ClipSettings(str(folder), **SMALL), steps=120, batch=12, image=32, patch=16)
    run = tmp_path_factory.mktemp("run")
    train_clip(settings, run, lambda sentence: None)
    return TrainedCLIP.load(run), folder


def test_pictures_get_the_label_that_fits(colours):
    clip, folder = colours
    paths = sorted(folder.glob("*.png"))
    labels = ["blue", "red", "green"]
    named = classify(clip, labels, paths, ["{}"])
    said = [labels[picture.probabilities.argmax()] for picture in named]
    assert said == [path.name.split("-")[0] for path in paths]
    assert all(picture.probabilities.sum() == pytest.approx(1, abs=1e-5) for picture in named)


def test_a_search_finds_what_fits_best_first(colours):
    clip, folder = colours
    found = search(clip, "green", folder, 10)
    assert len(found) == 10
    assert all(item.path.name.startswith("green") for item in found)
    assert [item.cosine for item in found] == sorted((f.cosine for f in found), reverse=True)


@pytest.mark.parametrize(
    ("labels", "templates", "sentence"),
    [
        ([""], ["{}"], "labels are empty"),
        (["a", "b", "a"], ["{}"], 'label "a" is given twice'),
        (["a"], ["a photo"], 'template "a photo" needs one {}'),
        (["a"], ["{} {}"], "needs one {}"),
    ],
)
def test_what_cannot_be_asked_is_refused(colours, labels, templates, sentence):
    clip, folder = colours
    with pytest.raises(InputError, match=sentence):
        classify(clip, labels, [next(folder.glob("*.png"))], templates)


def test_a_search_in_nothing_is_refused(colours, tmp_path):
    clip, _ = colours
    with pytest.raises(InputError, match="no such folder"):
        search(clip, "red", tmp_path / "none", 5)
    with pytest.raises(InputError, match="no pictures"):
        search(clip, "red", tmp_path, 5)
