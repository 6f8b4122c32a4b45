"""The search behind the protocol celeba-half: four values of one weight for every method, by the validation split.

``python leaderboards/published/search.py STORE [OPTIONS OF RUN …]`` carries out the missing runs and prints a table. Of
the records it reads the field ``validation`` alone; it never looks at the test split.
"""

import os
import sys
from pathlib import Path

from tabulate import tabulate

from crayon_bench.cli import invoke
from crayon_bench.records import Status
from crayon_bench.store import Store

VALUES = ("0.1", "1.0", "10.0", "100.0")
SEARCH = {
    "energy": ("lambda",),
    "crayon-attention": ("alpha", "beta"),
    "rrr": ("lambda",),
    "gradia": ("weight",),
    "res": ("lambda",),
    "crayon-attention-pruning": ("alpha", "beta"),
}
HEADS = ("1e-4", "1e-3", "1e-2")
"""For the methods that train the last layer: its learning rate."""


def main() -> None:
    """Search."""
    store, options = sys.argv[1], sys.argv[2:]
    base = ["run", "--dataset", "celeba", "--protocol", "celeba-half", "--seeds", "1", "--store", store, "--quiet"]
    trials = [("original", ()), ("train-more", ())]
    trials += [(method, (("lr", lr),)) for method in ("crayon-pruning", "random-pruning") for lr in HEADS]
    trials += [(method, tuple((name, v) for name in names)) for v in VALUES for method, names in SEARCH.items()]
    if only := os.environ.get("ONLY"):  # for two searches side by side
        trials = [trial for trial in trials if trial[0] in only.split(",")]
    for method, values in trials:
        sets = [part for name, value in values for part in ("--set", f"{method}.{name}={value}")]
        invoke([*base, *options, "--methods", method, *sets])
    rows = []
    for record in Store.open(Path(store)).records():
        if record.status is Status.OK:
            recipe = record.coordinates["method"]["recipe"] or {}
            shown = {**record.coordinates["method"]["parameters"], "lr": recipe.get("lr")}
            wga, ma = (record.validation[name] for name in ("worst_group_accuracy", "group_mean_accuracy"))
            text = ", ".join(
                f"{name}={shown[name]}" for name in ("lambda", "alpha", "beta", "weight", "lr") if shown.get(name)
            )
            rows.append((record.method, text, wga, ma, record.attention.get("saliency")))
    rows.sort(key=lambda row: (row[0], -row[2], -row[3]))
    print(tabulate(rows, headers=["method", "parameters", "validation WGA", "validation MA", "attention on mouth"]))


if __name__ == "__main__":
    main()
