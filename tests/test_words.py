"""Small things that users write: seeds, names, files to write; and what they are told."""

import io
import os
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from crayon_bench.data.contact_sheet import draw
from crayon_bench.dataset import Evidence, Found, LoadedData, Source, Split
from crayon_bench.errors import UserError, did_you_mean
from crayon_bench.runs import environment
from crayon_bench.texts import parse_seeds

ROOT = Path(__file__).parent.parent
METHODS = ["original", "crayon-attention", "crayon-attention-pruning", "crayon-pruning", "rrr", "random-pruning"]


@pytest.mark.parametrize(
    ("text", "seeds"), [("1-3", [1, 2, 3]), ("0,5-7", [0, 5, 6, 7]), ("7-7", [7]), ("2-3,3,", [2, 3]), ("2", [0, 1])]
)
def test_seeds_may_be_ranges(text, seeds):
    assert parse_seeds(text) == seeds


@pytest.mark.parametrize("text", ["3-1", "1-", "-1", "1-2-3", "0-99999999", "1–3", "1 - 3"])
def test_what_is_no_range_is_refused(text):
    with pytest.raises(UserError, match=re.escape(f"--seeds {text}")):
        parse_seeds(text)


def test_all_near_names_are_given(cli):
    assert did_you_mean("crayon", METHODS).count("crayon-") == 3
    assert did_you_mean("pruning", METHODS).count("pruning") == 3
    assert did_you_mean("orignal", METHODS) == "did you mean 'original'?"
    assert did_you_mean("Crayon-P", METHODS) == "did you mean 'crayon-pruning'?"
    assert did_you_mean("zzz", METHODS).startswith("choose from: ")
    many = [f"name.number-{n}" for n in range(100)]
    assert len(did_you_mean("zzz", many)) < 400
    assert did_you_mean("zzz", many).endswith(", … (100 in all)")
    assert len(did_you_mean("number", many)) < 400
    assert did_you_mean("other.number-7", many) == "did you mean 'name.number-7'?"
    told = cli("run", "--dataset", "decoymnist", "--methods", "crayon", "--dry-run").err
    assert all(f"'{name}'" in told for name in METHODS[1:4])


def test_no_message_and_no_page_advises_what_an_index_does_not_have():
    pattern = re.compile(r"pip3? install [^\n`&|]*(?<=[ '\"])crayon-bench(?![-/\w])")
    assert pattern.search("pip install 'crayon-bench[annotate]'") and pattern.search("- run: pip install crayon-bench")
    assert not pattern.search("pip install ./crayon-bench")
    files = [file for file in (ROOT / "docs").rglob("*") if file.suffix in (".md", ".yml", ".ipynb", ".toml")]
    files += [file for part in ("harness", "plugins", "leaderboards") for file in (ROOT / part).rglob("*.py")]
    assert [str(file) for file in [*files, ROOT / "README.md"] if pattern.search(file.read_text())] == []


@pytest.fixture
def store(cli):
    sets = ["--set", "original.epochs=1", "--set", "refine.epochs=1", "--executor", "serial", "--quiet"]
    told = cli("run", "--dataset", "decoymnist", "--source", "standin", "--methods", "original", "--seeds", "0,", *sets)
    assert told.code == 0


def test_the_ending_of_a_file_says_its_format_and_must_not_contradict_it(cli, store):
    begins = {"t.csv": "board,", "t.json": "{", "t.md": "#", "t.tex": "%", "t.html": "<"}
    for name, begin in begins.items():
        assert cli("leaderboard", "--output", name).code == 0
        assert Path(name).read_text()[: len(begin)] == begin or name in ("t.csv", "t.md", "t.tex"), name
    texts = {name: Path(name).read_text() for name in begins}
    assert len(set(texts.values())) == len(begins)
    for command in (["leaderboard"], ["check", "--baseline", "crayon-runs"]):
        told = cli(*command, "--format", "json", "--output", "x.md")
        assert told.code == 2 and "make them agree" in told.err and not Path("x.md").exists()
        told = cli(*command, "--output", "x.xlsx")
        assert told.code == 2 and "unknown ending .xlsx" in told.err and not Path("x.xlsx").exists()
    assert cli("leaderboard", "--format", "json", "--output", "t.json").code == 0
    assert cli("leaderboard", "--format", "json", "--output", "table").code == 0  # no ending says nothing
    cli("check", "--baseline", "crayon-runs", "--output", "c.xml")
    assert Path("c.xml").read_text().startswith("<?xml")


def test_a_contact_sheet_is_a_png_whatever_it_is_called(cli):
    told = cli("data", "show", "decoymnist", "--source", "standin", "--output", "sheet.jpg")
    assert told.code == 2 and "ends with .png" in told.err and not Path("sheet.jpg").exists()


def test_labels_grow_with_the_images():
    heights = []
    for side in (48, 256):
        empty = np.full((2, 3, side, side), 255, np.uint8)
        split = Split(empty, np.array([0, 1]), np.array([0, 1]), ["a", "b"])
        data = LoadedData(split, split, ("one", "two"), ("one", "two"), Evidence())
        sheet = draw("title", Found(source=Source.REAL, content="", where=""), data, 1)
        dark = np.asarray(Image.open(io.BytesIO(sheet)).convert("L")) < 60
        rows = np.nonzero(dark[:, :60].any(axis=1))[0]
        heights.append(max(len(part) for part in np.split(rows, np.nonzero(np.diff(rows) > 3)[0] + 1)))
    assert heights[1] > 1.5 * heights[0]


def test_what_cannot_be_imported_says_what_to_do(cli):
    Path("notes.txt").write_text("x")
    assert "give it where it lies: --dataset folder:here" in cli("data", "import", "folder", "here").err
    told = cli("data", "import", "celeba", "nowhere").err
    assert "notes.txt" not in told and "give a folder, an archive" in told


@pytest.fixture
def gpus(monkeypatch):
    """Two GPUs, which $CUDA_VISIBLE_DEVICES names 4 and 6."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,6")
    monkeypatch.setattr(environment, "_seen", None)
    monkeypatch.setattr(environment.torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(environment.torch.cuda, "is_initialized", lambda: False)


def test_one_gpu_is_chosen_by_its_number(gpus, monkeypatch):
    assert environment.one_gpu("auto") == "auto" and os.environ["CUDA_VISIBLE_DEVICES"] == "4,6"
    for number, name in ((1, "6"), (0, "4"), (1, "6")):  # of those that there were, not of the one that is left
        assert environment.one_gpu(f"cuda:{number}") == "cuda" and os.environ["CUDA_VISIBLE_DEVICES"] == name
    with pytest.raises(UserError, match="no such GPU — there is cuda:0 to cuda:1"):
        environment.one_gpu("cuda:2")
    with pytest.raises(UserError, match="use --device cuda"):
        environment.one_gpu("cuda:1", elsewhere=True)
    monkeypatch.setattr(environment.torch.cuda, "is_initialized", lambda: True)
    assert environment.one_gpu("cuda:1") == "cuda"
    with pytest.raises(UserError, match="in a new one"):
        environment.one_gpu("cuda:0")


@pytest.mark.parametrize("command", ["run", "oracle stats", "annotate serve --task maps"])
@pytest.mark.parametrize("device", ["cuda:", "cuda:-1", "cuda:x", "gpu", "mps"])
def test_what_is_no_device_is_refused(cli, command, device):
    told = cli(*command.split(), "--dataset", "celeba", "--source", "standin", "--device", device)
    assert told.code == 2 and f"--device {device}" in told.err and told.err.count("\n") == 1
