"""Kernels beside PyTorch: how fast, how right, how much memory.

    python kernels/bench.py                      on a GPU, planned for less than ten minutes
    python kernels/bench.py --quick              for less than one
    python kernels/bench.py --big                a contrastive loss of 1,048,576 and 4,194,304 pairs
    python kernels/bench.py --device cpu         no GPU: counts operations and bytes
    python kernels/bench.py --rungs a6,a7 --json results/h200.json

Each rung is checked against float64 on sampled rows before it is timed, and timed in turn with what
PyTorch has. The report, in Markdown, is printed at the end; Ctrl-C ends the run early and prints
what was measured until then.
"""

from __future__ import annotations

import argparse
import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from minivlm.errors import InputError
from minivlm.files import write_json

RUNGS = ("A1", "A2", "A3", "A4", "A5", "A6", "A7", "A8", "C1", "C2", "C3", "C4", "C5")
# One stream for all keeps the work of Numba, CuPy and PyTorch in order.
ONE_STREAM = ("NUMBA_CUDA_PER_THREAD_DEFAULT_STREAM", "CUPY_CUDA_PER_THREAD_DEFAULT_STREAM")
FAILED, BAD_INPUT, INTERRUPTED = 1, 2, 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark; the exit status, 1 where a rung was wrong."""
    given = sys.argv[1:] if arguments is None else list(arguments)
    options = make_parser().parse_args(given)
    command = shlex.join(["python", "kernels/bench.py", *given])
    try:
        return run_benchmark(options, command)
    except InputError as error:
        print(f"bench: {error}", file=sys.stderr)
        return BAD_INPUT
    except OSError as error:  # a full disk, a folder that may not be written
        print(f"bench: {error.filename or 'a file'}: {error.strerror or error}", file=sys.stderr)
        return BAD_INPUT


def make_parser() -> argparse.ArgumentParser:
    """The options."""
    parser = argparse.ArgumentParser(
        prog="bench.py",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--device", choices=("cuda", "cpu"), default="cuda", help="cpu: emulate, and count"
    )
    parser.add_argument("--rungs", default="all", help="such as a6,a7,c4 (default: all)")
    size = parser.add_mutually_exclusive_group()
    size.add_argument("--quick", action="store_true", help="small shapes, no peak memory")
    size.add_argument("--big", action="store_true", help="millions of pairs, once each")
    parser.add_argument("--json", type=Path, metavar="FILE", help="save all figures here")
    return parser


def chosen_rungs(text: str) -> frozenset[str]:
    """The rungs that an option names.

    Raises:
        InputError: there is no such rung.
    """
    if text == "all":
        return frozenset(RUNGS)
    names = [name.strip().upper() for name in text.split(",")]
    for name in names:
        if name not in RUNGS:
            known = ", ".join(RUNGS).lower()
            raise InputError(f'--rungs: there is no rung "{name.lower()}"; there are {known}')
    return frozenset(names)


def run_benchmark(options: argparse.Namespace, command: str) -> int:
    """Measure, print and save what the options ask for; the exit status.

    Raises:
        InputError: an option is wrong, or something is not installed.
    """
    rungs = chosen_rungs(options.rungs)
    on_cpu = options.device == "cpu"
    if options.big and on_cpu:
        raise InputError("--big needs a GPU: emulated, it would take years")
    if options.big and not rungs >= {"C4", "C5"}:
        raise InputError("--big measures C4 and C5, which --rungs leaves out")
    if options.json:
        check_place(options.json.absolute())
    os.environ["NUMBA_ENABLE_CUDASIM"] = "1" if on_cpu else "0"  # read when Numba is imported
    os.environ |= dict.fromkeys(ONE_STREAM, "0")
    check_installed(options.device)

    from minivlm_kernels.benchmark import session
    from minivlm_kernels.benchmark.device import DeviceLost, open_device
    from minivlm_kernels.benchmark.report import markdown

    device = open_device(options.device)
    plan = session.FULL
    if on_cpu:
        plan = session.EMULATED
    elif options.quick:
        plan = session.QUICK
    elif options.big:
        plan = session.BIG
    run = session.new_run(device, command)

    def save() -> None:
        if options.json:
            write_json(options.json, run)

    try:
        session.fill(run, plan, device, rungs, save)
    except KeyboardInterrupt:
        run["stopped"], status = "interrupted", INTERRUPTED
    except DeviceLost as error:
        run["stopped"], status = str(error), FAILED
    except Exception as error:
        run["stopped"] = f"{type(error).__name__}: {error}"
        raise
    else:
        status = FAILED if session.has_failed(run) else 0
    finally:  # however it ended
        print(markdown(run))
        save()
    return status


def check_place(file: Path) -> None:
    """A file can be there, so that no one measures for minutes and cannot save.

    Raises:
        InputError: its folder is missing, or it is a folder itself.
    """
    if not file.parent.is_dir():
        raise InputError(f"--json: there is no folder {file.parent}")
    if file.is_dir():
        raise InputError(f"--json: {file} is a folder")


def check_installed(device: str) -> None:
    """PyTorch, which makes the inputs and is what rungs are compared with; CuPy on a GPU.

    Raises:
        InputError: something is missing; the sentence says how to get it.
    """
    try:
        import torch  # noqa: F401
    except ImportError:
        raise InputError('this needs PyTorch: pip install "minivlm[reference]"') from None
    if device == "cuda":
        try:
            import cupy  # noqa: F401
        except ImportError:
            raise InputError(
                'this needs CuPy: pip install "minivlm[cuda13]"; without a GPU, --device cpu counts'
            ) from None


if __name__ == "__main__":
    sys.exit(main())
