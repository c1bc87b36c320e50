"""The pictures of threads show who does what, from events that are made here by hand."""

import pytest
from matplotlib.colors import to_hex

from minivlm.viz.style import BLUE, GRAY, GREEN, ORANGE
from minivlm.viz.svg import INK
from minivlm.viz.threads import conflicts, lockstep, owners, timeline
from tests.viz.events import Seen, columns, drawn, rows


def shift(waits):
    """Each of three threads writes an element and reads that of its neighbour."""
    events = []
    for t in range(3):
        thread = t, 0, 0
        events.append(Seen(thread, "write", "s", (t,), 5))
        if waits:
            events.append(Seen(thread, "barrier", line=6))
    for t in range(3):
        events.append(Seen((t, 0, 0), "read", "s", ((t + 1) % 3,), 7, int(waits)))
    return events


def test_a_step_is_what_threads_do_for_the_same_time_at_the_same_line():
    steps = lockstep(columns())
    assert [[event.index for event in step] for step in steps] == [
        [(n, t) for t in range(8)] for n in range(4)
    ]


def test_a_thread_that_does_more_has_its_steps_in_between():
    events = [Seen((0, 0, 0), "read", "x", (0,), line) for line in (1, 4)]
    events += [Seen((1, 0, 0), "read", "x", (1,), line) for line in (1, 2, 4)]
    assert [[(e.thread[0], e.line) for e in step] for step in lockstep(events)] == [
        [(0, 1), (1, 1)],
        [(1, 2)],
        [(0, 4), (1, 4)],
    ]


def test_what_is_before_and_after_a_barrier_is_never_one_step():
    events = [Seen((t, 0, 0), "read", "x", (0,), 3, interval=t) for t in range(2)]
    assert len(lockstep(events)) == 2


def test_neighbours_race_where_no_barrier_lies_between():
    assert conflicts(shift(waits=True)) == []
    racing = conflicts(shift(waits=False))
    assert len(racing) == 6
    assert {event.index for event in racing} == {(0,), (1,), (2,)}


def test_readers_do_not_race_nor_atomic_updates_nor_a_thread_with_itself():
    one, other = (0, 0, 0), (1, 0, 0)
    for kind in ("read", "atomic"):
        assert conflicts([Seen(one, kind, "x", (0,)), Seen(other, kind, "x", (0,))]) == []
    assert conflicts([Seen(one, "write", "x", (0,)), Seen(one, "read", "x", (0,))]) == []
    assert len(conflicts([Seen(one, "atomic", "x", (0,)), Seen(other, "read", "x", (0,))])) == 2


def test_the_timeline_has_each_threads_elements_in_order_and_the_barrier_between():
    figure = timeline(shift(waits=True))
    (axes,) = figure.axes
    shown = drawn(axes)
    assert shown[-0.46, 0.6] == (ORANGE.lower(), ["s[1]"])
    assert shown[0.54, 0.5] == (GRAY, ["waits"])
    assert shown[1.54, 0.6] == (BLUE.lower(), ["s[2]"])
    assert {to_hex(patch.get_edgecolor(), True)[-2:] for patch in axes.patches} == {"00"}
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.texts] == ["reads", "writes", "waits"]


def test_the_timeline_frames_what_races():
    events = [*shift(waits=False), Seen((0, 0, 0), "write", "out", (0,), 9)]
    figure = timeline(events)
    framed = {
        words[0]
        for patch, (_, words) in zip(
            figure.axes[0].patches, drawn(figure.axes[0]).values(), strict=True
        )
        if to_hex(patch.get_edgecolor(), True) == f"{INK.lower()}ff"
    }
    assert framed == {"s[0]", "s[1]", "s[2]"}
    assert figure.legends[0].texts[-1].get_text() == "race"


def test_owners_show_the_block_by_colour_and_the_thread_by_number():
    events = [
        Seen((t, 0, 0), "write", "out", (2 * b + t,), block=(b, 0, 0))
        for b in range(3)
        for t in range(2)
    ]
    events.insert(0, Seen((0, 0, 0), "read", "x", (0,)))
    figure = owners(events, (6,))
    (axes,) = figure.axes
    shown = drawn(axes)
    colours = [colour.lower() for colour in (BLUE, BLUE, ORANGE, ORANGE, GREEN, GREEN)]
    assert [shown[n - 0.5, -0.5] for n in range(6)] == [
        (colour, [str(n % 2)]) for n, colour in enumerate(colours)
    ]
    words = [text.get_text() for text in figure.legends[0].texts]
    assert words == ["block 0", "block 1", "block 2"]


def test_threads_of_two_dimensions_are_named_by_both():
    events = [Seen((x, y, 0), "write", "out", (0, y, x)) for y in range(2) for x in range(2)]
    shown = drawn(owners(events, (1, 2, 2)).axes[0])
    assert shown[0.5, -0.5][1] == ["1,0"]
    assert shown[-0.5, 0.5][1] == ["0,1"]


def test_of_those_who_write_an_element_the_last_is_shown():
    events = [Seen((t, 0, 0), "write", "out", (0,)) for t in range(3)]
    (cell,) = drawn(owners(events, (1,)).axes[0]).values()
    assert cell[1] == ["2"]


@pytest.mark.parametrize(
    ("draw", "what"),
    [
        (lambda: timeline([]), "one block"),
        (lambda: timeline([*rows(), Seen((0, 0, 0), "read", "x", (0,), block=(1, 0, 0))]), "block"),
        (lambda: timeline(rows(40)), "could not be read"),
        (lambda: owners(rows(), (4, 8)), "one array"),
        (lambda: owners([Seen((0, 0, 0), "write", "x", (1, 1, 1))], (2, 2, 2)), "not a matrix"),
    ],
)
def test_what_makes_no_picture_is_an_error(draw, what):
    with pytest.raises(ValueError, match=what):
        draw()
