"""``runs list``, ``runs show`` and the naming of runs: what sets runs apart can be seen, and fits the terminal."""

import json
import shlex
from pathlib import Path

import pytest

from crayon_bench.cli import invoke

FACES = ["--dataset", "celeba", "--source", "standin", "--seeds", "0,", "--executor", "serial"]
SIZES = ("dataset.majority=20", "dataset.minority=4", "dataset.test=4", "dataset.validation=4", "original.epochs=1")
SMALL = [part for pair in (*SIZES, "refine.epochs=1") for part in ("--set", pair)]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A store with a run of three budgets, one with other answers and one with another parameter."""
    folder = tmp_path_factory.mktemp("store")
    methods = {
        "--budget=10,50%,all": "original,crayon-attention,random-pruning",
        "--oracle=noisy": "crayon-attention",
    }
    methods["--set=crayon-attention.alpha=3"] = "crayon-attention"
    methods["--control=shuffled"] = "rrr"
    for more, names in methods.items():
        command = ["run", *FACES, *SMALL, "--quiet", "--methods", names, more, "--store", str(folder / "crayon-runs")]
        assert invoke(command) == 0
    return folder


@pytest.fixture
def store(made, monkeypatch):
    """Work in the folder with that store, in a pipe."""
    monkeypatch.delenv("COLUMNS", raising=False)
    monkeypatch.chdir(made)
    return made


@pytest.mark.parametrize("columns", [80, 100, 77])
def test_the_list_fits_the_terminal_and_tells_budget_oracle_and_control(cli, store, columns, monkeypatch):
    monkeypatch.setenv("COLUMNS", str(columns))
    told = cli("runs", "list")
    assert told.code == 0 and max(map(len, told.out.splitlines())) <= columns
    heads = next(line for line in told.out.splitlines() if line.startswith("key")).split()
    assert {"key", "method", "budget", "oracle", "control", "seed", "WGA"} <= set(heads)
    assert "50%" in told.out and "noisy" in told.out and "shuffled" in told.out and "tally" in told.out
    assert "dataset celeba" in told.out and "Left out, for the width: time" in told.out


def test_a_pipe_gets_every_column(cli, store):
    out = cli("runs", "list").out
    assert "original.epochs=1, " in out and "Left out" not in out and "…" not in out


def test_what_is_as_usual_in_all_runs_is_no_column(cli, monkeypatch):
    monkeypatch.setenv("COLUMNS", "120")
    assert cli("run", *FACES, *SMALL, "--methods", "original").code == 0
    out = cli("runs", "list").out
    assert not {"budget", "oracle", "control"} & set(out.splitlines()[0].split())
    assert "dataset.majority=20, " in out and out.splitlines()[2].endswith("…") and len(out.splitlines()[2]) == 120


@pytest.mark.parametrize("command", [["show"], ["export", "--output", "x.safetensors"], ["diff", "celeba.original"]])
def test_several_runs_are_listed_with_what_sets_them_apart(cli, store, command):
    told = cli("runs", *command[:1], "celeba.crayon-attention.s0", *command[1:])
    assert told.code == 2 and told.out == "" and "Traceback" not in told.err
    *listed, error = told.err.splitlines()
    assert listed[0].split() == ["key", "budget", "oracle", "remark"]
    assert any("10 " in line for line in listed) and any("noisy" in line for line in listed)
    assert any("crayon-attention.alpha=3" in line for line in listed)
    assert error.startswith("Error: store crayon-runs: 5 runs begin with 'celeba.crayon-attention.s0'")
    key = next(line.split()[0] for line in listed if "noisy" in line)
    shown = json.loads(cli("runs", "show", key, "--format", "json").out)
    assert shown["coordinates"]["oracle"]["name"] == "noisy"


def test_a_run_and_its_control_are_set_apart_by_the_control(cli, store):
    told = cli("runs", "show", "celeba.rrr.s0")
    assert told.code == 2
    assert told.err.splitlines()[0].split() == ["key", "control"]
    assert any(line.endswith("shuffled") for line in told.err.splitlines())


def test_the_model_of_a_control_is_not_what_one_takes_home(cli, store):
    assert cli("runs", "export", "celeba.rrr.s0", "--output", "true.safetensors").code == 0
    assert "answers shuffled" not in Path("true.md").read_text() and "control" not in Path("true.md").read_text()


def test_an_oracle_chooses_among_several(cli, store):
    told = cli("runs", "show", "celeba.crayon-attention", "--oracle", "noisy")
    assert told.code == 0 and "oracle     noisy" in told.out
    none = cli("runs", "show", "celeba.crayon-attention", "--oracle", "human")
    assert none.code == 2 and "there is: noisy, simulated" in none.err


def test_a_run_is_shown_for_people_and_as_json_for_machines(cli, store, monkeypatch):
    record = next(
        record
        for file in store.glob("crayon-runs/runs/*/record.json")
        if (record := json.loads(file.read_text()))["coordinates"]["method"]["name"] == "crayon-attention"
        and (record["coordinates"]["budget"] or {}).get("share") == 0.5
    )
    monkeypatch.setenv("COLUMNS", "80")
    told = cli("runs", "show", record["key"][:12])
    out = told.out
    assert out.startswith("CRAYON-Attention on Biased CelebA (STAND-IN data), seed 0: ok\n")
    for metric in record["metrics"].values():
        assert f"{metric['short']} {metric['value']:.2f} %" in out
    for group in record["groups"]:
        assert f"{group['name']}" in out and f"{group['right']} / {group['total']}" in out
    assert "Feedback: 24 answers" in out and "budget     50%" in out
    facts = out.partition("To repeat it:")[0]
    assert max(map(len, facts.splitlines())) <= 80
    assert json.loads(cli("runs", "show", record["key"], "--format", "json").out) == record


@pytest.mark.slow
def test_the_command_that_repeats_a_run_is_about_the_same_run(cli, store):
    for file in store.glob("crayon-runs/runs/*/record.json"):
        record = json.loads(file.read_text())
        key, control = record["key"], record["coordinates"].get("control")
        line = cli("runs", "show", key).out.partition("To repeat it:\n")[2].splitlines()[0]
        words = shlex.split(line)
        assert words[:2] == ["crayon-bench", "run"]
        plan = cli(*words[1:], "--dry-run")
        assert plan.code == 0 and key[:12] in plan.out, line
        # A control is run beside the true answers.
        assert ("1 to do" if control is None else "2 to do") in plan.out, line


def test_a_folder_and_a_protocol_of_ones_own_are_named_as_missing():
    from crayon_bench.cli.showing import Known, command_of
    from crayon_bench.store.records import Record

    line = (Path(__file__).parent / "golden" / "records.jsonl").read_text().splitlines()[0]
    record = Record.model_validate_json(line)
    command, missing = command_of(record, Path("elsewhere"), Known(["paper"], True))
    assert f"{record.dataset}:PATH" in command and missing[:2] == ["PATH", f"{record.protocol}.toml"]
    assert command[-2:] == ["--store", "elsewhere"]
