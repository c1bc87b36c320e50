"""report.html of a demo: what was learnt at each step, from what its folders hold so far."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from minivlm.data.phrases import describe
from minivlm.files import read_json
from minivlm.recipes.lessons import shown_scenes
from minivlm.recipes.measure_vlm import fresh_scenes
from minivlm.recipes.trained_vlm import TrainedVLM
from minivlm.train.log import read_log
from minivlm.viz.curves import stage_curves
from minivlm.viz.report import (
    before_and_after,
    cards,
    figure,
    section,
    table,
    text,
    write_page,
)
from minivlm.viz.style import save_figure

TITLE = "How a vision-language model comes to see and to talk"


def write_report(folder: Path) -> None:
    """Write report.html from what a demo has left in its folder, however far it came."""
    body = [
        text(
            "Everything on this page was drawn, trained and measured by `minivlm demo` on this "
            "machine: a CLIP and a LLaVA in NumPy, every gradient by hand. The pictures are scenes "
            "made up by the program, so each answer can be checked exactly."
        )
    ]
    if (folder / "clip" / "scores.json").exists():
        body += _towers(folder / "clip")
    vlm_folder = folder / "vlm"
    if (vlm_folder / "model.safetensors").exists():
        vlm = TrainedVLM.load(vlm_folder)
        body += _stages(vlm, vlm_folder)
        if is_measured(vlm_folder):
            body += _measured(vlm, vlm_folder)
    write_page(folder / "report.html", TITLE, body)


def is_measured(run: Path) -> bool:
    """Whether a demo has measured its model: scores alone may be another command's."""
    return all((run / name).exists() for name in ("scores.json", "examples.json", "tables.json"))


def _towers(run: Path) -> list[str]:
    scores = read_json(run / "scores.json")
    value = {score["name"]: score["value"] for score in scores}
    return [
        section(
            "1. The data: scenes of coloured shapes",
            text(
                "Each picture comes with captions that leave things out at random, as people do. "
                "Eight pairs of colour and shape are in no training picture."
            ),
            figure(run / "samples.png", "Test pictures with their full descriptions."),
        ),
        section(
            "2. Contrastive learning: two towers",
            text(
                "One tower turns a picture into a vector, the other a text. In a batch of N pairs "
                "there are N² cosines; the loss asks each picture to find its text and each text "
                "its picture. Learning is the diagonal lighting up."
            ),
            figure(run / "training.png", "Loss and temperature over the steps of training."),
            figure(run / "similarity.png", "16 test pictures by their 16 texts."),
        ),
        section(
            "3. What the towers know without being told",
            text(
                f"Naming the thing in a picture is choosing the nearest of 64 texts: "
                f"{value['zero-shot of 64']:.0%} right, and "
                f"{value['zero-shot of 64, unseen pairs']:.0%} for pairs of colour and shape that "
                f"training never showed together. Which of two things is on the left, or where in "
                f"the picture a thing is, they do not learn: a mean over patches keeps what is "
                f"there and forgets where."
            ),
            table(
                ["question", "score", "chance"],
                [(score["name"], score["value"], score["chance"]) for score in scores],
            ),
            figure(run / "retrieval.png", "Pictures found for a text; the right one is framed."),
        ),
    ]


def _stages(vlm: TrainedVLM, run: Path) -> list[str]:
    names = ("stage 0: reading", "stage 1: alignment", "stage 2: instruction")
    logs = [
        (name, log)
        for number, name in enumerate(names)
        if (log := read_log(run / f"stage-{number}.jsonl"))
    ]
    save_figure(stage_curves(logs), run / "stages.png")
    scenes, images = shown_scenes(vlm.settings.things, vlm.model.config.vision.image)
    after = [read_json(run / f"captions-{number}.json") for number in (1, 2)]
    rows = [
        (image, (describe(scene), first, second))
        for scene, image, first, second in zip(scenes, images, *after, strict=True)
    ]
    return [
        section(
            "4. From seeing to talking: three stages",
            text(
                "The eye of the first tower is frozen. Its patch features pass a projector and "
                "stand among the words that a language model reads. Stage 0 teaches that model to "
                "read, with texts where pictures will be; stage 1 moves only the projector; stage "
                "2 moves projector and language model on questions and answers."
            ),
            figure(run / "stages.png", "How surprised the model is by the right next token."),
            text(
                "The loss of stage 2 jumps where conversations of several questions begin: until "
                "then each question stood alone. "
                "After stage 1 a caption is fluent and mostly wrong: the frozen language model can "
                "only be told what its words can say. After stage 2 it is about this picture."
            ),
            before_and_after(("picture", "what is there", "after stage 1", "after stage 2"), rows),
        )
    ]


def _measured(vlm: TrainedVLM, run: Path) -> list[str]:
    scores = read_json(run / "scores.json")
    captions, blind = scores["captions"], scores["captions_without_picture"]
    return [
        section(
            "5. Questions about pictures that it never saw",
            text(
                "The last column asks the same language model without a picture: what can be "
                "guessed from the question alone is not sight."
            ),
            table(*_vqa_table(scores)),
            _cards(vlm, run),
        ),
        *_attention(run / "attention.png"),
        section(
            "7. Does it make things up?",
            text(
                "POPE asks for things that are there and for things that are not: any (random), "
                "frequent ones (popular), and those that often come with what is there "
                "(adversarial). A model that answers from habit says yes too often."
            ),
            table(
                ["setting", "accuracy", "precision", "recall", "F1", "yes rate"],
                [
                    [h[k] for k in ("setting", "accuracy", "precision", "recall", "f1", "yes_rate")]
                    for h in scores["pope"]
                ],
            ),
            text(
                "Of captions, CHAIR-i is the share of mentioned things that are not there. It "
                "does not punish silence, so recall and whole captions stand beside it."
            ),
            table(
                ["captions", "exact", "CHAIR-i", "recall", "position", "background"],
                [
                    [name, *(c[k] for k in ("exact", "chair", "recall", "position", "background"))]
                    for name, c in (("with picture", captions), ("no picture", blind))
                ],
            ),
            text(f"Perplexity of right answers: {scores['perplexity']:.3f}; 1 is certainty."),
        ),
        section(
            "8. Go on",
            text(f'`minivlm ask --model {run} IMAGE "what do you see?"` asks about your picture,'),
            text(f"`minivlm eval vlm {run}` measures again, and `docs/` tells how it works."),
        ),
    ]


def _attention(drawn: Path) -> list[str]:
    """Nothing where it was not drawn, for the answer was empty."""
    if not drawn.exists():
        return []
    return [
        section(
            "6. Where an answer comes from",
            text("What each word of the answer paid attention to, mean over blocks and heads."),
            figure(drawn, "Attention of the answer's words to the picture."),
        )
    ]


def _vqa_table(scores: dict[str, Any]) -> tuple[list[str], list[list[str | float | None]]]:
    seen, unseen = scores["vqa"], scores["vqa_unseen_pairs"]
    blind = scores["vqa_without_picture"]
    numbers = [column for column in seen["mean"] if column != "all"]
    header = ["kind", "all", *(f"{n} thing{'s' * (n != '1')}" for n in numbers)]
    rows = [
        [
            kind,
            *(seen[kind].get(column) for column in ("all", *numbers)),
            unseen[kind]["all"],
            blind[kind]["all"],
        ]
        for kind in seen
    ]
    return [*header, "unseen pairs", "no picture"], rows


def _cards(vlm: TrainedVLM, run: Path) -> str:
    chosen = read_json(run / "examples.json")
    _, images = fresh_scenes(vlm, vlm.settings.things, chosen["tested"], chosen["seed"])
    return cards(
        [
            (images[asked["picture"]], asked["question"], asked["answer"], asked["reference"])
            for asked in chosen["asked"]
        ]
    )
