"""The errors that have a meaning of their own."""

from collections.abc import Iterable
from difflib import get_close_matches


class UserError(Exception):
    """A mistake that the user can mend: shown as one line, exit code 2, no traceback.

    The message says what is wrong and where; *hint* says what to do about it.
    """

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        """Message and hint on one line, whatever came in with a foreign message."""
        message = one_line(self.message)
        return message if self.hint is None else f"{message} — {one_line(self.hint)}"


class StoreError(UserError):
    """The store cannot be written: not a run's failure, it ends the sweep."""

    def __init__(
        self,
        message: str,
        hint: str = "make room or choose another --store DIR, then give the same command again",
    ) -> None:
        super().__init__(message, hint)


class GuardError(Exception):
    """A method reached for what the oracle alone may read for it: evidence, groups or test data."""


class MetricError(Exception):
    """A metric is not defined on these predictions, for example because a group has no examples."""


class TrainingError(Exception):
    """Training cannot go on, for example because the loss is no longer a number."""


def one_line(text: str, longest: int = 1500) -> str:
    """Return *text* on one line that is safe to print: file names and foreign messages may hold anything."""
    line = " ".join(text.split())
    if len(line) > longest:
        line = f"{line[:longest]}…"
    return line if line.isprintable() else "".join(c if c.isprintable() else ascii(c)[1:-1] for c in line)


_TELLING = 4
"""Characters from which on a part of a name tells which one was meant."""
_LISTED = 16
"""Names that fit into a line."""


def did_you_mean(word: str, options: Iterable[str]) -> str:
    """Return ``"did you mean 'x'?"``, or what there is to choose from.

    Near are all options that begin with *word*, or have it within, or end with what follows its last dot; otherwise the
    one that is spelt most like it.
    """
    known = sorted(set(options))
    lower = word.lower()
    _, dot, last = lower.rpartition(".")
    near = (
        [o for o in known if lower and o.lower().startswith(lower)]
        or [o for o in known if len(lower) >= _TELLING and lower in o.lower()]
        or [o for o in known if dot and last and o.lower().endswith(f".{last}")]
        or get_close_matches(lower, known, n=1, cutoff=0.6)
    )
    if near and (len(near) < len(known) or len(near) == 1) and len(near) <= _LISTED:
        *rest, final = [f"'{name}'" for name in near]
        return f"did you mean {', '.join(rest) + ' or ' if rest else ''}{final}?"
    more = f", … ({len(known)} in all)" if len(known) > _LISTED else ""
    return f"choose from: {', '.join(known[:_LISTED])}{more}" if known else "there is none to choose from"
