"""The Python API: the same as the command, in numbers and in words."""

import asyncio
import json
import subprocess
import sys
import threading
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import pytest

import crayon_bench as cb

TINY = {"original.epochs": 1, "refine.epochs": 1}
METHODS = ["original", "rrr", "energy"]


def tiny(store: str = "api", **changes) -> cb.Results:
    arguments = {
        "dataset": "decoymnist",
        "methods": METHODS,
        "seeds": 2,
        "source": "standin",
        "settings": TINY,
        "store": store,
        "executor": "serial",
        "progress": False,
    }
    return cb.run(**{**arguments, **changes})


@pytest.fixture(scope="module")
def results(tmp_path_factory) -> cb.Results:
    return tiny(str(tmp_path_factory.mktemp("api") / "store"))


def test_the_command_and_the_api_leave_the_same_records_and_print_the_same_table(results, cli):
    done = cli(
        "run", "--dataset", "decoymnist", "--methods", ",".join(METHODS), "--seeds", "2", "--source", "standin",
        "--set", "original.epochs=1", "--set", "refine.epochs=1", "--store", "command", "--executor", "serial",
    )  # fmt: skip
    assert done.code == 0, done.err
    ours, theirs = results, cb.load_results("command")
    assert {r.key: r.metrics for r in ours} == {r.key: r.metrics for r in theirs}
    for record in ours:
        left, right = (
            pq.read_table(store.store.runs / record.folder / "predictions.parquet").to_pydict()
            for store in (ours, theirs)
        )
        assert left == right
    # The board without its times: what is left is the same, to the letter.
    scores = results.leaderboard("table2").to_markdown().split("**Details**")[0]
    printed = cli("leaderboard", "--store", "command", "--format", "markdown").out.split("**Details**")[0]
    assert scores == printed


def test_frames_hold_what_records_hold(results):
    runs = results.to_frame("run")
    assert list(runs.columns[:12]) == [
        "dataset", "source", "protocol", "setting", "method", "variant", "budget", "control", "oracle", "seed", "status",
        "metric",
    ]  # fmt: skip
    assert len(runs) == sum(len(record.metrics) for record in results)
    for record in results:
        mine = runs[runs.key == record.key].set_index("metric").value
        assert {name: value.value for name, value in record.metrics.items()} == mine.to_dict()
    cells = results.to_frame("cell").set_index(["method", "metric"])
    by_hand = runs.groupby(["method", "metric"]).value
    for at, row in cells.iterrows():
        assert row["mean"] == pytest.approx(by_hand.mean()[at])
        assert row["std"] == pytest.approx(by_hand.std(ddof=1)[at])
        assert row["n"] == 2
    groups = results.to_frame("group")
    record = results.records[0]
    mine = groups[groups.key == record.key]
    assert mine.right.tolist() == [group.right for group in record.groups]
    worst = (mine.right / mine.total).min() * 100
    assert worst == pytest.approx(record.metrics["worst_group_accuracy"].value)


def test_predictions_give_the_accuracy_of_the_record(results):
    seen = results.predictions(method="rrr", seed=0)
    (record,) = results.filter(method="rrr", seed=0)
    assert (seen.label == seen.predicted).mean() * 100 == pytest.approx(record.metrics["sample_accuracy"].value)
    assert seen.example.is_unique


def test_filter_takes_values_and_lists_and_refuses_what_is_not_there(results):
    assert [r.method for r in results.filter(method=["rrr", "energy"], seed=1)] == ["rrr", "energy"]
    assert len(results.filter(setting=results.records[0].setting[:8])) == len(results)
    with pytest.raises(cb.UserError, match="there is no such column — did you mean 'method'"):
        results.filter(methods="rrr")
    with pytest.raises(cb.UserError, match="no run has it — did you mean 'rrr'"):
        results.filter(method="rr")
    runs = results.to_frame()
    assert len(
        results.filter(seed=runs["seed"].unique(), budget="all", status={"ok"}, variant=["", "epochs=1"])
    ) == len(results)
    with pytest.raises(cb.UserError, match="no run has all of: method rrr, seed 1"):
        cb.Results([*results.filter(method="rrr", seed=0), *results.filter(method="energy", seed=1)]).filter(
            method="rrr", seed=1
        )


def test_a_leaderboard_shows_itself_and_is_saved(results):
    board = results.leaderboard("table2")
    html = board._repr_html_()
    assert "<table" in html
    assert "STAND-IN" in html
    assert "STAND-IN" in board._repr_markdown_()
    assert str(board).startswith("STAND-IN DATA")
    frame = board.to_frame()
    assert isinstance(frame, pd.DataFrame)
    assert "RRR" in frame.to_string()
    for ending in ("csv", "json", "md", "tex", "html", "txt"):
        assert board.save(f"board.{ending}").read_text()
    assert json.loads(Path("board.json").read_text())
    with pytest.raises(cb.UserError, match="expected a file name that ends with"):
        board.save("board.xlsx")
    with pytest.raises(cb.UserError, match="board table1"):
        results.leaderboard("table1")
    assert results.leaderboard("table2", methods="rrr").to_frame().method.tolist() == ["rrr"]
    with pytest.raises(cb.UserError, match="methods rr: no run has it — did you mean 'rrr'"):
        results.leaderboard("table2", methods=["rr"])


def test_nothing_is_run_twice_and_loading_runs_nothing(results, monkeypatch):
    path = results.store.path
    before = {r.key: r.finished for r in results}
    again = tiny(str(path))
    assert {r.key: r.finished for r in again} == before
    monkeypatch.setattr("crayon_bench.runs.perform.perform", lambda *a, **k: pytest.fail("it ran"))
    assert len(cb.load_results(path)) == len(results)
    with pytest.raises(cb.UserError, match="there is none"):
        cb.load_results("nowhere")


def test_a_dry_run_tells_what_is_to_do(results):
    plan = tiny(str(results.store.path), methods=[*METHODS, "train-more"], dry_run=True)
    assert [request.method for request in plan.to_do] == ["train-more", "train-more"]
    assert len(plan) == len(results)
    assert len(tiny("no-such-store", dry_run=True).to_do) == 2 * len(METHODS)
    assert not Path("no-such-store").exists()


MISTAKES = [
    ({"methods": "rr"}, ["--methods", "rr"]),
    ({"dataset": "decoymnst"}, ["--dataset", "decoymnst"]),
    ({"source": "fake"}, ["--source", "fake"]),
    ({"device": "gpu"}, ["--device", "gpu"]),
    ({"seeds": "x"}, ["--seeds", "x"]),
    ({"seeds": 0}, ["--seeds", "0"]),
    ({"seeds": 1.5}, ["--seeds", "1.5"]),
    ({"budget": 0.1}, ["--budget", "0.1"]),
    ({"budget": "many"}, ["--budget", "many"]),
    ({"executor": "serail"}, ["--executor", "serail"]),
    ({"workers": 0}, ["--workers", "0"]),
    ({"time_limit": 0}, ["--time-limit", "0"]),
    ({"memory_limit": 0}, ["--memory-limit", "0"]),
    ({"rerun": "never"}, ["--rerun", "never"]),
    ({"oracle": "human"}, ["--oracle", "human"]),
    ({"protocol": "papr"}, ["--protocol", "papr"]),
    ({"strategy": "best"}, ["--strategy", "best"]),
    ({"settings": {"rrr.lamda": 1}}, ["--set", "rrr.lamda=1"]),
    ({"settings": {"rrr.lambda": "much"}}, ["--set", "rrr.lambda=much"]),
    ({"weights": "none.pth"}, ["--weights", "none.pth"]),
    ({"plugin": "none.py"}, ["--plugin", "none.py"]),
    ({"data_root": "none"}, ["--data-root", "none"]),
]


@pytest.mark.parametrize(("arguments", "options"), MISTAKES, ids=[" ".join(o) for _, o in MISTAKES])
def test_a_mistake_has_the_commands_words(arguments, options, cli):
    base = {"dataset": "decoymnist", "source": "standin", "methods": "rrr", "store": "mistake", "progress": False}
    words = {"--dataset": "decoymnist", "--source": "standin", "--methods": "rrr", "--store": "mistake"}
    with pytest.raises(cb.UserError) as mistake:
        cb.run(**{**base, **arguments})
    words |= dict([options])
    said = cli("run", *[word for pair in words.items() for word in pair], "--quiet")
    assert said.code == 2
    assert said.err.splitlines()[-1] == f"Error: {mistake.value}"
    assert "\n" not in str(mistake.value)
    assert not Path("mistake").exists()


def test_a_value_that_toml_does_not_have_is_refused():
    for value in (float("nan"), None, object()):
        with pytest.raises(cb.UserError, match=r"settings rrr.lambda"):
            tiny(settings={"rrr.lambda": value})


def test_inside_an_event_loop_and_from_a_thread(results):
    async def inside():
        return tiny("loop", methods="rrr", seeds=[0])

    found = [asyncio.run(inside())]
    thread = threading.Thread(target=lambda: found.append(tiny("thread", methods="rrr", seeds=[0])))
    thread.start()
    thread.join()
    expected = results.filter(method="rrr", seed=0).records[0].metrics
    assert [one.records[0].metrics for one in found] == [expected, expected]


def test_a_second_call_at_the_same_time_is_refused(tmp_path):
    plugin = tmp_path / "nested.py"
    plugin.write_text(
        "import crayon_bench as cb\n"
        "class Nested(cb.Method):\n"
        "    name, title, summary = 'nested', 'Nested', 'for a test'\n"
        "    def refine(self, job):\n"
        "        cb.run('decoymnist', 'original', store='inner')\n"
    )
    (record,) = tiny(methods="nested", seeds=[0], plugin=plugin).failed
    assert "another run() is at work in this process" in record.reason
    assert not Path("inner").exists()


def test_a_time_limit_in_a_thread_is_kept_or_told(results):
    found = []

    def work():
        try:
            found.append(tiny("limited", methods="rrr", seeds=[0], time_limit=100))
        except cb.UserError as error:
            found.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    (one,) = found
    assert isinstance(one, cb.UserError)
    assert "main thread" in str(one)


def test_lists_name_what_there_is():
    assert {"celeba", "decoymnist", "folder", "waterbirds"} <= set(cb.list_datasets())
    assert {"original", "rrr"} <= set(cb.list_methods())
    assert {"paper", "quick"} <= set(cb.list_protocols("celeba"))
    with pytest.raises(cb.UserError, match="did you mean 'celeba'"):
        cb.list_protocols("celeb")


def test_importing_it_is_light():
    code = (
        "import sys, crayon_bench as cb; dir(cb); heavy = {'torch', 'numpy', 'pandas', 'pydantic'} & set(sys.modules);"
        " sys.exit(str(heavy) if heavy else 0)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
