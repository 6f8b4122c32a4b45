"""What answers cost: seconds of a person's time by kind of answer, from a TOML file or from recorded times."""

from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from crayon_bench.errors import UserError, did_you_mean
from crayon_bench.feedback import FeedbackKind
from crayon_bench.store.records import Feedback
from crayon_bench.texts import expanded
from crayon_bench_leaderboards.reading import read_model

_HERE = files("crayon_bench_leaderboards") / "prices"
_RECORDED = "recorded"


class Answer(BaseModel):
    """What one answer costs. source: who measured it, and where that stands. assumed: nobody did."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    seconds: Annotated[float, Field(gt=0, le=1e6, allow_inf_nan=False)]
    source: Annotated[str, Field(min_length=1)]
    where: str = ""
    note: str = ""
    assumed: bool = False


class Prices(BaseModel):
    """A price file: kind of answer → what one costs."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    schema_: Literal[1]
    title: Annotated[str, Field(min_length=1)]
    answers: dict[FeedbackKind, Answer]


@dataclass(frozen=True)
class Price:
    """How person-hours are found. prices: those of a file; None: the times that were recorded with the answers."""

    name: str
    prices: Prices | None

    def hours(self, feedback: Feedback) -> float | None:
        """Return the person-hours of a run. None: the price or the time of some of its answers is not known."""
        given = {kind: number for kind, number in feedback.by_kind.items() if number}
        if self.prices is None:
            seconds = {kind: feedback.seconds.get(kind) for kind in given}
        else:
            each = {kind.value: answer.seconds for kind, answer in self.prices.answers.items()}
            seconds = {kind: number * each[kind] if kind in each else None for kind, number in given.items()}
        found = [value for value in seconds.values() if value is not None]
        return sum(found) / 3600 if len(found) == len(seconds) else None


def load_price(name: str) -> Price:
    """Return the price ``published``, ``recorded``, or that of a TOML file. Raises UserError."""
    if name == _RECORDED:
        return Price(name, None)
    known = sorted(f.name.removesuffix(".toml") for f in _HERE.iterdir() if f.name.endswith(".toml"))
    if name in known:
        return Price(name, read_model(_HERE / f"{name}.toml", Prices, "--price"))
    if name.endswith(".toml") or "/" in name or "\\" in name:
        return Price(name, read_model(expanded(Path(name)), Prices, "--price"))
    raise UserError(f"--price {name}: there is no such price", did_you_mean(name, [*known, _RECORDED, "FILE.toml"]))


def price_remarks(price: Price, kinds: list[str], short: str, unknown: list[str]) -> list[str]:
    """Return what stands under a table: the prices of *kinds* with their sources, and what is not *unknown* of rows."""
    if price.prices is None:
        how = "person-hours: recorded, the time that people took for the answers; mean over seeds."
    else:
        named = {kind.value: answer for kind, answer in price.prices.answers.items()}
        each = "; ".join(_priced(kind, named[kind]) for kind in named if kind in kinds)
        how = f"person-hours: #FB × seconds per answer, by {price.prices.title}{': ' if each else ''}{each}."
    remarks = [
        how,
        f"{short} gained per person-hour: points above Original with the same seeds, mean over seeds, divided by the"
        " mean person-hours; – where these are none or not known.",
    ]
    if unknown:
        what = "no times were recorded" if price.prices is None else "the prices lack a kind of answer"
        remarks.append(f"person-hours are not known, because {what}, for: {', '.join(unknown)}.")
    return remarks


def _priced(kind: str, answer: Answer) -> str:
    where = f", {answer.where}" if answer.where else ""
    source = f"ASSUMED, {answer.source}" if answer.assumed else answer.source
    return f"{kind} {answer.seconds:g} s ({source}{where})"
