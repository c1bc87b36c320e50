r"""Conversations about pictures in LLaVA's file format, read one by one, each with its line.

    [{"id": "1", "image": "cat.jpg",
      "conversations": [{"from": "human", "value": "<image>\nWhat is it?"},
                        {"from": "gpt", "value": "A cat."}]}]

Source: haotian-liu/LLaVA, docs/Finetune_Custom_Data.md.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from minivlm.data.chat import ASSISTANT, USER, Conversation, Turn
from minivlm.errors import InputError

_BLANK = " \t\r\n"


def read_conversations(path: Path) -> Iterator[Conversation | InputError]:
    """The conversations in a JSON list, or one a line, and an error in the place of each bad one.

    After an error in the JSON itself nothing follows.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        yield InputError(f"{path}: not UTF-8 text")
        return
    except OSError as error:
        yield InputError(f"{path}: {error.strerror or error}")
        return
    for line, value in _values(path, text):
        if isinstance(value, InputError):
            yield value
            return
        try:
            yield _conversation(f"{path}, line {line}", value)
        except InputError as error:
            yield error


def _values(path: Path, text: str) -> Iterator[tuple[int, Any]]:
    """Each element of the list, or each value in a row, with the line on which it begins."""
    decoder = json.JSONDecoder()
    at = _skip(text, 0)
    listed = text.startswith("[", at)
    at = _skip(text, at + 1) if listed else at
    line, counted, first = 1, 0, True
    while at < len(text) and not (listed and text[at] == "]"):
        line, counted = line + text.count("\n", counted, at), at
        if listed and not first:
            if text[at] != ",":
                yield line, InputError(f"{path}, line {line}: not JSON: no comma between samples")
                return
            at = _skip(text, at + 1)
            line, counted = line + text.count("\n", counted, at), at
        try:
            value, end = decoder.raw_decode(text, at)
        except (json.JSONDecodeError, RecursionError) as error:
            where = getattr(error, "lineno", line)
            yield where, InputError(f"{path}, line {where}: not JSON")
            return
        yield line, value
        at, first = _skip(text, end), False
    if listed and at >= len(text):
        yield line, InputError(f"{path}: not JSON: the list has no end")


def _skip(text: str, at: int) -> int:
    while at < len(text) and text[at] in _BLANK:
        at += 1
    return at


def _conversation(where: str, value: Any) -> Conversation:
    if not isinstance(value, dict):
        raise InputError(f"{where}: a sample is not an object")
    images = value.get("image", [])
    images = [images] if isinstance(images, str) else images
    if not isinstance(images, list) or not all(isinstance(i, str) and i for i in images):
        raise InputError(f'{where}: "image" is neither a path nor a list of paths')
    said = value.get("conversations")
    if not isinstance(said, list) or not said:
        raise InputError(f'{where}: "conversations" is missing or empty')
    turns = []
    for number, turn in enumerate(said):
        role, text = (
            (turn.get("from"), turn.get("value")) if isinstance(turn, dict) else (None, None)
        )
        expected = (USER, ASSISTANT)[number % 2]
        if role != expected:
            raise InputError(f'{where}: turn {number + 1} is from {role!r}, not "{expected}"')
        if not isinstance(text, str) or not text.strip():
            raise InputError(f'{where}: turn {number + 1} has no "value"')
        turns.append(Turn.marked(expected, text))
    return Conversation(tuple(turns), tuple(images), where)
