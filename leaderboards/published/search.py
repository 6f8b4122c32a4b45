"""The search behind the protocol celeba-half: the same four trials of its weight for every method, by validation alone.

``python leaderboards/published/search.py STORE [OPTIONS OF RUN …]`` carries out the missing runs, seed 0, and prints
a table. Each weight is tried at 0.1 and at 1; then at 3 and 30 if 1 was better, else at 0.03 and 0.3. Better is the
higher worst-group accuracy on the validation split, then the higher mean accuracy. Of the records it reads the field
``validation``; it never looks at the test split. Pruning has no weight: three learning rates of the last layer.
"""

import contextlib
import io
import os
import sys
from pathlib import Path

from tabulate import tabulate

from crayon_bench.cli import invoke
from crayon_bench.records import Record, Status
from crayon_bench.store import Store

WEIGHTS = {
    "energy": ("lambda",),
    "rrr": ("lambda",),
    "res": ("lambda",),
    "crayon-attention": ("alpha", "beta"),
    "gradia": ("weight",),
    "crayon-attention-pruning": ("alpha", "beta"),
}
HEADS = {"crayon-pruning": ("1e-4", "1e-3", "1e-2"), "random-pruning": ("1e-4", "1e-3", "1e-2")}
SHOWN = ("lambda", "alpha", "beta", "weight", "lr")


def values(record: Record) -> dict[str, float]:
    """Return the parameters and recipe of the record's method."""
    method = record.coordinates["method"]
    return {**(method["recipe"] or {}), **method["parameters"]}


def score(record: Record) -> tuple[float, float]:
    """Return worst-group and mean accuracy on the validation split, percent."""
    return record.validation["worst_group_accuracy"], record.validation["group_mean_accuracy"]


def main() -> None:
    """Search, and print what was found."""
    store, options = sys.argv[1], sys.argv[2:]
    base = ["run", "--dataset", "celeba", "--protocol", "celeba-half", "--seeds", "1", "--store", store, "--quiet"]

    def done(method: str) -> list[Record]:
        return [r for r in Store.open(Path(store)).records() if r.status is Status.OK and r.method == method]

    def run(method: str, sets: list[tuple[str, str]]) -> None:
        pairs = [part for name, value in sets for part in ("--set", f"{method}.{name}={value}")]
        with contextlib.redirect_stdout(io.StringIO()):  # the table of the test split
            invoke([*base, *options, "--methods", method, *pairs])

    methods = ["original", "train-more", *HEADS, *WEIGHTS]
    if only := os.environ.get("ONLY"):  # for two searches side by side
        methods = [method for method in methods if method in only.split(",")]
    for method in methods:
        if method in HEADS:
            for lr in HEADS[method]:
                run(method, [("lr", lr)])
        elif method in WEIGHTS:
            names = WEIGHTS[method]
            for value in ("0.1", "1.0"):
                run(method, [(name, value) for name in names])
            by_value = {values(record)[names[0]]: score(record) for record in done(method)}
            for value in ("3.0", "30.0") if by_value[1.0] > by_value[0.1] else ("0.03", "0.3"):
                run(method, [(name, value) for name in names])
        else:
            run(method, [])
    rows = []
    for record in (record for method in methods for record in done(method)):
        text = ", ".join(f"{name}={values(record)[name]}" for name in SHOWN if name in values(record))
        rows.append((record.method, text, *score(record), record.attention.get("saliency")))
    rows.sort(key=lambda row: (row[0], -row[2], -row[3]))
    print(tabulate(rows, headers=["method", "parameters", "validation WGA", "validation MA", "attention on the mouth"]))


if __name__ == "__main__":
    main()
