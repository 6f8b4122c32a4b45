"""The table of the forms that CRAYON-Attention may have on DecoyMNIST, from a store with their runs.

``python leaderboards/published/forms.py STORE`` prints it and writes STORE/forms.json. The runs are those of
``--set model.peak=… --set refine.reduction=… --set model.init=… --set protocol.curve=true``: test accuracy of every
epoch, for study. Nothing here chooses an epoch.
"""

import json
import sys
from collections import defaultdict
from pathlib import Path
from statistics import fmean, stdev

from tabulate import tabulate

import crayon_bench as cb
from crayon_bench.store.records import Record, Status

Form = tuple[str, str, str]


def form_of(record: Record) -> Form:
    """Return what a map is divided by, how a batch is reduced, and what the initial weights are."""
    model, recipe = record.coordinates["model"], record.coordinates["method"]["recipe"]
    return model.get("peak", "absolute"), recipe.get("reduction", "mean"), model.get("init", "seed")


def row_of(form: Form, found: list[Record]) -> dict[str, object]:
    """Return a row: means over the seeds, and the standard deviations of the last epoch and of the last twenty."""
    curves = [[row["accuracy"] for row in record.curve] for record in sorted(found, key=lambda one: one.seed)]
    last, twenty = [curve[-1] for curve in curves], [fmean(curve[-20:]) for curve in curves]
    best = [max(curve) for curve in curves]
    rows = [record.curve for record in found]
    return {
        **dict(zip(("peak", "reduction", "init"), form, strict=True)),
        "seeds": len(curves),
        "last": fmean(last),
        "last_std": stdev(last) if len(last) > 1 else None,
        "twenty": fmean(twenty),
        "twenty_std": stdev(twenty) if len(twenty) > 1 else None,
        "best": fmean(best),
        "best_epoch": fmean(1 + curve.index(max(curve)) for curve in curves),
        "lowest_of_the_first_ten": fmean(min(curve[:10]) for curve in curves),
        "dead_maps_first": fmean(curve[0]["dead_maps"] for curve in rows),
        "dead_maps_last": fmean(curve[-1]["dead_maps"] for curve in rows),
        "live_units_last": fmean(curve[-1]["live_units"] for curve in rows),
        "per_seed": last,
    }


def main(store: str) -> None:
    """Print the table of a store and write it down."""
    forms: dict[Form, list[Record]] = defaultdict(list)
    for record in cb.load_results(store):
        others = record.control is not None or record.budget is not None or record.source != "real"
        if record.method == "crayon-attention" and record.status is Status.OK and record.curve and not others:
            forms[form_of(record)].append(record)
    rows = [row_of(form, found) for form, found in sorted(forms.items(), reverse=True)]
    Path(store, "forms.json").write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    shown = [
        {
            "divided by": "max g, then absolute" if row["peak"] == "signed" else "max of absolute g",
            "batch": row["reduction"],
            "initial weights": "one draw a seed" if row["init"] == "seed" else "one draw for all",
            "seeds": row["seeds"],
            **{
                name: f"{row[key]:.1f}" + ("" if row[f"{key}_std"] is None else f" ± {row[f'{key}_std']:.1f}")
                for name, key in (("last epoch", "last"), ("mean of the last twenty", "twenty"))
            },
            "best epoch": f"{row['best']:.1f} (at {row['best_epoch']:.0f})",
            "lowest of epochs 1 to 10": f"{row['lowest_of_the_first_ten']:.1f}",
            "dead maps, first and last epoch (%)": f"{row['dead_maps_first']:.1f}, {row['dead_maps_last']:.1f}",
            "live units at the end (%)": f"{row['live_units_last']:.0f}",
        }
        for row in rows
    ]
    print(tabulate(shown, headers="keys", tablefmt="github", disable_numparse=True))


if __name__ == "__main__":
    main(sys.argv[1])
