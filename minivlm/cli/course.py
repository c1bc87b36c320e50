"""The command `minivlm-course`: exercises that run inside the real library.

A check that fails ends with status 1, bad input with 2, Ctrl-C with 130.
"""

from __future__ import annotations

import argparse
import sys
import textwrap
from collections.abc import Sequence
from pathlib import Path

from minivlm.cli.status import carry_out
from minivlm.errors import InputError

DESCRIPTION = """\
minivlm-course: write CLIP and LLaVA function by function, each inside the real model.

a student's way:
  minivlm-course start my-course     a folder with a file for each exercise; cd into it
  minivlm-course next                what to do now
  minivlm-course check E05           is it right, and if not, what is wrong
  minivlm-course hint E05            the idea; once more, where; once more, nearly how
  minivlm-course milestone M1        a model that trains on the functions you wrote
"""
FAILED = 1


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the exit status."""
    options = make_parser().parse_args(arguments)
    return carry_out(lambda: options.run(options), "minivlm-course")


def make_parser() -> argparse.ArgumentParser:
    """The options of every command."""
    parser = argparse.ArgumentParser(
        prog="minivlm-course",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    _add_student(commands)
    _add_instructor(commands)
    return parser


def _add_student(commands: argparse._SubParsersAction) -> None:
    command = commands.add_parser("start", help="make a folder with a file for each exercise")
    command.add_argument("folder", type=Path, metavar="DIR")
    command.add_argument(
        "--variants", type=int, default=0, metavar="SEED", help="ask for seeded variants"
    )
    command.set_defaults(run=start)
    commands.add_parser("next", help="the next exercise").set_defaults(run=show_next)
    commands.add_parser("list", help="all exercises, and which have passed").set_defaults(run=show)
    command = commands.add_parser("check", help="is it right, and if not, what is wrong")
    command.add_argument("exercise", nargs="?", metavar="E05")
    command.add_argument("--watch", action="store_true", help="again whenever the file is saved")
    command.add_argument("--pdb", action="store_true", help="walk through it in a debugger")
    command.add_argument("--show", action="store_true", help="draw yours beside what is expected")
    command.set_defaults(run=check)
    for name, run, says in (
        ("hint", hint, "the next of three hints"),
        ("solution", solution, "the library's own function, after a pass"),
        ("reset", reset, "put the stub back; the file is kept under another name"),
    ):
        command = commands.add_parser(name, help=says)
        command.add_argument("exercise", metavar="E05")
        if name == "solution":
            command.add_argument("--give-up", action="store_true", help="show it all the same")
        command.set_defaults(run=run)
    command = commands.add_parser("milestone", help="train a model that runs on your functions")
    command.add_argument("milestone", metavar="M1")
    command.set_defaults(run=milestone)
    commands.add_parser("doctor", help="is everything there").set_defaults(run=doctor)


def _add_instructor(commands: argparse._SubParsersAction) -> None:
    command = commands.add_parser("grade", help="mark a student's folder, unfriendly files, too")
    command.add_argument("folder", type=Path, metavar="DIR")
    command.add_argument("--format", choices=("text", "gradescope", "junit"), default="text")
    command.add_argument("--output", type=Path, metavar="FILE", help="instead of the terminal")
    command.add_argument(
        "--hidden", type=Path, metavar="FILE", help="seeds, variants, points: TOML"
    )
    command.add_argument("--seed", type=int, metavar="N", help="of the shapes and numbers tested")
    command.add_argument("--variants", type=int, metavar="SEED", help="what `start` was given")
    command.set_defaults(run=grade)
    command = commands.add_parser("export", help="what to hand out, or what grades it elsewhere")
    command.add_argument("what", choices=("gradescope", "handout"))
    command.add_argument("-o", "--output", type=Path, required=True, metavar="DIR")
    command.add_argument("--hidden", type=Path, metavar="FILE", help="as for grade; put in the zip")
    command.add_argument("--variants", type=int, default=0, metavar="SEED")
    command.set_defaults(run=export)
    author = commands.add_parser("author", help="what must hold of exercises")
    kinds = author.add_subparsers(metavar="WHAT", required=True)
    for name, run, says in (
        ("check", author_check, "the gates: stubs fail, mistakes are named, nothing leaks"),
        ("mutants", author_mutants, "which small wrong changes a check overlooks"),
    ):
        command = kinds.add_parser(name, help=says)
        command.add_argument("exercises", nargs="*", metavar="E05")
        command.set_defaults(run=run)


def start(options: argparse.Namespace) -> None:
    """`minivlm-course start`."""
    from minivlm.course.record import catalogue
    from minivlm.course.start import start

    folder = start(options.folder, options.variants)
    count = len(catalogue())
    print(f"{folder.path}: {count} exercises, a file each. Go on with")
    print(f'\n    cd "{folder.path}"\n    minivlm-course next')


def show_next(options: argparse.Namespace) -> None:
    """`minivlm-course next`."""
    del options
    from minivlm.course.folder import Folder
    from minivlm.course.start import task

    folder = Folder.around(Path.cwd())
    exercise = folder.next()
    if exercise is None:
        print("Every exercise has passed. What is left: minivlm-course milestone M5")
        return
    print(task(exercise, folder.variant(exercise)))
    print(f"\nOpen {folder.file(exercise)}")


def show(options: argparse.Namespace) -> None:
    """`minivlm-course list`."""
    del options
    from minivlm.course.folder import Folder
    from minivlm.course.progress import table

    print(table(Folder.around(Path.cwd())))


def check(options: argparse.Namespace) -> int:
    """`minivlm-course check`."""
    from minivlm.course.folder import Folder
    from minivlm.course.progress import check_once, watched
    from minivlm.course.record import find

    folder = Folder.around(_place(options.exercise))
    exercise = find(options.exercise) if options.exercise else folder.next()
    if exercise is None:
        print("Every exercise has passed.")
        return 0
    if options.watch:
        for passed in watched(folder, exercise, print, show=options.show):
            if passed:
                return 0
    passed = check_once(folder, exercise, print, show=options.show, pdb=options.pdb)
    return 0 if passed else FAILED


def hint(options: argparse.Namespace) -> None:
    """`minivlm-course hint`."""
    from minivlm.course.folder import Folder
    from minivlm.course.progress import next_hint
    from minivlm.course.record import find

    print(next_hint(Folder.around(_place(options.exercise)), find(options.exercise)))


def solution(options: argparse.Namespace) -> None:
    """`minivlm-course solution`."""
    from minivlm.course.folder import Folder
    from minivlm.course.progress import solution
    from minivlm.course.record import find

    folder = Folder.around(_place(options.exercise))
    print(solution(folder, find(options.exercise), options.give_up))


def reset(options: argparse.Namespace) -> None:
    """`minivlm-course reset`."""
    from minivlm.course.folder import Folder
    from minivlm.course.record import find
    from minivlm.course.start import reset

    folder, exercise = Folder.around(_place(options.exercise)), find(options.exercise)
    kept = reset(folder, exercise)
    print(f"{exercise.stem}.py is as it was handed out")
    if kept is not None:
        print(f"what you had written is in {kept.name}")


def milestone(options: argparse.Namespace) -> int:
    """`minivlm-course milestone`."""
    from minivlm.course.folder import Folder
    from minivlm.course.milestone import run

    return run(Folder.around(Path.cwd()), options.milestone)


def doctor(options: argparse.Namespace) -> int:
    """`minivlm-course doctor`."""
    del options
    from minivlm.course.doctor import examine

    found = examine(Path.cwd())
    for finding in found:
        print(f"{'ok     ' if finding.ok else 'missing'} {finding.what}")
        if not finding.ok:
            print(textwrap.indent(textwrap.fill(finding.mend, 88), " " * 8))
    return 0 if all(finding.ok for finding in found) else FAILED


def grade(options: argparse.Namespace) -> None:
    """`minivlm-course grade`."""
    from dataclasses import replace

    from minivlm.course.grade import FORMATS, Settings, grade
    from minivlm.files import write_bytes

    settings = Settings.read(options.hidden) if options.hidden else Settings()
    if options.seed is not None:
        if options.seed < 0:
            raise InputError(f"--seed {options.seed} is negative")
        settings = replace(settings, seeds=(options.seed,))
    if options.variants is not None:
        settings = replace(settings, variants=options.variants)
    shaped, marks = FORMATS[options.format], []
    for mark in grade(options.folder, settings):
        marks.append(mark)
        if options.output:  # whatever ends the grader, what is graded so far is there
            write_bytes(options.output, shaped(marks).encode())
            print(f"{mark.exercise.id}  {mark.score} / {mark.most}", file=sys.stderr)
    if not options.output:
        print(shaped(marks), end="")


def export(options: argparse.Namespace) -> None:
    """`minivlm-course export`."""
    from minivlm.course.export import gradescope, handout

    if options.what == "handout":
        print(handout(options.output, options.variants))
    else:
        print(gradescope(options.output, options.hidden))


def author_check(options: argparse.Namespace) -> int:
    """`minivlm-course author check`."""
    from minivlm.course.author import complaints
    from minivlm.course.record import catalogue, find

    chosen = [find(text) for text in options.exercises] or list(catalogue().values())
    wrong = 0
    for exercise in chosen:
        found = complaints(exercise)
        wrong += len(found)
        count = len(exercise.mistakes)
        print(
            f"{exercise.id} {exercise.name:<14} {count} mistakes named" if not found else "", end=""
        )
        print("\n".join(found))
    print(f"{len(chosen)} exercises, {sum(len(e.mistakes) for e in chosen)} known mistakes")
    if not options.exercises:
        from minivlm.course.whole import examine

        whole = examine()
        whole.complaints += whole.too_much()
        wrong += len(whole.complaints)
        print(
            "\n".join(whole.complaints) or "solved: all points; wrong: none; handout: no solution"
        )
        print(
            f"a grade: {whole.cpu:.0f} s of CPU, {whole.megabytes:.0f} MB; the longest check: "
            f"{whole.check:.1f} s of CPU"
        )
    return FAILED if wrong else 0


def author_mutants(options: argparse.Namespace) -> int:
    """`minivlm-course author mutants`."""
    from minivlm.course.author import try_mutants
    from minivlm.course.record import catalogue, find

    chosen = [find(text) for text in options.exercises] or list(catalogue().values())
    killed = lived = 0
    for exercise in chosen:
        tried = try_mutants(exercise)
        killed += tried.killed
        lived += len(tried.survivors)
        print(
            f"{exercise.id} {exercise.name:<14} {tried.killed:4} noticed, {len(tried.survivors)} "
            f"overlooked, {tried.same} change no result"
        )
        for mutant in tried.survivors:
            print(f"    line {mutant.line}: {mutant.what}")
    share = killed / max(1, killed + lived)
    print(f"{share:.1%} of {killed + lived} mutants that change a result are noticed")
    return FAILED if lived else 0


def _place(text: str | None) -> Path:
    """Where to look for the student's folder: at the file that was named, or here."""
    return Path(text).parent if text and Path(text).is_file() else Path.cwd()


if __name__ == "__main__":
    sys.exit(main())
