"""Signs that answers were given without looking: too fast to have looked, or in a pattern of keys.

They prove nothing. Where nearly all maps are alike, many equal answers in a row are right: so a row of them is told
only where the annotator's other answers make it unlikely.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby, pairwise

from crayon_bench_plugins.annotation.answers.events import Event
from crayon_bench_plugins.annotation.answers.tasks import SKIP, Answer, is_word
from crayon_bench_plugins.annotation.answers.votes import Vote

TOO_FAST = 0.5
"""Seconds: nobody has looked at a picture and found the key in less."""
_FEW_FAST, _SHARE_FAST = 3, 0.05
_SAME, _ALTERNATING = 20, 12
"""Answers in a row from which on a pattern may be told."""
_UNLIKELY = 0.01
"""Expected number of such rows among as many answers by chance."""


def signs(events: Iterable[Event]) -> list[str]:
    """Return what in the answers of one annotator looks as if nobody had looked, a clause each. Skips are no answers.

    *events*: those that count, in any order.
    """
    given = sorted(_answered(events), key=lambda event: event.n)
    found = []
    if fast := too_fast(given):
        found.append(f"{fast:,} of {len(given):,} answers came within {TOO_FAST} s of the question")
    answers = [event.answer for event in given if event.answer is not None]
    length, end = _longest([a == b for a, b in pairwise(answers)])
    rest = Counter(answers[: end - length] + answers[end:])
    if length >= _SAME and len(answers) * _share(rest, answers[end - 1]) ** length < _UNLIKELY:
        found.append(f"the same answer, {_name(answers[end - 1])}, {length:,} times in a row")
    pairs = zip(answers, answers[1:], answers[2:], strict=False)
    length, end = _longest([a == c != b for a, b, c in pairs], beside=2)
    rest = Counter(answers[: end - length] + answers[end:])
    if length >= _ALTERNATING:
        one, other = answers[end - length], answers[end - length + 1]
        if len(answers) * (_share(rest, one) * _share(rest, other)) ** (length / 2) < _UNLIKELY:
            found.append(f"{_name(one)} and {_name(other)} in turn, {length:,} times in a row")
    return found


def hasty(votes: Mapping[str, Sequence[Vote]]) -> dict[str, list[str]]:
    """Return the :func:`signs` of each annotator whose answers have any. *votes*: on each question."""
    given = by_annotator(votes)
    return {name: told for name in sorted(given) if (told := signs(given[name]))}


def by_annotator(votes: Mapping[str, Sequence[Vote]]) -> dict[str, list[Event]]:
    """Return what each annotator answered."""
    given: dict[str, list[Event]] = {}
    for each in votes.values():
        for vote in each:
            given.setdefault(vote.annotator, []).append(vote.event)
    return given


def too_fast(events: Iterable[Event]) -> int:
    """Return how many answers of one annotator came too fast to have looked; 0 if they may be slips of a finger."""
    given = _answered(events)
    fast = sum(event.seconds < TOO_FAST for event in given)
    return fast if fast >= _FEW_FAST and fast >= _SHARE_FAST * len(given) else 0


def _answered(events: Iterable[Event]) -> list[Event]:
    # The order of what was imported, too, is not that in which it was answered.
    return [event for event in events if event.answer not in (None, SKIP) and event.timed]


def _longest(joined: Sequence[bool], *, beside: int = 1) -> tuple[int, int]:
    """Return length and end (excluded) of the longest row, *joined* telling which items go on with those before."""
    best, place = (0, 0), 0
    for goes_on, items in groupby(joined):
        length = len(list(items))
        place += length
        if goes_on and length + beside > best[0]:
            best = (length + beside, place + beside)
    return best


def _share(rest: "Counter[Answer]", answer: Answer) -> float:
    """Return how likely an *answer* is, by the annotator's other answers; a half where there are none."""
    return (rest[answer] + 1) / (rest.total() + 2)


def _name(answer: Answer) -> str:
    return str(answer) if is_word(answer) else "a box" if isinstance(answer, tuple) else "a mask"
