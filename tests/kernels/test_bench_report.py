"""The report: what a table says of a run, finished or not."""

from minivlm_kernels.benchmark.report import markdown, number, table


def entry(name, ms=None, ours=True, **more):
    seconds = {} if ms is None else {"seconds": {"median": ms / 1e3, "spread": 1e-5, "repeats": 20}}
    errors = {"lse": {"value": 1e-6, "tolerance": 1e-5}, "o": {"value": 1.5e-3, "tolerance": 4e-3}}
    errors = {"errors": errors | {"dq": {"value": 2e-3, "tolerance": 6e-3}}}
    return {"name": name, "ours": ours, "status": "ok", **errors, **seconds, **more}


def run(**more):
    """A run on a GPU that does 800 TFLOP/s, with one workload of 2 TFLOP."""
    entries = [
        entry("A6", 20.0),
        entry("A7", 10.0),
        entry("torch flash", 5.0, ours=False),
        entry("torch cuDNN", None, ours=False, status="not supported", why="No available kernel"),
    ]
    workload = {
        "title": "attention forward",
        "dtype": "bfloat16",
        "operations": 2e12,
        "sizes": {},
        "entries": entries,
    }
    return {
        "command": "python kernels/bench.py --rungs a6,a7",
        "started": "2030-01-01T00:00:00+00:00",
        "emulated": False,
        "stopped": None,
        "about": {"device": "NVIDIA H200", "driver": "580.82"},
        "versions": {"torch": "2.13.0"},
        "clocks": {"before": {"clocks.sm": "1980 MHz"}, "after": {"clocks.sm": "1755 MHz"}},
        "ceilings": {"bfloat16": 8e14, "copy": 4.3e12},
        "workloads": [workload],
        "memory": [],
        "big": [],
    } | more


def cells(text, first):
    """The cells of the row that begins so."""
    line = next(line for line in text.splitlines() if line.startswith(f"| {first} "))
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_a_table_lines_up_and_is_markdown():
    assert table(("", "ms", "error"), [("A6", "20.0", "o 1e-3"), ("torch flash", "5", "")]) == (
        "|             |   ms |  error |\n"
        "| ----------- | ---: | -----: |\n"
        "| A6          | 20.0 | o 1e-3 |\n"
        "| torch flash |    5 |        |"
    )


def test_numbers_have_three_digits_that_count():
    assert [number(x) for x in (12345.6, 123.4, 12.34, 1.234, 0.1234, 0.0)] == [
        "12,346",
        "123",
        "12.3",
        "1.23",
        "0.123",
        "0",
    ]


def test_the_report_names_the_device_the_command_and_what_is_installed():
    text = markdown(run())
    assert text.startswith(
        "# Kernels on NVIDIA H200\n\n`python kernels/bench.py --rungs a6,a7`, 2030"
    )
    assert cells(text, "torch")[1] == "2.13.0"
    assert cells(text, "clocks.sm before")[1] == "1980 MHz"
    assert cells(text, "clocks.sm after")[1] == "1755 MHz"
    assert cells(text, "a product in bfloat16")[1] == "800 TFLOP/s"
    assert cells(text, "a copy, read and written")[1] == "4.30 TB/s"


def test_a_rung_is_told_beside_the_ceiling_and_beside_each_rival():
    text = markdown(run())
    header = next(line for line in text.splitlines() if "IQR" in line)
    assert [cell.strip() for cell in header.split("|")][-4:] == [
        "of ceiling",
        "× flash",
        "error",
        "",
    ]
    assert cells(text, "A7") == ["A7", "10.0", "0.01", "200", "25.0%", "0.5", "o 1.5e-03"]
    assert cells(text, "A6")[1:6] == ["20.0", "0.01", "100", "12.5%", "0.25"]
    assert cells(text, "torch flash")[1:6] == ["5.00", "0.01", "400", "50.0%", ""]
    assert cells(text, "torch cuDNN")[1] == "not supported"
    assert "No available kernel" not in text


def test_a_wrong_rung_has_no_figures_but_a_reason():
    wrong = entry("A8", status="WRONG", why="dq is off by 3e-2, and 6e-03 is allowed")
    wrong["errors"] = {"dq": {"value": None, "tolerance": 6e-3}}
    given = run()
    given["workloads"][0]["entries"].append(wrong)
    text = markdown(given)
    assert cells(text, "A8") == ["A8", "WRONG", "", "", "", "", "dq NaN"]
    assert "- A8: dq is off by 3e-2, and 6e-03 is allowed" in text


def test_a_run_that_was_stopped_says_so_and_what_it_lacks():
    given = run(stopped="interrupted", clocks={}, ceilings={})
    given["workloads"][0]["entries"].append(entry("A9"))
    text = markdown(given)
    assert "**Stopped before the end: interrupted.**" in text
    assert cells(text, "A9")[1] == "stopped"
    assert cells(text, "A7")[4] == ""
    assert "at best" not in text


def test_an_emulated_run_shows_counts_and_no_times():
    given = run(emulated=True)
    counts = {
        "operations": 4 * 10**12,
        "exponentials": 7,
        "global": 1000,
        "shared": 10,
        "conflicts": 8.0,
    }
    given["workloads"][0]["entries"][0]["counts"] = counts
    text = markdown(given)
    assert "Emulated on a CPU" in text
    assert "TFLOP/s" not in text
    assert "2,000,000,000,000 useful operations" in text
    row = ["4,000,000,000,000", "2.00", "7", "1,000", "2,000,000,000", "10", "8.00"]
    assert cells(text, "A6")[1:] == ["right", "o 1.5e-03", *row]
    assert cells(text, "A7")[1:] == ["right", "o 1.5e-03", *[""] * 7]


def test_peak_memory_is_told_by_size_and_by_row():
    peaks = [
        {"title": "N 1,024", "rows": 1024, "status": "ok", "peak": 10 * 2**20},
        {"title": "N 2,048", "rows": 2048, "status": "out of memory", "why": "full"},
    ]
    line = {"per_row": 9264.0, "fixed": 0.0, "off": 0.002}
    text = markdown(
        run(
            memory=[
                {"contender": "C4+C5", "peaks": peaks[:1], "line": line},
                {"contender": "torch dense", "peaks": peaks, "line": None},
            ]
        )
    )
    assert cells(text, "C4+C5: N 1,024")[1:] == ["10.0", "10,240"]
    assert cells(text, "C4+C5: one more row (the line is off by 0.2% at most)")[1:] == ["", "9,264"]
    assert cells(text, "torch dense: N 2,048")[1:] == ["out of memory", ""]


def test_a_large_batch_is_told_with_time_peak_and_error():
    figures = {
        "operations": 8e15,
        "seconds": 20.0,
        "peak": 9 * 2**30,
        "errors": entry("x")["errors"],
    }
    big = [
        {"title": "N 1,048,576", "rows": 1, "status": "ok", **figures},
        {"title": "N 4,194,304", "rows": 1, "status": "WRONG", **figures},
        {"title": "N 8,388,608", "rows": 1, "status": "failed", "why": "the process ended"},
    ]
    text = markdown(run(big=big))
    assert cells(text, "N 1,048,576")[1:] == ["20.0", "400", "9,216", "o 1.5e-03"]
    assert cells(text, "N 4,194,304")[4] == "WRONG: o 1.5e-03"
    assert cells(text, "N 8,388,608")[1] == "failed"
    assert "- N 8,388,608: the process ended" in text
