"""Runs and their records: continue, repeat, fail, interrupt."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from safetensors.torch import load_file

from conftest import TINY, serial
from helpers import method
from warm import Command

SWEEP = [
    "run",
    "--dataset",
    "decoymnist",
    "--methods",
    "original,crayon-attention,rrr,energy,train-more",
    "--seeds",
    "2",
]


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    """A store with the unbroken sweep, made once for this file."""
    from crayon_bench.cli import invoke

    store = tmp_path_factory.mktemp("whole") / "store"
    assert invoke(serial([*SWEEP, *TINY, "--store", store])) == 0
    return store


@pytest.fixture
def swept(whole) -> None:
    """The default store holds the sweep."""
    shutil.copytree(whole, "crayon-runs")


def scores(out: str) -> str:
    """The table of scores, without times and memory."""
    return out.split(" Details\n")[0]


def run_files(store: Path) -> dict[str, Path]:
    return {folder.name: folder for folder in sorted((store / "runs").iterdir()) if not folder.name.startswith(".")}


def numbers(store: Path) -> dict[str, tuple]:
    """Everything that a result consists of, per run: metrics, feedback, every prediction."""
    found = {}
    for name, folder in run_files(store).items():
        record = json.loads((folder / "record.json").read_text())
        predictions = folder / "predictions.parquet"
        table = pq.read_table(predictions).to_pydict() if predictions.exists() else None
        found[name] = (record["status"], record["metrics"], record["feedback"], table)
    return found


def trained(store: Path) -> dict[str, int]:
    return {name: (folder / "record.json").stat().st_mtime_ns for name, folder in run_files(store).items()}


def test_a_second_run_trains_nothing_and_prints_the_same_table(cli):
    first = cli(*SWEEP, *TINY)
    assert first.code == 0, first.err
    stamp = {
        name: (folder / "record.json").stat().st_mtime_ns for name, folder in run_files(Path("crayon-runs")).items()
    }
    second = cli(*SWEEP, *TINY)
    assert second.code == 0
    assert second.out == first.out
    assert stamp == {n: (f / "record.json").stat().st_mtime_ns for n, f in run_files(Path("crayon-runs")).items()}
    assert "[1/" not in second.err


def test_look_up_happens_before_data_are_loaded(cli, swept, monkeypatch):
    from crayon_bench_plugins.datasets.decoymnist import DecoyMNIST

    monkeypatch.setattr(DecoyMNIST, "load", lambda *a: pytest.fail("loaded"))
    assert cli(*SWEEP, *TINY).code == 0


def test_same_seed_same_predictions_and_other_seed_others(cli, whole):
    cli(*SWEEP, *TINY, "--store", "a")
    assert numbers(Path("a")) == numbers(whole)
    values = [n[1]["sample_accuracy"]["value"] for k, n in numbers(Path("a")).items() if ".original." in k]
    assert len(set(values)) == 2


def test_the_result_of_a_method_does_not_depend_on_its_company(cli, whole):
    cli("run", "--dataset", "decoymnist", "--methods", "energy", "--seeds", "1,", *TINY, "--store", "alone")
    (name,) = run_files(Path("alone"))
    assert numbers(Path("alone"))[name] == numbers(whole)[name]


def originals(store: Path) -> dict[str, dict]:
    return {file.parent.name: load_file(file) for file in store.glob("artifacts/original-model.*/tensors.safetensors")}


@pytest.mark.slow
def test_nor_on_the_seeds_beside_it_their_order_or_what_is_in_the_store(cli):
    """All methods, original models and refined ones: one seed alone, turned about, and added to a store that holds some."""
    assert cli(*SWEEP, "--seeds", "4", *TINY, "--store", "four").code == 0
    for store, seeds in (("alone", "2,"), ("turned", "3,0")):
        assert cli(*SWEEP, "--seeds", seeds, *TINY, "--store", store).code == 0
    cli("run", "--dataset", "decoymnist", "--methods", "original,rrr", "--seeds", "1,3", *TINY, "--store", "grown")
    assert cli(*SWEEP, "--seeds", "4", *TINY, "--store", "grown").code == 0
    four, models = numbers(Path("four")), originals(Path("four"))
    for store, seeds in (("alone", 1), ("turned", 2), ("grown", 4)):
        some = numbers(Path(store))
        assert len(some) == 5 * seeds
        assert all(some[name] == four[name] for name in some)
        assert len(originals(Path(store))) == seeds
        for name, tensors in originals(Path(store)).items():
            assert all(tensors[key].equal(models[name][key]) for key in tensors)


def test_selection_on_validation_is_the_same_in_company(cli):
    options = ["--set", "dataset.validation=200", "--set", "protocol.selection=val_accuracy"]
    base = ["run", "--dataset", "decoymnist", "--methods", "original,train-more", *TINY, "--set", "refine.epochs=3"]
    assert cli(*base, *options, "--seeds", "2", "--store", "all").code == 0
    assert cli(*base, *options, "--seeds", "1,", "--store", "alone").code == 0
    whole, alone = numbers(Path("all")), numbers(Path("alone"))
    assert len(alone) == 2
    assert all(whole[name] == alone[name] for name in alone)


PARTIAL = """
import numpy as np
from crayon_bench import Boxes, FeedbackOracle, Masks, Verdicts
class Partial(FeedbackOracle):
    name = "partial"
    title = "partial"
    summary = "leaves out another number of questions for each seed"
    def _some(self, n):
        return np.random.RandomState(self.seed % 1000).rand(n) < 0.5
    def judge_maps(self, examples, maps, evidence):
        return Verdicts(np.where(self._some(len(examples)), -1, 2).astype(np.int8))
    def irrelevant_masks(self, examples, evidence):
        return Masks(evidence.irrelevant_masks(examples), self._some(len(examples)))
    def boxes(self, examples, evidence):
        return Boxes(evidence.boxes(examples), self._some(len(examples)))
"""


def test_feedback_is_counted_for_each_seed(cli):
    Path("partial.py").write_text(PARTIAL)
    base = ["run", "--dataset", "decoymnist", "--methods", "crayon-attention,rrr,energy", *TINY]
    base += ["--plugin", "partial.py", "--oracle", "partial"]
    assert cli(*base, "--seeds", "3", "--store", "all").code == 0
    assert cli(*base, "--seeds", "2,", "--store", "alone").code == 0
    whole, alone = numbers(Path("all")), numbers(Path("alone"))
    assert len(alone) == 3
    assert all(whole[name] == alone[name] for name in alone)
    counts = [feedback["total"] for name, (_, _, feedback, _) in whole.items() if ".rrr." in name]
    assert len(set(counts)) == 3
    assert all(0 < count < 1197 for count in counts)


def test_a_seed_that_diverges_fails_alone(cli, tmp_path):
    file = tmp_path / "shaky.py"
    body = """
bad = float("inf") if job.base_seed == 1 else 0.0
job.oracle.boxes(range(job.base_seed + 1))
weight = torch.full((len(job.images),), bad)
return job.fit(lambda forward, batch: batch["weight"] * forward.logits.square().sum(-1), {"weight": weight})
"""
    file.write_text(method("shaky", body, extra="asks = (FeedbackKind.BOX,)"))
    base = ["run", "--dataset", "decoymnist", "--methods", "shaky", "--plugin", file, *TINY]
    assert cli(*base, "--seeds", "3", "--store", "all").code == 1
    found = numbers(Path("all"))
    assert [found[name][0] for name in sorted(found)] == ["ok", "failed", "ok"]
    assert [found[name][2]["total"] for name in sorted(found)] == [1, 2, 3]
    assert cli(*base, "--seeds", "2,", "--store", "alone").code == 0
    ((name, alone),) = numbers(Path("alone")).items()
    assert found[name] == alone


def test_the_original_model_is_made_once_per_seed_and_shared(swept):
    models = [p for p in Path("crayon-runs/artifacts").iterdir() if p.is_dir()]
    assert len(models) == 2
    logs = [(f / "log.txt").read_text() for f in run_files(Path("crayon-runs")).values()]
    assert sum("trained" in log for log in logs) == 2
    assert sum("reused" in log for log in logs) == 8


def test_two_stores_merge_by_copying(cli):
    cli("run", "--dataset", "decoymnist", "--methods", "original", "--seeds", "2", *TINY, "--store", "a")
    cli("run", "--dataset", "decoymnist", "--methods", "train-more", "--seeds", "2", *TINY, "--store", "b")
    shutil.copytree("a", "b", dirs_exist_ok=True)
    rows = {r["method"]: r for r in json.loads(cli("leaderboard", "--store", "b", "--format", "json").out)["rows"]}
    assert rows["original"]["status"] == rows["train-more"]["status"] == "ok"


def start(store: Path, *extra: str) -> Command:
    command = [*SWEEP, "--source", "standin", "--set", "original.epochs=4", "--set", "refine.epochs=6"]
    return Command([*command, "--executor", "serial", "--store", store, *extra])


@pytest.mark.slow
def test_killed_at_random_moments_and_continued_gives_the_same_numbers_bit_for_bit(tmp_path):
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    begin = time.monotonic()
    assert start(whole).wait(timeout=300) == 0
    length = time.monotonic() - begin
    seed = random.SystemRandom().randrange(10**6)
    print("moments drawn with seed", seed)
    chance = random.Random(seed)
    finished: dict[str, int] = {}
    cut_short = 0
    for attempt in range(6):
        process = start(broken)
        # The first early: on a machine that other work has left since, all would be done before the first kill.
        time.sleep(chance.uniform(0.3, 1.0 if attempt else 0.4) * length)
        process.kill()
        process.wait()
        cut_short += process.returncode == -signal.SIGKILL
        if (broken / "runs").exists():
            now = {name: (folder / "record.json").stat().st_mtime_ns for name, folder in run_files(broken).items()}
            assert {n: now[n] for n in finished} == finished  # what was done was not done again
            finished = now
    assert cut_short >= 1
    last = start(broken)
    _, err = last.communicate(timeout=300)
    assert last.returncode == 0, err
    assert numbers(broken) == numbers(whole)


@pytest.mark.slow
def test_ctrl_c_leaves_a_record_and_the_same_command_continues(tmp_path):
    store = tmp_path / "store"
    long = ["--methods", "original,train-more", "--set", "refine.epochs=60"]
    process = start(store, *long)
    deadline = time.monotonic() + 120
    while not (store / "runs").exists() or not run_files(store):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert "Traceback" not in out + err
    assert "the same command continues" in err
    statuses = [n[0] for n in numbers(store).values()]
    assert statuses.count("interrupted") == 1
    assert statuses.count("ok") >= 1
    done = {
        n: (f / "record.json").stat().st_mtime_ns for n, f in run_files(store).items() if numbers(store)[n][0] == "ok"
    }
    rest = start(store, *long)
    _, err = rest.communicate(timeout=300)
    assert rest.returncode == 0, err
    assert [n[0] for n in numbers(store).values()] == ["ok"] * 4
    assert all((run_files(store)[n] / "record.json").stat().st_mtime_ns == stamp for n, stamp in done.items())


# ---------------------------------------------------------------------------------------------------------------------
# failures

BAD = {
    "raises": ("raise RuntimeError('the cat\\nsat on it')", "RuntimeError: the cat sat on it"),
    "exits": ("raise SystemExit(3)", "SystemExit: 3"),
    "returns nothing": ("return None", "must return a model"),
    "returns NaN": (
        "with torch.no_grad():\n    job.model.weights[0].fill_(float('nan'))\nreturn job.model",
        "not all finite",
    ),
    "returns a wrong shape": (
        "return torch.nn.Sequential(job.model, torch.nn.Linear(10, 3))",
        "logits are (600, 3), not (600, 10)",
    ),
    "diverges": (
        "return job.fit(lambda forward, batch: forward.logits.sum(-1) * float('inf'))",
        "TrainingError: the loss is",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_a_method_that_fails_is_reported_and_the_rest_goes_on(cli, tmp_path, case):
    body, message = BAD[case]
    file = tmp_path / "bad.py"
    file.write_text(method("bad", body))
    arguments = [
        "run",
        "--dataset",
        "decoymnist",
        "--methods",
        "bad,train-more",
        "--seeds",
        "1",
        "--plugin",
        file,
        *TINY,
    ]
    result = cli(*arguments)
    assert result.code == 1
    assert message in result.err
    assert "Traceback" not in result.err + result.out
    assert "failed" in result.out
    statuses = {name.split(".")[1]: n[0] for name, n in numbers(Path("crayon-runs")).items()}
    assert statuses == {"bad": "failed", "train-more": "ok"}
    (name,) = [name for name in run_files(Path("crayon-runs")) if ".bad." in name]
    assert "Traceback" in cli("runs", "show", name, "--log").out


def test_rerun(cli, tmp_path):
    file = tmp_path / "flaky.py"
    flag = tmp_path / "mended"
    body = f"from pathlib import Path\nif not Path({str(flag)!r}).exists():\n    raise OSError('not yet')\nreturn job.model"
    file.write_text(method("flaky", body))
    base = ["run", "--dataset", "decoymnist", "--methods", "original,flaky", "--seeds", "1", "--plugin", file, *TINY]
    assert cli(*base).code == 1
    before = trained(Path("crayon-runs"))
    flag.touch()
    assert cli(*base, "--rerun", "missing").code == 1  # the failure stands
    assert trained(Path("crayon-runs")) == before
    assert cli(*base).code == 0  # failed runs are tried again
    after = trained(Path("crayon-runs"))
    assert [name.split(".")[1] for name in after if after[name] != before[name]] == ["flaky"]
    for _ in range(2):  # within a second, too
        assert cli(*base, "--rerun", "all").code == 0
        again = trained(Path("crayon-runs"))
        assert all(again[name] != after[name] for name in after)
        after = again
    assert (
        sum("trained" in log.read_text() for log in Path("crayon-runs").glob("runs/*/log.txt")) == 0
    )  # models are kept


def test_what_a_plugin_prints_and_changes_does_not_leak(cli, tmp_path):
    import torch

    body = """
import random
print("garbage")
random.seed(1); torch.manual_seed(1); torch.set_num_threads(2); torch.set_default_dtype(torch.float64)
torch.set_grad_enabled(False)
return job.model
"""
    file = tmp_path / "messy.py"
    file.write_text(method("messy", body))
    state, threads = random.getstate(), torch.get_num_threads()
    torch_state = torch.random.get_rng_state()
    result = cli("run", "--dataset", "decoymnist", "--methods", "messy", "--seeds", "1", "--plugin", file, *TINY)
    assert result.code == 0, result.err
    assert "garbage" not in result.out
    assert random.getstate() == state
    assert torch.equal(torch.random.get_rng_state(), torch_state)
    assert (torch.get_num_threads(), torch.get_default_dtype(), torch.is_grad_enabled()) == (
        threads,
        torch.float32,
        True,
    )
    (name,) = run_files(Path("crayon-runs"))
    assert "garbage" in cli("runs", "show", name, "--log").out


# ---------------------------------------------------------------------------------------------------------------------
# damage


def test_damaged_records_and_artifacts_are_set_aside_and_remade(cli, swept):
    first = cli(*SWEEP, *TINY)
    expected = numbers(Path("crayon-runs"))
    name = next(n for n in expected if ".rrr." in n)
    record = Path("crayon-runs/runs") / name / "record.json"
    record.write_text(record.read_text()[:100])
    for artifact in Path("crayon-runs/artifacts").glob("*/tensors.safetensors"):
        content = bytearray(artifact.read_bytes())
        content[len(content) // 2] ^= 1
        artifact.write_bytes(content)
    again = cli(*SWEEP, *TINY)
    assert again.code == 0
    assert "record" in again.err
    assert "artifact" in again.err
    assert "damaged" in again.err
    assert scores(again.out) == scores(first.out)
    assert numbers(Path("crayon-runs")) == expected


def test_a_newer_schema_is_refused(cli, swept):
    Path("crayon-runs/store.json").write_text('{"schema": 99}')
    for command in (SWEEP + TINY, ["leaderboard"], ["runs", "list"]):
        result = cli(*command)
        assert result.code == 2
        assert "schema is 99" in result.err
        assert len(result.err.strip().splitlines()) == (2 if command[0] == "run" else 1)


def test_the_store_of_a_newer_record_is_refused_too(cli, swept):
    record = next(Path("crayon-runs/runs").glob("*/record.json"))
    record.write_text(record.read_text().replace('"schema": 1', '"schema": 99', 1))
    assert cli("leaderboard").code == 2
    assert record.exists()


@pytest.mark.skipif(
    os.geteuid() == 0, reason="root may write anywhere; the next test covers a store that cannot be made"
)
def test_an_unwritable_store_is_the_users_mistake(cli, tmp_path):
    folder = tmp_path / "locked"
    folder.mkdir(mode=0o555)
    result = cli(*SWEEP, *TINY, "--store", folder / "store")
    assert result.code == 2
    assert "cannot be written" in result.err


def test_a_store_that_cannot_be_made_is_the_users_mistake(cli, tmp_path):
    (tmp_path / "file").write_text("")
    result = cli(*SWEEP, *TINY, "--store", tmp_path / "file" / "store")
    assert result.code == 2
    assert "cannot be written" in result.err
    assert "Traceback" not in result.err


def test_records_name_everything(cli):
    cli("run", "--dataset", "decoymnist", "--methods", "rrr", "--seeds", "1", *TINY, "--set", "rrr.lambda=7")
    (record,) = json.loads(cli("runs", "list", "--format", "json").out)
    c = record["coordinates"]
    assert c["dataset"]["source"] == "standin"
    assert c["method"] == {
        "name": "rrr", "version": 1, "parameters": {"lambda": 7.0},
        "recipe": {"epochs": 1, "batch": 32, "lr": 1e-3, "lr_decay": 0.95, "milestones": [], "weight_decay": 1e-4},
    }  # fmt: skip
    assert (c["seed"], c["selection"], c["budget"], c["weights"]) == (0, "last", None, None)
    assert record["overrides"] == {"original.epochs": 1, "refine.epochs": 1, "rrr.lambda": 7}
    assert record["feedback"]["by_kind"] == {"irrelevant_mask": 1197}
    assert {"torch", "python", "device", "commit", "crayon_bench"} <= set(record["environment"])
    assert sum(g["total"] for g in record["groups"]) == 600


def test_selection_on_validation_is_part_of_the_key_and_never_sees_the_test_set(cli):
    base = [
        "run",
        "--dataset",
        "decoymnist",
        "--methods",
        "train-more",
        "--seeds",
        "1",
        *TINY,
        "--set",
        "refine.epochs=3",
    ]
    result = cli(*base, "--set", "protocol.selection=val_accuracy")
    assert result.code == 2
    assert "needs a validation split" in result.err
    result = cli(*base, "--set", "dataset.validation=2000")
    assert result.code == 2
    assert "only 1197 training images" in result.err
    assert cli(*base, "--set", "protocol.selection=val_accuracy", "--set", "dataset.validation=200").code == 0
    assert cli(*base, "--set", "dataset.validation=200").code == 0
    result = cli(*base, "--set", "protocol.selection=val_wga", "--set", "dataset.validation=200")
    assert result.code == 2
    assert "no validation examples" in result.err


def test_initial_weights_and_order_both_depend_on_the_seed(cli):
    run = ["run", "--dataset", "decoymnist", "--methods", "original", "--seeds", "2", "--source", "standin"]
    cli(*run, "--set", "original.epochs=0", "--store", "untrained")
    first, second = (n[3]["predicted"] for n in numbers(Path("untrained")).values())
    assert first != second


def test_what_a_method_writes_into_its_images_does_not_reach_the_next_run(cli, tmp_path):
    file = tmp_path / "vandal.py"
    file.write_text(
        method("vandal", "job.images.zero_()\njob.labels.zero_()\njob.original.weights[0].zero_()\nreturn job.fit()")
    )
    base = ["run", "--dataset", "decoymnist", "--seeds", "2", *TINY]
    assert cli(*base, "--methods", "original,vandal,train-more", "--plugin", file, "--store", "after").code == 0
    assert cli(*base, "--methods", "original,train-more", "--store", "alone").code == 0
    after, alone = numbers(Path("after")), numbers(Path("alone"))
    assert all(after[name] == alone[name] for name in alone)


def test_what_methods_share_is_made_once(cli, tmp_path):
    body = """
def make():
    job.report("made")
    return {"sum": job.images.sum().float()}
assert job.shared("sum", make)["sum"] > 0
return job.model
"""
    for name in ("first", "second"):
        (tmp_path / f"{name}.py").write_text(method(name, body))
    plugins = ["--plugin", tmp_path / "first.py", "--plugin", tmp_path / "second.py"]
    result = cli("run", "--dataset", "decoymnist", "--methods", "first,second", "--seeds", "2", *plugins, *TINY)
    assert result.code == 0, result.err
    logs = [(folder / "log.txt").read_text() for folder in run_files(Path("crayon-runs")).values()]
    assert sum("made" in log for log in logs) == 2  # one per seed


def test_a_method_that_applies_again_is_no_longer_skipped(cli, monkeypatch):
    from crayon_bench.feedback import FeedbackKind
    from crayon_bench_plugins.datasets.decoymnist import DecoyMNIST

    base = ["run", "--dataset", "decoymnist", "--methods", "rrr", "--seeds", "1", *TINY]
    monkeypatch.setitem(DecoyMNIST.evidence, FeedbackKind.IRRELEVANT_MASK, "nobody knows")
    cli(*base)
    monkeypatch.setitem(DecoyMNIST.evidence, FeedbackKind.IRRELEVANT_MASK, "")
    assert cli(*base).code == 0
    assert [n[0] for n in numbers(Path("crayon-runs")).values()] == ["ok"]


def test_two_processes_may_write_the_same_run(tmp_path):
    code = (
        "import sys\nfrom pathlib import Path\nfrom crayon_bench.store.atomic import write_folder\n"
        "for i in range(150):\n    write_folder(Path(sys.argv[1]), {'a': str(i).encode() * 1000})\n"
    )
    target = tmp_path / "run"
    both = [subprocess.Popen([sys.executable, "-c", code, str(target)], stderr=subprocess.PIPE) for _ in range(2)]
    assert [process.wait() for process in both] == [0, 0], [process.stderr.read() for process in both]
    assert [p.name for p in tmp_path.iterdir()] == ["run"]
    assert (target / "a").stat().st_size == 3000


RECORD_EDITS = {
    "not a number": ('"value": ', '"value": NaN, "was": '),
    "other coordinates": ('"seed": 0', '"seed": 1'),
    "a negative count": ('"total": ', '"total": -'),
    "nothing in it": ("{", "[[[" * 30000 + "{"),
    "no titles": ('"title": {', '"title": {}, "was": {'),
}


@pytest.mark.parametrize("case", RECORD_EDITS)
def test_an_edited_record_is_damaged_and_no_command_falls_over_it(cli, case):
    base = ["run", "--dataset", "decoymnist", "--methods", "original,rrr", "--seeds", "1", *TINY]
    expected = scores(cli(*base).out)
    (record,) = Path("crayon-runs/runs").glob("*.rrr.*/record.json")
    record.write_text(record.read_text().replace(*RECORD_EDITS[case], 1))
    for command in (["leaderboard"], ["runs", "list"]):
        result = cli(*command)
        assert result.code == 0
        assert "is damaged" in result.err
        assert record.exists()  # reading changes nothing
    assert scores(cli(*base).out) == expected
    assert "damaged" not in cli("leaderboard").err


def test_a_record_without_its_predictions_is_damaged(cli):
    base = ["run", "--dataset", "decoymnist", "--methods", "original", "--seeds", "1", *TINY]
    cli(*base)
    (predictions,) = Path("crayon-runs/runs").glob("*/predictions.parquet")
    predictions.unlink()
    assert "predictions.parquet is missing" in cli(*base).err
    assert predictions.exists()
    for length, what in ((0, "empty"), (50, "cut off")):
        predictions.write_bytes(predictions.read_bytes()[:length])
        for command in (["leaderboard"], base):
            assert f"its predictions are {what}" in cli(*command).err
        assert "damaged" not in cli("leaderboard").err


def test_a_method_that_changes_the_folder_does_not_move_the_store(warm, tmp_path):
    file = tmp_path / "mover.py"
    file.write_text(method("mover", f"import os\nos.chdir({str(tmp_path)!r})\nreturn job.model"))
    base = ["run", "--dataset", "decoymnist", "--methods", "mover,train-more", "--seeds", "1", "--plugin", file, *TINY]
    assert warm(*base).code == 0
    assert len(run_files(Path("crayon-runs"))) == 2
    assert not (tmp_path / "crayon-runs").exists()
