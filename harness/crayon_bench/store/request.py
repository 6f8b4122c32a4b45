"""A run that is wished for, as plain data: what executors carry and hooks are told of."""

import json
from dataclasses import asdict, dataclass, field
from typing import Any

from crayon_bench.store.records import Coordinates


@dataclass(frozen=True)
class RunRequest(Coordinates):
    """One run, as plain data that can be sent to another process.

    coordinates: everything that changes the result. where: what :meth:`Dataset.find` said, for people.
    skip: why the method does not apply; None if it does.
    """

    coordinates: dict[str, Any]
    key: str
    setting: str
    title: dict[str, str]
    baseline: bool
    overrides: dict[str, Any]
    source: str
    verified: bool
    notes: list[str]
    where: str
    data_root: str
    strict: bool
    device: str
    plugin_files: list[str]
    weights: str | None = None
    """File of the initial weights."""
    answers: str | None = None
    """Folder of recorded answers."""
    files: dict[str, str] = field(default_factory=dict)
    """Parameters of the data set that are files → where they lie."""
    skip: str | None = None
    tries: int = 0
    """How often a worker died with it."""
    keep: bool = False
    """Whether the refined model is kept beside the record."""
    missing: str = ""
    """Weights that are not here, in a dry run: without their hash, the key is not the one that the run will have."""
    seen: str | None = None
    """The stamp of the record that was in the store when the run was found to be left; see :meth:`Store.stamp`."""

    def to_json(self) -> str:
        """Return the request as JSON."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> "RunRequest":
        """Return the request that :meth:`to_json` wrote."""
        return cls(**json.loads(text))
