"""What people are asked about, and what is an answer to it."""

import json
import re
from enum import StrEnum
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray


class Task(StrEnum):
    """What annotators are asked about."""

    MAPS = "maps"
    """Does the model look at the right place? One saliency map a question."""
    NEURONS = "neurons"
    """Do these patches show something relevant? One neuron a question."""
    BOXES = "boxes"
    """Where is what matters? A rectangle."""
    MASKS = "masks"
    """Which pixels matter? A painted mask."""

    @property
    def judged(self) -> bool:
        """Whether the answer is yes or no, about something that a model made; else it is drawn on an image."""
        return self in (Task.MAPS, Task.NEURONS)


YES, NO, MAYBE, SKIP = "yes", "no", "maybe", "skip"
WORDS = {
    Task.MAPS: frozenset((YES, NO, MAYBE, SKIP)),
    Task.NEURONS: frozenset((YES, NO, MAYBE, SKIP)),
    Task.BOXES: frozenset((MAYBE, SKIP)),
    Task.MASKS: frozenset((MAYBE, SKIP)),
}
"""The answers of each task that are words."""

Box: TypeAlias = tuple[int, int, int, int]
"""Top, left, bottom, right in pixels of the data set's image; bottom and right excluded."""
Answer: TypeAlias = str | Box
"""A word, or a box, or the sha256 (64 hex digits) of a mask's file."""
Bools = NDArray[np.bool_]

_SHA = re.compile(r"[0-9a-f]{64}")


def check_answer(task: Task, answer: Any, image_size: tuple[int, int]) -> Answer:
    """Return an answer as it is kept. Raises ValueError if the task has no such answer."""
    if isinstance(answer, str):
        if answer in WORDS[task] or (task is Task.MASKS and _SHA.fullmatch(answer)):
            return answer
    elif task is Task.BOXES and isinstance(answer, list | tuple) and len(answer) == 4:
        if all(type(value) is int for value in answer):
            top, left, bottom, right = answer
            if 0 <= top < bottom <= image_size[0] and 0 <= left < right <= image_size[1]:
                return (top, left, bottom, right)
        raise ValueError(f"a box must be top, left, bottom, right within {image_size[0]} x {image_size[1]} pixels")
    raise ValueError(f"no answer about {task}: {json.dumps(answer, default=str)[:100]}")


def is_word(answer: Answer | None) -> bool:
    """Return whether an answer is a word, not a box or a mask."""
    return isinstance(answer, str) and len(answer) < 64
