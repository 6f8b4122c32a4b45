"""Who is asked what: the order of the questions, who has which one in hand, and what is left for whom.

A share of the questions, spread evenly over the order, is for everyone; each of the others is for whoever comes first.
What an annotator has in hand is lent for a while, so that two do not answer the same question at once. A skipped
question is offered to others. Nothing here is written to disk but the answers themselves: the order depends on the
seed alone, so that whoever comes back goes on where they stopped, after a restart too.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from copy import copy
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TypeVar

import numpy as np

from crayon_bench import UserError, derive_seed
from crayon_bench_plugins.annotation.answers.events import Event, Via
from crayon_bench_plugins.annotation.answers.folder import Answers
from crayon_bench_plugins.annotation.answers.history import History
from crayon_bench_plugins.annotation.answers.manifest import Manifest
from crayon_bench_plugins.annotation.answers.names import check_name
from crayon_bench_plugins.annotation.answers.recorder import Recorder
from crayon_bench_plugins.annotation.answers.tasks import SKIP, Answer

LENT = 900.0
"""Seconds that a question stays with an annotator who does nothing."""
AHEAD = 4
"""Questions that an annotator has in hand: the one shown, and those that are loaded already."""
MOST_SEATS = 200
"""Annotators of one server. Each of them keeps a file open."""
_WRITERS = 32
"""Answers that are put on the disk at the same time."""

T = TypeVar("T")


@dataclass
class Seat:
    """One annotator at the desk. held: places of the questions in hand → when they were handed out."""

    history: History
    recorder: Recorder | None = None
    held: dict[int, datetime] = field(default_factory=dict)
    first: int = 0
    """Before this place there is nothing left for this annotator."""
    given: int = 0
    """Questions that this annotator has answered or skipped."""
    shared: int = 0
    """Those of them that are for everyone."""
    skipped: int = 0
    """Questions for one, which this annotator skipped and nobody else has answered."""
    times: deque[float] = field(default_factory=lambda: deque(maxlen=30))
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)

    @property
    def name(self) -> str:
        """The annotator's name."""
        return self.history.annotator


@dataclass(frozen=True)
class Progress:
    """How far an annotator is. total: what they have answered and what is left for them. pace: answers a minute."""

    given: int
    total: int
    answered: int
    asked: int
    pace: float | None

    @property
    def minutes_left(self) -> float | None:
        """Estimated rest in minutes."""
        return (self.total - self.given) / self.pace if self.pace else None


class Desk:
    """Hands out the questions of one task and records the answers. Everything but writing is done in one thread."""

    def __init__(
        self, answers: Answers, manifest: Manifest, *, overlap: float = 0.0, limit: int | None = None, seed: int = 0
    ) -> None:
        """*overlap*: share of the questions that everyone is asked. *limit*: only the first so many questions."""
        self.answers, self.manifest = answers, manifest
        ids = [name for name, _ in manifest.questions]
        order = np.random.default_rng(derive_seed(seed, "annotation order")).permutation(len(ids))[:limit]
        self.positions: list[int] = order.tolist()
        """The questions in the order in which they are asked, by their positions in the manifest."""
        self.ids = [ids[position] for position in self.positions]
        self.place = {name: place for place, name in enumerate(self.ids)}
        self.for_all = [int((i + 1) * overlap) > int(i * overlap) for i in range(len(self.ids))]
        self._votes: list[dict[str, bool]] = [{} for _ in self.ids]  # name → whether it is more than a skip
        self._lent: dict[int, tuple[str, float]] = {}
        self._closed = 0
        self.answered = 0
        self.seats: dict[str, Seat] = {}
        self.started = datetime.now(UTC)
        self._pool = ThreadPoolExecutor(_WRITERS, thread_name_prefix="answers")
        answers.begin(manifest)
        histories, self.remarks = answers.histories(manifest.task, manifest)
        for history in histories:
            self._seat(history)

    # -- seats

    def _seat(self, history: History) -> Seat:
        seat = self.seats[history.annotator] = Seat(history)
        for name, event in history.current.items():
            if (place := self.place.get(name)) is not None:
                self._vote(seat, place, event)
        seat.times.extend(event.seconds for event in list(history.standing.values())[-seat.times.maxlen :])  # type: ignore[operator]
        return seat

    def seat(self, name: str) -> Seat:
        """Return an annotator's seat. Raises UserError for a name that is none, or if there are too many."""
        name = check_name(name)
        if name in self.seats:
            return self.seats[name]
        if len(self.seats) >= MOST_SEATS:
            raise UserError(f"{MOST_SEATS} annotators are here already", "start a second server on another folder")
        return self._seat(History(name))

    def _recorder(self, seat: Seat) -> Recorder:
        # Opened with the first answer, so that who only looks in leaves no file behind.
        if seat.recorder is None:
            recorder = Recorder(self.answers, self.manifest.task, seat.name, self.manifest)
            if recorder.history.length != seat.history.length:
                recorder.close()
                raise UserError(
                    f"annotator {seat.name}: answers came in from another process since this one began", "start again"
                )
            seat.recorder, seat.history = recorder, recorder.history
            self.remarks += recorder.remarks
        return seat.recorder

    # -- handing out

    def _is_done(self, seat: Seat, place: int) -> bool:
        votes = self._votes[place]
        return seat.name in votes or (not self.for_all[place] and any(votes.values()))

    def _is_lent(self, seat: Seat, place: int, now: float) -> bool:
        holder = self._lent.get(place)
        return holder is not None and holder[0] != seat.name and holder[1] > now

    def hand_out(self, seat: Seat, want: int = AHEAD) -> list[int]:
        """Return the places of the questions that an annotator has in hand, *want* if there are so many left."""
        now, moment = time.monotonic(), datetime.now(UTC)
        for place in list(seat.held):
            if self._is_done(seat, place) or self._is_lent(seat, place, now):
                del seat.held[place]
        while seat.first < len(self.ids) and self._is_done(seat, seat.first):
            seat.first += 1
        place = seat.first
        while len(seat.held) < want and place < len(self.ids):
            if place not in seat.held and not self._is_done(seat, place) and not self._is_lent(seat, place, now):
                seat.held[place] = moment
            place += 1
        for place in seat.held:
            self._lend(seat, place, now)
        return sorted(seat.held)

    def _lend(self, seat: Seat, place: int, now: float) -> None:
        if not self.for_all[place]:
            self._lent[place] = (seat.name, now + LENT)

    def elsewhere(self, seat: Seat) -> int:
        """Return how many of the questions left for an annotator are in the hands of others."""
        now = time.monotonic()
        return sum(self._is_lent(seat, place, now) and not self._is_done(seat, place) for place in self._lent)

    # -- answers

    async def answer(self, seat: Seat, place: int, answer: Answer, *, seconds: float, via: Via) -> None:
        """Record an answer, given *seconds* after the question was displayed; on the disk when this returns.

        The same answer to the same question once more changes nothing: it was sent again by a page that did not hear
        that it was saved. Another answer takes the first one's place. Raises UserError if it cannot be recorded.
        """
        async with seat.turn:
            name, now = self.ids[place], datetime.now(UTC)
            standing = seat.history.current.get(name)
            if standing is None or standing.answer != answer:
                shown = max(seat.held.get(place, self.started), now - timedelta(seconds=seconds))
                await self._written(
                    lambda: self._recorder(seat).answer(name, answer, shown_at=shown, via=via, answered_at=now)
                )
                seat.times.append(seat.history.current[name].seconds)
                self._vote(seat, place, seat.history.current[name])
            seat.held.pop(place, None)
            if self._lent.get(place, ("", 0.0))[0] == seat.name:
                del self._lent[place]

    async def undo(self, seat: Seat, via: Via) -> tuple[int | None, Event] | None:
        """Take an annotator's last answer back: its place (None if it is beyond the limit) and what it was.

        The question is in their hands again. None if there is nothing to undo.
        """
        async with seat.turn:
            if seat.history.last is None:
                return None
            event = await self._written(lambda: self._recorder(seat).undo(via=via))
            assert event is not None
            if seat.times:
                seat.times.pop()
            place = self.place.get(event.example)
            if place is not None:
                self._vote(seat, place, seat.history.current.get(event.example))
                seat.held[place] = datetime.now(UTC)
                self._lend(seat, place, time.monotonic())
            return place, event

    async def _written(self, step: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._pool, step)

    def _vote(self, seat: Seat, place: int, event: Event | None) -> None:
        votes = self._votes[place]
        self._count(place, -1)
        seat.given += (event is not None) - (seat.name in votes)
        if event is None:
            votes.pop(seat.name, None)
        else:
            votes[seat.name] = event.answer != SKIP
        self._count(place, +1)
        if event is None or not any(votes.values()):  # there may be something left here again
            for other in self.seats.values():
                other.first = min(other.first, place)

    def _count(self, place: int, sign: int) -> None:
        """Add (or take away) what a question's votes contribute to the sums, so that no sum is ever made anew."""
        votes = self._votes[place]
        is_answered = any(votes.values())
        self.answered += sign * is_answered
        if self.for_all[place]:
            for name in votes:
                self.seats[name].shared += sign
        elif is_answered:
            self._closed += sign
        else:
            for name in votes:
                self.seats[name].skipped += sign

    # -- what there is to tell

    def progress(self, seat: Seat) -> Progress:
        """Return how far an annotator is."""
        left = len(self.ids) - self._closed - seat.skipped - seat.shared
        taken = sum(seat.times)
        pace = 60 * len(seat.times) / taken if len(seat.times) >= 3 and taken > 0 else None
        return Progress(seat.given, seat.given + left, self.answered, len(self.ids), pace)

    def histories(self) -> list[History]:
        """Return what everybody has said so far, by name; copies, which do not change any more."""
        copies = []
        for name in sorted(self.seats):
            history = copy(self.seats[name].history)
            history.current = dict(history.current)
            if history.current:
                copies.append(history)
        return copies

    def close(self) -> None:
        """Write what is being written, and let other processes record."""
        self._pool.shutdown(wait=True)
        for seat in self.seats.values():
            if seat.recorder is not None:
                seat.recorder.close()
