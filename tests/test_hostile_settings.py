"""Hostile protocols, boards and options: see :mod:`hostile`."""

import shutil
import tomllib
from pathlib import Path

import pytest
from hypothesis import given, strategies as st

import crayon_bench_leaderboards
import crayon_bench_plugins
from crayon_bench.dataset import Source
from crayon_bench.plugins.registry import Registry
from crayon_bench.runs.plan import Options, make_plan
from crayon_bench.runs.protocol import load_protocol, parse_set, parse_value
from crayon_bench.texts import parse_seeds, split_names
from crayon_bench_leaderboards.boards import load_board
from crayon_bench_leaderboards.fill import make_tables
from hostile import anything, attempt, cases, examples, mutated_text, texts

pytestmark = pytest.mark.slow

PROTOCOLS = sorted((Path(crayon_bench_plugins.__path__[0]) / "protocols").rglob("*.toml"))
BOARDS = sorted((Path(crayon_bench_leaderboards.__path__[0]) / "boards").glob("*.toml"))


def same_as_toml(protocol, file: Path) -> None:
    raw = tomllib.loads(file.read_text(encoding="utf-8-sig"))
    assert (protocol.name, protocol.dataset, protocol.threads) == (raw["name"], raw["dataset"], raw.get("threads", 1))
    for section, recipe in (("original", protocol.original), ("refine", protocol.refine)):
        values = recipe.to_dict()
        assert {key: values[key] for key in raw[section]} == raw[section]
        assert 0 < recipe.lr <= 10
    assert protocol.dataset_parameters == raw.get("dataset_parameters", {})


def test_protocols(tmp_path):
    file = tmp_path / "p.toml"
    for rng in cases("protocol", 1500):
        text = rng.choice(PROTOCOLS).read_text()
        file.write_bytes(mutated_text(rng, text))
        if (protocol := attempt("protocol", lambda: load_protocol(file))) is not None:
            same_as_toml(protocol, file)


def test_protocols_to_the_plan(tmp_path):
    """As the command ``run`` goes: to the keys of all runs."""
    file = tmp_path / "p.toml"
    registry = Registry()
    folder = Path(crayon_bench_plugins.__path__[0]) / "protocols"
    for rng in cases("plan", 300):
        dataset = rng.choice(("decoymnist", "celeba", "waterbirds"))
        text = (folder / dataset / "quick.toml").read_text().replace('name = "quick"', 'name = "mine"', 1)
        file.write_bytes(mutated_text(rng, text))
        options = Options([dataset], registry.names("method"), [0], str(file), source=Source.STANDIN)
        plan = attempt("plan", lambda options=options: make_plan(options, registry))
        assert plan is None or plan.requests


@examples(400)
@given(key=texts(["model.name", "refine.epochs", "original.lr", "rrr.lambda", "protocol.threads", "oracle.yes_above",
                  "dataset.size", "model.weights", "protocol.selection", "methods.x", "original.milestones"]),
       value=st.one_of(texts(["3", "1e-3", "[1,2]", "{a=1}", "3\nx = 4", "'a'", "0x10"]), anything().map(repr)),
       equals=st.sampled_from(["=", "", "==", " = "]))  # fmt: skip
def test_set(key, value, equals):
    text = f"{key}{equals}{value}"
    pair = attempt("--set", lambda: parse_set(text))
    if pair is None:
        return
    attempt("--set value", lambda: parse_value(pair[1]))
    attempt("--set protocol", lambda: load_protocol(PROTOCOLS[0], [pair]))
    options = Options(["celeba"], ["rrr"], [0], source=Source.STANDIN, sets=[text])
    attempt("--set plan", lambda: make_plan(options, REGISTRY))


REGISTRY = Registry()


@examples(200)
@given(text=texts(["5", "0,1,2", "7,", "0", "99999999999"]))
def test_lists(text):
    seeds = attempt("--seeds", lambda: parse_seeds(text))
    assert seeds is None or all(0 <= seed < 2**31 for seed in seeds)
    attempt("--methods", lambda: split_names(text, "--methods"))
    options = Options([text], [text], [0], protocol=text, oracle=text)
    attempt("names", lambda: make_plan(options, REGISTRY))


def test_boards(tmp_path):
    file = tmp_path / "b.toml"
    for rng in cases("board", 800):
        file.write_bytes(mutated_text(rng, rng.choice(BOARDS).read_text()))
        if (board := attempt("board", lambda: load_board(str(file)))) is not None:
            raw = tomllib.loads(file.read_text(encoding="utf-8-sig"))
            assert (board.name, board.datasets, board.methods) == (raw["name"], raw["datasets"], raw["methods"])
            attempt("board without records", lambda board=board: make_tables(board, []))


OPTIONS = ["--dataset", "celeba", "--source", "standin", "--methods", "original", "--seeds", "1", "--dry-run"]


def refused(result) -> str:
    assert result.code == 2, result
    (line,) = result.err.strip().splitlines()
    assert line.startswith("Error: ")
    assert line.isprintable()
    return line


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("threads = " + "9" * 5000, "not valid TOML"),
        ("threads = 0x" + "f" * 5000, "more than the 64 bits"),
        ("x." + "a." * 5000 + "a = 1", "nested too deeply"),
        ("x = " + "[" * 5000, "not valid TOML"),
        ('note = "\x1b[31m"', "not valid TOML"),
        ("threads = 0", "threads = 0"),
    ],
    ids=["decimal", "hexadecimal", "dotted", "nested", "control", "zero"],
)
def test_a_hostile_protocol_is_one_line(cli, tmp_path, text, message):
    (tmp_path / "p.toml").write_text(text + "\n" + PROTOCOLS[0].read_text().replace("threads = 1", ""))
    assert message in refused(cli("run", *OPTIONS, "--protocol", tmp_path / "p.toml"))
    (tmp_path / "b.toml").write_text(text + "\n" + BOARDS[0].read_text())
    Path("crayon-runs/runs").mkdir(parents=True)
    refused(cli("leaderboard", "--board", tmp_path / "b.toml"))
    shutil.rmtree("crayon-runs")


@pytest.mark.parametrize(
    "value", ["9" * 5000, "0x" + "f" * 5000, "[" * 5000, "3\nx = 4", "1979-05-27", "\x1b[31m", "nan"]
)
def test_a_hostile_option_is_one_line(cli, value):
    assert "refine.epochs" in refused(cli("run", *OPTIONS, "--set", f"refine.epochs={value}"))
    refused(cli("run", *OPTIONS, "--set", f"model.name={value}"))
    refused(cli("run", *OPTIONS, "--seeds", value))
