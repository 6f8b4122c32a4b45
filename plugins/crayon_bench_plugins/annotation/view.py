"""What there is to show: questions, progress, pictures, and where annotators agree."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crayon_bench import UserError
from crayon_bench_plugins.annotation.agreement import agreement as measure
from crayon_bench_plugins.annotation.answers.events import Event
from crayon_bench_plugins.annotation.answers.haste import signs
from crayon_bench_plugins.annotation.answers.tasks import Task, is_word
from crayon_bench_plugins.annotation.answers.votes import votes_of
from crayon_bench_plugins.annotation.desk import AHEAD, Desk, Seat
from crayon_bench_plugins.annotation.material import Material
from crayon_bench_plugins.annotation.pictures import Pictures
from crayon_bench_plugins.annotation.wire import pack

_SHOWN_DISAGREEMENTS = 200
_LOOKED_BACK = 60
"""Answers of an annotator, the last ones, in which signs of haste are told while they answer."""
_LOOKED_THROUGH = 2000
"""Questions among which the guide's examples are looked for."""
_IDLE = 2
"""With so many answers in hand at a time, there is time to draw ahead."""
_MOST_DRAWN = 16
"""Questions whose pictures wait to be drawn ahead."""


class View:
    """What the pages show. busy: answers that are being recorded. drawing: the one thread that draws ahead."""

    def __init__(self, material: Material, desk: Desk, pictures: Pictures) -> None:
        self.material, self.desk, self.pictures = material, desk, pictures
        self.drawing = ThreadPoolExecutor(1, thread_name_prefix="pictures")
        self._drawn: dict[int, Future[None]] = {}
        self.busy = 0
        self._examples: list[dict[str, Any]] | None = None

    def question(self, place: int) -> dict[str, Any]:
        """Return what a page needs to show the question at a *place* of the order."""
        m, position = self.material, self.desk.positions[place]
        height, width = m.image_size
        shown: dict[str, Any] = {"place": place, "id": self.desk.ids[place], "height": height, "width": width}
        if m.patches is not None:
            there = m.patches.examples[position] >= 0
            shown["pictures"] = {"strip": f"/images/{place}/strip.png"}
            shown["patches"] = m.patches.boxes[position][there].tolist()
            shown["slots"] = len(there)
            return shown
        shown["pictures"] = {"image": f"/images/{place}/image.png"}
        shown["true"] = m.class_names[m.labels[position]]
        if m.maps is not None and m.predicted is not None:
            shown["pictures"]["overlay"] = f"/images/{place}/overlay.png"
            shown["coarse"] = m.maps.shape[1:] != m.image_size
            shown["predicted"] = m.class_names[m.predicted[position]]
            shown["right"] = bool(m.predicted[position] == m.labels[position])
            shown["dead"] = not bool(m.maps[position].any())
        return shown

    def examples(self) -> list[dict[str, Any]]:
        """Return what shows people of what kind the maps are: two that are bright in few places, two all over.

        Each with its place, its class and what the model says. Whether a map looks at the right place is not known
        here: no evidence is.
        """
        if self._examples is not None:
            return self._examples
        self._examples, maps = [], self.material.maps
        if maps is None or not self.desk.positions:
            return []
        positions = np.array(self.desk.positions[:_LOOKED_THROUGH])
        M = maps[positions].reshape(len(positions), -1)
        total = M.sum(axis=1)
        alive = np.nonzero(total > 0)[0]
        order = alive[np.argsort(-(M.max(axis=1) / np.where(total > 0, total, 1))[alive], kind="stable")]
        labels = self.material.labels[positions]
        high = _of_two_classes(order, labels)
        low = _of_two_classes(order[::-1][~np.isin(order[::-1], high)], labels)
        self._examples = [{**self.question(place), "high": place in high} for place in [*high, *low]]
        return self._examples

    def state(self, seat: Seat, want: int = AHEAD) -> dict[str, Any]:
        """Return an annotator's questions in hand and their progress."""
        before = set(seat.held)
        places = self.desk.hand_out(seat, want)
        progress = self.desk.progress(seat)
        self.prepare([place for place in places if place not in before])
        return {
            "questions": [self.question(place) for place in places],
            "given": progress.given,
            "total": progress.total,
            "answered": progress.answered,
            "asked": progress.asked,
            "pace": None if progress.pace is None else round(progress.pace, 1),
            "minutes": None if progress.minutes_left is None else round(progress.minutes_left, 1),
            "signs": signs(islice(reversed(seat.history.standing.values()), _LOOKED_BACK)),
            "elsewhere": self.desk.elsewhere(seat) if not places else 0,
        }

    def prepare(self, places: list[int]) -> None:
        """Draw the pictures of questions that will be asked for soon, unless there is something else to do."""
        for place in places if self.busy <= _IDLE else ():
            if self._drawn.get(place) is None and len(self._drawn) < _MOST_DRAWN:
                self._drawn[place] = self.drawing.submit(self._draw_all, place)

    def _draw_all(self, place: int) -> None:
        try:
            for kind in self.question(place)["pictures"]:
                self.picture(place, kind)
        finally:
            self._drawn.pop(place, None)

    def picture(self, place: int, kind: str) -> bytes:
        """Return a question's picture as PNG."""
        draw: Callable[[int], bytes] = getattr(self.pictures, kind)
        return draw(self.desk.positions[place])

    def recorded(self, seat: Seat, event: Event) -> Any:
        """Return an answer as a page can show it again: a word, a box, or a mask as :func:`pack` has it."""
        if self.material.task is Task.MASKS and isinstance(event.answer, str) and not is_word(event.answer):
            try:
                return {"mask": pack(self.desk.answers.read_mask(seat.name, event.answer, self.material.image_size))}
            except UserError:
                return None  # the answer is undone all the same; what was painted has to be painted again
        return event.answer

    def agreement(self, reader: str) -> dict[str, Any]:
        """Return how far annotators agree, as far as the one who reads may know. Raises UserError for broken masks."""
        desk, answers = self.desk, self.desk.answers
        histories = desk.histories()
        votes = votes_of(histories)
        size = self.material.image_size
        task = self.material.task
        found = measure(task, votes, lambda vote: answers.read_mask(vote.annotator, str(vote.answer), size))
        # Whoever is answering does not see what others said about a question that is still to come.
        own = next((set(history.current) for history in histories if history.annotator == reader), set())
        seen = [one for one in found.disputed if not own or one.example in own]
        shown = [
            {
                "example": one.example,
                "agreed": one.agreed,
                "outcome": one.outcome,
                "place": (place := desk.place.get(one.example)),
                "question": None if place is None else self.question(place),
                "said": [(v.annotator, v.answer) for v in votes[one.example] if isinstance(v.answer, str)],
                "drawn": [(v.annotator, v.answer) for v in votes[one.example] if not isinstance(v.answer, str)],
            }
            for one in seen[:_SHOWN_DISAGREEMENTS]
        ]
        hidden = len(found.disputed) - len(seen)
        return {
            "found": found,
            "shown": shown,
            "seen": len(seen),
            "hidden": hidden,
            "judged": task.judged,
            "height": size[0],
            "width": size[1],
        }


def _of_two_classes(order: NDArray[np.int64], labels: NDArray[np.int64]) -> list[int]:
    """Return the first two of *order*, of two classes if there are two."""
    if not len(order):
        return []
    first = int(order[0])
    other = next((int(place) for place in order[1:] if labels[place] != labels[first]), None)
    return [first, *([other] if other is not None else order[1:2].tolist())]
