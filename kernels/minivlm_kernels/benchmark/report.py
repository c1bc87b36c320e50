"""The report of a run: tables in Markdown, from what goes into the JSON file."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

EMULATED = """\
**Emulated on a CPU: times would say nothing about a GPU, and none are shown.** Counts hold for a \
GPU, too. Operations are two a multiply-add, counted in `.cu` files alone, without the products \
that C5 leaves to a library. Bytes are those that threads ask for, before any cache: in Numba's \
rungs all of them, in `.cu` files those copied to shared memory and those written at the end. Bank \
conflicts are the turns that shared memory takes for a matrix load where one would do."""
COUNTS = ("operations", "× useful", "exponentials", "global bytes", "useful a byte", "shared bytes")
TIMED = """\
Medians of repetitions in turn. "× flash" is a rung's speed as a multiple of that of PyTorch's \
flash backend, and so on. The error is that of the output that is nearest to its tolerance."""
TERA, MIB = 1e12, 2.0**20


def markdown(run: dict) -> str:
    """All that was measured; a run that was stopped has what there was until then."""
    parts = [f"# Kernels on {run['about']['device']}", f"`{run['command']}`, {run['started']}"]
    if run["emulated"]:
        parts.append(EMULATED)
    if run["stopped"]:
        parts.append(f"**Stopped before the end: {run['stopped']}.**")
    parts.append(_about(run))
    if run["ceilings"] and not run["emulated"]:
        parts += ["## What this device does at best", _ceilings(run["ceilings"])]
    if run["workloads"] and not run["emulated"]:
        parts.append(TIMED)
    for workload in run["workloads"]:
        parts += [f"## {workload['title']}", _workload(workload, run)]
    if run["memory"]:
        parts += ["## Peak memory, inputs included", _memory(run["memory"])]
    if run["big"]:
        parts += ["## Large batches, one run each", _big(run["big"])]
    return "\n\n".join(parts) + "\n"


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table in Markdown that reads as plain text, too; all columns but the first hold numbers."""
    cells = [list(header), *map(list, rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = []
    for row in cells:
        first, *others = zip(row, widths, strict=True)
        padded = [first[0].ljust(first[1]), *(text.rjust(width) for text, width in others)]
        lines.append("| " + " | ".join(padded) + " |")
    rules = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
    lines.insert(1, "| " + " | ".join(rules) + " |")
    return "\n".join(lines)


def number(x: float) -> str:
    """Three digits that count, or more where they are before the point."""
    if abs(x) >= 100:
        return f"{x:,.0f}"
    if abs(x) >= 10:
        return f"{x:.1f}"
    return f"{x:.2f}" if abs(x) >= 1 else f"{x:.3g}"


def _about(run: dict) -> str:
    rows = [*run["about"].items(), *run["versions"].items()]
    for when, clocks in run["clocks"].items():
        rows += [(f"{name} {when}", value) for name, value in clocks.items()]
    return table(("", ""), rows)


def _ceilings(ceilings: dict[str, float]) -> str:
    rows = []
    for name, a_second in ceilings.items():
        if name == "copy":
            rows.append(("a copy, read and written", f"{number(a_second / TERA)} TB/s"))
        else:
            rows.append((f"a product in {name}", f"{number(a_second / TERA)} TFLOP/s"))
    return table(("", "reached"), rows)


def _workload(workload: dict, run: dict) -> str:
    """One line a contender, and why, where there are no figures."""
    figures = _counted(workload) if run["emulated"] else _timed(workload, run["ceilings"])
    told = [
        f"- {entry['name']}: {entry['why']}"
        for entry in workload["entries"]
        if "why" in entry and entry["status"] != "not supported"
    ]
    return "\n\n".join([figures, *(["\n".join(told)] if told else [])])


def _timed(workload: dict, ceilings: dict[str, float]) -> str:
    """Times, and for ours how many times as fast as each rival it is."""
    entries = workload["entries"]
    rivals = [entry for entry in entries if not entry["ours"] and "seconds" in entry]
    ceiling = ceilings.get(workload["dtype"])
    rows = []
    for entry in entries:
        figures = [_status(entry), *[""] * (3 + len(rivals))]
        if "seconds" in entry:
            seconds = entry["seconds"]["median"]
            speed = workload["operations"] / seconds
            figures = [
                number(1e3 * seconds),
                number(1e3 * entry["seconds"]["spread"]),
                number(speed / TERA),
                f"{speed / ceiling:.1%}" if ceiling else "",
            ]
            for rival in rivals:
                ratio = rival["seconds"]["median"] / seconds
                figures.append(number(ratio) if entry["ours"] else "")
        rows.append((entry["name"], *figures, _worst(entry)))
    ratios = [f"× {rival['name'].removeprefix('torch ')}" for rival in rivals]
    header = ("", "ms", "IQR ms", "TFLOP/s", "of ceiling", *ratios, "error")
    return table(header, rows)


def _counted(workload: dict) -> str:
    """Counts of rungs; of rivals, that they are right."""
    useful = workload["operations"]
    rows = []
    for entry in workload["entries"]:
        counts = entry.get("counts", {})
        done, moved = counts.get("operations"), counts.get("global")
        figures = (
            _count(done),
            number(done / useful) if done else "",
            _count(counts.get("exponentials")),
            _count(moved),
            number(useful / moved) if moved else "",
            _count(counts.get("shared")),
            number(counts["conflicts"]) if "conflicts" in counts else "",
        )
        rows.append((entry["name"], _status(entry), _worst(entry), *figures))
    header = ("", "", "error", *COUNTS, "bank conflicts")
    return f"{useful:,.0f} useful operations.\n\n" + table(header, rows)


def _count(count: int | None) -> str:
    return "" if count is None else f"{count:,}"


def _status(entry: dict) -> str:
    """In words, where it is worth a word; rivals are not judged."""
    if entry["status"] != "ok":
        return entry["status"]
    if "seconds" not in entry:
        return "stopped"
    return "right" if entry["ours"] else ""


def _worst(entry: dict) -> str:
    """The output that comes closest to what it may be off."""
    errors = entry.get("errors", {})
    if not errors:
        return ""
    name, error = max(errors.items(), key=_share)
    return f"{name} " + ("NaN" if error["value"] is None else f"{error['value']:.1e}")


def _share(item: tuple[str, dict]) -> float:
    error = item[1]
    return float("inf") if error["value"] is None else error["value"] / error["tolerance"]


def _memory(growths: list[dict]) -> str:
    rows = []
    for growth in growths:
        for peak in growth["peaks"]:
            measured = "peak" in peak
            rows.append(
                (
                    f"{growth['contender']}: {peak['title']}",
                    number(peak["peak"] / MIB) if measured else peak["status"],
                    f"{peak['peak'] / peak['rows']:,.0f}" if measured else "",
                )
            )
        line = growth["line"]
        if line is not None:
            rows.append(
                (
                    f"{growth['contender']}: one more row "
                    f"(the line is off by {line['off']:.1%} at most)",
                    "",
                    f"{line['per_row']:,.0f}",
                )
            )
    return table(("", "peak MiB", "bytes a row"), rows)


def _big(runs: list[dict]) -> str:
    rows = []
    for run in runs:
        if "seconds" not in run:
            rows.append((run["title"], run["status"], "", "", ""))
            continue
        rows.append(
            (
                run["title"],
                number(run["seconds"]),
                number(run["operations"] / run["seconds"] / TERA),
                number(run["peak"] / MIB),
                ("WRONG: " if run["status"] == "WRONG" else "") + _worst(run),
            )
        )
    told = [f"- {run['title']}: {run['why']}" for run in runs if "why" in run]
    header = ("", "seconds", "TFLOP/s", "peak MiB", "error")
    return "\n\n".join([table(header, rows), *(["\n".join(told)] if told else [])])
