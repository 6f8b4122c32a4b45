"""What a last layer can do with the neurons of the stand-ins' original models: why pruning does not repair them.

``python leaderboards/published/neurons.py STORE`` prints a table and writes it as STORE/neurons-standins.json. It reads
the original models of eight seeds from STORE, or makes them there, and asks the simulated oracle which neurons
CRAYON-Pruning would keep. The last layer is a logistic regression on standardised features, trained on the biased
training images but for one row. Which neurons are the best is said by the groups of the validation split, which no
method has: those rows show what is possible and are no method. Scores are of the test split.
"""

import json
import sys
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler
from tabulate import tabulate

import crayon_bench as cb
from crayon_bench import LoadedData, Split
from crayon_bench.plugins.registry import Registry
from crayon_bench.runs.loading import load_data
from crayon_bench.runs.originals import ORIGINAL, new_model
from crayon_bench.runs.plan import Options, make_plan

Array = NDArray[np.float64]
SEEDS, SIZES, DRAWS = range(8), (5, 10, 20), 5
KEPT = "kept"
PLUGIN = """
from pathlib import Path
import numpy as np
from crayon_bench import FeedbackKind, Method
from crayon_bench_plugins.methods.pruning import PatchParameters, irrelevant_neurons

class Kept(Method):
    name = title = "kept"
    summary = "writes down which neurons CRAYON-Pruning would keep"
    asks = (FeedbackKind.NEURON_VERDICT,)
    needs_feature_maps = True
    Parameters = PatchParameters

    def refine(self, job):
        np.save(Path({folder!r}, f"{{job.base_seed}}.npy"), ~irrelevant_neurons(job, job.parameters).numpy())
        return job.model
"""
"""It asks as CRAYON-Pruning does."""


def features(model: Any, split: Split) -> Array:
    """Return what the last layer is given for each image: the mean of each channel, (N, K)."""
    given: list[torch.Tensor] = []
    layer = [part for part in model.modules() if isinstance(part, torch.nn.Linear)][-1]
    hook = layer.register_forward_hook(lambda module, inputs, made: given.append(inputs[0]))
    with torch.no_grad():
        for start in range(0, len(split), 256):
            model(torch.from_numpy(split.images[start : start + 256]))
    hook.remove()
    return np.asarray(torch.cat(given).numpy(), dtype=np.float64)


def score(X: Array, y: NDArray[np.int64], test: Array, split: Split) -> tuple[float, float]:
    """Return WGA and MA in percent, on *split* with its features *test*, of a logistic regression on *X* and *y*."""
    scale = StandardScaler().fit(X)
    found = LogisticRegression(max_iter=2000).fit(scale.transform(X), y).predict(scale.transform(test))
    right = found == split.labels
    groups = [100 * float(right[split.groups == group].mean()) for group in np.unique(split.groups)]
    return min(groups), fmean(groups)


def effects(X: Array, groups: NDArray[np.int64]) -> tuple[Array, Array]:
    """Return by how many standard deviations each feature (N, K) differs with the label, and with the shortcut: (K,).

    groups: (N,), label times three kinds of surroundings, of which the first two are the shortcut's two forms.
    """
    kinds = len(np.unique(groups)) // 2
    means = np.array([X[groups == group].mean(0) for group in range(2 * kinds)]).reshape(2, kinds, -1)
    spread = X.std(0) + 1e-9
    label = np.abs(means[1].mean(0) - means[0].mean(0)) / spread
    return label, np.abs(means[:, 0].mean(0) - means[:, 1].mean(0)) / spread


def study(dataset: str, store: Path) -> dict[str, list[Any]]:
    """Return what is told of one data set: row → a value or a pair (WGA, MA) for each seed."""
    folder = store / dataset / KEPT
    folder.mkdir(parents=True, exist_ok=True)
    plugin = folder / "kept.py"
    plugin.write_text(PLUGIN.format(folder=str(folder.resolve())), encoding="utf-8")
    registry = Registry()
    options = Options([dataset], ["crayon-pruning"], [0], source=cb.Source.STANDIN)
    [asked] = make_plan(options, registry).requests
    as_pruning = {f"{KEPT}.{name}": asked.coordinates["method"]["parameters"][name] for name in ("patches", "radius")}
    common = {"dataset": dataset, "source": "standin", "seeds": len(SEEDS), "store": store / dataset}
    # Every time anew: what is read below is what these runs wrote.
    asked_again = cb.run(methods=KEPT, plugin=plugin, rerun="all", settings=as_pruning, **common)
    found = cb.run(methods="original", **common)
    if failed := [*asked_again.failed, *found.failed]:
        sys.exit(f"{failed[0].label} failed: {failed[0].reason}")
    rows: dict[str, list[Any]] = {}
    data: LoadedData | None = None
    for record in sorted(found, key=lambda one: one.seed):
        options = Options([dataset], ["original"], [record.seed], source=cb.Source.STANDIN)
        [request] = make_plan(options, registry).requests
        data = load_data(request, registry) if data is None else data
        assert data.validation is not None
        model = new_model(request, data)
        [name] = [name for name in record.artifacts if name.startswith(ORIGINAL)]
        model.load_state_dict(load_file(store / dataset / "artifacts" / name / "tensors.safetensors"))
        for row, value in of_seed(model.eval(), data, np.load(folder / f"{record.seed}.npy"), record.seed).items():
            rows.setdefault(row, []).append(value)
    return rows


def of_seed(model: Any, data: LoadedData, kept: NDArray[np.bool_], seed: int) -> dict[str, Any]:
    """Return the rows of one original model."""
    assert data.validation is not None
    X, V, T = (features(model, split) for split in (data.train, data.validation, data.test))
    y, random = data.train.labels, np.random.default_rng(seed)
    label, shortcut = effects(V, data.validation.groups)
    better = label > shortcut
    best = np.argsort(-label / (shortcut + 1e-3))

    def of(columns: NDArray[Any]) -> tuple[float, float]:
        return score(X[:, columns], y, T[:, columns], data.test)

    alike = [[of(random.permutation(len(best))[:size]) for _ in range(DRAWS)] for size in SIZES]
    return {
        "neurons": len(best),
        "of them, tell the label more than the shortcut": int(better.sum()),
        "kept by the answers": int(kept.sum()),
        "of them, tell the label more": int((kept & better).sum()),
        "last layer on all": of(np.arange(len(best))),
        "on those kept by the answers": of(np.flatnonzero(kept)),
        **{
            f"on {size} at random": tuple(np.mean(scores, 0).tolist())
            for size, scores in zip(SIZES, alike, strict=True)
        },
        **{f"on the best {size}, by groups": of(best[:size]) for size in SIZES},
        "on all, of the validation images": score(V, data.validation.labels, T, data.test),
    }


def main(store: str) -> None:
    """Print the table of both data sets and write it down."""
    told = {dataset: study(dataset, Path(store)) for dataset in ("celeba", "waterbirds")}
    Path(store, "neurons-standins.json").write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
    print(tabulate(table(told), headers=["", "faces", "birds"], tablefmt="github", disable_numparse=True))


def table(told: dict[str, dict[str, list[Any]]]) -> list[list[str]]:
    """Return the rows as text: means over the seeds, WGA and MA of scores."""

    def text(values: list[Any]) -> str:
        means = np.mean(values, 0)
        return f"{means:.1f}" if np.ndim(means) == 0 else f"WGA {means[0]:.1f}, MA {means[1]:.1f}"

    return [[row, *(text(told[dataset][row]) for dataset in told)] for row in told["celeba"]]


if __name__ == "__main__":
    main(sys.argv[1])
