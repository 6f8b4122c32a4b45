"""Records as data frames, tidy; the columns are explained in docs/reference/frames.md.

What there is no value for is NA. All that boards, curves and statistics say in numbers is computed from these.
"""

from collections.abc import Callable, Iterable, Iterator
from math import nan
from statistics import fmean, stdev
from typing import Any

import pandas as pd

from crayon_bench.feedback import FeedbackKind
from crayon_bench.store.records import Record, Status
from crayon_bench_leaderboards.variants import by_setting, variants_of

CELL = ["setting", "method", "variant", "budget", "control"]
"""The columns that tell cells apart: what is averaged over seeds has all of them in common."""
_OF_CELL = ["dataset", "source", "protocol", *CELL, "oracle"]
_OF_RUN = [*_OF_CELL, "seed", "status"]
_COUNTED = [f"feedback_{name}" for name in ("total", *FeedbackKind)]


def runs_frame(records: Iterable[Record]) -> pd.DataFrame:
    """Return a row per run and metric; a run without metrics has one row, whose metric and value are NA."""
    rows = []
    kinds: dict[str, None] = {}
    for about, record in _described(records):
        done = record.status is Status.OK
        spent = {
            "feedback_total": record.feedback.total,
            **{f"feedback_{kind}": number for kind, number in record.feedback.by_kind.items()},
            # What was shared with other methods counts for each of them, whichever run made it.
            "seconds": sum(record.seconds.get(part, 0.0) for part in ("refine", "shared")) if done else nan,
            "peak_mib": record.memory.get("peak", nan) if done else nan,
            "key": record.key,
        }
        kinds |= dict.fromkeys(spent)
        scores = [{"metric": name, "value": metric.value} for name, metric in record.metrics.items()] if done else []
        rows += [{**about, **score, **spent} for score in scores or [{}]]
    # A kind of feedback that this version does not know follows those that it does.
    counted = list(dict.fromkeys([*_COUNTED, *(name for name in kinds if name.startswith("feedback_"))]))
    frame = pd.DataFrame(rows, columns=[*_OF_RUN, "metric", "value", *counted, "seconds", "peak_mib", "key"])
    frame[counted] = frame[counted].astype("float64").fillna(0)
    whole, real = ["seed", *counted], ["value", "seconds", "peak_mib"]
    return frame.astype({**dict.fromkeys(whole, "int64"), **dict.fromkeys(real, "float64")})


def _described(records: Iterable[Record]) -> Iterator[tuple[dict[str, Any], Record]]:
    """Give the first columns of each run, up to its status."""
    for group in by_setting(records):
        for variant in variants_of(group):
            for record in variant.records:
                about = {
                    "dataset": record.dataset,
                    "source": record.source,
                    "protocol": record.protocol,
                    "setting": record.setting,
                    "method": record.method,
                    "variant": variant.changes,
                    "budget": variant.budget or "all",
                    "control": variant.control or "",
                    "oracle": record.title["oracle"],
                    "seed": record.seed,
                    "status": record.status.value,
                }
                yield about, record


def cells_frame(records: Iterable[Record]) -> pd.DataFrame:
    """Return a row per cell and metric: means over the seeds, sample standard deviations, and how runs ended."""
    return cells_of(runs_frame(records))


def cells_of(runs: pd.DataFrame) -> pd.DataFrame:
    """Return :func:`cells_frame` of the frame *runs* that :func:`runs_frame` made."""
    once = runs.drop_duplicates("key")
    ended = once.groupby([*CELL, "status"], sort=False).size().unstack(fill_value=0)
    ended = ended.reindex(columns=[status.value for status in Status], fill_value=0)
    names = once.groupby(CELL, sort=False)[[name for name in _OF_CELL if name not in CELL]].first()
    done = runs[runs["status"] == Status.OK.value]
    spent = [name for name in runs.columns if name.startswith("feedback_")] + ["seconds", "peak_mib"]
    costs = done.drop_duplicates("key").groupby(CELL, sort=False)[spent].agg(_mean)
    scores = done.groupby([*CELL, "metric"], sort=False)["value"].agg(mean=_mean, std=_deviation, n="count")
    cells = names.join(ended).join(costs).reset_index().merge(scores.reset_index(), how="left", on=CELL)
    # A mean over some of the seeds would be another number.
    cells.loc[cells["n"] < cells["ok"], ["mean", "std"]] = nan
    cells["n"] = cells["n"].fillna(0).astype("int64")
    return cells[[*_OF_CELL, "metric", "mean", "std", "n", *spent, *ended.columns]]


def _mean(values: "pd.Series[float]") -> float:
    known = values.dropna()  # of memory, which not every run has measured
    return fmean(known) if len(known) else nan


def _deviation(values: "pd.Series[float]") -> float:
    known = values.dropna()
    return stdev(known) if len(known) > 1 else nan


def groups_frame(records: Iterable[Record]) -> pd.DataFrame:
    """Return a row per run that came to an end and test group; the accuracy of an empty group is NA."""
    rows = [
        {**about, "group": g.name, "right": g.right, "total": g.total, "key": record.key}
        for about, record in _described(records)
        if record.status is Status.OK
        for g in record.groups
    ]
    columns = [*_OF_CELL, "seed", "group", "right", "total"]
    frame = pd.DataFrame(rows, columns=[*columns, "key"]).astype(dict.fromkeys(["seed", "right", "total"], "int64"))
    return frame.assign(accuracy=100 * (frame["right"] / frame["total"]))[[*columns, "accuracy", "key"]]


def examples_frame(records: Iterable[Record], read: Callable[[Record], Any]) -> pd.DataFrame:
    """Return a row per run that came to an end and test example.

    *read* returns a run's predictions, as a table of pyarrow or a data frame: :meth:`Store.predictions` does.
    """
    of_run = [*_OF_CELL, "seed", "key"]
    parts = []
    for about, record in _described(records):
        if record.status is Status.OK:
            found = read(record)
            frame: pd.DataFrame = found if isinstance(found, pd.DataFrame) else found.to_pandas()
            names = {number: group.name for number, group in enumerate(record.groups)}
            about |= {"key": record.key, "right": frame["label"] == frame["predicted"]}
            parts.append(frame.assign(**about, group=frame["group"].map(names).astype(object)))
    columns = [*of_run, "example", "label", "predicted", "group", "confidence", "right"]
    return pd.concat(parts, ignore_index=True)[columns] if parts else pd.DataFrame(columns=columns)
