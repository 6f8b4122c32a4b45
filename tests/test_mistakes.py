"""Users' mistakes: one line that says what, where and what to do; exit code 2; nothing written."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from conftest import TINY

RUN = ["run", "--dataset", "decoymnist"]

MISTAKES = {
    "dataset": (["run", "--dataset", "decoymnits"], "there is no dataset 'decoymnits' — did you mean 'decoymnist'?"),
    "method": ([*RUN, "--methods", "original,rr"], "there is no method 'rr' — did you mean 'rrr'?"),
    "method far off": ([*RUN, "--methods", "xyz"], "choose from: crayon-attention"),
    "empty method": ([*RUN, "--methods", "rrr,,energy"], "names separated by commas"),
    "oracle": ([*RUN, "--oracle", "simulatd"], "did you mean 'simulated'?"),
    "executor": ([*RUN, "--executor", "seriall"], "did you mean 'serial'?"),
    "workers": ([*RUN, "--workers", "2"], "executor 'serial' has one worker"),
    "workers zero": ([*RUN, "--workers", "0"], "--workers"),
    "protocol": ([*RUN, "--protocol", "papper"], "did you mean 'paper'?"),
    "protocol file": ([*RUN, "--protocol", "./none.toml"], "there is no such file"),
    "parameter": ([*RUN, "--set", "rrr.lamda=3"], "rrr.lamda: there is no such parameter — did you mean 'lambda'?"),
    "recipe key": (
        [*RUN, "--set", "refine.epoch=3"],
        "refine.epoch: there is no such parameter; did you mean 'epochs'?",
    ),
    "optimizer": (
        [*RUN, "--set", "refine.optimizer=adamw"],
        "refine.optimizer = 'adamw': input should be 'adam' or 'sgd'",
    ),
    **{
        f"batch normalisation of an MLP: {section}": (
            [*RUN, "--set", f"{section}.bn_momentum=0.2"],
            f"{section}.bn_momentum: changes nothing: the MLP has no batch normalisation",
        )
        for section in ("original", "refine", "rrr")
    },
    "dataset key": ([*RUN, "--set", "dataset.sed=3"], "dataset.sed: there is no such parameter; did you mean 'seed'?"),
    "oracle key": ([*RUN, "--set", "oracle.no_abov=1"], "did you mean 'no_above' or 'no_above_chance'?"),
    "section": ([*RUN, "--set", "rrrr.lambda=3"], "there is no method or section 'rrrr' — did you mean 'rrr'?"),
    "method not in run": ([*RUN, "--methods", "energy", "--set", "rrr.lambda=3"], "method 'rrr' is not in this run"),
    "set without value": ([*RUN, "--set", "rrr.lambda"], "expected SECTION.KEY=VALUE"),
    "bad value": ([*RUN, "--set", "rrr.lambda=minus"], "rrr.lambda = 'minus': input should be a valid number"),
    "negative": ([*RUN, "--set", "crayon-attention.beta=-1"], "crayon-attention.beta = -1"),
    "boolean": ([*RUN, "--set", "original.epochs=true"], "original.epochs = True"),
    "infinite": ([*RUN, "--set", "original.lr=inf"], "original.lr = inf"),
    "fraction of an epoch": ([*RUN, "--set", "refine.epochs=1.5"], "refine.epochs = 1.5"),
    "share above one": ([*RUN, "--set", "oracle.no_above=20"], "oracle.no_above = 20"),
    "negative width": ([*RUN, "--set", "model.hidden=[-5]"], "model.hidden.0 = -5"),
    "recipe of the original as a method's": ([*RUN, "--methods", "gradia,original", "--set", "methods.x=1"], "methods"),
    "selection": ([*RUN, "--set", "protocol.selection=test"], "selection = 'test'"),
    "protocol key": ([*RUN, "--set", "protocol.nme=x"], "protocol"),
    "seeds": ([*RUN, "--seeds", "many"], "--seeds many: expected a number of seeds"),
    "no seeds": ([*RUN, "--seeds", "0"], "for seed 7 alone"),
    "negative seeds": ([*RUN, "--seeds", "-1"], "seeds"),
    "data root": ([*RUN, "--data-root", "nowhere"], "--data-root nowhere: there is no such folder"),
    "no real data": ([*RUN, "--source", "real"], "no DecoyMNIST files found"),
    "source": ([*RUN, "--source", "fake"], "--source"),
    "device": ([*RUN, "--device", "tpu"], "--device"),
    "plugin file": ([*RUN, "--plugin", "none.py"], "--plugin none.py: there is no such file"),
    "option": ([*RUN, "--metods", "all"], "see crayon-bench run --help"),
    "missing option": (["run"], "--dataset"),
    "command": (["rnu"], "there is no command 'rnu' — did you mean 'run'?"),
    "no store": (["leaderboard"], "there is none"),
    "no store 2": (["runs", "list", "--store", "x"], "store x: there is none"),
    "board": (["leaderboard", "--store", "s", "--board", "table9"], "--board table9"),
    "plugin name": (["plugins", "info", "rr"], "did you mean 'rrr'?"),
    "import": (["data", "import", "decoymnist", "nowhere"], "nowhere: there is no such file or folder"),
    "verify": (["data", "verify", "decoymnist"], "crayon-bench data prepare decoymnist"),
    "show": (["data", "show", "decoymnist", "--output", "no/such/folder.png"], "cannot be written"),
    "show set": (
        ["data", "show", "decoymnist", "--output", "x.png", "--set", "rrr.lambda=1"],
        "only dataset.PARAMETER",
    ),
}


@pytest.mark.parametrize("case", MISTAKES)
def test_a_mistake_is_one_line_and_exit_code_2(cli, case):
    arguments, message = MISTAKES[case]
    if "s" in arguments:
        Path("s/runs").mkdir(parents=True)
    before = sorted(Path.cwd().rglob("*"))
    result = cli(*arguments)
    assert result.code == 2, result
    errors = [line for line in result.err.strip().splitlines() if "STAND-IN" not in line]
    assert len(errors) == 1, result.err
    assert errors[0].startswith("Error: ")
    assert message in errors[0]
    assert result.out == ""
    assert sorted(Path.cwd().rglob("*")) == before


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("schema = 1\nname = ", "not valid TOML"),
        ("", "schema: this key is missing"),
        ("schema = 2", "schema = 2"),
        ("{GOOD}\n[refine]\nepochs = 1", "not valid TOML"),
        ("{GOOD}\n[methods.rrr]\nlamda = 1", "rrr.lamda"),
        ("{GOOD}\nsurprise = 1", "methods.surprise"),
        ("{NO_LR}", "original.lr: this key is missing"),
        ("{BAD_LR}", "original.lr = 'fast'"),
        ("{BAD_MODEL}", "model.hidden"),
        ("{OTHER}", "is for dataset 'celeba'"),
        ("{GOOD}[methods.rr]\nlambda = 1", "methods.rr: there is no method 'rr' — did you mean 'rrr'?"),
        ("{GOOD}[oracle.simulatd]\nno_above = 0.5", "oracle.simulatd: there is no oracle 'simulatd'"),
        ("{GOOD}[methods.original]\nlr = 0.5", "original.lr: there is no such parameter"),
        ("{PAPER}", "a built-in protocol has this name"),
    ],
)
def test_a_malformed_protocol_is_named_with_the_keys_path(cli, tmp_path, text, message):
    good = (
        'schema = 1\nname = "mine"\ndataset = "decoymnist"\n[model]\nname = "mlp"\n[original]\nepochs = 1\nbatch = 32\n'
        "lr = 1e-3\n[refine]\nepochs = 1\nbatch = 32\nlr = 1e-3\n[methods]\n"
    )
    text = (
        text.replace("{GOOD}", good)
        .replace("{NO_LR}", good.replace("lr = 1e-3\n[refine]", "[refine]"))
        .replace("{BAD_LR}", good.replace("lr = 1e-3\n[refine]", 'lr = "fast"\n[refine]'))
        .replace("{BAD_MODEL}", good.replace('name = "mlp"', 'name = "mlp"\nhidden = "many"'))
        .replace("{PAPER}", good.replace("mine", "paper"))
        .replace("{OTHER}", good.replace("decoymnist", "celeba"))
    )
    file = tmp_path / "mine.toml"
    file.write_text(text)
    result = cli(*RUN, "--protocol", file)
    assert result.code == 2
    (line,) = [line for line in result.err.strip().splitlines() if "STAND-IN" not in line]
    assert message in line
    file.write_bytes(b"\xff\xfe\x00")
    assert cli(*RUN, "--protocol", file).code == 2


def test_a_good_protocol_file_is_used(cli, tmp_path):
    file = tmp_path / "mine.toml"
    file.write_text(
        'schema = 1\nname = "mine"\ndataset = "decoymnist"\n[model]\nname = "mlp"\nhidden = [5]\n[original]\nepochs = 1\n'
        "batch = 32\nlr = 1e-3\n[refine]\nepochs = 1\nbatch = 32\nlr = 1e-3\n"
    )
    result = cli(*RUN, "--protocol", file, "--methods", "original", "--seeds", "1", "--source", "standin")
    assert result.code == 0, result.err
    assert "protocol mine" in result.out


def test_help_costs_nothing_and_every_command_has_it(cli):
    for command in ([], ["run"], ["data"], ["data", "show"], ["plugins", "list"], ["runs", "diff"], ["leaderboard"]):
        result = cli(*command, "--help")
        assert result.code == 0
        assert "Usage: crayon-bench" in result.out


def test_dry_run_shows_the_plan_and_writes_nothing(cli):
    result = cli(*RUN, "--methods", "all", "--seeds", "2", "--dry-run")
    assert result.code == 0
    assert "10 to do, 10 do not apply, 0 in the store. Nothing was run." in result.out
    assert "n/a" not in result.out
    assert list(Path.cwd().iterdir()) == []
    cli(*RUN, "--methods", "original,gradia", "--seeds", "1", *TINY)
    result = cli(*RUN, "--methods", "original,gradia,rrr", "--seeds", "1", *TINY, "--dry-run")
    assert "in the store: ok" in result.out
    assert "in the store: skipped" in result.out
    assert "1 to do" in result.out


def test_seeds_can_be_counted_or_listed(cli):
    def seeds(text):
        out = cli(*RUN, "--methods", "original", "--seeds", text, "--dry-run").out
        return [int(line.split()[3]) for line in out.splitlines() if line.startswith("decoymnist")]

    assert seeds("3") == [0, 1, 2]
    assert seeds("4,2,4") == [4, 2]
    assert seeds("7,") == [7]


def test_what_set_does_not_change_is_no_change(cli):
    short = ["--set", "original.epochs=1", "--methods", "original", "--seeds", "1", "--source", "standin"]
    out = cli(*RUN, *short, "--set", "oracle.no_above=0.2", "--set", "dataset.seed=0").out
    assert "changed by --set: original.epochs=1" in out
    assert "no_above" not in out


def test_quiet_keeps_the_table_and_the_label(cli):
    result = cli(*RUN, "--methods", "original", "--seeds", "1", *TINY, "--quiet")
    assert "STAND-IN" in result.err
    assert len(result.err.strip().splitlines()) == 1
    assert "STAND-IN" in result.out


def test_python_m_is_the_same_command(process):
    script = Path(sys.executable).with_name("crayon-bench")
    as_script = subprocess.run([script, "--version"], capture_output=True, text=True, check=True).stdout
    assert process("--version").out == as_script
    assert process("rnu").code == 2
    result = process("leaderboard")
    assert (result.code, result.err.count("\n")) == (2, 1)
    assert os.linesep in result.err


def test_a_reader_that_goes_away_is_no_error(tmp_path):
    done = subprocess.run(
        f"{sys.executable} -m crayon_bench plugins list | head -1",
        shell=True,
        capture_output=True,
        text=True,
        check=True,
    )
    assert "Traceback" not in done.stderr
    assert "Exception" not in done.stderr
