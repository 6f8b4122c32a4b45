"""Checkpoints as people have them: prefixes, containers, and what is said of files that are no weights at all."""

import io
import json
import pickle
import zipfile
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torchvision.models import mobilenet_v2, resnet18, resnet50

from crayon_bench.errors import UserError
from crayon_bench.networks.build import build_model
from crayon_bench.networks.convnets import ConvNet
from crayon_bench.networks.specification import CNNSpec
from crayon_bench.networks.weights import Weights, find_weights, load_into
from crayon_bench_plugins.datasets.celeba.dataset import CelebA

SMALL = CNNSpec(name="small-cnn", weights="file", scaling="unit")
State = dict[str, torch.Tensor]


def state(seed: int = 1) -> State:
    """The small CNN, as a state_dict of its own would name it."""
    tensors = ConvNet(CNNSpec(name="small-cnn", weights="none"), (3, 32, 32), 2, seed).state_dict().items()
    return {name.removeprefix("body."): value.contiguous() for name, value in tensors if name != "kept"}


def read(path: Path, spec: CNNSpec = SMALL) -> tuple[Weights, State]:
    """As a run does: looked at for the plan, then copied into the network."""
    found = find_weights(spec, CelebA, path)
    assert found.coordinates is not None
    model = build_model(spec, (3, 32, 32), 2, seed=9)
    load_into(model, spec, found.coordinates, path)
    return found, {name.removeprefix("body."): value for name, value in model.state_dict().items() if name != "kept"}


def same(left: State, right: State) -> bool:
    return left.keys() == right.keys() and all(torch.equal(value, right[name]) for name, value in left.items())


def put(prefix: str, tensors: State) -> State:
    return {f"{prefix}{name}": value for name, value in tensors.items()}


def backbone(tensors: State) -> State:
    """The body in a module, the last layer beside it."""
    return {name if name.startswith("head.") else f"backbone.{name}": value for name, value in tensors.items()}


NAMES = {
    "DataParallel": lambda s: put("module.", s),
    "compiled": lambda s: put("_orig_mod.", s),
    "compiled, then DataParallel": lambda s: put("module._orig_mod.", s),
    "Lightning": lambda s: put("model.", s),
    "a net": lambda s: put("net.", s),
    "two prefixes": lambda s: put("model.resnet.", s),
    "backbone and last layer": backbone,
    "that in DataParallel": lambda s: put("module.", backbone(s)),
    "AveragedModel": lambda s: {"n_averaged": torch.tensor(3), **put("module.", s)},
    "its body compiled": lambda s: {
        n if n.startswith("head.") else f"body._orig_mod.{n}": v for n, v in s.items()
    },
    "crayon-bench's own": lambda s: {
        "kept": torch.ones(64), **{n if n.startswith("head.") else f"body.{n}": v for n, v in s.items()}
    },
    "that in DataParallel's": lambda s: put("module.", NAMES["crayon-bench's own"](s)),
}  # fmt: skip


@pytest.mark.parametrize("names", NAMES)
@pytest.mark.parametrize("save", [torch.save, save_file], ids=["pth", "safetensors"])
def test_whatever_stands_before_the_names_the_numbers_are_the_same(names, save):
    save(NAMES[names](state()), "w")
    found, loaded = read(Path("w"))
    assert found.coordinates["head"] is True
    assert same(loaded, state())


@pytest.mark.parametrize(
    ("name", "make", "save"),
    [
        pytest.param("mobilenet_v2", mobilenet_v2, save_file, marks=pytest.mark.slow),
        ("resnet18", resnet18, torch.save),
    ],
)
def test_prefixes_of_torchvisions_networks(name, make, save):
    """MobileNetV2's body has a prefix of its own, `features.`, which stays; with and without the last layer."""
    torch.manual_seed(0)
    theirs = make(num_classes=2).state_dict()
    head = "classifier.1." if name == "mobilenet_v2" else "fc."
    body = {key: value for key, value in theirs.items() if not key.startswith(head)}
    spec = CNNSpec(name=name, weights="file", scaling="unit")
    for tensors, whole in ((put("model.", theirs), True), (body, False), (put("module.encoder.", body), False)):
        save(tensors, "w")
        found, loaded = read(Path("w"), spec)
        assert ("head" in found.coordinates) is whole
        assert all(torch.equal(loaded[key], value) for key, value in body.items())
        if whole:
            assert torch.equal(loaded["head.weight"], theirs[f"{head}weight"])


CONTAINED = {
    "state_dict": lambda s: {"state_dict": s, "epoch": 3, "optimizer": {"state": {}, "param_groups": [{"lr": 0.1}]}},
    "model_state_dict": lambda s: {"model_state_dict": OrderedDict(s), "loss": 0.5},
    "model": lambda s: {"model": put("module.", s), "args": {"arch": "small"}},
    "net": lambda s: {"net": s, "acc": 93.1, "epoch": 12},
    "ema": lambda s: {"ema": s, "step": 100},
    "one in another": lambda s: {"model": {"state_dict": put("model.", s), "name": "x"}},
    "beside one that is none": lambda s: {"model": {"depth": 18}, "net": s},
}


@pytest.mark.parametrize("kind", CONTAINED)
def test_the_network_inside_of_a_checkpoint_is_found(kind):
    torch.save(CONTAINED[kind](state()), "w")
    found, loaded = read(Path("w"))
    assert same(loaded, state())
    assert not any("is not looked at" in note for note in found.notes)


def test_of_several_networks_in_a_checkpoint_it_is_said_which_one_was_taken():
    torch.save({"ema": state(2), "model": state(1), "epoch": 3}, "w")
    found, loaded = read(Path("w"))
    assert same(loaded, state(1))
    (note,) = [note for note in found.notes if "is not looked at" in note]
    assert note == "w: the network is its 'model'; 'ema' is not looked at"
    assert note in found.remarks


@pytest.mark.parametrize("save", [torch.save, save_file], ids=["pth", "safetensors"])
def test_two_networks_under_two_prefixes_are_refused(save):
    save({**put("student.", state(1)), **put("teacher.", state(2))}, "w")
    with pytest.raises(UserError, match="the small CNN is in it more than once, under 'student' and 'teacher'"):
        read(Path("w"))


def test_an_extra_tensor_beside_the_network_is_refused_by_its_name():
    torch.save({**put("model.", state()), "criterion.weight": torch.ones(2)}, "w")
    with pytest.raises(UserError, match=r"it has criterion\.weight, which the network has not"):
        read(Path("w"))


def scripted(path: Path) -> None:
    torch.jit.save(torch.jit.script(torch.nn.Linear(2, 2)), str(path))


def scripted_network(path: Path) -> None:
    """Of a whole network, the code is packed, and is longer than all headers of the archive."""

    class Deep(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            for _ in range(1000):
                x = torch.relu(x)
            return x

    torch.jit.save(torch.jit.trace(Deep(), torch.ones(1)), str(path))
    with zipfile.ZipFile(path) as bundle:
        assert sum(info.file_size for info in bundle.infolist()) > path.stat().st_size


def packed_numbers(path: Path) -> None:
    with path.open("wb") as file:
        np.savez_compressed(file, a=np.zeros(10_000))


def exported(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as bundle:
        bundle.writestr("x/archive_format", "pt2")


def numbers(path: Path) -> None:
    with path.open("wb") as file:
        np.savez(file, a=np.zeros(3))


def best_so_far(path: Path) -> None:
    torch.save({"state_dict": state(), "best": np.float64(3)}, path)


POINTER = (
    "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24\n"
)
NO_WEIGHTS = {
    "LFS pointer": (lambda path: path.write_text(POINTER), "a Git LFS pointer", "git lfs pull"),
    "web page": (lambda path: path.write_text("\n<html>Sign in"), "a web page", "fetch the file itself"),
    "empty": (lambda path: path.write_bytes(b""), "it is empty", "fetch it again"),
    "TorchScript": (scripted, "a TorchScript program", "torch.jit.load(FILE).state_dict()"),
    "TorchScript of a network": (scripted_network, "a TorchScript program", "torch.jit.load(FILE).state_dict()"),
    "packed npz": (packed_numbers, "an archive of NumPy's", "torch.save(model.state_dict(), FILE)"),
    "exported": (exported, "an exported program", "torch.export.load"),
    "npz": (numbers, "an archive of NumPy's", "torch.save(model.state_dict(), FILE)"),
    "HDF5": (lambda path: path.write_bytes(b"\x89HDF\r\n\x1a\n"), "an HDF5 file", "torch.save(model.state_dict()"),
    "gzip": (lambda path: path.write_bytes(b"\x1f\x8b\x08"), "packed by gzip", "unpack it"),
    "module": (
        lambda path: torch.save(torch.nn.Linear(2, 2), path),
        "it holds torch.nn.modules.linear.Linear",
        "save(",
    ),
    "old module": (lambda path: path.write_bytes(pickle.dumps(Path("x"), 2)), "neither a safetensors file", "save("),
    "NumPy's number": (best_so_far, "it holds numpy", "torch.save(model.state_dict(), FILE)"),
    "other containers": (
        lambda path: torch.save({"generator": state(), "epoch": 3}, path),
        "it holds generator (dict), epoch (int)",
        "looked for under state_dict, model_state_dict, model, net",
    ),
    "list": (lambda path: torch.save([state()], path), "it holds a list", "torch.save(model.state_dict(), FILE)"),
    "no names": (lambda path: torch.save({}, path), "it holds nothing", "torch.save(model.state_dict(), FILE)"),
}


@pytest.mark.filterwarnings("ignore:.*torch.jit")
@pytest.mark.parametrize("kind", NO_WEIGHTS)
@pytest.mark.parametrize("name", ["w.pth", "w.safetensors"])
def test_a_file_that_is_no_weights_is_named_as_what_it_is(kind, name):
    make, what, remedy = NO_WEIGHTS[kind]
    make(Path(name))
    with pytest.raises(UserError) as refused:
        read(Path(name))
    assert f"weights {name}: " in str(refused.value)
    assert what in str(refused.value)
    assert remedy in str(refused.value)


def test_a_safetensors_file_that_is_packed_or_cut_off_is_no_state_dict():
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as bundle:
        bundle.writestr("model.safetensors", json.dumps({}))
    Path("w.safetensors").write_bytes(buffer.getvalue())
    with pytest.raises(UserError, match="neither a safetensors file nor a state_dict"):
        read(Path("w.safetensors"))


def hollow(make) -> State:
    """A network of torchvision's; its tensors are zeros that take no room on the disk."""
    with torch.device("meta"):
        tensors = make(num_classes=2).state_dict()
    return {name: torch.zeros((), dtype=value.dtype).expand(value.shape) for name, value in tensors.items()}


def test_what_does_not_fit_shows_names_of_both_sides_and_the_likely_cause():
    def refusal(tensors: State, network: str) -> str:
        torch.save(tensors, "w")
        with pytest.raises(UserError) as refused:
            read(Path("w"), CNNSpec(name=network, weights="file", scaling="unit"))
        return str(refused.value)

    eighteen, fifty, mobile = map(hollow, (resnet18, resnet50, mobilenet_v2))
    for tensors in (fifty, put("module.", fifty)):
        text = refusal(tensors, "resnet18")
        assert "it has layer1.0.bn3.bias, which the network has not" in text
        assert "it looks like ResNet-50: add --set model.name=resnet50" in text
    text = refusal(put("net.", mobile), "resnet18")
    assert "the network has conv1.weight, bn1.weight, bn1.bias; the file has net.classifier.1.bias" in text
    assert "it looks like MobileNetV2: add --set model.name=mobilenet_v2" in text
    assert "it looks like ResNet-18" in refusal(eighteen, "mobilenet_v2")
    timm = {name.replace("layer", "stages.").replace("conv1", "stem"): value for name, value in eighteen.items()}
    assert "the network has conv1.weight, layer1.0.conv1.weight" in refusal(timm, "resnet18")
    assert "the file has stages.1.0.bn1.bias" in refusal(timm, "resnet18")
    text = refusal({"vit.embeddings.weight": torch.zeros(3), "vit.head.weight": torch.zeros(2, 3)}, "resnet18")
    assert "the file has vit.embeddings.weight, vit.head.weight" in text
    assert "another architecture, or have another library's names than torchvision's; known are MobileNetV2" in text
    wide = {**eighteen, "layer4.1.conv2.weight": torch.zeros(()).expand(512, 512, 1, 1)}
    text = refusal(wide, "resnet18")
    assert "layer4.1.conv2.weight is (512, 512, 1, 1), not (512, 512, 3, 3)" in text
    assert "another size or variant" in text
