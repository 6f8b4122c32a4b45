"""How long a sweep still takes, from the epochs that were trained and those that its requests foresee."""

import json
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from crayon_bench.store.request import RunRequest


class Remaining:
    """Counts epochs: of each run those of its own recipe, and of each original model those of its recipe, once.

    Several workers make more epochs a second, and need not be known. Epochs of one method take longer than those of
    another: it is an estimate.
    """

    def __init__(self, requests: "Sequence[RunRequest]", clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._refine: dict[str, int] = {}
        self._original: dict[str, int] = {}
        self._models: dict[str, str] = {}  # key → which original model it needs
        self._begun: float | None = None
        self._made = 0
        for request in requests:
            if request.skip is None:
                c = request.coordinates
                self._refine[request.key] = _epochs(c["method"].get("recipe"))
                depends = {name: c.get(name) for name in ("dataset", "model", "weights", "original", "seed")}
                model = self._models[request.key] = json.dumps(depends, sort_keys=True, default=str)
                self._original[model] = _epochs(c.get("original"))

    def epoch(self, request: "RunRequest", phase: str, epoch: int, epochs: int) -> None:
        """Take note of an epoch that was trained."""
        if self._begun is None:
            self._begun = self._clock()  # what came before it was reading data
        else:
            self._made += 1
        if phase == "original":
            self._original[self._models.get(request.key, "")] = epochs - epoch
        else:
            self._refine[request.key] = epochs - epoch
            self._original.pop(self._models.get(request.key, ""), None)  # it is there, perhaps from the store

    def end(self, request: "RunRequest") -> None:
        """Take note of the end of a run."""
        self._refine.pop(request.key, None)
        self._original.pop(self._models.get(request.key, ""), None)

    @property
    def seconds(self) -> float | None:
        """How long it still takes; None before anything can be said."""
        if self._begun is None or not self._made:
            return None
        left = sum(self._refine.values()) + sum(self._original.values())
        return left * (self._clock() - self._begun) / self._made

    def __str__(self) -> str:
        """As ``about 3 min left``; empty before anything can be said, and at the end."""
        seconds = self.seconds
        if not seconds:
            return ""
        if seconds < 60:
            return f"about {max(1, round(seconds))} s left"
        minutes = round(seconds / 60)
        return f"about {minutes} min left" if minutes < 90 else f"about {seconds / 3600:.1f} h left"


def _epochs(recipe: Any) -> int:
    epochs = recipe.get("epochs") if isinstance(recipe, dict) else None
    return epochs if isinstance(epochs, int) else 0
