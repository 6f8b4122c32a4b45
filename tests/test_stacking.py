"""Seeds that are trained together: the same bits as alone, one record each, and only the guilty fails."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import torch
from crayon_bench.stacking import Training, alike, train
from crayon_bench.together import AT_ONCE, put_together
from safetensors.torch import load_file

from conftest import TINY
from crayon_bench.networks.mlp import MLP
from crayon_bench.networks.specification import MLPSpec, Recipe
from crayon_bench.networks.training import Batch, fit
from crayon_bench.plugins.registry import Registry
from crayon_bench.runs.plan import Options, make_plan
from helpers import method

METHODS = "original,crayon-attention,rrr,energy,train-more"
FEW = ["--source", "standin", "--set", "original.epochs=3", "--set", "refine.epochs=4"]
RUN = ["run", "--dataset", "decoymnist"]


def content(store: Path) -> dict[str, tuple]:
    """Everything of a run but times, memory and company; predictions with every bit of their confidence."""
    found = {}
    for folder in sorted((store / "runs").iterdir()):
        record = json.loads((folder / "record.json").read_text())
        for name in ("started", "finished", "seconds", "memory", "stacked"):
            record.pop(name)
        predictions = folder / "predictions.parquet"
        found[folder.name] = record, pq.read_table(predictions).to_pydict() if predictions.exists() else None
    return found


def stacked(store: Path) -> dict[str, int]:
    return {
        folder.name.rsplit(".", 1)[0].removeprefix("decoymnist."): json.loads((folder / "record.json").read_text())[
            "stacked"
        ]
        for folder in (store / "runs").iterdir()
    }


def originals(store: Path) -> dict[str, dict[str, torch.Tensor]]:
    return {f.parent.name: load_file(f) for f in (store / "artifacts").glob("original-model.*/tensors.safetensors")}


def test_a_record_does_not_depend_on_the_seeds_beside_it(cli):
    """All methods, original models and refined ones: alone, in a stack of two, of five, and in another place of it."""
    for store, seeds in (("alone", "0,"), ("two", "0,3"), ("five", "0,1,2,3,4"), ("turned", "3,0")):
        assert cli(*RUN, "--methods", METHODS, "--seeds", seeds, *FEW, "--store", store).code == 0
    assert set(stacked(Path("alone")).values()) == {1}
    assert set(stacked(Path("two")).values()) == {2}
    assert set(stacked(Path("five")).values()) == {5}
    five, models = content(Path("five")), originals(Path("five"))
    for store in ("alone", "two", "turned"):
        some = content(Path(store))
        assert len(some) in (5, 10)
        assert all(five[name] == some[name] for name in some)
        for name, tensors in originals(Path(store)).items():
            assert all(torch.equal(tensors[key], models[name][key]) for key in tensors)


def test_what_is_in_the_store_does_not_change_what_is_added(cli):
    """Some seeds done, one original model gone: the rest forms other groups, with the same result."""
    cli(*RUN, "--methods", METHODS, "--seeds", "4", *FEW, "--store", "whole")
    cli(*RUN, "--methods", "original,rrr", "--seeds", "1,3", *FEW, "--store", "grown")
    cli(*RUN, "--methods", METHODS, "--seeds", "4", *FEW, "--store", "grown")
    assert content(Path("grown")) == content(Path("whole"))
    assert {n for name, n in stacked(Path("grown")).items() if name.startswith(("rrr", "original"))} == {2}
    assert {n for name, n in stacked(Path("grown")).items() if name.startswith("energy")} == {4}


def test_selection_on_validation_is_the_same_in_company(cli):
    options = ["--set", "dataset.validation=200", "--set", "protocol.selection=val_accuracy"]
    base = [*RUN, "--methods", "original,train-more", *FEW, *options]
    assert cli(*base, "--seeds", "3", "--store", "all").code == 0
    assert cli(*base, "--seeds", "1,", "--store", "alone").code == 0
    whole, alone = content(Path("all")), content(Path("alone"))
    assert all(whole[name] == alone[name] for name in alone)


def test_feedback_is_counted_for_each_seed(cli):
    """An oracle that leaves out another number of questions for each seed; masks differ, so they are trained apart."""
    oracle = Path("partial.py")
    oracle.write_text(
        "import numpy as np\nfrom crayon_bench.oracle import FeedbackOracle, Masks, Verdicts, Boxes\n"
        "class Partial(FeedbackOracle):\n"
        "    name = 'partial'\n    title = 'partial'\n    summary = 'x'\n"
        "    def _some(self, n):\n"
        "        return np.random.RandomState(self.seed % 1000).rand(n) < 0.5\n"
        "    def judge_maps(self, examples, maps, evidence):\n"
        "        return Verdicts(np.where(self._some(len(examples)), -1, 2).astype(np.int8))\n"
        "    def irrelevant_masks(self, examples, evidence):\n"
        "        return Masks(evidence.irrelevant_masks(examples), self._some(len(examples)))\n"
        "    def boxes(self, examples, evidence):\n"
        "        return Boxes(evidence.boxes(examples), self._some(len(examples)))\n"
    )
    base = [*RUN, "--methods", "crayon-attention,rrr,energy", "--plugin", oracle, "--oracle", "partial", *TINY]
    assert cli(*base, "--seeds", "3", "--store", "all").code == 0
    assert cli(*base, "--seeds", "2,", "--store", "alone").code == 0
    whole, alone = content(Path("all")), content(Path("alone"))
    assert all(whole[name] == alone[name] for name in alone)
    counts = [record["feedback"]["total"] for name, (record, _) in whole.items() if ".rrr." in name]
    assert len(set(counts)) == 3
    assert all(0 < count < 1197 for count in counts)


STACKABLE = "stackable = True\n    asks = (FeedbackKind.BOX,)"


def test_a_seed_that_diverges_fails_alone(cli, tmp_path):
    file = tmp_path / "shaky.py"
    body = """
bad = float("inf") if job.base_seed == 1 else 0.0
job.oracle.boxes(range(job.base_seed + 1))
weight = torch.full((len(job.images),), bad)
return job.fit(lambda forward, batch: batch["weight"] * forward.logits.square().sum(-1), {"weight": weight})
"""
    file.write_text(method("shaky", body, extra=STACKABLE))
    base = [*RUN, "--methods", "shaky,train-more", "--plugin", file, *TINY]
    result = cli(*base, "--seeds", "3", "--store", "all")
    assert result.code == 1
    found = content(Path("all"))
    statuses = {name.split(".")[2]: record["status"] for name, (record, _) in found.items() if ".shaky." in name}
    assert statuses == {"s0": "ok", "s1": "failed", "s2": "ok"}
    assert [r["feedback"]["total"] for n, (r, _) in found.items() if ".shaky." in n] == [1, 2, 3]
    assert cli(*base, "--seeds", "2,", "--store", "alone").code == 0
    alone = content(Path("alone"))
    assert all(found[name] == alone[name] for name in alone)
    (folder,) = Path("all/runs").glob("*.shaky.s2.*")
    assert (
        "Seeds 0, 1, 2 were carried out one by one, because together they failed: TrainingError"
        in (folder / "log.txt").read_text()
    )


MISUSE = {
    "looks at the model": ("model = job.fit()\nmodel.weights[0].sum()\nreturn model", "as it is"),
    "returns another": ("job.fit()\nreturn job.model", None),
    "fits twice": ("job.fit()\nreturn job.fit()", None),
}


@pytest.mark.parametrize("case", MISUSE)
def test_a_method_that_does_not_keep_to_stackable_is_carried_out_one_by_one(cli, tmp_path, case):
    """One by one nothing is put off, so that it works; the log says why it was slow."""
    body, _ = MISUSE[case]
    file = tmp_path / "other.py"
    file.write_text(method("other", body, extra="stackable = True"))
    assert cli(*RUN, "--methods", "other", "--seeds", "2", "--plugin", file, *TINY).code == 0
    for folder in Path("crayon-runs/runs").iterdir():
        assert "stackable = True" in (folder / "log.txt").read_text()
    assert set(stacked(Path("crayon-runs")).values()) == {1}


def test_a_method_that_is_not_stackable_runs_beside_and_gets_plain_shapes(cli, tmp_path):
    """The same method in both forms: equal to the last bit."""
    body = """
weight = job.images[:, 0].float() / 255
def penalty(forward, batch):
    {check}
    M = forward.saliency(batch.labels)
    return 0.1 * (M * batch["weight"]).sum((-2, -1))
return job.fit(penalty, {{"weight": weight}})
"""
    plain, stack = tmp_path / "plain.py", tmp_path / "stack.py"
    plain.write_text(method("plain", body.format(check="assert batch.labels.ndim == 1")))
    stack.write_text(method("stack", body.format(check="assert batch.labels.ndim == 2"), extra="stackable = True"))
    base = [*RUN, "--methods", "plain,stack,train-more", "--seeds", "2", "--plugin", plain, "--plugin", stack, *FEW]
    result = cli(*base)
    assert result.code == 0, result.err
    assert stacked(Path("crayon-runs")) == {
        "plain.s0": 1, "plain.s1": 1, "stack.s0": 2, "stack.s1": 2, "train-more.s0": 2, "train-more.s1": 2,
    }  # fmt: skip
    found = {name.rsplit(".", 1)[0]: predictions for name, (_, predictions) in content(Path("crayon-runs")).items()}
    for seed in ("s0", "s1"):
        assert found[f"decoymnist.plain.{seed}"] == found[f"decoymnist.stack.{seed}"]
        assert found[f"decoymnist.plain.{seed}"] != found[f"decoymnist.train-more.{seed}"]


def test_ctrl_c_in_a_group_and_continued_gives_the_same(tmp_path):
    command = [sys.executable, "-m", "crayon_bench", *RUN, "--methods", "original,train-more,crayon-attention"]
    command += ["--seeds", "3", "--source", "standin", "--set", "original.epochs=4", "--set", "refine.epochs=40"]
    broken, whole = tmp_path / "broken", tmp_path / "whole"
    process = subprocess.Popen([*command, "--store", str(broken)], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    deadline = time.monotonic() + 120
    while not list(broken.glob("runs/*.original.s2*")):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    assert process.returncode == 130
    statuses = [record["status"] for record, _ in content(broken).values()]
    assert sorted(statuses) == ["interrupted"] * 3 + ["ok"] * 3
    for store in (broken, whole):
        subprocess.run([*command, "--store", str(store)], check=True, capture_output=True)
    assert content(broken) == content(whole)


def test_groups_are_seeds_of_a_cell_and_every_worker_has_some():
    from crayon_bench.dataset import Source

    registry = Registry()
    options = Options(["decoymnist"], ["original", "rrr", "gradia"], range(7), source=Source.STANDIN)
    requests = make_plan(options, registry).requests
    units = put_together(requests, registry, 1)
    assert [(unit.method, len(unit.others) + 1) for unit in units if not unit.skip] == [
        ("original", AT_ONCE), ("rrr", AT_ONCE), ("original", 2), ("rrr", 2),
    ]  # fmt: skip
    assert sorted(r.key for unit in units for r in (unit, *unit.others)) == sorted(r.key for r in requests)
    assert {len(unit.others) for unit in put_together(requests, registry, 21)} == {0}
    for unit in units:
        assert type(unit).from_json(unit.to_json()) == unit


def test_penalties_are_alike_if_what_they_caught_is():
    def make(value, factor):
        def inner(x):
            return x * factor

        return lambda forward, batch: inner(value)

    one = torch.ones(3)
    same = [make(one, 2.0), make(one.clone(), 2.0), make(one + 1, 2.0), make(one, 3.0), make(object(), 2.0)]
    assert alike(same) == [[0, 1], [2], [3], [4]]
    assert alike([None, None, make(one, 2.0)]) == [[0, 1], [2]]


@pytest.mark.parametrize("batch", [256, 13, 7, 1])
@pytest.mark.parametrize("hidden", [[50, 30], [17], [33, 9, 5]])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_bits_of_a_slice_do_not_depend_on_the_stack(batch, hidden, dtype):
    """Odd widths and batches, where slices do not begin at a cache line; every kind of sum over maps."""
    shape, n = (1, 12, 11), max(40, batch + 20)
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (5, n, *shape), generator=generator, dtype=torch.uint8)
    labels = torch.randint(0, 6, (5, n), generator=generator)
    weight = torch.rand(5, n, *shape[1:], generator=generator, dtype=dtype)
    whole, pixels = torch.ones(shape[1:], dtype=dtype), torch.tensor([0, 1, 7, 100])

    def penalty(forward, batch):
        share, _ = forward.share_of(batch.labels, batch["weight"], whole)
        gradient = forward.input_gradient(1 - 6 * forward.probabilities(), pixels)
        plain = forward.saliency(batch.labels).sum((-2, -1))
        return forward.peak_sum(batch.labels, batch["weight"]) - share + gradient.square().sum(-1) + 1e-3 * plain

    def train_these(seeds):
        models = [MLP(MLPSpec(hidden=hidden, pixels="unit"), shape, 6, seed).to(dtype) for seed in seeds]
        recipe = Recipe(epochs=2, batch=batch, lr=0.01, weight_decay=1e-3)
        train(
            [
                Training(model, images[seed], labels[seed], recipe, seed, penalty, {"weight": weight[seed]})
                for model, seed in zip(models, seeds, strict=True)
            ]
        )
        return dict(zip(seeds, models, strict=True))

    torch.set_num_threads(1)
    five = train_these([0, 1, 2, 3, 4])
    for seeds in ([0], [3], [4, 0], [2, 1, 3]):
        for seed, model in train_these(seeds).items():
            for a, b in zip(model.parameters(), five[seed].parameters(), strict=True):
                assert torch.isfinite(a).all()
                assert torch.equal(a, b)


@pytest.mark.parametrize("hidden", [[9, 8], [12]])
def test_training_with_fused_sums_equals_training_by_autograd(hidden):
    """The sums of the stack against the same sums written out, over several steps of Adam in float64."""
    shape = (1, 7, 6)
    generator = torch.Generator().manual_seed(3)
    images = torch.randint(0, 256, (30, *shape), generator=generator, dtype=torch.uint8)
    labels = torch.randint(0, 5, (30,), generator=generator)
    weight = torch.rand(30, 7, 6, generator=generator, dtype=torch.float64)
    whole, pixels = torch.ones(7, 6, dtype=torch.float64), torch.tensor([3, 0, 20])

    def fused(forward, batch):
        share, _ = forward.share_of(batch.labels, batch["weight"], whole)
        gradient = forward.input_gradient(1 - 5 * forward.probabilities(), pixels)
        return forward.peak_sum(batch.labels, batch["weight"]) - 3 * share + 5 * gradient.square().sum(-1)

    def written_out(forward, batch):
        M = forward.saliency(batch.labels)
        peak, share = M.amax((-2, -1)), (M * batch["weight"]).sum((-2, -1)) / M.sum((-2, -1))
        gradient = forward.input_gradient(1 - 5 * forward.logits.softmax(-1)).flatten(-3)[..., pixels]
        return (M * batch["weight"]).sum((-2, -1)) / peak - 3 * share + 5 * gradient.square().sum(-1)

    recipe, found = Recipe(epochs=2, batch=8, lr=0.01, weight_decay=0.1), []
    for penalty in (fused, written_out):
        model = MLP(MLPSpec(hidden=hidden, pixels="unit", init_std=0.5), shape, 5, seed=1).double()
        fit(model, images, labels, recipe, order_seed=4, penalty=penalty, feedback={"weight": weight})
        found.append(list(model.parameters()))
    for a, b in zip(*found, strict=True):
        assert torch.allclose(a, b, rtol=1e-9, atol=1e-11)


def test_cross_entropy_equals_torchs():
    from crayon_bench.fused import cross_entropy

    logits = (torch.randn(3, 7, 5, dtype=torch.float64) * 30).requires_grad_(True)
    labels = torch.randint(0, 5, (3, 7))
    ours = cross_entropy(logits, labels)
    theirs = torch.nn.functional.cross_entropy(logits.flatten(0, 1), labels.flatten(), reduction="none").view(3, 7)
    assert torch.allclose(ours, theirs, rtol=1e-12, atol=1e-14)
    weight = torch.rand(3, 7, dtype=torch.float64)
    (a,), (b,) = (torch.autograd.grad((values * weight).sum(), logits) for values in (ours, theirs))
    assert torch.allclose(a, b, rtol=1e-11, atol=1e-14)


def test_what_a_batch_gives_to_a_plain_penalty_is_kept():
    """Buffers are used again in a stack only: a penalty for one network may keep what it was given."""
    images = torch.randint(0, 256, (20, 1, 4, 4), dtype=torch.uint8)
    labels, weight, kept = torch.arange(20) % 3, torch.arange(20.0), []

    def penalty(forward, batch: Batch):
        kept.append((batch.index.clone(), batch["weight"]))
        return batch["weight"] * 0

    model = MLP(MLPSpec(hidden=[4], pixels="unit"), (1, 4, 4), 3, seed=0)
    recipe = Recipe(epochs=2, batch=5, lr=0.01)
    fit(model, images, labels, recipe, order_seed=0, penalty=penalty, feedback={"weight": weight})
    assert len(kept) == 8
    assert all(torch.equal(weight[index], given) for index, given in kept)
