"""Cut-offs that give wanted shares of answers."""

from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from crayon_bench import UserError
from crayon_bench.errors import did_you_mean

_TIE = 1e-9
"""Values that lie no further apart are equal: maps have seven digits."""


class Shares(NamedTuple):
    """Which share of the answers each one is to have, in [0, 1]; their sum is 1."""

    yes: float
    maybe: float
    no: float

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read ``yes=.26,maybe=.24,no=.50``; what is not named has none. Raises ValueError."""
        values: dict[str, float] = {}
        for part in text.split(","):
            name, equals, number = (piece.strip() for piece in part.partition("="))
            if not equals or not number:
                raise ValueError("expected yes=A,maybe=B,no=C")
            if name not in cls._fields:
                raise ValueError(f"there is no answer '{name}'; {did_you_mean(name, cls._fields)}")
            if name in values:
                raise ValueError(f"{name} is given twice")
            try:
                values[name] = float(number)
            except ValueError:
                raise ValueError(f"{name} = {number} is no number") from None
            if not 0 <= values[name] <= 1:
                raise ValueError(f"{name} = {number} is no share: expected 0 to 1")
        total = sum(values.values())
        if abs(total - 1) > 0.01:
            raise ValueError(f"the shares add up to {total:g}, expected 1")
        return cls(**{name: values.get(name, 0.0) / total for name in cls._fields})


def cut_offs(scores: NDArray[np.float64], wanted: Shares, *, highest: float) -> tuple[float, float]:
    """Return (below which "no" is answered, above which "yes" is), so that the answers have the *wanted* shares.

    scores: of all maps, (n,) ≥ 0; NaN for one that gets "maybe" whatever the cut-offs are. highest: the largest score
    there can be. Where scores are equal, or maps are "maybe" anyway, shares come as near as they can. Both are short
    decimals, well between two scores, so that they can be written down and mean the same.
    """
    known = np.sort(scores[~np.isnan(scores)])
    n, m = len(scores), len(known)
    no, yes = wanted.no * n, wanted.yes * n
    if no + yes > m:  # more are "maybe" than are wanted
        no, yes = (part * m / (no + yes) for part in (no, yes))
    places = np.array([0, *(np.flatnonzero(np.diff(known) > _TIE) + 1), m])
    top, bottom = (known[-1], known[0]) if m else (0.0, 0.0)
    low = places[(places < m) | (top < highest - _TIE) | (m == 0)]  # nothing lies above the highest
    first = int(low[np.abs(low - no).argmin()])
    high = places[(places >= first) & ((places > 0) | (bottom > _TIE) | (m == 0))]  # nor below zero
    second = int(high[np.abs(high - (m - yes)).argmin()])
    no_below = 0.0 if first == 0 else _between(known[first - 1], known[first] if first < m else _above(top, highest))
    yes_above = _above(top, highest) if second == m else _between(known[second - 1] if second else 0.0, known[second])
    return no_below, yes_above


def cut_above(scores: NDArray[np.float64], wanted: Shares, *, highest: float) -> float:
    """Return above which "no" is answered, where that is the one line. The same as :func:`cut_offs` but for that."""
    if wanted.yes:
        raise UserError(
            f"oracle.shares: yes={wanted.yes:g}: only irrelevant pixels are known of these data, and no map is answered"
            " yes by them",
            "share the answers between maybe and no",
        )
    return cut_offs(scores, Shares(wanted.no, wanted.maybe, 0.0), highest=highest)[1]


def _above(top: float, highest: float) -> float:
    return highest if np.isfinite(highest) else float(np.floor(top) + 1)


def _between(low: Any, high: Any) -> float:
    """Return the shortest decimal in the middle half of the gap from *low* to *high*."""
    middle, quarter = (float(low) + float(high)) / 2, (float(high) - float(low)) / 4
    for digits in range(1, 17):
        if abs((short := round(middle, digits)) - middle) < quarter:
            return short
    return middle
