"""metadata.csv as people have it: spreadsheets' separators and empty rows, comments, attributes that are known in part."""

import csv
import io
from pathlib import Path

import numpy as np
import pytest

from crayon_bench.errors import UserError
from crayon_bench.feedback import FeedbackKind
from test_folder import ONCE, draw, find, load, read, records, write


@pytest.fixture
def few(tmp_path) -> Path:
    return draw(tmp_path / "few", {"train": 8, "val": 4, "test": 8})


ASKS_GROUPS = """
from crayon_bench import FeedbackKind, Method

class AsksGroups(Method):
    name = "asks-groups"
    title = "Asks Groups"
    summary = "asks for the groups of all training images"
    asks = (FeedbackKind.GROUP,)

    def refine(self, job):
        job.oracle.groups(range(len(job.images)))
        return job.model
"""

# ---------------------------------------------------------------------------------------------------------------------
# attributes


def without_attributes_of(folder: Path, *splits: str, written: str = "") -> None:
    write(folder, [row if row[2] not in splits else [*row[:3], written, row[4]] for row in read(folder)])


@pytest.mark.parametrize("written", ["", "unknown", "Unknown"])
def test_attributes_of_training_images_may_be_unknown(cli, few, tmp_path, written):
    whole = load(few)
    without_attributes_of(few, "train", written=written)
    data = load(few)
    assert data.group_names == whole.group_names
    assert (data.train.groups == -1).all()
    assert (data.test.groups == whole.test.groups).all()
    assert (data.validation.groups == whole.validation.groups).all()
    assert find(few).unable == {FeedbackKind.GROUP: "metadata.csv has no attributes of training images"}

    (tmp_path / "mine.py").write_text(ASKS_GROUPS)
    store = tmp_path / "store"
    result = cli("run", "--dataset", f"folder:{few}", "--protocol", "quick", *ONCE, "--seeds", "1", "--store", store, "--quiet",
                 "--plugin", tmp_path / "mine.py", "--methods", "original,asks-groups", "--set", "protocol.selection=val_wga")  # fmt: skip
    assert result.code == 0, result.err
    original, asks = (records(store)[name] for name in ("original", "asks-groups"))
    assert (asks.status.value, asks.reason) == ("skipped", "metadata.csv has no attributes of training images")
    share = {g.name: g.right / g.total for g in original.groups}
    assert set(share) == set(data.group_names)
    assert original.metrics["worst_group_accuracy"].value == pytest.approx(100 * min(share.values()))
    assert "worst_group_accuracy" in original.validation
    assert cli("data", "show", f"folder:{few}", "--output", tmp_path / "sheet.png").code == 0


def test_without_some_training_attributes_nobody_can_be_asked_for_groups(few):
    rows = read(few)
    rows[1][3] = ""
    write(few, rows)
    assert find(few).unable == {FeedbackKind.GROUP: "metadata.csv has attributes for 7 of 8 training images"}
    groups = load(few).train.groups
    assert groups[0] == -1
    assert (groups[1:] >= 0).all()


def test_without_validation_attributes_no_epoch_is_chosen_by_groups(cli, few, tmp_path):
    without_attributes_of(few, "train", "val")
    arguments = ["--dataset", f"folder:{few}", "--protocol", "quick", *ONCE, "--seeds", "1", "--store", tmp_path / "s"]
    arguments += ["--methods", "original", "--quiet"]
    assert cli("run", *arguments).code == 0
    run = records(tmp_path / "s")["original"]
    assert run.metrics["worst_group_accuracy"].value is not None
    assert set(run.validation) == {"sample_accuracy"}
    refused = cli("run", *arguments, "--set", "protocol.selection=val_wga")
    assert refused.code == 2
    assert "selection 'val_wga': the groups of validation images are not known" in refused.err


def test_an_oracle_that_overlooks_what_is_unknown_gives_no_number(cli, few, tmp_path):
    """Whatever a foreign oracle says that it can answer, an unknown group is not handed out as group −1."""
    without_attributes_of(few, "train")
    oracle = """
from crayon_bench_plugins.oracles.simulated import SimulatedOracle

class Sure(SimulatedOracle):
    name = "sure"
    title = "Sure"

    def unable(self, kind, dataset, found):
        return None
"""
    (tmp_path / "mine.py").write_text(ASKS_GROUPS + oracle)
    store = tmp_path / "store"
    cli("run", "--dataset", f"folder:{few}", "--protocol", "quick", *ONCE, "--seeds", "1", "--store", store, "--quiet", "--oracle",
        "sure", "--plugin", tmp_path / "mine.py", "--methods", "asks-groups")  # fmt: skip
    run = records(store)["asks-groups"]
    assert run.status.value == "failed"
    assert "the groups of some training images are not known" in run.reason
    assert run.metrics == {}


@pytest.mark.parametrize(
    ("split", "row", "cell", "message"),
    [
        ("test", -1, "", "attribute is empty, and other images have one"),
        ("test", -1, "unknown", "attribute is 'unknown' — the groups of test images must be known"),
        ("val", 9, "", "attribute is empty, and other images of the split val have one"),
    ],
)
def test_attributes_that_are_needed(few, split, row, cell, message):
    rows = read(few)
    assert rows[row][2] == split
    rows[row][3] = cell
    write(few, rows)
    with pytest.raises(UserError, match=message):
        find(few)


# ---------------------------------------------------------------------------------------------------------------------
# what spreadsheets write


def written(rows: list[list[str]], separator: str, before: str = "", between: str = "") -> str:
    out = io.StringIO(newline="")
    csv.writer(out, delimiter=separator, lineterminator="\r\n").writerows(rows)
    header, *lines = out.getvalue().splitlines(keepends=True)
    return before + header + between.join(["", *lines])


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
@pytest.mark.parametrize("told", ["", "sep=", "\ufeffsep="])
def test_separators(few, separator, told):
    rows = read(few)
    expected = find(few)
    rows = [[*row, "a, note; with\tall|three"] for row in rows]
    rows[0][-1] = "notes"
    before = f"{told}{separator}\r\n" if told else ""
    (few / "metadata.csv").write_text(written(rows, separator, before), newline="", encoding="utf-8")
    found = find(few)
    assert found.content == expected.content
    assert found.remarks == (("metadata.csv: passed over: the line sep=",) if told else ())
    (few / "metadata.csv").write_text(
        written([*rows, ["x.png", "across", "traning", "warm", "", ""]], separator, before),
        newline="",
        encoding="utf-8",
    )
    with pytest.raises(UserError, match=rf"line {len(rows) + 1 + bool(told)}: split is 'traning'"):
        find(few)


def test_empty_rows_and_comments_are_passed_over_and_counted(cli, few):
    expected = find(few).content
    text = written(read(few), ";", "# balls\r\n", ";;;;;;\r\n")
    (few / "metadata.csv").write_text(text + "# images/no.png;across;train\r\n;;\r\n \r\n", newline="")
    found = find(few)
    assert found.content == expected
    told = "metadata.csv: passed over: 22 empty rows, 2 comment lines"
    assert found.remarks == (told,)
    assert told in cli("data", "verify", f"folder:{few}").out
    planned = cli("run", "--dataset", f"folder:{few}", "--protocol", "quick", "--methods", "original", "--dry-run")
    assert told in planned.err


def test_an_image_whose_name_begins_like_a_comment_is_not_lost_in_silence(few):
    rows = read(few)
    (few / rows[1][0]).rename(few / "#1.png")
    rows[1][0] = "#1.png"
    write(few, rows)
    with pytest.raises(
        UserError, match=r"line 2: it begins with # as a comment does, and names an image that is there"
    ):
        find(few)
    rows[1][0] = "./#1.png"
    write(few, rows)
    assert load(few).train.ids[0] == "#1.png"


def test_cells_without_a_heading_may_be_empty(few):
    expected = find(few).content
    write(few, [[*row, "", ""] for row in read(few)])
    assert find(few).content == expected
    write(few, [read(few)[0][:-2], *read(few)[1:]])
    assert find(few).content == expected


def test_commas_and_semicolons_in_names_of_images(few):
    rows = read(few)
    (few / rows[1][0]).rename(few / "one, two; three.png")
    rows[1][0] = "one, two; three.png"
    for separator in ",;\t":
        (few / "metadata.csv").write_text(written(rows, separator), newline="")
        assert load(few).train.ids[0] == "one, two; three.png"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("sep=#\npath#label#split\n", "line 1: 'sep=#' — expected sep= and a comma, semicolon, tab or |"),
        ("", "line 1: the column path is missing"),
        ("# nothing but this\n", "line 1: the column path is missing"),
        ("sep=;\npath,label,split\n", "line 2: the column path is missing"),
        ("path;label;split\na.png,x,train\n", "line 2: one cell for 3 columns — the first line separates columns by semicolons"),
    ],
)  # fmt: skip
def test_sheets_that_are_none(tmp_path, text, message):
    (tmp_path / "metadata.csv").write_text(text)
    with pytest.raises(UserError) as error:
        find(tmp_path)
    assert message in str(error.value)


def test_groups_are_numbered_label_by_label_whatever_is_unknown(few):
    without_attributes_of(few, "train")
    data = load(few)
    names = [row[1] + ", " + row[3] for row in read(few)[1:] if row[2] == "test"]
    assert [data.group_names[group] for group in data.test.groups] == names
    assert np.unique(data.test.groups).tolist() == [0, 1, 2, 3]
