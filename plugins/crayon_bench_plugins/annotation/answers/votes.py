"""From what several annotators say about a question to one answer."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from crayon_bench_plugins.annotation.answers.events import Event
from crayon_bench_plugins.annotation.answers.history import History
from crayon_bench_plugins.annotation.answers.tasks import MAYBE, NO, YES, Answer, Bools, Box, is_word


@dataclass(frozen=True, slots=True)
class Vote:
    """What one annotator says about one question."""

    annotator: str
    event: Event

    @property
    def answer(self) -> Answer:
        """The answer that counts."""
        assert self.event.answer is not None
        return self.event.answer


def votes_of(histories: Sequence[History]) -> dict[str, list[Vote]]:
    """Return the votes on each question, skips among them, by annotator's name. Nobody's question is not in it."""
    votes: dict[str, list[Vote]] = {}
    for history in histories:
        for example, event in history.current.items():
            votes.setdefault(example, []).append(Vote(history.annotator, event))
    return votes


def majority(answers: Sequence[str]) -> str | None:
    """Return what most of *answers* say, yes, no or maybe. Skips do not vote; a tie is maybe; None if nobody votes."""
    counts = {word: answers.count(word) for word in (YES, NO, MAYBE)}
    most = max(counts.values())
    if most == 0:
        return None
    first = [word for word, count in counts.items() if count == most]
    return first[0] if len(first) == 1 else MAYBE


def is_drawn(votes: Sequence[Vote]) -> bool:
    """Return whether more annotators drew something than said maybe: then what they drew is the answer."""
    drawn = sum(not is_word(vote.answer) for vote in votes)
    return drawn > sum(vote.answer == MAYBE for vote in votes)


def median_box(boxes: Sequence[Box]) -> Box:
    """Return the median of each side. Between two, the outer one, so that a box of whole pixels covers both halves."""
    sides = np.median(np.array(boxes, dtype=np.int64), axis=0)
    top, left = np.floor(sides[:2]).astype(int)
    bottom, right = np.ceil(sides[2:]).astype(int)
    return int(top), int(left), int(bottom), int(right)


def majority_mask(masks: Sequence[Bools]) -> Bools:
    """Return the pixels that more than half of the *masks*, bool (H, W) each, have set."""
    return np.asarray(2 * np.sum(np.stack(masks), axis=0, dtype=np.int64) > len(masks))
