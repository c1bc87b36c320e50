from dataclasses import fields, replace

import pytest

from minivlm.errors import InputError
from minivlm.recipes.vlm_settings import MOST_SCENE, VlmSettings

SETTINGS = VlmSettings("scenes", clip="runs/clip")


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"threads": 0}, "threads 0 is not positive"),
        ({"batch": 0}, "batch 0 is not positive"),
        ({"turns": 0}, "turns 0 is not positive"),
        ({"context": 0}, "context 0 is not positive"),
        ({"examples": -1}, "examples -1 is not positive"),
        ({"width": 0}, "width 0 is not positive"),
        ({"layers": 0}, "layers 0 is not positive"),
        ({"reading_steps": -1}, "reading-steps -1 is negative"),
        ({"alignment_steps": -1}, "alignment-steps -1 is negative"),
        ({"instruction_steps": -1}, "instruction-steps -1 is negative"),
        ({"lora": -1}, "lora -1 is negative"),
        ({"reading_lr": 0.0}, r"reading-lr 0\.0 is not positive"),
        ({"alignment_lr": -0.1}, r"alignment-lr -0\.1 is not positive"),
        ({"instruction_lr": float("nan")}, "instruction-lr nan is not positive"),
        ({"lora_alpha": 0.0}, r"lora-alpha 0\.0 is not positive"),
        ({"seed": -1}, r"seed -1 is not in 0\.\.999999"),
        ({"seed": 1_000_000}, r"seed 1000000 is not in 0\.\.999999"),
        ({"things": 0}, r"things 0 is not in 1\.\.4"),
        ({"things": MOST_SCENE + 1}, r"things 5 is not in 1\.\.4"),
        ({"projector": "magic"}, 'projector "magic" is none of linear, mlp, perceiver'),
        ({"clip": ""}, "give either --clip, whose eye is to learn to talk, or --start"),
        ({"start": "runs/vlm"}, "give either --clip, whose eye is to learn to talk, or --start"),
    ],
)
def test_settings_of_a_talking_model_say_what_is_wrong_with_them(change, sentence):
    with pytest.raises(InputError, match=f"^{sentence}"):
        replace(SETTINGS, **change)


@pytest.mark.parametrize(
    "change",
    [
        {"clip": "", "start": "runs/vlm"},
        {"reading_steps": 0, "alignment_steps": 0, "instruction_steps": 0},
        {"seed": 999_999, "things": MOST_SCENE, "lora": 4, "projector": "perceiver"},
    ],
)
def test_the_bounds_themselves_are_allowed_and_come_back_from_json(change):
    settings = replace(SETTINGS, **change)
    assert VlmSettings.from_json(settings.to_json(), "config.json") == settings
    assert settings.steps == (
        settings.reading_steps,
        settings.alignment_steps,
        settings.instruction_steps,
    )


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"colour": 1}, 'settings have an unknown key "colour"'),
        ({"steps": [1, 2, 3]}, 'settings have an unknown key "steps"'),
        ({"lora": "4"}, "setting \"lora\" is '4', not int"),
        ({"skip_bad": 1}, 'setting "skip_bad" is 1, not bool'),
        ({"threads": True}, 'setting "threads" is True, not int'),
        ({"lora_alpha": True}, 'setting "lora_alpha" is True, not float'),
        ({"images": 3}, 'setting "images" is 3, not str | None'),
        ({"things": 9}, "things 9 is not in 1..4"),
    ],
)
def test_settings_of_a_talking_model_are_checked_as_they_are_read(change, sentence):
    with pytest.raises(InputError) as error:
        VlmSettings.from_json(SETTINGS.to_json() | change, "config.json")
    assert sentence in str(error.value)


@pytest.mark.parametrize("name", [field.name for field in fields(VlmSettings)])
def test_no_setting_may_be_missing(name):
    lacking = SETTINGS.to_json()
    del lacking[name]
    with pytest.raises(InputError, match=f'config.json: settings lack "{name}"'):
        VlmSettings.from_json(lacking, "config.json")


def test_the_first_difference_of_two_runs_is_told_with_both_values():
    other = replace(SETTINGS, lora=4, width=32)
    assert SETTINGS.difference(SETTINGS) is None
    assert SETTINGS.difference(other) == "lora 4 there, 0 here"
    assert other.difference(SETTINGS) == "lora 0 there, 4 here"


@pytest.mark.parametrize("value", [None, [], "settings"])
def test_settings_that_are_no_object_are_refused(value):
    with pytest.raises(InputError, match=r'config\.json: "settings" is not an object'):
        VlmSettings.from_json(value, "config.json")
