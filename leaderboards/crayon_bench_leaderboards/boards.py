"""Definitions of boards, and published numbers, from TOML files."""

from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from crayon_bench.errors import UserError, did_you_mean
from crayon_bench.store.records import Record, data_titles
from crayon_bench.texts import expanded
from crayon_bench_leaderboards.reading import read_model

_HERE = files("crayon_bench_leaderboards")

SHORT = {"sample_accuracy": "Acc", "group_mean_accuracy": "MA", "worst_group_accuracy": "WGA"}
SHORT_NAMES = {short.lower(): name for name, short in SHORT.items()}
CURVE = "curve"
"""A board made of what was run, not of a file: :mod:`crayon_bench_leaderboards.curve`."""

Detail = Literal["worst_group", "seconds", "memory"]


class Board(BaseModel):
    """A board's definition. methods: in the order of its rows; others that were run follow them, Original first."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    schema_: Literal[1]
    name: str
    title: str
    datasets: Annotated[list[str], Field(min_length=1)]
    methods: list[str]
    metrics: Annotated[list[str], Field(min_length=1)]
    titles: dict[str, str] = {}
    """Titles of methods, for rows of those that were not run."""
    reference: str | None = None
    """Published numbers to show beside ours: short for ``references`` with one name."""
    references: list[str] = []
    controls: list[str] = ["train-more", "random-pruning"]
    """Methods that stand beside the others to compare them with, and are not marked themselves."""
    details: list[Detail] = []
    """What the second, small table says of each method. None: there is no such table."""
    seeds: bool = False
    """Whether a column says how many seeds each row has."""

    @model_validator(mode="after")
    def _has_no_doubles(self) -> "Board":
        for names in (self.datasets, self.methods, self.metric_names(), self.references, self.details):
            if len(set(names)) < len(names):
                raise ValueError(f"a name stands twice in {names}")
        if self.reference is not None and self.references:
            raise ValueError("give reference or references, not both")
        return self

    def reference_names(self) -> list[str]:
        """Return the names of the published numbers, in the order of their columns."""
        return self.references if self.reference is None else [self.reference]

    def metric_names(self) -> list[str]:
        """Return the full names of the metrics; ``acc``, ``ma`` and ``wga`` are short ones."""
        return [SHORT_NAMES.get(name, name) for name in self.metrics]

    def place(self, method: str) -> tuple[int, bool, str]:
        """Return what sorts the rows of *method* among those of others."""
        known = self.methods.index(method) if method in self.methods else len(self.methods)
        return known, method != "original", method


class Reference(BaseModel):
    """Published numbers: data set → method → metric → percent.

    short: heads its columns where a board has several references. notes: data set → method → footnote, or metric →
    footnote, of a published number that needs a word. rows: method → footnote at its row, wherever it has a published
    number. images: data set → how many test images the authors' published list has.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    schema_: Literal[1]
    name: str
    short: str
    citation: str
    where: dict[str, str] = {}
    protocol: str
    values: dict[str, dict[str, dict[str, float]]]
    notes: dict[str, dict[str, str | dict[str, str]]] = {}
    rows: dict[str, str] = {}
    images: dict[str, int] = {}

    def note(self, dataset: str, method: str, metric: str) -> str | None:
        """Return the footnote of a published number, if it has one."""
        note = self.notes.get(dataset, {}).get(method)
        return note.get(metric) if isinstance(note, dict) else note


def _names(folder: str) -> list[str]:
    return sorted(f.name.removesuffix(".toml") for f in (_HERE / folder).iterdir() if f.name.endswith(".toml"))


def board_names() -> list[str]:
    """Return the names of the built-in boards."""
    return _names("boards")


def load_board(name: str) -> Board:
    """Return a built-in board, or one from a TOML file. Raises UserError."""
    if name.endswith(".toml") or "/" in name or "\\" in name:
        board = read_model(expanded(Path(name)), Board, "--board")
    elif name in board_names():
        board = read_model(_HERE / "boards" / f"{name}.toml", Board, "--board")
    else:
        raise UserError(f"--board {name}: there is no such board", did_you_mean(name, [*board_names(), CURVE]))
    known = _names("reference")
    for reference in board.reference_names():  # here, so that the message names the file with the mistake
        if reference not in known:
            raise UserError(
                f"--board {name}: there are no published numbers '{reference}'", did_you_mean(reference, known)
            )
    return board


def load_reference(name: str) -> Reference:
    """Return published numbers by name. Raises UserError."""
    known = _names("reference")
    if name not in known:
        raise UserError(f"there are no published numbers '{name}'", did_you_mean(name, known))
    return read_model(_HERE / "reference" / f"{name}.toml", Reference, "reference")


def with_columns(board: Board, columns: Sequence[str], records: Sequence[Record]) -> Board:
    """Return *board* with more metrics: *columns* are names of groups or metrics. UserError for what no run has."""
    own = [record for record in records if record.dataset in board.datasets]
    groups: dict[str, list[str]] = {}
    for name, metric in [item for record in own for item in record.metrics.items()]:
        for key in filter(None, (name, metric.columns)):
            if name not in groups.setdefault(key, []):
                groups[key].append(name)
    known = sorted({key for record in records for n, m in record.metrics.items() for key in (n, m.columns) if key})
    for wanted in columns:
        if wanted not in known:
            raise UserError(f"--columns {wanted}: no run has such metrics", did_you_mean(wanted, known))
    more = [name for wanted in columns for name in groups.get(wanted, [])]
    return board.model_copy(update={"metrics": list(dict.fromkeys([*board.metric_names(), *more]))})


def board_of(dataset: str) -> Board | None:
    """Return the first built-in board that has *dataset*; None if none has."""
    return next((board for board in map(load_board, board_names()) if dataset in board.datasets), None)


def default_metric(dataset: str) -> str:
    """Return the metric by which methods on *dataset* are judged first: worst-group accuracy, or its board's first."""
    names = board.metric_names() if (board := board_of(dataset)) else ["worst_group_accuracy"]
    return "worst_group_accuracy" if "worst_group_accuracy" in names else names[0]


def boards_for(records: Sequence[Record]) -> list[Board]:
    """Return the boards on which *records* belong; data sets that are on none get a board of their own."""
    present = list(dict.fromkeys(record.dataset for record in records))
    boards = [board for board in map(load_board, board_names()) if set(board.datasets) & set(present)]
    covered = {name for board in boards for name in board.datasets}
    for name in present:
        if name not in covered:
            titles = set(data_titles([record for record in records if record.dataset == name]))
            title = titles.pop() if len(titles) == 1 else name  # one of folders, each with a title of its own
            metrics = list(SHORT_NAMES.values())
            boards.append(Board(schema_=1, name=name, title=title, datasets=[name], methods=[], metrics=metrics))
    return boards
