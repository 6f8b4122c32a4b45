"""`data verify folder:PATH`: all that is broken at once; and what masks that tell nothing leave under a table."""

import io
import json
from pathlib import Path

import pytest
from PIL import Image

from test_folder import ONCE, draw, load, read, records, write


@pytest.fixture
def few(tmp_path) -> Path:
    return draw(tmp_path / "few", {"train": 8, "test": 8})


def break_some(folder: Path) -> dict[str, tuple[int, str]]:
    """Break five files in five ways; return name → (line, what must be said)."""
    rows = read(folder)
    (folder / rows[1][0]).write_bytes(b"%PDF-1.7\n")
    (folder / rows[2][0]).unlink()
    (folder / rows[3][4]).write_bytes((folder / rows[3][4]).read_bytes()[:60])
    Image.new("L", (9, 9)).save(folder / rows[4][4])
    (folder / rows[12][4]).unlink()
    (folder / rows[13][0]).write_bytes(b"")
    return {
        rows[1][0]: (2, "a PDF"),
        rows[2][0]: (3, "there is no such file"),
        rows[3][4]: (4, "broken image"),
        rows[4][4]: (5, "9×9 pixels, its image 32×32"),
        rows[12][4]: (13, "there is no such file"),
        rows[13][0]: (14, "an empty file"),
    }


def test_every_broken_file_is_listed(cli, few):
    broken = break_some(few)
    result = cli("data", "verify", f"folder:{few}")
    assert result.code == 2
    *lines, count = result.out.splitlines()
    assert count == "6 files cannot be read, as listed."
    for line, (name, (number, what)) in zip(lines, broken.items(), strict=True):
        assert line.startswith(f"{few / 'metadata.csv'}, line {number}: ")
        assert name in line
        assert what in line
    assert len([line for line in result.err.splitlines() if line.startswith("Error: ")]) == 1


def test_every_broken_file_is_listed_as_json(cli, few):
    broken = break_some(few)
    result = cli("data", "verify", f"folder:{few}", "--format", "json")
    assert result.code == 2
    content = json.loads(result.out)
    assert (content["data"], content["ok"]) == (f"folder:{few}", False)
    assert [one["file"] for one in content["broken"]] == list(broken)
    for one, (_, what) in zip(content["broken"], broken.values(), strict=True):
        assert what in one["problem"]


@pytest.mark.parametrize("form", ["terminal", "json"])
def test_a_broken_file_does_not_hide_a_wrong_box_nor_that_the_file(cli, few, form):
    rows = read(few)
    write(few, [(*rows[0][:4], "box"), *((*row[:4], "0.1 0.1 0.5 0.5") for row in rows[1:])])
    (few / rows[3][0]).write_bytes(b"")
    result = cli("data", "verify", f"folder:{few}", "--format", form)
    assert result.code == 2
    assert "an empty file" in result.out
    assert "0.1 0.1 0.5 0.5" in result.out


def test_one_broken_file_and_a_broken_list_are_one_line_and_json(cli, few):
    rows = read(few)
    (few / rows[5][0]).write_bytes(b"")
    for said in ("an empty file", "line 6: split is 'tain'"):
        result = cli("data", "verify", f"folder:{few}", "--format", "json")
        assert result.code == 2
        (one,) = json.loads(result.out)["broken"]
        assert said in one["problem"]
        assert said in result.err
        write(few, [*rows[:5], [*rows[5][:2], "tain", *rows[5][3:]], *rows[6:]])


def test_a_run_on_missing_files_says_how_many_and_how_to_list_them(cli, few):
    break_some(few)
    result = cli("run", "--dataset", f"folder:{few}", "--protocol", "quick", "--dry-run")
    assert result.code == 2
    assert "line 3: path images/train-1.png: there is no such file (and 1 more; data verify lists them)" in result.err


def test_what_is_right_is_told_as_json(cli, few, mnist):
    content = json.loads(cli("data", "verify", f"folder:{few}", "--format", "json").out)
    assert content["ok"]
    assert content["images"] == {"training": 8, "test": 8}
    assert content["classes"] == ["across", "upright"]
    assert content["broken"] == []
    result = cli("data", "verify", "decoymnist", "--data-root", mnist, "--format", "json")
    content = json.loads(result.out)
    assert (result.code, content["ok"]) == (1, False)
    assert len(content["files"]) == 4
    assert not any(file["verified"] or file["accepted"] for file in content["files"])
    nothing = cli("data", "verify", "celeba", "--format", "json")
    assert nothing.code == 2
    assert "no files under" in json.loads(nothing.out)["broken"][0]["problem"]


@pytest.mark.parametrize("silent", [8, 3])
def test_masks_that_tell_nothing_stand_under_the_table(cli, few, tmp_path, silent):
    empty = io.BytesIO()
    Image.new("L", (32, 32)).save(empty, "PNG")
    for row in read(few)[1 : silent + 1]:
        (few / row[4]).write_bytes(empty.getvalue())
    note = {8: "all 8 masks of training images tell nothing", 3: "3 of 8 masks of training images tell nothing"}[silent]
    assert load(few).notes[0].startswith(note)
    assert note in cli("data", "verify", f"folder:{few}").out
    arguments = ["--dataset", f"folder:{few}", "--protocol", "quick", *ONCE, "--seeds", "1", "--store", tmp_path / "s"]
    result = cli("run", *arguments, "--methods", "original,energy", "--quiet")
    assert result.code == 0, result.err
    assert result.out.count(note) == 1
    assert note in cli("leaderboard", "--store", tmp_path / "s").out
    assert all(any(text.startswith(note) for text in record.notes) for record in records(tmp_path / "s").values())
