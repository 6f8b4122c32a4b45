"""Hostile weights and plugin files: see :mod:`hostile`."""

import io
import json
import os
import pickle
import random
import struct
import warnings
import zipfile
from pathlib import Path

import pytest
import torch
from hypothesis import given, strategies as st
from safetensors.torch import save

from crayon_bench.errors import UserError
from crayon_bench.networks import weights_file
from crayon_bench.networks.build import build_model
from crayon_bench.networks.convnets import ConvNet
from crayon_bench.networks.specification import CNNSpec
from crayon_bench.networks.weights import find_weights, load_into
from crayon_bench.plugins.registry import Kind, Registry
from crayon_bench_plugins.datasets.celeba.dataset import CelebA
from helpers import METHOD
from hostile import attempt, cases, examples, mutated, mutated_text

pytestmark = pytest.mark.slow

SPEC = CNNSpec(name="small-cnn", weights="file")
STATE = {
    name.removeprefix("body."): value.contiguous()
    for name, value in ConvNet(CNNSpec(name="small-cnn", weights="none"), (3, 32, 32), 2, 1).state_dict().items()
    if name != "kept"
}
FIRST = "0.weight"


def pth(state: object, **options) -> bytes:
    out = io.BytesIO()
    torch.save(state, out, **options)
    return out.getvalue()


def as_safetensors(state: dict[str, torch.Tensor], scaling: str = "unit") -> bytes:
    return save(state, metadata={"scaling": scaling})


def load(path: Path) -> torch.nn.Module:
    """As a run does: looked at for the plan, then copied into the network."""
    found = find_weights(SPEC.model_copy(update={"scaling": "unit"}), CelebA, path)
    assert found.coordinates is not None
    model = build_model(SPEC.model_copy(update={"scaling": "unit"}), (3, 32, 32), 2, seed=0)
    load_into(model, SPEC, found.coordinates, path)
    return model


def check(kind: str, path: Path, content: bytes) -> None:
    path.write_bytes(content)
    model = attempt(kind, lambda: load(path))
    if model is not None:
        assert all(bool(torch.isfinite(value).all()) for value in model.state_dict().values())


def test_weights_of_damaged_bytes(tmp_path):
    base = {
        "safetensors": as_safetensors(STATE),
        "pth": pth(STATE),
        "pth of old": pth(STATE, _use_new_zipfile_serialization=False),
    }
    for rng in cases("weights", 900):
        kind = rng.choice(list(base))
        check(f"weights: {kind}", tmp_path / "w", mutated(rng, base[kind], base[rng.choice(list(base))]))


def header(rng: random.Random) -> bytes:
    """A safetensors file whose header says something else."""
    content = as_safetensors(STATE)
    length = struct.unpack("<Q", content[:8])[0]
    raw = json.loads(content[8 : 8 + length])
    name = rng.choice(list(raw))
    if name == "__metadata__" or rng.random() < 0.2:
        raw[name] = rng.choice((None, [], 3, {"scaling": 3}, {"scaling": "x"}, {}))
    else:
        key = rng.choice(("dtype", "shape", "data_offsets"))
        values = {
            "dtype": [
                "F64",
                "F16",
                "BF16",
                "I64",
                "BOOL",
                "U8",
                "F8_E4M3",
                "F8_E5M2",
                "C64",
                "F4",
                "F6_E2M3",
                "x",
                3,
                None,
            ],
            "shape": [[], [0], [-1], [2**63], [2**32, 2**32], [1] * 100, "x", None],
            "data_offsets": [[0, 0], [0, 2**63], [4, 0], [-1, 4], [0], "x", None],
        }
        raw[name][key] = rng.choice(values[key])
    text = json.dumps(raw).encode()
    said = rng.choice((len(text),) * 6 + (0, 2**63, 2**64 - 1, len(content), 100_000_001))
    return struct.pack("<Q", said) + text + content[8 + length :]


def test_safetensors_with_other_headers(tmp_path):
    for rng in cases("header", 500):
        check("weights: safetensors header", tmp_path / "w", header(rng))


def odd_state(rng: random.Random) -> object:
    name = rng.choice(list(STATE))
    value = STATE[name]
    odd = [
        value.to(torch.float64), value.half(), value.bfloat16(), value.to(torch.complex64), value.to(torch.int8), value > 0,
        value.to(torch.float64) * 1e300, value * float("nan"), value.to(torch.float8_e4m3fn) if value.is_floating_point() else value,
        value.to_sparse() if value.ndim else value, value.to("meta"), torch.nn.Parameter(value.float()), value[None], value.flatten(),
        torch.tensor(0.0).expand(value.shape), torch.zeros(1).expand(10**6, 10**6), torch.empty(0), torch.quantize_per_tensor(value.float(), 0.1, 0, torch.qint8),
        None, 3, "x", [value], {name: value},
    ]  # fmt: skip
    state = {**STATE, name: rng.choice(odd)}
    change = rng.randrange(8)
    if change == 0:
        del state[name]
    elif change == 1:
        state[rng.choice(("x", "", "\x1b[31m", "\0", "a" * 5000, "body." + name, "kept", "head.weight"))] = rng.choice(
            odd
        )
    elif change == 2:
        return {"state_dict": state, "epoch": 3}
    elif change == 3:
        return rng.choice((None, 3, [], [state], {"state_dict": 3}, {3: value}, state, value))
    return state


@pytest.mark.filterwarnings("ignore:.*quantize")
def test_odd_state_dicts(tmp_path):
    for rng in cases("state", 700):
        check("weights: odd state_dict", tmp_path / "w", pth(odd_state(rng)))


with warnings.catch_warnings(action="ignore"):
    QUANTIZED = torch.quantize_per_tensor(STATE[FIRST], 0.1, 0, torch.qint8)
ODD = {
    "nan": STATE[FIRST] * float("nan"),
    "inf": STATE[FIRST] / 0,
    "too large for float32": STATE[FIRST].double() * 1e300,
    "sparse": STATE[FIRST].to_sparse(),
    "meta": STATE[FIRST].to("meta"),
    "quantized": QUANTIZED,
}


@pytest.mark.parametrize("kind", ODD)
def test_a_tensor_without_numbers_is_refused_by_its_name(tmp_path, kind):
    (tmp_path / "w").write_bytes(pth({**STATE, FIRST: ODD[kind]}))
    with pytest.raises(UserError, match=f"{FIRST} is not (finite everywhere|an ordinary tensor)"):
        load(tmp_path / "w")
    if kind in ("nan", "inf"):
        (tmp_path / "w").write_bytes(as_safetensors({**STATE, FIRST: ODD[kind]}))
        with pytest.raises(UserError, match=f"{FIRST} is not finite everywhere"):
            load(tmp_path / "w")


def test_weights_of_another_precision_mean_the_same(tmp_path):
    (tmp_path / "w").write_bytes(pth({name: v.double() if v.is_floating_point() else v for name, v in STATE.items()}))
    body = {name.removeprefix("body."): value for name, value in load(tmp_path / "w").state_dict().items()}
    assert all(torch.equal(body[name], value) for name, value in STATE.items() if not name.startswith("head."))


def test_the_same_tensor_under_two_names_is_refused(tmp_path):
    (tmp_path / "w").write_bytes(pth({**STATE, f"body.{FIRST}": STATE[FIRST] + 1}))
    with pytest.raises(UserError, match="twice"):
        load(tmp_path / "w")


def test_a_bomb_is_refused_before_it_is_unpacked(tmp_path):
    whole = io.BytesIO(pth({**STATE, "x": torch.zeros(4 << 20)}))
    with zipfile.ZipFile(whole) as source, zipfile.ZipFile(tmp_path / "w", "w", zipfile.ZIP_DEFLATED) as bundle:
        for name in source.namelist():
            bundle.writestr(name, source.read(name))
    with pytest.raises(UserError, match="unpacks to more"):
        load(tmp_path / "w")
    with (tmp_path / "large").open("wb") as file:
        file.truncate(weights_file.LARGEST + 1)
    with pytest.raises(UserError, match="larger than"):
        load(tmp_path / "large")


def test_a_device_for_a_file_is_refused():
    with pytest.raises(UserError, match="not a file"):
        load(Path("/dev/zero"))


# ---------------------------------------------------------------------------------------------------------------------
# programs in pickles

MARK = Path("executed")


class Program:
    def __init__(self, call, *arguments):
        self.what = call, arguments

    def __reduce__(self):
        return self.what


PROGRAMS = {
    "os.mkdir": Program(os.mkdir, str(MARK)),
    "os.system": Program(os.system, f"touch {MARK}"),
    "eval": Program(eval, f"open({str(MARK)!r}, 'w')"),
    "exec": Program(exec, f"open({str(MARK)!r}, 'w')"),
    "open": Program(open, str(MARK), "w"),
    "Path.touch": Program(Path.touch, MARK),
    "torch.save": Program(torch.save, 3, str(MARK)),
    "getattr": Program(getattr, Program(__import__, "os"), "mkdir"),
}


def programs() -> dict[str, bytes]:
    found = {}
    for name, program in PROGRAMS.items():
        for protocol in (0, 2, 4):
            found[f"{name}, bare pickle {protocol}"] = pickle.dumps(program, protocol)
        found[f"{name}, value"] = pth({**STATE, "x": program})
        found[f"{name}, whole"] = pth(program)
        found[f"{name}, old form"] = pth({**STATE, "x": program}, _use_new_zipfile_serialization=False)
    return found


def test_the_programs_would_do_harm():
    """Else the next test would prove nothing."""
    pickle.loads(pickle.dumps(PROGRAMS["os.mkdir"]))
    assert MARK.is_dir()
    MARK.rmdir()
    with pytest.raises(AttributeError):
        torch.load(io.BytesIO(pth({"x": PROGRAMS["open"], "y": Program(getattr, 3, "no")})), weights_only=False)
    assert MARK.is_file()
    MARK.unlink()


def test_no_program_in_a_pickle_is_executed(tmp_path):
    for name, content in programs().items():
        (tmp_path / "w").write_bytes(content)
        with pytest.raises(UserError, match="without executing it"):
            load(tmp_path / "w")
        assert not MARK.exists(), name
    for rng in cases("programs", 500):
        check(
            "weights: program in a pickle", tmp_path / "w", mutated(rng, rng.choice([*programs().values()]), pth(STATE))
        )
        assert not MARK.exists()


# ---------------------------------------------------------------------------------------------------------------------
# --plugin

PLUGIN = METHOD.format(name="mine", title="Mine", extra="asks = (FeedbackKind.BOX,)", body="        return job.model")


def check_plugin(kind: str, file: Path, content: bytes) -> None:
    file.write_bytes(content)

    def read():
        registry = Registry([file])
        return [registry.load(Kind.METHOD, name) for name in registry.names(Kind.METHOD)]

    attempt(kind, read)


@pytest.mark.filterwarnings("ignore::SyntaxWarning", "ignore::DeprecationWarning")
def test_plugin_files(tmp_path):
    for rng in cases("plugin", 400):
        check_plugin("--plugin", tmp_path / "p.py", mutated_text(rng, PLUGIN))


@examples(100)
@given(content=st.binary(max_size=200))
def test_plugin_files_of_anything(tmp_path_factory, content):
    # Bytes that happen to be a program are the user's to run: nothing short of that is executed.
    check_plugin("--plugin: bytes", tmp_path_factory.getbasetemp() / "p.py", b"\xff" + content)


@pytest.mark.parametrize(
    "extra",
    ["name = 3", "name = None", "name = ['x']", "name = 'a\\n'", "name = '../x'", "title = 3", "asks = 3", "asks = ('box',)",
     "Parameters = 3", "version = object()", "name = property(lambda self: 1 / 0)"],
)  # fmt: skip
def test_a_plugin_with_nonsense_for_an_attribute_is_one_line(cli, tmp_path, extra):
    (tmp_path / "p.py").write_text(PLUGIN.replace("asks = (FeedbackKind.BOX,)", extra))
    listed = cli("plugins", "list", "--plugin", tmp_path / "p.py")
    assert listed.code in (0, 1)
    result = cli(
        "run",
        "--dataset",
        "decoymnist",
        "--source",
        "standin",
        "--methods",
        "mine",
        "--dry-run",
        "--plugin",
        tmp_path / "p.py",
    )
    assert result.code in (0, 2)
    assert "Traceback" not in result.err + listed.err
    assert len([line for line in result.err.splitlines() if line.startswith("Error")]) <= 1


@pytest.mark.parametrize(
    "source",
    [
        "raise SystemExit(3)",
        "raise BaseException",
        "1/0",
        "def f(:",
        "x = '\0'",
        "(" * 5000,
        "import nowhere",
        "class M(type): pass\nclass X(metaclass=M):\n    @property\n    def __class__(self): raise RuntimeError\ny = X()",
    ],
)
def test_a_plugin_file_that_fails_is_a_row(cli, tmp_path, source):
    (tmp_path / "p.py").write_text(source)
    listed = cli("plugins", "list", "--plugin", tmp_path / "p.py")
    assert "Traceback" not in listed.err
    assert listed.code in (0, 1)
