"""``--weights``: what is refused and how, what is never executed, and what to do without any."""

import os
import pickle
import socket
from pathlib import Path
from urllib.error import URLError

import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from torchvision.models import mobilenet_v2

import crayon_bench
from crayon_bench.networks.convnets import ConvNet
from crayon_bench.networks.specification import CNNSpec
from crayon_bench.networks.weights import find_weights, load_into
from crayon_bench_plugins.datasets.celeba.dataset import CelebA

PROTOCOL = """
schema = 1
name = "p"
dataset = "celeba"
[model]
name = "{network}"
[original]
epochs = 1
batch = 8
lr = 1e-3
[refine]
epochs = 1
batch = 8
lr = 1e-3
"""


def state(network: str = "small-cnn", seed: int = 1) -> dict[str, torch.Tensor]:
    """A state_dict with the names that a published one has."""
    model = ConvNet(CNNSpec(name=network, weights="none"), (3, 32, 32), 2, seed)
    tensors = model.state_dict().items()
    return {name.removeprefix("body."): value.contiguous() for name, value in tensors if name != "kept"}


@pytest.fixture
def plan(cli, tmp_path):
    """Return a function that plans runs of a network on drawn faces."""

    def call(*arguments: object, network: str = "small-cnn", dry: bool = True):
        (tmp_path / "p.toml").write_text(PROTOCOL.format(network=network))
        where = ["--dataset", "celeba", "--source", "standin", "--protocol", tmp_path / "p.toml"]
        where += ["--dry-run"] if dry else []
        return cli("run", *where, "--seeds", "1", "--methods", "train-more", *arguments)

    return call


def refused(result) -> str:
    """The one line of a refusal."""
    assert result.code == 2, result.err
    assert result.out == ""
    (line,) = result.err.strip().splitlines()
    assert "Traceback" not in line
    return line


class Evil:
    def __reduce__(self):
        return os.mkdir, ("executed",)


def missing(path: Path) -> None:
    return


def folder(path: Path) -> None:
    path.mkdir()


def html(path: Path) -> None:
    path.write_text("<!DOCTYPE html><title>Sign in</title>")


def empty(path: Path) -> None:
    path.write_bytes(b"")


def other_network(path: Path) -> None:
    torch.save(state("resnet18"), path)


def lacks_a_key(path: Path) -> None:
    tensors = state()
    del tensors["3.weight"]
    torch.save(tensors, path)


def has_a_key_too_many(path: Path) -> None:
    torch.save({**state(), "99.weight": torch.zeros(3)}, path)


def other_shape(path: Path) -> None:
    torch.save({**state(), "0.weight": torch.zeros(16, 3, 5, 5)}, path)


def whole_numbers(path: Path) -> None:
    torch.save({**state(), "0.weight": torch.zeros(16, 3, 3, 3, dtype=torch.int64)}, path)


def nan(path: Path) -> None:
    tensors = state()
    tensors["3.weight"][0, 0, 0, 0] = float("nan")
    torch.save(tensors, path)


def evil(path: Path) -> None:
    torch.save({**state(), "x": Evil()}, path)


def evil_of_old(path: Path) -> None:
    path.write_bytes(pickle.dumps(Evil(), protocol=2))


def whole_model(path: Path) -> None:
    torch.save(torch.nn.Linear(2, 2), path)


def number(path: Path) -> None:
    torch.save(3, path)


def cut_off(path: Path) -> None:
    save_file(state(), path)
    path.write_bytes(path.read_bytes()[:-100])


WRONG = [
    (missing, "cannot be read: No such file"),
    (folder, "cannot be read: Is a directory"),
    (html, "neither a safetensors file nor a state_dict"),
    (empty, "neither a safetensors file nor a state_dict"),
    (other_network, "do not fit the small CNN: it lacks 0.weight"),
    (lacks_a_key, "do not fit the small CNN: it lacks 3.weight (1 missing, 0 too many)"),
    (has_a_key_too_many, "it has 99.weight, which the network has not (0 missing, 1 too many)"),
    (other_shape, "0.weight is (16, 3, 5, 5), not (16, 3, 3, 3)"),
    (whole_numbers, "0.weight is torch.int64"),
    (nan, "3.weight is not finite everywhere"),
    (evil, "without executing it"),
    (evil_of_old, "without executing it"),
    (whole_model, "without executing it: it holds torch.nn.modules.linear.Linear, not tensors alone"),
    (number, "not a state_dict"),
    (cut_off, "not a readable safetensors file"),
]


@pytest.mark.parametrize(("make", "message"), WRONG, ids=lambda value: getattr(value, "__name__", ""))
@pytest.mark.parametrize("sets", [(), ("--set", "model.scaling=unit")], ids=["scaling unknown", "scaling known"])
def test_a_wrong_file_is_one_line_that_names_it_and_nothing_is_executed(plan, make, message, sets):
    path = Path("given.bin")
    make(path)
    line = refused(plan("--weights", path, *sets))
    assert message in line
    assert "given.bin" in line
    assert not Path("executed").exists()


def test_what_would_be_executed_is_executed_by_an_ordinary_load():
    """So that the test above can fail."""
    evil_of_old(Path("given.bin"))
    pickle.loads(Path("given.bin").read_bytes())
    assert Path("executed").is_dir()


@pytest.mark.parametrize("save", [save_file, torch.save], ids=["safetensors", "pth"])
def test_a_file_that_does_not_name_its_scaling_asks_for_it(plan, save):
    save(state(), "given.bin")
    line = refused(plan("--weights", "given.bin"))
    assert "does not say with which input scaling" in line
    assert "--set model.scaling=unit" in line
    result = plan("--weights", "given.bin", "--set", "model.scaling=imagenet")
    assert result.code == 0, result.err


def test_a_safetensors_file_may_name_its_scaling(plan):
    save_file(state(), "given.bin", metadata={"scaling": "symmetric"})
    assert plan("--weights", "given.bin").code == 0
    save_file(state(), "given.bin", metadata={"scaling": "whatever"})
    assert "scaling = 'whatever'" in refused(plan("--weights", "given.bin"))


def test_a_negative_variance_is_refused(plan):
    wrong = state()
    name = next(name for name in wrong if name.endswith("running_var"))
    wrong[name] = wrong[name].clone().fill_(-1)
    torch.save(wrong, "given.bin")
    assert f"{name} has negative values" in refused(plan("--weights", "given.bin", "--set", "model.scaling=unit"))


@pytest.mark.parametrize("wrap", [lambda s: {"state_dict": s}, lambda s: {f"module.{k}": v for k, v in s.items()}])
def test_wrapped_state_dicts_are_understood(plan, wrap):
    torch.save(wrap(state()), "given.bin")
    assert plan("--weights", "given.bin", "--set", "model.scaling=unit").code == 0


def test_weights_that_no_network_takes_are_an_error(cli, plan):
    torch.save(state(), "given.bin")
    arguments = ["--seeds", "1", "--methods", "train-more", "--weights", "given.bin", "--source", "standin"]
    line = refused(cli("run", "--dataset", "decoymnist", *arguments, "--dry-run"))
    assert "--weights given.bin: no network of this run takes weights" in line
    assert "the MLP" in line
    assert not Path("crayon-runs").exists()


@pytest.mark.parametrize("network", ["resnet50", "resnet18", "mobilenet_v2"])
def test_without_weights_and_network_the_error_says_how_to_get_them(plan, monkeypatch, tmp_path, network):
    def fail(*arguments, **keywords):
        raise URLError("Temporary failure in name resolution")

    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setattr(torch.hub, "download_url_to_file", fail)
    line = refused(plan(network=network, dry=False))
    assert "could not be downloaded" in line
    assert "Temporary failure in name resolution" in line
    assert f"put {network}-" in line
    assert f"from https://download.pytorch.org/models/{network}-" in line
    assert str(tmp_path / "torch" / "hub" / "checkpoints") in line
    assert "--weights FILE" in line


@pytest.mark.parametrize("network", ["resnet50", "resnet18", "mobilenet_v2"])
def test_a_dry_run_needs_no_network_and_weights_that_are_not_here_are_a_line_of_the_plan(
    plan, monkeypatch, tmp_path, network
):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setattr(socket, "socket", lambda *a, **k: pytest.fail("a connection"))
    result = plan("--quiet", network=network)
    assert result.code == 0, result.err
    (row,) = [line for line in result.out.splitlines() if line.startswith("celeba")]
    assert row.split()[4] == "-"  # the key needs their hash
    assert row.endswith("to do, with weights that are not here")
    (line,) = [line for line in result.out.splitlines() if line.startswith(f"{network}-")]
    assert f"a run fetches it from https://download.pytorch.org/models/{network}-" in line
    assert str(tmp_path / "torch" / "hub" / "checkpoints") in line
    assert "--weights FILE" in line
    assert "1 to do, 0 do not apply, 0 in the store. Nothing was run." in result.out
    assert not (tmp_path / "torch").exists()
    assert not Path("crayon-runs").exists()


def test_from_python_a_dry_run_says_which_weights_are_missing(monkeypatch, tmp_path):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setattr(socket, "socket", lambda *a, **k: pytest.fail("a connection"))
    (tmp_path / "p.toml").write_text(PROTOCOL.format(network="resnet18"))
    results = crayon_bench.run(
        "celeba", "original", seeds=1, source="standin", protocol=tmp_path / "p.toml", dry_run=True, progress=False
    )
    (request,) = results.to_do
    assert request.missing.startswith("resnet18-f37072fd.pth, the ImageNet weights of ResNet-18, is not here")


def test_a_file_in_pytorchs_cache_is_used(plan, monkeypatch, tmp_path):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setattr(torch.hub, "download_url_to_file", lambda *a, **k: pytest.fail("downloaded"))
    checkpoints = tmp_path / "torch" / "hub" / "checkpoints"
    checkpoints.mkdir(parents=True)
    torch.save(state("resnet18"), checkpoints / "resnet18-f37072fd.pth")
    assert plan(network="resnet18").code == 0


@pytest.mark.parametrize(
    ("network", "weights", "title", "those"),
    [
        ("small-cnn", "imagenet", "the small CNN", "mobilenet_v2, resnet18, resnet50"),
        ("small-cnn", "imagenet-v2", "the small CNN", "mobilenet_v2, resnet50"),
        ("resnet18", "imagenet-v2", "ResNet-18", "mobilenet_v2, resnet50"),
    ],
)
def test_where_there_are_no_imagenet_weights_the_error_says_of_which_networks_there_are(
    plan, network, weights, title, those
):
    line = refused(plan("--set", f"model.weights={weights}", network=network))
    assert f"model.weights = '{weights}': there are none for {title}" in line
    assert f"these have some: {those};" in line


def test_a_name_of_no_weights_is_told_those_that_there_are(plan):
    assert "one of: imagenet, imagenet-v2" in refused(plan("--set", "model.weights=imagnet"))


V2 = {"resnet50": "resnet50-11ad3fa6.pth", "mobilenet_v2": "mobilenet_v2-7ebf99e0.pth"}


@pytest.mark.parametrize("network", V2)
def test_the_second_imagenet_weights_are_another_file_with_the_same_ways_to_it(plan, monkeypatch, tmp_path, network):
    def fail(*arguments, **keywords):
        raise URLError("Temporary failure in name resolution")

    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setattr(torch.hub, "download_url_to_file", fail)
    second = ["--set", "model.weights=imagenet-v2"]
    dry = plan(*second, network=network)
    assert dry.code == 0
    told = f"{V2[network]}, the ImageNet weights (V2) of "
    (line,) = [line for line in dry.out.splitlines() if line.startswith(told)]
    assert f"fetches it from https://download.pytorch.org/models/{V2[network]}" in line
    line = refused(plan(*second, network=network, dry=False))
    assert "needs ImageNet weights (V2), and they could not be downloaded" in line
    assert f"put {V2[network]} (from https://download.pytorch.org/models/{V2[network]})" in line


def test_the_two_imagenet_weights_are_told_apart_in_a_runs_coordinates(monkeypatch, tmp_path):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setattr(torch.hub, "download_url_to_file", lambda *a, **k: pytest.fail("downloaded"))
    checkpoints = tmp_path / "torch" / "hub" / "checkpoints"
    checkpoints.mkdir(parents=True)
    for seed, file in enumerate(("mobilenet_v2-b0353104.pth", V2["mobilenet_v2"])):
        torch.save(state("mobilenet_v2", seed), checkpoints / file)
    found = [
        find_weights(CNNSpec(name="mobilenet_v2", weights=name), CelebA, None) for name in ("imagenet", "imagenet-v2")
    ]
    assert [weights.path.name for weights in found] == ["mobilenet_v2-b0353104.pth", V2["mobilenet_v2"]]
    assert [weights.coordinates["source"] for weights in found] == ["imagenet", "imagenet-v2"]
    assert [weights.coordinates["scaling"] for weights in found] == ["imagenet", "imagenet"]
    assert found[0].coordinates["sha256"] != found[1].coordinates["sha256"]


@pytest.mark.parametrize("cut", [4, 7, 14])
def test_a_whole_state_dict_of_torchvisions_fills_a_network_that_is_cut(cut):
    torch.manual_seed(1)
    theirs = mobilenet_v2(weights=None).eval()
    for module in theirs.modules():
        if isinstance(module, nn.BatchNorm2d):  # as a network that was trained on something has them
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.1, 0.5)
            module.bias.data.normal_(0, 0.3)
    torch.save(theirs.state_dict(), "given.pth")
    spec = CNNSpec(name="mobilenet_v2", weights="file", scaling="symmetric", cut=cut)
    weights = find_weights(spec, CelebA, Path("given.pth"))
    model = ConvNet(spec, (3, 109, 89), 2, seed=0).eval()
    load_into(model, spec, weights.coordinates, weights.path)
    images = torch.randint(0, 256, (2, 3, 109, 89), dtype=torch.uint8)
    x = images / 127.5 - 1
    with torch.no_grad():
        expected = theirs.features[cut].conv[0](theirs.features[:cut](x))  # the block's expansion
    assert float(expected.std()) > 0.1
    assert torch.allclose(model.features(images), expected, atol=1e-4 * float(expected.max()))
