"""What methods share: made once, whatever of it the maps are of, and with the time that it took in every record."""

import json
import time
from pathlib import Path

import pytest
from safetensors.torch import load_file

from test_hard_cases import PLUGIN, PROTOCOL

BOARD = """
schema = 1
name = "tiny"
title = "Tiny"
datasets = ["tiny"]
methods = ["crayon-pruning", "random-pruning", "crayon-attention", "gradia", "crayon-attention-pruning"]
metrics = ["worst_group_accuracy"]
details = ["seconds"]
"""


@pytest.fixture
def run(cli, tmp_path):
    """Return a function that runs methods, one after the other, on a tiny data set and returns their records."""
    (tmp_path / "tiny.py").write_text(PLUGIN)
    (tmp_path / "p.toml").write_text(PROTOCOL.format(epochs=1))
    (tmp_path / "board.toml").write_text(BOARD)
    where = ["--dataset", "tiny", "--plugin", tmp_path / "tiny.py", "--protocol", tmp_path / "p.toml"]

    def call(methods: list[str], *arguments: object) -> dict[str, dict]:
        for method in methods:
            result = cli("run", *where, "--oracle", "fixed", "--seeds", "1", "--methods", method, *arguments)
            assert result.code == 0, result.err
        folders = [folder for folder in Path("crayon-runs/runs").iterdir() if not folder.name.startswith(".")]
        records = [json.loads((folder / "record.json").read_text()) for folder in folders]
        assert all(record["status"] == "ok" for record in records)
        return {
            f"{record['coordinates']['method']['name']} {record['coordinates']['model']['maps']}": record
            for record in records
        }

    return call


def artifacts(kind: str) -> dict[str, Path]:
    return {path.parent.name: path for path in Path("crayon-runs/artifacts").glob(f"{kind}.*/tensors.safetensors")}


def test_maps_of_the_logit_and_of_the_contrast_share_the_original_model_and_its_neurons(run):
    methods = ["crayon-attention", "gradia", "crayon-pruning"]
    run(methods, "--set", "model.maps=logit")
    records = run(methods, "--set", "model.maps=contrast")
    assert len(records) == 6
    assert len(artifacts("original-model")) == 1
    shared = {name: load_file(path) for name, path in artifacts("shared").items()}
    maps = {name: tensors["maps"] for name, tensors in shared.items() if "maps" in tensors}
    neurons = {name for name, tensors in shared.items() if "pooled" in tensors}
    assert (len(shared), len(maps), len(neurons)) == (3, 2, 1)
    first, second = maps.values()
    assert not first.equal(second)
    for what in ("logit", "contrast"):  # both methods used the same one, and the other setting's methods the other
        (used,) = {name for name in maps if name in records[f"crayon-attention {what}"]["artifacts"]}
        assert used in records[f"gradia {what}"]["artifacts"]
        assert neurons < set(records[f"crayon-pruning {what}"]["artifacts"])
    assert records["crayon-attention logit"]["artifacts"] != records["crayon-attention contrast"]["artifacts"]


def slow(monkeypatch, what: str, seconds: float) -> None:
    """Make a function take longer."""
    import importlib

    module, _, name = what.rpartition(".")
    original = getattr(importlib.import_module(module), name)

    def slower(*arguments, **keywords):
        time.sleep(seconds)
        return original(*arguments, **keywords)

    monkeypatch.setattr(what, slower)


@pytest.mark.slow
@pytest.mark.parametrize("turned", [False, True])
def test_the_time_of_what_is_shared_is_the_same_for_all_whoever_made_it(cli, run, tmp_path, monkeypatch, turned):
    slow(monkeypatch, "crayon_bench.networks.neurons.find_neurons", 1.0)
    slow(monkeypatch, "crayon_bench.networks.saliency.saliency_maps", 2.0)
    on_neurons, on_maps = ["crayon-pruning", "random-pruning"], ["crayon-attention", "gradia"]
    if turned:
        on_neurons, on_maps = on_neurons[::-1], on_maps[::-1]
    records = run([*on_neurons, *on_maps, "crayon-attention-pruning"])
    seconds = {name.partition(" ")[0]: record["seconds"] for name, record in records.items()}
    took = {name: json.loads((path.parent / "meta.json").read_text()) for name, path in artifacts("shared").items()}
    neurons, maps = sorted(meta["seconds"] for meta in took.values())
    for methods, made in ((on_neurons, neurons), (on_maps, maps)):
        assert made >= (1.0 if made == neurons else 2.0)
        assert [seconds[name]["shared"] for name in methods] == [made, made]
        # Who made it spent that time, and not a second time in `refine`.
        parts = seconds[methods[0]]
        assert sum(parts[part] for part in parts if part != "total") <= parts["total"] + 0.05
    assert seconds["crayon-attention-pruning"]["shared"] == pytest.approx(neurons + maps, abs=0.002)
    for name, record in records.items():
        assert len(record["artifacts"]) == len(set(record["artifacts"])), name

    result = cli("leaderboard", "--board", tmp_path / "board.toml", "--format", "json")
    assert result.code == 0, result.err
    rows = {row["method"]: row["seconds"] for row in json.loads(result.out)["rows"]}
    assert rows == {name: pytest.approx(parts["refine"] + parts["shared"]) for name, parts in seconds.items()}
