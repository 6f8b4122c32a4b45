"""Where the keys of a protocol are from, and `paper` and `paper-final` held to what an audit of their sources found."""

from pathlib import Path

import pytest

import crayon_bench_plugins
from crayon_bench.dataset import Source
from crayon_bench.errors import UserError
from crayon_bench.plugins.registry import Kind, Registry
from crayon_bench.runs.plan import Options, make_plan
from crayon_bench.runs.protocol import load_protocol

FOLDER = Path(crayon_bench_plugins.__file__).parent / "protocols"
REGISTRY = Registry()
STATED, CODE, OURS = "stated", "code", "ours"
CRAYON, PRUNING, BOTH, RANDOM = "crayon-attention", "crayon-pruning", "crayon-attention-pruning", "random-pruning"


def source_of(protocol, key: str) -> str:
    """Whose value a key has: by its own name, or by that of its table."""
    for source, keys in protocol.sources.items():
        if any(f"{key}.".startswith(f"{told}.") for told in keys):
            return source
    return STATED


def value_of(protocol, key: str):
    """The value that a run has, with what is the default where the file says nothing."""
    section, _, name = key.rpartition(".")
    if section.startswith("methods."):
        method = REGISTRY.load(Kind.METHOD, section.removeprefix("methods."))
        recipe, own = protocol.for_method(method.name, method.Parameters, trains=True)
        return own[name] if name in own else getattr(recipe, name)
    return getattr(getattr(protocol, section), name)


def recipe(section: str, optimizer: str, lr: float, epochs: int, batch: int, *decay) -> dict[str, object]:
    """What a row of the table says about a training. decay: factor, and after which epoch."""
    factor, *after = decay or (1.0,)
    values = {
        "optimizer": optimizer,
        "lr": lr,
        "epochs": epochs,
        "batch": batch,
        "lr_decay": factor,
        "milestones": after,
    }
    return {f"{section}.{name}": value for name, value in values.items()}


VALUES = {
    ("celeba", "paper-final"): {
        "model.weights": "imagenet-v2", "original.reduction": "mean", "refine.reduction": "sum",
        **recipe("refine", "adam", 1e-5, 10, 64),
        **recipe(f"methods.{CRAYON}", "adam", 1e-5, 10, 64, 0.5, 3), **recipe(f"methods.{BOTH}", "adam", 1e-5, 10, 64, 0.5, 3),
        **recipe(f"methods.{PRUNING}", "adam", 5e-6, 50, 64), **recipe(f"methods.{RANDOM}", "adam", 5e-6, 50, 64),
        **recipe("methods.rrr", "adam", 5e-6, 5, 64), **recipe("methods.gradia", "adam", 1e-3, 10, 64),
        **recipe("methods.energy", "adam", 5e-6, 10, 64), **recipe("methods.train-more", "adam", 1e-5, 10, 64),
        **{f"methods.{method}.{key}": value for method in (CRAYON, BOTH) for key, value in
           {"alpha": 5e7, "beta": 1e6, "share": True, "normalise": False, "bn_momentum": 0.19}.items()},
    },
    ("waterbirds", "paper-final"): {
        "model.weights": "imagenet-v2", "original.reduction": "mean", "refine.reduction": "sum",
        **recipe("refine", "adam", 5e-5, 10, 128),
        **recipe(f"methods.{CRAYON}", "adam", 5e-5, 10, 128), **recipe(f"methods.{BOTH}", "adam", 5e-5, 10, 128),
        **recipe(f"methods.{PRUNING}", "sgd", 5e-5, 5, 128, 0.2, 4), **recipe(f"methods.{RANDOM}", "sgd", 5e-5, 5, 128, 0.2, 4),
        **recipe("methods.rrr", "adam", 5e-5, 10, 128),
        **{f"methods.{method}.{key}": value for method in (CRAYON, BOTH) for key, value in
           {"alpha": 1e7, "beta": 2e5, "share": True, "normalise": True, "bn_momentum": 0.19}.items()},
    },
    ("celeba", "paper"): {
        "model.weights": "imagenet", "original.reduction": "mean", "refine.reduction": "sum",
        **recipe(f"methods.{CRAYON}", "adam", 1e-4, 7, 64), **recipe(f"methods.{PRUNING}", "adam", 1e-4, 10, 64),
    },
    ("waterbirds", "paper"): {
        "model.weights": "imagenet", "original.reduction": "mean", "refine.reduction": "sum",
        **recipe(f"methods.{CRAYON}", "adam", 1e-4, 4, 128), **recipe(f"methods.{PRUNING}", "adam", 1e-4, 10, 128),
    },
}  # fmt: skip
GRADIA = [f"methods.gradia.{x}_{map_}_{label}" for x, map_, label in
          (("p", "unreasonable", "wrong"), ("a", "unreasonable", "right"), ("a", "reasonable", "wrong"))]  # fmt: skip
EVERYWHERE = {
    "refine.reduction": CODE, "refine.lr": STATED, "model.name": STATED, "methods.crayon-attention.alpha": STATED,
    "methods.rrr.lambda": OURS, "methods.gradia.weight": OURS, "methods.energy.lambda": OURS, "methods.res.lambda": OURS,
    "methods.res.eta": CODE, "methods.random-pruning.epochs": OURS, "methods.crayon-pruning.radius": OURS,
    "methods.crayon-pruning.patches": STATED, "oracle.simulated.shares": OURS, "oracle.simulated.patch_share": OURS,
    "selection": OURS, "threads": OURS, **dict.fromkeys(GRADIA, CODE),
}  # fmt: skip
FINAL = {
    "model.weights": STATED, "original.lr": OURS, "original.epochs": OURS,
    **{f"methods.{BOTH}.{key}": STATED for key in ("alpha", "beta", "share")}, f"methods.{BOTH}.normalise": OURS,
    f"methods.{CRAYON}.bn_momentum": CODE, f"methods.{BOTH}.bn_momentum": CODE, f"methods.{PRUNING}.lr": STATED,
}  # fmt: skip
PAPER = {
    "model.weights": OURS,
    "original.lr": STATED,
    f"methods.{BOTH}.alpha": OURS,
    f"methods.{PRUNING}.epochs": STATED,
}
SOURCES = {
    ("celeba", "paper-final"): {
        **EVERYWHERE, **FINAL, f"methods.{CRAYON}.lr_decay": STATED, f"methods.{PRUNING}.epochs": STATED,
        "methods.rrr.lr": STATED, "methods.rrr.epochs": STATED, "methods.gradia.lr": STATED, "methods.energy.lr": STATED,
    },
    ("waterbirds", "paper-final"): {
        **EVERYWHERE, **FINAL,
        **{f"methods.{PRUNING}.{key}": CODE for key in ("optimizer", "epochs", "lr_decay", "milestones")},
    },
    ("celeba", "paper"): {**EVERYWHERE, **PAPER},
    ("waterbirds", "paper"): {**EVERYWHERE, **PAPER},
    ("decoymnist", "paper"): {
        "model.hidden": STATED, "model.init_std": CODE, "model.pixels": OURS, "methods.crayon-attention.beta": STATED,
        "methods.rrr.lambda": OURS, "methods.energy.lambda": OURS, "refine.lr_decay": STATED,
        "oracle.simulated.no_above": STATED,
    },
}  # fmt: skip


@pytest.mark.parametrize("file", VALUES, ids="/".join)
def test_the_values_are_those_of_the_source(file):
    protocol = load_protocol(FOLDER.joinpath(*file).with_suffix(".toml"))
    assert {key: value_of(protocol, key) for key in VALUES[file]} == VALUES[file]


@pytest.mark.parametrize("file", SOURCES, ids="/".join)
def test_each_key_has_its_source(file):
    protocol = load_protocol(FOLDER.joinpath(*file).with_suffix(".toml"))
    assert {key: source_of(protocol, key) for key in SOURCES[file]} == SOURCES[file]


def test_every_built_in_protocol_of_a_paper_says_whose_its_keys_are():
    said = {(p.parent.name, p.stem) for p in FOLDER.glob("*/*.toml") if load_protocol(p).sources}
    assert said == set(SOURCES)
    assert said == {(p.parent.name, p.stem) for p in FOLDER.glob("*/paper*.toml")}


TEXT = """schema = 1
name = "p"
dataset = "celeba"
source = "a paper"
[model]
name = "small-cnn"
weights = "standin"
[original]
epochs = 1
batch = 8
lr = 1e-3
[refine]
epochs = 1
batch = 8
lr = 1e-3
[methods.rrr]
lambda = 1.0
"""
MISTAKES = {
    "a list that there is not": ('theirs = ["refine.lr"]', "sources.theirs: there is no such parameter"),
    "a key that the file does not have": ('ours = ["refine.lrr"]', "sources.ours: the file has no key 'refine.lrr'"),
    "a key at its default": ('code = ["refine.reduction"]', "sources.code: the file has no key 'refine.reduction'"),
    "what the file is": ('ours = ["summary"]', "sources.ours: the file has no key 'summary'"),
    "no list": ('ours = "refine.lr"', "sources.ours = 'refine.lr': input should be a valid list"),
    "twice": ('ours = ["refine.lr", "refine.lr"]', "sources.ours: 'refine.lr': refine.lr is named already"),
    "in both": ('code = ["refine.lr"]\nours = ["refine.lr"]', "sources.ours: 'refine.lr': refine.lr is named already"),
    "with its table": ('code = ["refine"]\nours = ["refine.lr"]', "sources.ours: 'refine.lr': refine is named already"),
    "before its table": ('ours = ["methods.rrr.lambda", "methods.rrr"]', "methods.rrr.lambda is named already"),
}


@pytest.mark.parametrize("case", MISTAKES)
def test_a_mistake_in_the_sources_is_one_line(cli, case):
    given, line = MISTAKES[case]
    Path("p.toml").write_text(f"{TEXT}[sources]\n{given}\n")
    result = cli("run", "--dataset", "celeba", "--source", "standin", "--protocol", "./p.toml", "--dry-run")
    assert result.code == 2
    assert line in result.err
    assert "protocol p.toml: " in result.err
    assert len(result.err.strip().splitlines()) == 1


def test_sources_of_a_protocol_without_a_source_say_nothing(tmp_path):
    (tmp_path / "p.toml").write_text(TEXT.replace("a paper", "") + '[sources]\nours = ["refine.lr"]\n')
    with pytest.raises(UserError, match="stated by source, and there is none"):
        load_protocol(tmp_path / "p.toml")


def test_sources_are_no_part_of_a_runs_key():
    keys = []
    for more in ("", '[sources]\ncode = ["refine.lr"]\nours = ["original"]\n', "[sources]\n"):
        Path("p.toml").write_text(TEXT + more)
        options = Options(["celeba"], ["original", "rrr"], [0], protocol="./p.toml", source=Source.STANDIN)
        keys.append([(r.key, r.setting, r.coordinates) for r in make_plan(options, Registry()).requests])
    assert keys[0] == keys[1] == keys[2]


@pytest.mark.parametrize("dataset", ["celeba", "waterbirds", "decoymnist"])
def test_plugins_info_tells_the_sources_of_each_key_on_a_narrow_screen(cli, monkeypatch, dataset):
    monkeypatch.setenv("COLUMNS", "80")
    result = cli("plugins", "info", dataset)
    assert result.code == 0
    lines = result.out.splitlines()
    assert max(map(len, lines)) <= 80
    said = " ".join(result.out.split())
    for file in sorted((FOLDER / dataset).glob("paper*.toml")):
        protocol = load_protocol(file)
        assert f"{protocol.name}: stated by {protocol.source}, but for public code: " in said
        start = said.index(f" {protocol.name}: stated by")
        told = said[start : start + 1500].partition(" ours: ")
        for part, keys in ((told[0], protocol.sources["code"]), (told[2], protocol.sources["ours"])):
            for key in keys:
                assert key in part or key.rpartition(".")[2] in part, key


def test_plugins_info_says_nothing_of_protocols_without_sources(cli):
    assert "stated by" not in cli("plugins", "info", "folder").out
