"""Byte-level byte-pair encoding: text to ids and exactly back, whatever the text.

Text becomes UTF-8 bytes, of which there are 256, so nothing is ever unknown. Training joins the
pair of neighbours that occurs most often into a new token, again and again; encoding replays the
joins in the order in which they were learnt.

Source: Sennrich et al. 2015, arXiv:1508.07909; on bytes: Radford et al. 2019 (GPT-2).
"""

from __future__ import annotations

import heapq
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import TypeGuard

import numpy as np

from minivlm.errors import InputError
from minivlm.files import read_json, write_json

SPECIALS = ("<pad>", "<start>", "<end>")
FORMAT = "minivlm byte-level BPE 1"
CACHED_WORDS = 1 << 16

# A word with the space before it, or a run of digits, of marks, or of other white space. Every
# character is in one of them, so the pieces add up to the text. After GPT-2's pattern.
PIECES = re.compile(r" ?[^\W\d_]+| ?\d+| ?(?:[^\w\s]|_)+|\s+")

Pair = tuple[int, int]


class BPE:
    """A vocabulary: special tokens first, then the 256 bytes, then one token for each merge.

    Attributes:
        specials: names of the special tokens, ids 0, 1, …; no text is ever encoded as one.
        merges: pairs of ids, in the order in which they were learnt.
        tokens: the bytes of each id; empty for special tokens.
    """

    def __init__(self, merges: Sequence[Pair], specials: Sequence[str] = SPECIALS):
        self.specials = tuple(specials)
        self.merges = [tuple(pair) for pair in merges]
        self.tokens = [b""] * len(specials) + [bytes([i]) for i in range(256)]
        for a, b in self.merges:
            self.tokens.append(self.tokens[a] + self.tokens[b])
        first_merge = len(specials) + 256
        self._rank = {pair: first_merge + i for i, pair in enumerate(self.merges)}
        self._cache: dict[str, list[int]] = {}

    @property
    def vocab_size(self) -> int:
        """The number of ids."""
        return len(self.tokens)

    @property
    def end(self) -> int:
        """The id that ends a text."""
        return self.special("<end>")

    def special(self, name: str) -> int:
        """The id of a special token; ValueError where there is none of that name."""
        return self.specials.index(name)

    @classmethod
    def train(
        cls, texts: Iterable[str], vocab_size: int, specials: Sequence[str] = SPECIALS
    ) -> BPE:
        """Learn merges until there are `vocab_size` ids, or until no pair occurs twice.

        Of pairs that occur equally often, the one with the smaller ids is merged first. A pair
        that would spell an earlier token again is passed over, so that each token reads apart.

        Raises:
            InputError: the size is less than special tokens and bytes need.
        """
        base = len(specials) + 256
        if vocab_size < base:
            raise InputError(f"a vocabulary of {vocab_size} is smaller than {base}, specials + 256")
        counts = Counter(piece for text in texts for piece in PIECES.findall(text))
        words = [[len(specials) + byte for byte in _to_bytes(word)] for word in counts]
        times = list(counts.values())

        pairs: Counter[Pair] = Counter()
        where: dict[Pair, set[int]] = defaultdict(set)  # words in which a pair has occurred
        for i, word in enumerate(words):
            for pair in pairwise(word):
                pairs[pair] += times[i]
                where[pair].add(i)
        queue = [(-count, pair) for pair, count in pairs.items()]
        heapq.heapify(queue)

        merges: list[Pair] = []
        tokens = cls([], specials).tokens
        spelled = set(tokens)
        while queue and len(tokens) < vocab_size:
            count, pair = heapq.heappop(queue)
            if -count != pairs[pair]:
                continue  # an older count; the present one is queued, too
            if -count < 2:
                break
            new, token = len(tokens), tokens[pair[0]] + tokens[pair[1]]
            if token in spelled:
                continue
            merges.append(pair)
            tokens.append(token)
            spelled.add(token)
            changed: set[Pair] = set()
            for i in where.pop(pair):
                before, after = words[i], _join(words[i], pair, new)
                for old in pairwise(before):
                    pairs[old] -= times[i]
                    changed.add(old)
                for young in pairwise(after):
                    pairs[young] += times[i]
                    where[young].add(i)
                    changed.add(young)
                words[i] = after
            for other in changed:
                if pairs[other] > 0:
                    heapq.heappush(queue, (-pairs[other], other))
        return cls(merges, specials)

    def encode(self, text: str) -> list[int]:
        """The ids of a text, none of them special; `decode` gives exactly the text again."""
        ids: list[int] = []
        for piece in PIECES.findall(text):
            if piece not in self._cache:
                if len(self._cache) >= CACHED_WORDS:
                    self._cache.clear()
                self._cache[piece] = self._encode_piece(piece)
            ids += self._cache[piece]
        return ids

    def decode(self, ids: Iterable[int]) -> str:
        """The text of some ids; special tokens are left out, bytes that are no text become `�`."""
        raw = b"".join(self.tokens[i] for i in ids)
        try:
            return raw.decode("utf-8", "surrogatepass")
        except UnicodeDecodeError:
            return raw.decode("utf-8", "replace")

    def encode_batch(self, texts: Sequence[str], context: int) -> np.ndarray:
        """Ids (B, T) of `<start> text <end>`, padded to the longest with `<pad>`.

        A text of more than `context` ids is cut, so that its last id is still `<end>`.

        Raises:
            ValueError: the context has no room for `<start>` and `<end>`.
        """
        if context < 2:
            raise ValueError(f"a context of {context} has no room for a start and an end")
        start, end = self.special("<start>"), self.end
        rows = [[start, *self.encode(text)[: context - 2], end] for text in texts]
        ids = np.full((len(rows), max(map(len, rows), default=0)), self.special("<pad>"))
        for row, tokens in zip(ids, rows, strict=True):
            row[: len(tokens)] = tokens
        return ids

    def save(self, path: Path) -> None:
        """Write JSON that one can read: every merge as the two pieces of text that it joins."""
        shown = [[_show(self.tokens[a]), _show(self.tokens[b])] for a, b in self.merges]
        lists = {"format": FORMAT, "specials": list(self.specials), "merges": shown}
        write_json(path, lists)

    @classmethod
    def load(cls, path: Path) -> BPE:
        """Read what `save` wrote.

        Raises:
            InputError: the file is missing or is no such tokenizer; with the key or merge.
        """
        value = read_json(path)
        if not isinstance(value, dict) or value.get("format") != FORMAT:
            raise InputError(f'{path}: "format" is not "{FORMAT}"')
        specials, shown = value.get("specials"), value.get("merges")
        if not _is_strings(specials) or len(set(specials)) < len(specials):
            raise InputError(f'{path}: "specials" is not a list of different strings')
        if lacking := [name for name in SPECIALS if name not in specials]:
            raise InputError(f'{path}: "specials" lack {lacking[0]}')
        if not isinstance(shown, list):
            raise InputError(f'{path}: "merges" is not a list')
        ids = {_show(bytes([i])): len(specials) + i for i in range(256)}
        merges: list[Pair] = []
        for number, parts in enumerate(shown, start=1):
            if not _is_strings(parts) or len(parts) != 2:
                raise InputError(f"{path}: merge {number} is not a pair of strings")
            for part in parts:
                if part not in ids:
                    raise InputError(f'{path}: merge {number} joins "{part}", no token before it')
            joined = "".join(parts)
            if joined in ids:
                raise InputError(f'{path}: merge {number} makes "{joined}" a second time')
            merges.append((ids[parts[0]], ids[parts[1]]))
            ids[joined] = len(specials) + 256 + len(merges) - 1
        return cls(merges, specials)

    def _encode_piece(self, piece: str) -> list[int]:
        ids = [len(self.specials) + byte for byte in _to_bytes(piece)]
        while len(ids) > 1:
            known = [p for p in pairwise(ids) if p in self._rank]
            if not known:
                break
            pair = min(known, key=self._rank.__getitem__)  # the merge that was learnt first
            ids = _join(ids, pair, self._rank[pair])
        return ids


def _join(ids: list[int], pair: Pair, new: int) -> list[int]:
    """The ids with each occurrence of the pair, from the left, replaced by one new id."""
    joined, i = [], 0
    while i < len(ids):
        if i + 1 < len(ids) and (ids[i], ids[i + 1]) == pair:
            joined.append(new)
            i += 2
        else:
            joined.append(ids[i])
            i += 1
    return joined


def _to_bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")  # half a surrogate pair is in some strings


def _show(token: bytes) -> str:
    """A token's bytes as letters that JSON shows: GPT-2's alphabet of 256 visible characters."""
    return "".join(_ALPHABET[byte] for byte in token)


def _visible_alphabet() -> list[str]:
    visible = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1)]
    visible += range(ord("®"), ord("ÿ") + 1)
    others = iter(range(256, 512))
    return [chr(byte) if byte in visible else chr(next(others)) for byte in range(256)]


_ALPHABET = _visible_alphabet()


def _is_strings(value: object) -> TypeGuard[list[str]]:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)
