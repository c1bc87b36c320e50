"""A report as one HTML file: pictures and style are inside, so it can be mailed and shown anywhere.

Every function returns HTML; whatever comes from a model or a user is escaped.
"""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from minivlm.files import write_bytes

STYLE = """
:root { color-scheme: light; }
body { margin: 0 auto; max-width: 62rem; padding: 2rem 1.2rem 4rem; color: #1d1d1f;
  background: #fff; font: 17px/1.55 system-ui, sans-serif; }
h1 { font-size: 2rem; line-height: 1.2; margin: 0 0 .4rem; }
h2 { font-size: 1.35rem; margin: 2.8rem 0 .4rem; border-top: 1px solid #ddd; padding-top: 1.4rem; }
p { margin: .5rem 0 1rem; max-width: 46rem; }
figure { margin: 1rem 0; }
figure img { max-width: 100%; height: auto; }
figcaption, .small { color: #555; font-size: .87rem; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-size: .93rem; margin: .6rem 0 1.2rem; }
th, td { text-align: left; padding: .3rem .8rem .3rem 0; border-bottom: 1px solid #eee;
  vertical-align: top; }
th { border-bottom: 2px solid #bbb; font-weight: 600; }
td.number, th.number { text-align: right; font-variant-numeric: tabular-nums; }
img.scene { width: 96px; height: 96px; image-rendering: pixelated; display: block; }
.right { color: #00664b; font-weight: 600; } .wrong { color: #a84300; font-weight: 600; }
.cards { display: grid; grid-template-columns: repeat(auto-fill, minmax(13.5rem, 1fr));
  gap: 1rem; }
.card { border: 1px solid #ddd; border-radius: 8px; padding: .7rem; font-size: .93rem; }
.card img.scene { width: 100%; height: auto; margin-bottom: .5rem; }
code { background: #f3f3f3; padding: .1rem .3rem; border-radius: 4px; }
"""


def page(title: str, body: Sequence[str]) -> str:
    """A whole page."""
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{html.escape(title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n"
        f"<h1>{html.escape(title)}</h1>\n" + "\n".join(body) + "\n</body>\n</html>\n"
    )


def section(heading: str, *parts: str) -> str:
    """A heading and what stands under it."""
    return f"<section>\n<h2>{html.escape(heading)}</h2>\n" + "\n".join(parts) + "\n</section>"


def text(words: str) -> str:
    """A paragraph; words between backticks are code."""
    pieces = html.escape(words).split("`")
    marked = (f"<code>{piece}</code>" if i % 2 else piece for i, piece in enumerate(pieces))
    return f"<p>{''.join(marked)}</p>"


def figure(path: Path, caption: str) -> str:
    """A PNG file of the run, and what it shows."""
    source = base64.b64encode(path.read_bytes()).decode()
    words = html.escape(caption)
    return (
        f'<figure><img src="data:image/png;base64,{source}" alt="{words}">'
        f"<figcaption>{words}</figcaption></figure>"
    )


def scene(image: np.ndarray, words: str) -> str:
    """A small picture, uint8 (S, S, 3), each of its pixels to be seen; words describe it."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, format="png")
    source = base64.b64encode(buffer.getvalue()).decode()
    alt = html.escape(words)
    return f'<img class="scene" src="data:image/png;base64,{source}" alt="{alt}">'


def table(header: Sequence[str], rows: Sequence[Sequence[str | float | None]]) -> str:
    """Rows of text, or of numbers, which stand to the right; None leaves a cell empty."""
    numeric = [any(isinstance(row[i], float) for row in rows) for i in range(len(header))]
    head = "".join(_cell("th", name, number) for name, number in zip(header, numeric, strict=True))
    lines = [
        "".join(_cell("td", value, number) for value, number in zip(row, numeric, strict=True))
        for row in rows
    ]
    body = "\n".join(f"<tr>{line}</tr>" for line in lines)
    return f'<div class="wide"><table><tr>{head}</tr>\n{body}</table></div>'


def _cell(tag: str, value: str | float | None, number: bool) -> str:
    shown = "" if value is None else value if isinstance(value, str) else f"{value:.3f}"
    kind = ' class="number"' if number else ""
    return f"<{tag}{kind}>{html.escape(shown)}</{tag}>"


def before_and_after(
    header: Sequence[str], rows: Sequence[tuple[np.ndarray, Sequence[str]]]
) -> str:
    """A table of pictures, each with a text for every column after the first."""
    head = "".join(f"<th>{html.escape(name)}</th>" for name in header)
    lines = [
        f"<tr><td>{scene(image, words[0])}</td>"
        + "".join(f"<td>{html.escape(word)}</td>" for word in words)
        + "</tr>"
        for image, words in rows
    ]
    return f'<div class="wide"><table><tr>{head}</tr>\n' + "\n".join(lines) + "</table></div>"


def cards(answers: Sequence[tuple[np.ndarray, str, str, str]]) -> str:
    """Questions about pictures: picture, question, the model's answer, the right one."""
    made = []
    for image, question, answer, reference in answers:
        right = answer == reference
        verdict = "right" if right else "wrong"
        mark, note = ("✓", "") if right else ("✗", f"<br>it is: {html.escape(reference)}")
        made.append(
            f'<div class="card">{scene(image, question)}{html.escape(question)}<br>'
            f'<span class="{verdict}">{mark} {html.escape(answer)}</span>{note}</div>'
        )
    return '<div class="cards">' + "\n".join(made) + "</div>"


def write_page(path: Path, title: str, body: Sequence[str]) -> None:
    """Write a page, atomically."""
    write_bytes(path, page(title, body).encode("utf-8", "backslashreplace"))
