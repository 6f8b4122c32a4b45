"""Budgets: how many questions a method may ask. Light: read without numpy or torch.

``100`` allows a method 100 questions in all; ``10%`` allows it, of each kind of question, a tenth of those that there
are: of the training images, or of the neurons. ``all`` sets no limit, and so does no budget. Which questions are
asked is decided by a query strategy (:mod:`crayon_bench.strategy`).
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from crayon_bench.errors import UserError

LARGEST = 10**9


@dataclass(frozen=True)
class Budget:
    """A limit: *questions* in all, or *share* (0–1, excluded) of the questions of each kind. One of them is None."""

    questions: int | None = None
    share: float | None = None

    @classmethod
    def parse(cls, text: str) -> "Budget | None":
        """Read ``100``, ``10%`` or ``all`` (which is None). Raises UserError."""
        word = text.strip()
        if word == "all":
            return None
        if re.fullmatch(r"0|[1-9][0-9]{0,9}", word) and int(word) <= LARGEST:
            return cls(questions=int(word))
        if re.fullmatch(r"[0-9]{1,3}(\.[0-9]{1,6})?%", word) and 0 < float(word[:-1]) <= 100:
            percent = float(word[:-1])
            return None if percent == 100 else cls(share=round(percent / 100, 10))
        raise UserError(
            f"--budget '{word}': expected a number of questions, such as 100, a share above 0 and up to 100%, such as"
            " 10%, or all; several are separated by commas"
        )

    @classmethod
    def from_coordinates(cls, values: Mapping[str, Any]) -> Self:
        """Return what :meth:`coordinates` gave."""
        return cls(values.get("questions"), values.get("share"))

    @property
    def coordinates(self) -> dict[str, Any]:
        """What is hashed and recorded."""
        return {"share": self.share} if self.questions is None else {"questions": self.questions}

    @property
    def title(self) -> str:
        """As in a table: ``100`` or ``10%``."""
        return f"{self.questions:,}" if self.share is None else f"{self.share * 100:.8g}%"

    def of(self, number: int) -> int:
        """Return how many of *number* questions of one kind a share allows; a part of a question counts as one."""
        assert self.share is not None
        return min(number, math.ceil(round(self.share * number, 6)))
