"""`minivlm demo`, `train vlm`, `eval vlm`, `ask` and `caption`: the commands of talking models."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable
from dataclasses import fields
from pathlib import Path

import numpy as np

from minivlm.cli.options import add_model
from minivlm.cli.status import BAD_INPUT, fail
from minivlm.errors import InputError
from minivlm.models.generate import Sampling
from minivlm.models.projector import KINDS
from minivlm.recipes.pretrained import PRETRAINED_VLM
from minivlm.recipes.vlm_settings import SIZES, VlmSettings


def add_demo(commands: argparse._SubParsersAction) -> None:
    """The options of `minivlm demo`."""
    demo = commands.add_parser(
        "demo",
        help="train a model that sees and talks, from nothing, and report on it",
        description="Draw scenes, train a CLIP, teach it to talk in three stages, measure all of "
        "it, and write report.html. Ctrl-C saves; the same command again goes on from there.",
    )
    demo.add_argument("--out", type=Path, default=Path("runs/demo"), metavar="RUN")
    demo.add_argument("--seed", type=int, default=0)
    demo.add_argument("--quick", action="store_true", help="only the two towers, in 90 seconds")
    demo.set_defaults(run=demo_command)

    pretrain = commands.add_parser(
        "pretrain",
        help="make the models that come with minivlm anew",
        description="A demo with more steps, more scenes and more things in each; then what was "
        "made is packed with half the bytes. Ctrl-C saves; the same command again goes on.",
    )
    pretrain.add_argument("--out", type=Path, default=Path("runs/pretrained"), metavar="RUN")
    pretrain.add_argument("--seed", type=int, default=0)
    pretrain.set_defaults(run=pretrain_command)


def add_train(kinds: argparse._SubParsersAction) -> None:
    """The options of `minivlm train vlm`."""
    vlm = kinds.add_parser(
        "vlm",
        help="an eye and a language model that answers questions",
        description="Teach the eye of a CLIP to talk: stage 0 reads texts, stage 1 aligns the "
        "projector, stage 2 tunes on instructions. Ctrl-C saves; the same command again goes on.",
    )
    vlm.add_argument(
        "--data",
        required=True,
        metavar="WHAT",
        help="scenes (drawn for you), or a JSON file of conversations in LLaVA's format",
    )
    vlm.add_argument("--images", metavar="DIR", help="folder that the file's pictures are in")
    vlm.add_argument("--clip", metavar="RUN", help="whose eye learns to talk")
    vlm.add_argument("--start", metavar="RUN", help="a talking model to go on from instead")
    vlm.add_argument("--out", type=Path, metavar="RUN", help="run folder (runs/vlm-DATA)")
    vlm.add_argument("--skip-bad", action="store_true", help="leave out what cannot be read")
    vlm.add_argument("--projector", choices=KINDS, help="how patches become soft words (mlp)")
    sizes = vlm.add_argument_group("sizes and training")
    for setting in fields(VlmSettings):
        help_text = _HELP.get(setting.name)
        if help_text:
            kind = float if setting.type is float else int
            name = f"--{setting.name.replace('_', '-')}"
            text = f"{help_text} ({setting.default})"
            sizes.add_argument(name, type=kind, metavar="N", help=text)
    vlm.set_defaults(run=train_vlm)


_HELP = {
    "reading_steps": "updates of stage 0",
    "alignment_steps": "updates of stage 1",
    "instruction_steps": "updates of stage 2",
    "batch": "conversations in a batch",
    "turns": "questions in a long conversation about a scene",
    "seed": "decides weights, batches and scenes",
    "threads": "parts of a batch computed at the same time",
    "things": "most things in a scene",
    "reading_lr": "learning rate of stage 0",
    "alignment_lr": "learning rate of stage 1",
    "instruction_lr": "learning rate of stage 2",
    "lora": "rank of low-rank detours in stage 2; 0 trains in full",
    "lora_alpha": "how much the detours count",
    "width": "of the language model",
    "heads": "attention heads",
    "layers": "blocks",
    "shuffle": "r × r patches become one soft word",
    "vision_layer": "whose patch tokens are read",
    "vocabulary": "most tokens of the tokenizer",
    "context": "most tokens in a conversation",
    "examples": "scenes to draw",
}


def add_eval(kinds: argparse._SubParsersAction) -> None:
    """The options of `minivlm eval vlm`."""
    vlm = kinds.add_parser("vlm", help="questions, captions, hallucinations, perplexity")
    vlm.add_argument(
        "run_folder",
        type=Path,
        nargs="?",
        default=PRETRAINED_VLM,
        metavar="RUN",
        help="what train vlm wrote; without one, the model that comes with minivlm",
    )
    vlm.add_argument("--things", type=int, metavar="N", help="most things in a scene (as trained)")
    vlm.set_defaults(run=eval_vlm)


def add_use(commands: argparse._SubParsersAction) -> None:
    """The options of `minivlm ask`, `caption` and `show-labels`."""
    ask = commands.add_parser("ask", help="a question about a picture")
    add_model(ask, "train vlm", PRETRAINED_VLM)
    ask.add_argument("picture", type=Path, metavar="IMAGE")
    ask.add_argument("question", nargs="?", help="may be left out with --chat")
    ask.add_argument("--chat", action="store_true", help="go on asking, line by line")
    ask.add_argument("--show-attention", type=Path, metavar="PNG", help="where its words look")
    ask.add_argument("--temperature", type=float, default=0.0, metavar="T", help="0: greedy (0)")
    ask.add_argument("--top-k", type=int, default=0, metavar="K", help="0: all (0)")
    ask.add_argument("--top-p", type=float, default=1.0, metavar="P")
    ask.add_argument("--repetition-penalty", type=float, default=1.0, metavar="X")
    ask.add_argument("--seed", type=int, default=0, help="of what temperature leaves open")
    ask.set_defaults(run=ask_command)

    caption = commands.add_parser("caption", help="what is to be seen in pictures")
    add_model(caption, "train vlm", PRETRAINED_VLM)
    caption.add_argument("pictures", type=Path, nargs="+", metavar="IMAGE")
    caption.set_defaults(run=caption_command)

    labels = commands.add_parser("show-labels", help="which tokens of a conversation are learnt")
    add_model(labels, "train vlm", PRETRAINED_VLM)
    labels.add_argument("data", metavar="DATA", help="scenes, or a file in LLaVA's format")
    labels.add_argument("--count", type=int, default=3, metavar="N", help="conversations (3)")
    labels.add_argument("--template", choices=("bare", "vicuna"), default="bare")
    labels.add_argument("--color", choices=("auto", "always", "never"), default="auto")
    labels.set_defaults(run=labels_command)


def demo_command(options: argparse.Namespace) -> None:
    """`minivlm demo`."""
    from minivlm.recipes.demo import Plan, demo

    demo(options.out, Plan.usual(options.out, options.seed, options.quick), tell=print)


def pretrain_command(options: argparse.Namespace) -> None:
    """`minivlm pretrain`."""
    from minivlm.recipes.pretrain import pretrain, shipped_plan

    pretrain(options.out, shipped_plan(options.out, options.seed), tell=print)


def train_vlm(options: argparse.Namespace) -> None:
    """`minivlm train vlm`."""
    from minivlm.recipes.eval_vlm import eval_vlm
    from minivlm.recipes.train_vlm import train_vlm
    from minivlm.recipes.trained_vlm import load_settings

    folder = options.out or Path("runs") / f"vlm-{Path(options.data).stem or 'data'}"
    if options.data != "scenes":
        options.data = str(Path(options.data).resolve())
    for name in ("images", "clip", "start"):  # the run may be evaluated from elsewhere
        if getattr(options, name):
            setattr(options, name, str(Path(getattr(options, name)).resolve()))
    given = {f.name: getattr(options, f.name, None) for f in fields(VlmSettings)}
    given = {name: value for name, value in given.items() if value is not None}
    if options.start and not options.clip:
        there = load_settings(Path(options.start)).to_json()
        for name in SIZES:
            if name in given:
                option = f"--{name.replace('_', '-')}"
                raise InputError(f"{option} cannot be chosen with --start, whose model has its own")
            given[name] = there[name]
    settings = VlmSettings(**given)
    train_vlm(settings, folder, tell=print)
    try:
        eval_vlm(folder, None, tell=print)
    except InputError as error:  # such as too few conversations: the model is good all the same
        print(f"\nNot measured: {error}")
    print(f"Model and logs are in {folder}")


def eval_vlm(options: argparse.Namespace) -> None:
    """`minivlm eval vlm`."""
    from minivlm.recipes.eval_vlm import eval_vlm

    eval_vlm(options.run_folder, options.things, tell=print)


def ask_command(options: argparse.Namespace) -> int:
    """`minivlm ask`."""
    from minivlm.recipes.trained_vlm import TrainedVLM
    from minivlm.recipes.use_vlm import Chat, read_picture

    if options.question is None and not options.chat:
        return fail(BAD_INPUT, "give a question, or --chat to be asked for one")
    try:
        sampling = Sampling(
            options.temperature, options.top_k, options.top_p, options.repetition_penalty
        )
    except ValueError as error:
        raise InputError(str(error)) from None
    if options.seed < 0:
        raise InputError(f"seed {options.seed} is negative")
    rng = np.random.default_rng(options.seed)
    vlm = TrainedVLM.load(options.model)
    chat = Chat(vlm, read_picture(vlm, options.picture), sampling, rng)
    if options.question is not None:
        _answer(chat.ask(options.question))
    while options.chat and (line := _next_line()) is not None:
        if line.strip():
            _answer(chat.ask(line))
    if options.show_attention and chat.turns:
        chat.write_attention(options.show_attention)
        print(f"attention of the answer's words: {options.show_attention}", file=sys.stderr)
    return 0


def _answer(pieces: Iterable[str]) -> None:
    for piece in pieces:
        print(piece, end="", flush=True)
    print()


def _next_line() -> str | None:
    """A line from the user; None at the end of the input."""
    try:
        return input("> " if sys.stdin.isatty() else "")
    except EOFError:
        return None


def caption_command(options: argparse.Namespace) -> None:
    """`minivlm caption`."""
    from minivlm.recipes.trained_vlm import TrainedVLM
    from minivlm.recipes.use_vlm import captions

    for path, words in captions(TrainedVLM.load(options.model), options.pictures):
        print(f"{path}  {words}")


def labels_command(options: argparse.Namespace) -> None:
    """`minivlm show-labels`."""
    from minivlm.recipes.show_labels import show_labels
    from minivlm.recipes.trained_vlm import TrainedVLM

    colored = options.color == "always" or (options.color == "auto" and sys.stdout.isatty())
    vlm = TrainedVLM.load(options.model)
    for line in show_labels(vlm, options.data, options.count, options.template, colored):
        print(line)
