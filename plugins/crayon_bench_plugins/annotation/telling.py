"""How far people are, told in the terminal of whoever started the server."""

import contextlib
import threading
from collections.abc import Callable, Iterator

from crayon_bench_plugins.annotation.desk import Desk

EVERY = 15.0
"""Seconds between two looks; nothing is told where nothing changed."""


@contextlib.contextmanager
def telling(desk: Desk, say: Callable[[str], None], every: float = EVERY) -> Iterator[None]:
    """Within it, *say* is told how far people are, as they get on."""
    over = threading.Event()

    def look() -> None:
        told = line_of(desk)
        while not over.wait(every):
            if (line := line_of(desk)) != told:
                say(line)
                told = line

    thread = threading.Thread(target=look, daemon=True, name="progress of people")
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def line_of(desk: Desk) -> str:
    """Return how many questions are answered, and by how many people; and what comes next when all are."""
    seats = [seat for seat in list(desk.seats.values()) if seat.given]
    people = f"{len(seats)} annotator{'' if len(seats) == 1 else 's'}"
    line = f"{desk.answered:,} of {len(desk.ids):,} questions answered, by {people}"
    left = [desk.progress(seat) for seat in seats]
    if desk.answered == len(desk.ids) and all(one.given >= one.total for one in left):
        return f"{line}. All done: Ctrl-C ends the server, and it says what comes next."
    paces = [one.pace for one in left if one.pace is not None and one.given < one.total]
    return f"{line}; {sum(paces):.0f} a minute" if paces else line
