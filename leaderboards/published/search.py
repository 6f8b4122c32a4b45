"""The search behind the protocol celeba-half: as many trials for every method, judged by the validation split alone.

``python leaderboards/published/search.py STORE [OPTIONS OF RUN …]`` carries out the missing runs, prints a table and
writes it as STORE/search.json. Trials name all that is searched: what the protocol has by now for a method is not used.

Every method has six trials with seed 0. Those with a weight: 0.1 and 1, then 3 and 30 if 1 was better, else 0.03 and
0.3, then the best of the four with two other learning rates. Train More: six learning rates. Pruning: three learning
rates of the last layer and two sizes of patches. The best two of each method are carried out with seeds 1 and 2 too;
the better mean of the three is chosen. Better is the higher worst-group accuracy, then the higher mean accuracy.

Of the records it reads the field ``validation``; it never looks at the test split. ``ONLY=energy,rrr`` in the
environment leaves the other methods out, for two searches side by side in one store.
"""

import contextlib
import io
import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

from tabulate import tabulate

from crayon_bench.cli import invoke
from crayon_bench.store.records import Record, Status
from crayon_bench.store.store import Store

WEIGHTS = {
    "energy": ("lambda",),
    "rrr": ("lambda",),
    "res": ("lambda",),
    "crayon-attention": ("alpha", "beta"),
    "gradia": ("weight",),
    "crayon-attention-pruning": ("alpha", "beta"),
}
RATE = 5e-4
OTHER_RATES = (1e-4, 2e-3)
RATES = (3e-5, 1e-4, 3e-4, 5e-4, 1e-3, 2e-3)
HEAD_RATES = (1e-4, 1e-3, 1e-2)
HEAD_EPOCHS = 10
SEEDS = (0, 1, 2)

Trial = dict[str, float]


def run(store: str, options: list[str], method: str, seed: int, trial: Trial) -> Record | None:
    """Carry out one run, or find it done; return its record, None if it failed."""
    pairs = [part for name, value in trial.items() for part in ("--set", f"{method}.{name}={value}")]
    base = ["run", "--dataset", "celeba", "--protocol", "celeba-half", "--seeds", f"{seed},", "--store", store]
    with contextlib.redirect_stdout(io.StringIO()):  # the table of the test split
        invoke([*base, "--quiet", *options, "--methods", method, *pairs])
    found = [
        record
        for record in Store.open(Path(store)).records()
        if record.method == method and record.seed == seed
        if all(values(record)[name] == value for name, value in trial.items())
    ]
    [record] = found
    return record if record.status is Status.OK else None


def values(record: Record) -> dict[str, float]:
    """Return the parameters and recipe of the record's method."""
    method = record.coordinates["method"]
    return {**(method["recipe"] or {}), **method["parameters"]}


@dataclass
class Score:
    """Worst-group and mean accuracy on the validation split, and the maps' share on the mouth, in percent."""

    wga: float
    ma: float
    mouth: float

    @classmethod
    def of(cls, found: list[Record | None]) -> "Score":
        """Return the means over records; a trial that failed is worse than any."""
        done = [record for record in found if record is not None]
        if len(done) < len(found):
            return cls(-1.0, -1.0, 0.0)
        return cls(
            fmean(r.validation["worst_group_accuracy"] for r in done),
            fmean(r.validation["group_mean_accuracy"] for r in done),
            100 * fmean(r.attention.get("contrast", 0.0) for r in done),
        )

    @property
    def order(self) -> tuple[float, float]:
        """By what trials are compared."""
        return self.wga, self.ma


def search(store: str, options: list[str], method: str) -> list[tuple[Trial, list[Record | None]]]:
    """Carry out the trials of one method; return them with their records, best first."""
    done: list[tuple[Trial, list[Record | None]]] = []

    def try_(trial: Trial) -> tuple[float, float]:
        done.append((trial, [run(store, options, method, SEEDS[0], trial)]))
        return Score.of(done[-1][1]).order

    if method in WEIGHTS:
        low, high = (try_({**dict.fromkeys(WEIGHTS[method], value), "lr": RATE}) for value in (0.1, 1.0))
        for value in (3.0, 30.0) if high > low else (0.03, 0.3):
            try_({**dict.fromkeys(WEIGHTS[method], value), "lr": RATE})
        best = max(done, key=lambda one: Score.of(one[1]).order)[0]
        for lr in OTHER_RATES:
            try_({**best, "lr": lr})
    elif method == "train-more":
        for lr in RATES:
            try_({"lr": lr})
    else:
        for lr in HEAD_RATES:
            for radius in (0, 1):
                try_({"lr": lr, "radius": radius, "epochs": HEAD_EPOCHS})
    done.sort(key=lambda one: Score.of(one[1]).order, reverse=True)
    for trial, found in done[:2]:
        found += [run(store, options, method, seed, trial) for seed in SEEDS[1:]]
    return sorted(done[:2], key=lambda one: Score.of(one[1]).order, reverse=True) + done[2:]


def main(store: str, options: list[str]) -> None:
    """Search for every method, print what was found and write it down."""
    names = ["train-more", "crayon-pruning", "random-pruning", *WEIGHTS]
    if only := os.environ.get("ONLY"):
        names = [name for name in names if name in only.split(",")]
    rows = []
    for name in names:
        for trial, found in search(store, options, name):
            rows.append({"method": name, "trial": trial, "seeds": len(found), **vars(Score.of(found))})
    Path(store, "search.json").write_text(json.dumps(rows, indent=1) + "\n")
    shown = [{**row, "trial": ", ".join(f"{k}={v:g}" for k, v in row["trial"].items())} for row in rows]
    print(tabulate(shown, headers="keys", tablefmt="github", floatfmt=".1f"))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
