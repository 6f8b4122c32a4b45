"""Records: what a run leaves behind. Read by reports without numpy or torch."""

import hashlib
import json
import re
from collections.abc import Sequence
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from crayon_bench.budget import LARGEST as LARGEST_BUDGET, Budget

SCHEMA = 1
"""Version of the record's layout. A store of a newer schema is refused, not guessed at."""

NUMERICS = 3
"""Raise it when a change of the core's code changes results; it is part of every key."""


class Status(StrEnum):
    """How a run ended."""

    OK = "ok"
    FAILED = "failed"
    SKIPPED = "skipped"
    INTERRUPTED = "interrupted"


Count = Annotated[int, Field(ge=0, lt=2**53)]
LARGEST = 1e300
"""Of a number in a record, so that sums over records cannot overflow."""
Number = Annotated[float, Field(ge=-LARGEST, le=LARGEST, allow_inf_nan=False)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="ignore")


class MetricValue(_Part):
    """A metric's value with what is needed to print it. value: None where the metric is undefined, see *reason*.

    chance: what comes without looking. columns: the group of columns that shows it on request; empty: a usual one.
    """

    value: Number | None
    short: str
    direction: Literal["higher", "lower"]
    unit: str
    reason: str | None = None
    chance: Number | None = None
    columns: str = ""


class GroupCount(_Part):
    """Right predictions among the test examples of one group."""

    name: str
    right: Count
    total: Count

    @model_validator(mode="after")
    def _is_a_share(self) -> "GroupCount":
        if self.right > self.total:
            raise ValueError(f"{self.right} right of {self.total}")
        return self


class Feedback(_Part):
    """What the ledger counted. verdicts: kind → how often yes / no / maybe was answered."""

    total: Count = 0
    by_kind: dict[str, Count] = Field(default_factory=dict)
    verdicts: dict[str, dict[str, Count]] = Field(default_factory=dict)
    label: str = "-"
    lent: dict[str, Count] = Field(default_factory=dict)
    """Answers by kind whose tally alone a control learned; not part of *total*."""
    seconds: dict[str, Annotated[Number, Field(ge=0)]] = Field(default_factory=dict)
    """Seconds that people took for the answers, by kind, where they were recorded."""


class Coordinates:
    """What requests and records have in common: names read from their ``coordinates``."""

    if TYPE_CHECKING:  # declared for real where it is a field, so that a record's fields keep their order
        coordinates: dict[str, Any]
        key: str

    @property
    def method(self) -> str:
        """The method's name."""
        return str(self.coordinates["method"]["name"])

    @property
    def dataset(self) -> str:
        """The dataset's name."""
        return str(self.coordinates["dataset"]["name"])

    @property
    def seed(self) -> int:
        """The run's base seed."""
        return int(self.coordinates["seed"])

    @property
    def budget(self) -> str | None:
        """The budget as in a table, with the strategy unless it is ``random``; None for no limit."""
        values = self.coordinates.get("budget")
        if values is None:
            return None
        strategy = values.get("strategy", {}).get("name", "random")
        return Budget.from_coordinates(values).title + ("" if strategy == "random" else f" {strategy}")

    @property
    def oracle(self) -> str:
        """The oracle's name."""
        return str((self.coordinates.get("oracle") or {}).get("name", "simulated"))

    @property
    def label(self) -> str:
        """``celeba rrr seed 0``, and what sets it apart: budget, oracle and control unless usual."""
        budget = "" if self.budget is None else f" budget {self.budget}"
        oracle = "" if self.oracle == "simulated" else f" {self.oracle} answers"
        control = "" if self.control is None else f" control {self.control}"
        return f"{self.dataset} {self.method} seed {self.seed}{budget}{oracle}{control}"

    @property
    def control(self) -> str | None:
        """What carried less than the true answers, such as ``shuffled``; None for the true ones."""
        value = self.coordinates.get("control")
        return None if value is None else str(value)

    @property
    def protocol(self) -> str:
        """The protocol's name."""
        return str(self.coordinates["protocol"]["name"])

    @property
    def folder(self) -> str:
        """The name of the run's folder in the store."""
        return folder_name(self.coordinates, self.key)


class Record(Coordinates, _Part):
    """One run.

    key: hash of *coordinates*, which hold everything that changes the result. setting: hash of the coordinates less
    method, seed, budget and control: only records of one setting may stand in one table.
    """

    model_config = ConfigDict(extra="ignore")

    schema_: int = Field(alias="schema", default=SCHEMA)
    key: str
    setting: str
    status: Status
    reason: str | None = None
    coordinates: dict[str, Any]
    title: dict[str, str]
    """For tables: titles of the method, the dataset and the oracle; ``feedback``, what the method may ask for."""
    baseline: bool = False
    source: Literal["real", "standin"]
    verified: bool
    notes: list[str] = Field(default_factory=list)
    overrides: dict[str, Any] = Field(default_factory=dict)
    feedback: Feedback = Field(default_factory=Feedback)
    metrics: dict[str, MetricValue] = Field(default_factory=dict)
    groups: list[GroupCount] = Field(default_factory=list)
    validation: dict[str, Number] = Field(default_factory=dict)
    """The metrics on the validation split, where there is one: what recipes may be chosen by. Never the test split."""
    warnings: dict[str, Count] = Field(default_factory=dict)
    artifacts: list[str] = Field(default_factory=list)
    started: str = ""
    finished: str = ""
    seconds: dict[str, Number] = Field(default_factory=dict)
    memory: dict[str, Annotated[Number, Field(ge=0)]] = Field(default_factory=dict)
    """MiB by what. ``peak``: resident or device memory at its highest during refine. Empty: not measured."""
    attention: dict[str, Number] = Field(default_factory=dict)
    """Mean share of the refined model's maps on relevant pixels of training images: ``saliency`` and ``contrast``."""
    calibrated: dict[str, Number] = Field(default_factory=dict)
    """Parameters that the oracle found for this original model, such as cut-offs that give wanted shares of answers."""
    environment: dict[str, Any] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _is_consistent(self) -> "Record":
        if self.key != digest(self.coordinates) or self.setting != setting_of(self.coordinates):
            raise ValueError("key and coordinates do not belong together")
        missing = {"method", "dataset", "oracle", "feedback"} - set(self.title)
        if missing:
            raise ValueError(f"title lacks {', '.join(sorted(missing))}")
        _check_names(self.coordinates)
        canonical(self.model_dump()).encode()  # raises ValueError for what a report could not write
        return self

    def to_json(self) -> str:
        """Return the record as the text of ``record.json``."""
        return json.dumps(self.model_dump(mode="json", by_alias=True), indent=1, ensure_ascii=False) + "\n"


def data_titles(records: Sequence[Record]) -> list[str]:
    """Return of each record what its data are called, told apart from other data of the same title among these.

    Of two folders with one name, and of one folder before and after a change, the first digits of the content's hash
    say which.
    """
    contents: dict[tuple[str, str], set[str]] = {}
    known = [
        (record.title["dataset"], record.source, str(record.coordinates["dataset"].get("content", "")))
        for record in records
    ]
    for title, source, content in known:
        contents.setdefault((title, source), set()).add(content)
    return [
        f"{title} [{content[:6]}]" if len(contents[title, source]) > 1 else title for title, source, content in known
    ]


def _check_names(coordinates: dict[str, Any]) -> None:
    """Raise ValueError if the coordinates lack what reports read of them, or name a folder outside the store."""
    for part in ("dataset", "method", "protocol"):
        table = coordinates.get(part)
        name = table.get("name") if isinstance(table, dict) else None
        if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", name):
            raise ValueError(f"coordinates.{part} has no name")
        for inner in ("parameters", "recipe"):
            if not isinstance(coordinates[part].get(inner), dict | None):
                raise ValueError(f"coordinates.{part}.{inner} is no table")
    _check_budget(coordinates.get("budget"))
    if not isinstance(coordinates.get("control"), str | None):
        raise ValueError("coordinates.control is no name")
    seed = coordinates.get("seed")
    if type(seed) is not int or not 0 <= seed < 1 << 63:
        raise ValueError("coordinates.seed is no seed")


def _check_budget(budget: Any) -> None:
    if budget is None:
        return
    fine = isinstance(budget, dict) and isinstance(budget.get("strategy"), dict)
    if not fine or not isinstance(budget["strategy"].get("name"), str):
        raise ValueError("coordinates.budget is no table with a strategy")
    questions, share = budget.get("questions"), budget.get("share")
    if not (
        (share is None and type(questions) is int and 0 <= questions <= LARGEST_BUDGET)
        or (questions is None and type(share) is float and 0 < share < 1)
    ):
        raise ValueError("coordinates.budget is neither a number of questions nor a share of them")


def canonical(value: Any) -> str:
    """Return *value* as JSON with sorted keys and no white space: equal values give equal text."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def digest(value: Any) -> str:
    """Return the sha256 of :func:`canonical`, in hexadecimal."""
    return hashlib.sha256(canonical(value).encode()).hexdigest()


def setting_of(coordinates: dict[str, Any]) -> str:
    """Return the hash of what all runs of one table have in common: method, seed, budget and control may differ."""
    common = {key: value for key, value in coordinates.items() if key not in ("method", "seed", "control")}
    # As if there were none: rows of several budgets stand in one table, beside methods that ask nothing.
    return digest({**common, "budget": None} if "budget" in common else common)


def folder_name(coordinates: dict[str, Any], key: str) -> str:
    """Return ``DATASET.METHOD.sSEED.KEY``: readable, and different for different keys."""
    return f"{coordinates['dataset']['name']}.{coordinates['method']['name']}.s{coordinates['seed']}.{key[:16]}"


def differences(first: Any, second: Any) -> dict[str, tuple[Any, Any]]:
    """Return what differs between two nests of dictionaries: dotted path → both values, ``–`` where there is none."""
    left, right = _flat(first), _flat(second)
    paths = [path for path in dict.fromkeys([*left, *right]) if left.get(path, "–") != right.get(path, "–")]
    return {path: (left.get(path, "–"), right.get(path, "–")) for path in paths}


def _flat(value: Any, prefix: str = "") -> dict[str, Any]:
    if not isinstance(value, dict):
        return {prefix: value}
    flat: dict[str, Any] = {}
    for key, inner in value.items():
        flat |= _flat(inner, f"{prefix}.{key}" if prefix else str(key))
    return flat
