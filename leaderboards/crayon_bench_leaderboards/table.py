"""What a table is: sections of rows of cells."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import fmean

import pandas as pd

from crayon_bench.feedback import control_label
from crayon_bench_leaderboards.boards import Board, Reference
from crayon_bench_leaderboards.controls import Added
from crayon_bench_leaderboards.price import Price
from crayon_bench_leaderboards.variants import Order


@dataclass
class Cell:
    """A metric over seeds. mark: "best", "second" or "" among the rows that have every seed.

    published: reference → percent. published_notes: reference → number of the footnote.
    """

    short: str
    direction: str
    mean: float | None
    std: float | None
    per_seed: dict[int, float]
    reason: str | None = None
    mark: str = ""
    published: dict[str, float] = field(default_factory=dict)
    published_notes: dict[str, int] = field(default_factory=dict)


@dataclass
class WorstGroup:
    """The group that was the worst in most seeds.

    total: its test examples. seeds: in how many it was the worst, alone or with others; of: how many seeds are known.
    tied: groups that were the worst as often. per_seed: the worst of each seed, several if they are equal.
    """

    name: str
    total: float
    seeds: int
    of: int
    tied: list[str]
    per_seed: dict[int, list[str]]


@dataclass(frozen=True)
class Warned:
    """How often a warning was given, in how many of the row's seeds."""

    times: int
    seeds: int


@dataclass
class Row:
    """A method on a data set, under one budget and control. status: ok, partial, failed, skipped or missing.

    budget: ``10%``, ``100 uncertain``; None for no limit. control: ``shuffled`` …; None for the true answers.
    published: reference → metric → percent. seconds, memory (MiB): means of the method's own refine step. notes:
    numbers of footnotes.
    """

    dataset: str
    method: str
    variant: str
    budget: str | None
    control: str | None
    order: Order
    """Sorts the budgets of a method."""
    label: str
    feedback: str
    feedback_total: float | None
    feedback_by_kind: dict[str, float]
    baseline: bool
    status: str
    reason: str | None
    metrics: dict[str, Cell]
    published: dict[str, dict[str, float]]
    worst_group: WorstGroup | None
    seconds: float | None
    memory: float | None
    warnings: dict[str, Warned]
    done: int
    """How many runs came to an end."""
    groups: pd.DataFrame = field(compare=False)
    """The rows of :func:`groups_frame` of these runs."""
    hours_by_seed: dict[int, float | None] = field(default_factory=dict)
    """Seed → person-hours; empty without a price, None where a time or price is not known."""
    gain: float | None = None
    """What was gained per person-hour, in points of the board's metric. None: not defined, or there is no price."""
    answers_add: dict[str, dict[str, Added]] = field(default_factory=dict)
    """Control → metric → what the answers add; of a control, only a further one has its own. Empty: no control."""
    notes: list[int] = field(default_factory=list)

    @property
    def hours(self) -> float | None:
        """Person-hours, mean over seeds. None: not known for every seed."""
        known = [hours for hours in self.hours_by_seed.values() if hours is not None]
        return fmean(known) if known and len(known) == len(self.hours_by_seed) else None

    @property
    def title(self) -> str:
        """The label with control and budget: no two rows of a section have the same."""
        control = "" if self.control is None else f", {control_label(self.control)}"
        return f"{self.label}{control}" + ("" if self.budget is None else f", budget {self.budget}")

    def all_notes(self) -> list[int]:
        """Return the numbers of the row's footnotes, with those of its published numbers."""
        theirs = {note for cell in self.metrics.values() for note in cell.published_notes.values()}
        return [*self.notes, *sorted(theirs)]


@dataclass
class Section:
    """The rows of one data set in one setting. left_out: seeds that fewer than half of the methods have."""

    dataset: str
    title: str
    source: str
    protocol: str
    seeds: list[int]
    setting: str
    oracle: str
    rows: list[Row]
    left_out: list[int]


@dataclass
class Table:
    """A board filled in. footnotes: numbered from 1. remarks: sentences under the table.

    references: published numbers that stand beside ours; none beside a stand-in.
    """

    board: Board
    source: str
    references: list[Reference]
    sections: list[Section]
    footnotes: list[str]
    remarks: list[str]
    price: Price | None = None
    """Whose person-hours stand in it; None: it has none."""
    statistics: bool = False
    """Whether it ends with intervals, differences and ranks."""
    grave: list[str] = field(default_factory=list)
    """Those of the remarks that runs brought with them, such as who answered, or whose weights they began with."""

    @property
    def title(self) -> str:
        """Heading; says so if the data are a stand-in."""
        return f"{'STAND-IN DATA — ' if self.source == 'standin' else ''}{self.board.title}"

    @property
    def subtitle(self) -> str:
        """Which data, protocol and seeds."""
        kind = "a stand-in" if self.source == "standin" else "real data"
        return "; ".join(
            f"{s.title} ({kind}), protocol {s.protocol}, {number_of_seeds(s.seeds)}" for s in self.sections
        )


def number_of_seeds(seeds: Sequence[int]) -> str:
    """Return ``1 seed`` or ``5 seeds``."""
    return "1 seed" if len(seeds) == 1 else f"{len(seeds)} seeds"


def gained_metric(board: Board, rows: Sequence[Row]) -> str:
    """Return the metric of which a priced table says what was gained.

    It is the worst group's accuracy, or else the board's first; or the first that *rows* have, where they lack that.
    """
    names = board.metric_names()
    first = "worst_group_accuracy" if "worst_group_accuracy" in names else names[0]
    return next((name for name in [first, *names] if any(row.metrics[name].mean is not None for row in rows)), first)
