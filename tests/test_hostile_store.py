"""Hostile records, artifacts and caches: see :mod:`hostile`."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given

from crayon_bench.data.image_cache import decoded
from crayon_bench.data.roots import cache_root
from crayon_bench.store.artifacts import Artifacts
from crayon_bench.store.records import Record, digest, setting_of
from crayon_bench.store.store import Store
from crayon_bench_leaderboards.boards import boards_for
from crayon_bench_leaderboards.fill import make_tables
from crayon_bench_leaderboards.render import to_csv, to_json, to_latex, to_markdown, to_terminal
from hostile import TALLY, anything, attempt, cases, changed, examples, mutated, mutated_value

pytestmark = pytest.mark.slow


def record(seed: int = 0, method: str = "rrr") -> dict:
    """A record with something in every field."""
    coordinates = {
        "schema": 1,
        "dataset": {"name": "celeba", "version": 1, "source": "standin", "content": "c", "parameters": {"size": 48}},
        "protocol": {"name": "quick", "threads": 1},
        "model": {"name": "small-cnn"},
        "method": {"name": method, "version": 1, "parameters": {"lambda": 1.0}, "recipe": {"epochs": 5, "lr": 1e-3}},
        "oracle": {"name": "simulated", "parameters": {}},
        "budget": None,
        "seed": seed,
    }
    metrics = {
        name: {"value": 71.25, "short": short, "direction": "higher", "unit": "%", "reason": None}
        for name, short in (("group_mean_accuracy", "MA"), ("worst_group_accuracy", "WGA"))
    }
    return {
        "schema": 1, "key": digest(coordinates), "setting": setting_of(coordinates), "status": "ok", "reason": None,
        "coordinates": coordinates,
        "title": {"method": "RRR", "dataset": "Biased CelebA", "oracle": "simulated", "feedback": "Map"},
        "baseline": False, "source": "standin", "verified": True, "notes": ["a note"], "overrides": {"rrr.lambda": 1.0},
        "feedback": {"total": 9, "by_kind": {"box": 9}, "verdicts": {"box": {"yes": 9}}, "label": "Map", "lent": {}},
        "metrics": metrics, "groups": [{"name": "a", "right": 3, "total": 4}, {"name": "b", "right": 1, "total": 2}],
        "validation": {"worst_group_accuracy": 70.0}, "warnings": {"slow": 2}, "artifacts": ["original.x"],
        "started": "2026-01-01T00:00:00+00:00", "finished": "2026-01-01T00:00:09+00:00",
        "seconds": {"total": 3.0, "refine": 2.0}, "memory": {"peak": 100.0}, "attention": {"saliency": 0.5},
        "environment": {"torch": "2", "threads": 1},
    }  # fmt: skip


def folder_of(store: Path, raw: dict) -> Path:
    return store / "runs" / Record.model_validate(raw).folder


def put(folder: Path, content: bytes) -> None:
    """A run's folder as earlier versions wrote it, with no checksums that would find every damage at once."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "record.json").write_bytes(content)
    (folder / "predictions.parquet").write_bytes(b"PAR1----PAR1")


def read_and_show(store: Path) -> list[Record]:
    """What ``runs list``, ``runs show`` and ``leaderboard`` do."""
    records = Store.create(store).records()
    for one in records:
        assert one.folder.count("/") == 0
        (one.method, one.dataset, one.seed, one.protocol, Store.open(store).log(one))
        assert Record.model_validate(json.loads(one.to_json())) == one  # as the store reads it
    for board in boards_for(records):
        tables = make_tables(board, records)
        for form in (to_csv, to_json, to_latex, to_markdown):
            form(tables).encode()
        json.loads(to_json(tables), parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
        for table in tables:
            to_terminal(table).encode()
    return records


def sealed(raw: object) -> object:
    """*raw* with the key that belongs to its coordinates, as somebody would who means harm."""
    try:
        return {**raw, "key": digest(raw["coordinates"]), "setting": setting_of(raw["coordinates"])}  # type: ignore[index]
    except (TypeError, KeyError, ValueError, AttributeError, RecursionError):
        return raw


def check(kind: str, store: Path, content: bytes) -> None:
    shutil.rmtree(store, ignore_errors=True)
    good = record(0)
    put(folder_of(store, good), json.dumps(good).encode())
    second = record(1)
    folder = folder_of(store, second)
    put(folder, content)

    def aside() -> bool:
        return any(path.name.endswith(".damaged") for path in (store / "runs").iterdir())

    records = attempt(kind, lambda: read_and_show(store), remade=aside)
    assert records is not None or b'"schema"' in content, "one bad record must not hide the others"
    if records is not None:
        assert len(records) == (1 if aside() else 2)
        assert good["key"] in {one.key for one in records}
        assert {path.name for path in store.iterdir()} == {"runs", "artifacts", "store.json"}


def test_records_of_damaged_bytes(tmp_path):
    base = [
        json.dumps(record(seed), indent=indent, ensure_ascii=False).encode() for seed in (0, 1) for indent in (None, 1)
    ]
    for rng in cases("record bytes", 700):
        check("record: bytes", tmp_path / "s", mutated(rng, rng.choice(base[2:]), rng.choice(base)))


def test_records_with_other_values(tmp_path):
    for rng in cases("record values", 1500):
        raw = mutated_value(rng, record(1))
        content = json.dumps(sealed(raw) if rng.random() < 0.7 else raw).encode()
        check("record: values", tmp_path / "s", content)


@examples(300)
@given(value=anything())
def test_records_that_are_something_else(tmp_path_factory, value):
    check("record: anything", tmp_path_factory.getbasetemp() / "s", json.dumps(value).encode())


HARMFUL = [
    (("metrics", "group_mean_accuracy", "value"), 1.7e308),
    (("groups", 0, "total"), 10**400),
    (("groups", 0, "right"), 5),
    (("feedback", "by_kind", "box"), 10**400),
    (("seconds", "refine"), float("inf")),
    (("attention", "saliency"), float("nan")),
    (("validation", "worst_group_accuracy"), float("nan")),
    (("environment", "torch"), "\ud800"),
    (("overrides", "rrr.lambda"), "\ud800"),
    (("overrides", "rrr.lambda"), float("nan")),
    (("coordinates",), {}),
    (("coordinates", "seed"), "x"),
    (("coordinates", "seed"), -1),
    (("coordinates", "method"), "rrr"),
    (("coordinates", "method", "parameters"), [1]),
    (("coordinates", "method", "recipe"), "x"),
    (("coordinates", "dataset", "name"), "../../x"),
    (("coordinates", "dataset"), {"version": 1}),
    (("coordinates", "protocol"), None),
]


@pytest.mark.parametrize(
    ("path", "value"), HARMFUL, ids=[f"{'.'.join(map(str, p))}={str(v)[:9]!r}" for p, v in HARMFUL]
)
def test_a_harmful_record_is_set_aside(cli, tmp_path, path, value):
    raw = changed(record(1), path, value)
    good = record(0)
    put(folder_of(tmp_path, good), json.dumps(good).encode())
    put(tmp_path / "runs" / "x", json.dumps(sealed(raw)).encode())
    for command in (("runs", "list"), ("leaderboard",), ("leaderboard", "--format", "json")):
        result = cli(*command, "--store", tmp_path)
        assert result.code == 0, result.err
        assert result.err.startswith("Warning: record x is damaged (")
        assert len(result.err.splitlines()) == 1
    Store.create(tmp_path).records()
    assert not (tmp_path / "runs" / "x").exists()
    assert list((tmp_path / "runs").glob(".x.*.damaged"))


@pytest.mark.parametrize(
    "content", [b'{"schema": Infinity}', b'{"schema": ' + b"[" * 10_000, b"[]", b"\xff", b'{"schema": "x"}']
)
def test_a_hostile_store_file_is_one_line(cli, tmp_path, content):
    (tmp_path / "runs").mkdir()
    (tmp_path / "store.json").write_bytes(content)
    result = cli("runs", "list", "--store", tmp_path)
    assert (result.code, len(result.err.splitlines())) == (2, 1)
    assert "store.json is damaged" in result.err


def test_store_files(tmp_path):
    (tmp_path / "runs").mkdir()
    for rng in cases("store.json", 200):
        content = (
            mutated(rng, b'{"schema": 1}\n')
            if rng.random() < 0.5
            else json.dumps(mutated_value(rng, {"schema": 1})).encode()
        )
        (tmp_path / "store.json").write_bytes(content)
        attempt("store.json", lambda: Store.open(tmp_path))


def test_a_log_that_is_no_text_is_shown(cli, tmp_path):
    raw = record(0)
    folder = folder_of(tmp_path, raw)
    put(folder, json.dumps(raw).encode())
    (folder / "log.txt").write_bytes(b"loss 1\n\xff\xfe")
    result = cli("runs", "show", raw["key"], "--log", "--store", tmp_path)
    assert result.code == 0
    assert result.out.startswith("loss 1\n")


# ---------------------------------------------------------------------------------------------------------------------
# artifacts

COORDINATES = {"dataset": "x", "seed": 3, "lr": 1e-3}


def make() -> dict[str, torch.Tensor]:
    return {"w": torch.arange(12.0).reshape(3, 4), "n": torch.tensor(3)}


def is_right(tensors: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(tensors[name], value) for name, value in make().items()) and len(tensors) == 2


@pytest.fixture
def artifact(tmp_path):
    artifacts = Artifacts(tmp_path / "artifacts")
    _, name, _ = artifacts.get_or_make("original", COORDINATES, make)
    folder = artifacts.root / name
    return artifacts, folder, {path.name: path.read_bytes() for path in folder.iterdir()}


def check_artifact(kind: str, artifact, name: str, content: bytes, capsys) -> None:
    artifacts, folder, whole = artifact
    shutil.rmtree(artifacts.root)
    folder.mkdir(parents=True)
    for file, rest in whole.items():
        (folder / file).write_bytes(content if file == name else rest)
    found = []

    def read():
        tensors, found_name, made = artifacts.get_or_make("original", COORDINATES, make)
        found.append(made)
        assert 0 <= artifacts.seconds(found_name) < 1e9
        return tensors

    tensors = attempt(kind, read, remade=lambda: found[-1])
    assert tensors is not None
    assert is_right(tensors)
    assert ("is damaged" in capsys.readouterr().err) == found[-1]
    # What was made again is whole.
    assert not artifacts.get_or_make("original", COORDINATES, make)[2]


@pytest.mark.parametrize("name", ["tensors.safetensors", "meta.json"])
def test_artifacts_of_damaged_bytes(artifact, name, capsys):
    whole = artifact[2]
    for rng in cases(f"artifact {name}", 350):
        check_artifact(
            f"artifact: {name}", artifact, name, mutated(rng, whole[name], whole["tensors.safetensors"]), capsys
        )


def test_artifacts_with_other_values(artifact, capsys):
    meta = json.loads(artifact[2]["meta.json"])
    for rng in cases("artifact values", 400):
        check_artifact("artifact: values", artifact, "meta.json", json.dumps(mutated_value(rng, meta)).encode(), capsys)


@pytest.mark.parametrize("seconds", ["x", None, [1], float("nan"), float("inf"), -3, 10**400])
def test_an_artifact_whose_seconds_are_nonsense_took_none(artifact, seconds):
    artifacts, folder, whole = artifact
    (folder / "meta.json").write_text(json.dumps({**json.loads(whole["meta.json"]), "seconds": seconds}))
    assert artifacts.seconds(folder.name) == 0


@pytest.mark.parametrize("name", ["tensors.safetensors", "meta.json"])
def test_an_artifact_with_a_folder_for_a_file_is_remade(artifact, name, capsys):
    artifacts, folder, _ = artifact
    (folder / name).unlink()
    (folder / name).mkdir()
    assert artifacts.get_or_make("original", COORDINATES, make)[2]
    assert "is damaged" in capsys.readouterr().err


def test_an_artifact_of_other_coordinates_is_remade(artifact, capsys):
    artifacts, folder, _ = artifact
    other = {**COORDINATES, "seed": 4}
    shutil.copytree(folder, artifacts.root / artifacts.name("original", other))
    assert artifacts.get_or_make("original", other, make)[2]
    assert "is damaged" in capsys.readouterr().err


# ---------------------------------------------------------------------------------------------------------------------
# decoded images

SHAPE = (4, 3, 10, 12)


def images() -> np.ndarray:
    return decoded(
        "set", {"content": "a"}, SHAPE, lambda: ((i, i) for i in range(4)), lambda i: np.full(SHAPE[1:], i, np.uint8)
    )


@pytest.mark.parametrize("suffix", [".npy", ".json"])
def test_decoded_images(suffix, capsys):
    images()
    file = next((cache_root() / "decoded").glob("*.npy"))
    whole = {path: path.read_bytes() for path in (file, file.with_suffix(".json"))}
    meta = json.loads(whole[file.with_suffix(".json")])
    for rng in cases(f"decoded {suffix}", 350):
        for path, content in whole.items():
            path.write_bytes(content)
        content = mutated(rng, whole[file.with_suffix(suffix)], whole[file])
        if suffix == ".json" and rng.random() < 0.5:
            content = json.dumps(mutated_value(rng, meta)).encode()
        file.with_suffix(suffix).write_bytes(content)
        said = []

        def remade(said=said) -> bool:
            said.append("are damaged" in capsys.readouterr().err)
            return said[-1]

        array = attempt(f"decoded images: {suffix}", images, remade=remade)
        assert array is not None
        assert (array == np.arange(4)[:, None, None, None]).all()
    assert TALLY


def test_decoded_images_with_a_note_too_deep_are_remade(capsys):
    images()
    note = next((cache_root() / "decoded").glob("*.json"))
    note.write_text("[" * 100_000)
    images()
    assert "are damaged" in capsys.readouterr().err
