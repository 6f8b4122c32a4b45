"""The search behind the protocol celeba-half: as many trials for every method, judged by the validation split alone.

``python leaderboards/published/search.py methods STORE [OPTIONS OF RUN …]`` carries out the missing runs and prints a
table. Every method has six trials with seed 0. Those with a weight: 0.1 and 1, then 3 and 30 if 1 was better, else 0.03
and 0.3, then the best of the four with two other learning rates. Train More: six learning rates. Pruning: three
learning rates of the last layer and two sizes of patches. The best two of each method are carried out with seeds 1 and
2 too; the better mean of the three is chosen. Better is the higher worst-group accuracy, then the higher mean accuracy.

``python leaderboards/published/search.py views STORE [OPTIONS OF RUN …]`` does the same question for what the network
sees: MobileNetV2 cut at blocks 4, 7 and 14 and whole, seed 0, with the weights of the protocol, beside a model that is
trained on as many images of every group.

Of the records it reads the field ``validation``; it never looks at the test split. ``ONLY=energy,rrr`` in the
environment leaves the other methods out, for two searches side by side in one store.
"""

import contextlib
import io
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

from tabulate import tabulate

from crayon_bench.cli import invoke
from crayon_bench.records import Record, Status
from crayon_bench.store import Store

PROTOCOL = Path(__file__).parents[2] / "plugins/crayon_bench_plugins/protocols/celeba/celeba-half.toml"
WEIGHTS = {
    "energy": ("lambda",),
    "rrr": ("lambda",),
    "res": ("lambda",),
    "crayon-attention": ("alpha", "beta"),
    "gradia": ("weight",),
    "crayon-attention-pruning": ("alpha", "beta"),
}
OTHER_RATES = (1e-4, 2e-3)
RATES = (3e-5, 1e-4, 3e-4, 5e-4, 1e-3, 2e-3)
HEAD_RATES = (1e-4, 1e-3, 1e-2)
SEEDS = (0, 1, 2)

Trial = dict[str, float]


def run(store: str, options: list[str], method: str, seed: int, sets: Trial, protocol: str = "celeba-half") -> Record:
    """Carry out one run, or find it done; return its record."""
    pairs = [part for name, value in sets.items() for part in ("--set", f"{method}.{name}={value}")]
    base = ["run", "--dataset", "celeba", "--protocol", protocol, "--seeds", f"{seed},", "--store", store, "--quiet"]
    with contextlib.redirect_stdout(io.StringIO()):  # the table of the test split
        invoke([*base, *options, "--methods", method, *pairs])
    name = Path(protocol).stem
    [record] = (
        record
        for record in records(store)
        if record.method == method and record.seed == seed and record.coordinates["protocol"]["name"] == name
        if all(values(record).get(key) == value for key, value in sets.items())
        if {key.removeprefix(f"{method}.") for key in record.overrides if key.startswith(f"{method}.")} <= set(sets)
    )
    return record


def records(store: str) -> list[Record]:
    """Return what was carried out without failing."""
    if not Path(store, "runs").exists():
        return []
    return [record for record in Store.open(Path(store)).records() if record.status is Status.OK]


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
    def of(cls, found: list[Record]) -> "Score":
        """Return the means over records."""
        return cls(
            fmean(r.validation["worst_group_accuracy"] for r in found),
            fmean(r.validation["group_mean_accuracy"] for r in found),
            100 * fmean(r.attention.get("contrast", 0.0) for r in found),
        )

    @property
    def order(self) -> tuple[float, float]:
        """By what trials are compared."""
        return self.wga, self.ma


def search(store: str, options: list[str], method: str) -> list[tuple[str, Trial, list[Record]]]:
    """Carry out the trials of one method; return (method, trial, records), best first."""
    done: list[tuple[Trial, list[Record]]] = []

    def try_(sets: Trial) -> tuple[float, float]:
        done.append((sets, [run(store, options, method, SEEDS[0], sets)]))
        print(method, sets, done[-1][1][0].validation["worst_group_accuracy"], file=sys.stderr, flush=True)
        return Score.of(done[-1][1]).order

    def best() -> Trial:
        return max(done, key=lambda trial: Score.of(trial[1]).order)[0]

    if method in WEIGHTS:
        low, high = (try_(dict.fromkeys(WEIGHTS[method], value)) for value in (0.1, 1.0))
        for value in (3.0, 30.0) if high > low else (0.03, 0.3):
            try_(dict.fromkeys(WEIGHTS[method], value))
        weight = best()
        for lr in OTHER_RATES:
            try_({**weight, "lr": lr})
    elif method == "train-more":
        for lr in RATES:
            try_({"lr": lr})
    else:
        for lr in HEAD_RATES:
            for radius in (0, 1):
                try_({"lr": lr, "radius": radius})
    done.sort(key=lambda trial: Score.of(trial[1]).order, reverse=True)
    for sets, found in done[:2]:
        found += [run(store, options, method, seed, sets) for seed in SEEDS[1:]]
    done[:2] = sorted(done[:2], key=lambda trial: Score.of(trial[1]).order, reverse=True)
    return [(method, *trial) for trial in done]


def methods(store: str, options: list[str]) -> None:
    """Search for every method."""
    names = ["train-more", "crayon-pruning", "random-pruning", *WEIGHTS]
    if only := os.environ.get("ONLY"):
        names = [name for name in names if name in only.split(",")]
    rows = []
    for method, sets, found in (trial for name in names for trial in search(store, options, name)):
        text, score = ", ".join(f"{name}={value:g}" for name, value in sets.items()), Score.of(found)
        rows.append((method, text, len(found), score.wga, score.ma, score.mouth))
    heads = ["method", "trial", "seeds", "validation WGA", "validation MA", "map on the mouth (%)"]
    print(tabulate(rows, headers=heads, tablefmt="github", floatfmt=".1f"))


def views(store: str, options: list[str]) -> None:
    """Compare what the network may see."""
    rows = []
    for cut in (4, 7, 14, None):
        name = f"celeba-half-{'whole' if cut is None else cut}"
        text = PROTOCOL.read_text().replace('name = "celeba-half"', f'name = "{name}"')
        lines = [line for line in text.splitlines() if not (cut is None and line.startswith("cut "))]
        file = Path(store) / f"{name}.toml"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("\n".join(line if not line.startswith("cut ") else f"cut = {cut}" for line in lines))
        even = ["--set", "dataset.majority=389", "--set", "dataset.minority=389"]
        balanced = run(f"{store}/balanced", [*options, *even], "original", 0, {}, str(file))
        rows.append((name, "original on 389 of each group", *vars(Score.of([balanced])).values()))
        for method in ("original", "train-more", "energy", "rrr", "crayon-attention"):
            found = run(store, options, method, 0, {}, str(file))
            rows.append((name, method, *vars(Score.of([found])).values()))
    heads = ["network", "method", "validation WGA", "validation MA", "map on the mouth (%)"]
    print(tabulate(rows, headers=heads, tablefmt="github", floatfmt=".1f"))


if __name__ == "__main__":
    {"methods": methods, "views": views}[sys.argv[1]](sys.argv[2], sys.argv[3:])
