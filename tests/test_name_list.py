"""``dataset.list``: exactly the images that a list names, in its order."""

import gzip
import json
import re
from pathlib import Path

import numpy as np
import pytest

from crayon_bench.dataset import Source
from crayon_bench.errors import UserError
from crayon_bench.plugins.registry import Registry
from crayon_bench.runs import loading
from crayon_bench.runs.plan import Options, make_plan
from crayon_bench.store.request import RunRequest
from crayon_bench.store.store import Store
from crayon_bench_plugins.annotation.answers.tasks import Task
from crayon_bench_plugins.annotation.questions import gather
from crayon_bench_plugins.datasets.celeba.published import ATTRIBUTES
from test_celeba import KINDS, load, write_celeba

ONCE = ["--protocol", "quick", "--set", "model.weights=none", "--set", "original.epochs=1", "--set", "refine.epochs=1"]
TINY = ["--dataset", "celeba", "--seeds", "0,", "--quiet", *ONCE]


@pytest.fixture
def root(tmp_path):
    write_celeba(tmp_path / "root" / "celeba")
    return tmp_path / "root"


def by_kind(root: Path) -> dict[int, list[str]]:
    """Return the names of the images of each of the six kinds, two of which take no part."""
    found: dict[int, list[str]] = {kind: [] for kind in range(6)}
    for line in (root / "celeba" / ATTRIBUTES.name).read_text().splitlines()[2:]:
        name, _, black, blond, smiling, _ = line.split()
        found[KINDS.index(tuple(int(value == "1") for value in (black, blond, smiling)))].append(name)
    return found


def entries(root: Path, seed: int = 3) -> list[tuple[str, str]]:
    """Return a list in an order of its own: of the groups 2, 4, 4, 2 to training, two each to test and validation."""
    kinds = by_kind(root)
    rows = []
    for group, number in enumerate((2, 4, 4, 2)):
        names = kinds[group][::-1]
        rows += [(name, "train") for name in names[:number]]
        rows += [(name, "test") for name in names[number : number + 2]]
        rows += [(name, "val") for name in names[number + 2 : number + 4]]
    return [rows[i] for i in np.random.RandomState(seed).permutation(len(rows))]


def as_csv(rows) -> str:
    return "path,split\n" + "".join(f"{name},{split}\n" for name, split in rows)


def as_columns(rows) -> str:
    return "\n".join(f"{name}  {('train', 'val', 'test').index(split)}" for name, split in rows) + "\n\n"


def as_windows(rows) -> bytes:
    return b"\xef\xbb\xbf" + as_csv(rows).replace("\n", "\r\n").encode()


@pytest.mark.parametrize("form", [as_csv, as_columns, as_windows])
def test_the_images_are_those_of_the_list_in_its_order(root, form):
    rows = entries(root)
    write(form(rows))
    data = load(root, list="list.txt")
    kinds = {name: kind for kind, names in by_kind(root).items() for name in names}
    for split, word in ((data.train, "train"), (data.test, "test"), (data.validation, "val")):
        assert list(split.ids) == [name for name, mine in rows if mine == word]
        assert split.groups.tolist() == [kinds[name] for name in split.ids]
        assert (split.labels == split.groups % 2).all()
        for name, pixels in zip(split.ids, split.images, strict=True):
            assert abs(int(np.median(pixels[0, :20])) - int(name[:6]) % 251) <= 2
    write(form([row for row in rows if row[1] != "val"]))
    assert load(root, list="list.txt").validation is None


def write(content: str | bytes) -> None:
    Path("list.txt").write_bytes(content if isinstance(content, bytes) else content.encode())


def test_a_packed_list_is_read_and_what_is_asked_of_people_is_of_its_images(root):
    Path("list.csv.gz").write_bytes(gzip.compress(as_csv(entries(root)).encode()))
    options = Options(
        datasets=["celeba"], methods=["original"], seeds=[0], protocol="quick", source=Source.REAL, data_root=root,
        sets=("model.weights=none", "dataset.list=list.csv.gz"),
    )  # fmt: skip
    material = gather(Task.BOXES, options, Registry(), Store.create(Path("store")), lambda text: None)
    assert list(material.ids) == [name for name, split in entries(root) if split == "train"]
    assert material.dataset["parameters"]["list"].startswith("sha256:")


def spoilt(text: str, line: int, new: str) -> str:
    lines = text.splitlines()
    lines[line - 1] = new.format(*lines[line - 1].split(","))
    return "\n".join(lines)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda text, kinds: spoilt(text, 5, "{0},dev"), "line 5: .*: there is no split 'dev'"),
        (lambda text, kinds: spoilt(text, 5, "{0},3"), "line 5: .*: there is no split '3'"),
        (lambda text, kinds: spoilt(text, 5, "{0}"), "line 5: expected a name and a split"),
        (lambda text, kinds: spoilt(text, 5, "{0},{1},1"), "line 5: expected a name and a split"),
        (lambda text, kinds: spoilt(text, 5, "999999.jpg,{1}"), "line 5: 999999.jpg is no image that"),
        (lambda text, kinds: text + text.splitlines()[4] + "\n", "line 30: .* is in line 5 already"),
        (lambda text, kinds: text + f"{kinds[4][0]},train\n", "line 30: .* has both of the attributes .* or neither"),
        (lambda text, kinds: text + f"{kinds[5][0]},train\n", "line 30: .* has both of the attributes .* or neither"),
        (lambda text, kinds: text.replace(",train", ",val"), "it lists no train images"),
        (lambda text, kinds: text.replace(",test", ",val"), "it lists no test images"),
        (lambda text, kinds: only(text, kinds[3], "train"), "none of its 10 train images is of 'blond hair, smiling'"),
        (lambda text, kinds: only(text, kinds[0], "test"), "none of its 6 test images is of 'black hair, not smiling'"),
        (lambda text, kinds: text.replace("path,split", "image_id,partition"), "line 1: .* is not the header path,spl"),
        (lambda text, kinds: text.replace("path,split\n", ""), "line 1: .* is not the header path,split"),
        (lambda text, kinds: text.replace("path,", "path "), "line 1: path: there is no split 'split'"),
        (lambda text, kinds: "path,split\n", "it lists no images"),
        (lambda text, kinds: "", "it lists no images"),
        (lambda text, kinds: text.replace("path", "\0path"), "line 1"),
    ],
)  # fmt: skip
def test_a_wrong_list_is_one_line_that_says_where_before_anything_is_run(cli, root, spoil, message):
    Path("list.csv").write_text(spoil(as_csv(entries(root)), by_kind(root)))
    chosen = ["--data-root", root, "--set", "dataset.list=list.csv"]
    for command in (
        ["run", *TINY, *chosen, "--methods", "original"],
        ["data", "show", "celeba", "--output", "a.png", *chosen],
        ["data", "verify", "celeba", *chosen],
    ):
        told = cli(*command)
        assert told.code == 2
        assert len([line for line in told.err.splitlines() if line.startswith("Error")]) == 1
        assert re.search(rf"list\.csv: .*{message}|list\.csv: {message}", told.err), told.err
    assert not Path("crayon-bench-results").exists() and not Path("a.png").exists()


def only(text: str, names: list[str], split: str) -> str:
    """Return the list without the images of one group in a split."""
    return "".join(
        line for line in text.splitlines(keepends=True) if not (line.split(",")[0] in names and f",{split}" in line)
    )


@pytest.mark.parametrize(("name", "value"), [("list.csv", "cannot be read: No such file"), (".", "a folder, not a")])
def test_a_list_that_is_no_file_is_one_line(cli, root, name, value):
    told = cli("run", *TINY, "--data-root", root, "--set", f"dataset.list={name}", "--methods", "original")
    assert (told.code, value in told.err) == (2, True), told.err


def test_the_key_has_the_content_of_the_list_and_not_its_path(cli, root):
    rows = entries(root)
    for name, text in (("a.csv", as_csv(rows)), ("b.csv", as_csv(rows)), ("c.csv", as_csv(rows[::-1]))):
        Path(name).write_text(text)
        told = cli("run", *TINY, "--data-root", root, "--set", f"dataset.list={name}", "--methods", "original",
                   "--store", "store")  # fmt: skip
        assert told.code == 0, told.err
    records = [json.loads(file.read_text()) for file in Path("store").glob("runs/*/record.json")]
    assert len(records) == 2  # b.csv has the runs of a.csv; another order is another run
    for record in records:
        parameters = record["coordinates"]["dataset"]["parameters"]
        assert re.fullmatch("sha256:[0-9a-f]{64}", parameters["list"])
        assert "majority" not in parameters and "scale" not in parameters
        assert [note for note in record["notes"] if note.endswith(": 12 training, 8 test, 8 validation")]
    by_list = json.dumps(next(record for record in records if "a.csv" in json.dumps(record["overrides"])))
    assert str(root) not in json.dumps(json.loads(by_list)["coordinates"])
    examples = cli("runs", "show", records[0]["key"][:12], "--store", "store")
    assert examples.code == 0, examples.err


def test_a_list_that_changed_after_the_plan_is_an_error(root, monkeypatch):
    Path("list.csv").write_text(as_csv(entries(root)))
    sets = ("model.weights=none", "dataset.list=list.csv", "dataset.size=56")
    options = Options(
        datasets=["celeba"], methods=["original"], seeds=[0], protocol="quick", source=Source.REAL, data_root=root,
        sets=sets,
    )  # fmt: skip
    request = RunRequest.from_json(make_plan(options, Registry()).requests[0].to_json())
    assert len(loading.load_data(request, Registry()).train) == 12
    Path("list.csv").write_text(as_csv(entries(root)[1:]))
    monkeypatch.setattr(loading, "_loaded", None)
    with pytest.raises(UserError, match=r"list\.csv: it is not the file with sha256:"):
        loading.load_data(request, Registry())


@pytest.mark.parametrize("name", ["majority", "minority", "test", "validation", "scale", "standin_plain"])
@pytest.mark.parametrize("command", [["run", "--methods", "original"], ["data", "show", "celeba", "--output", "a.png"]])
def test_a_number_beside_a_list_is_refused(cli, root, name, command):
    Path("list.csv").write_text(as_csv(entries(root)))
    more = TINY if command[0] == "run" else []
    told = cli(*command, *more, "--data-root", root, "--set", "dataset.list=list.csv", "--set", f"dataset.{name}=1")
    assert told.code == 2
    assert f"dataset.{name}=1: changes nothing: dataset.list says which images there are" in told.err


def test_the_stand_in_has_no_listed_images(cli, root):
    Path("list.csv").write_text(as_csv(entries(root)))
    chosen = ["--source", "standin", "--set", "dataset.list=list.csv"]
    for command in (
        ["run", *TINY, *chosen, "--methods", "original"],
        ["data", "show", "celeba", "--output", "a.png", *chosen],
    ):
        told = cli(*command)
        assert told.code == 2
        assert "the stand-in has none of these images" in told.err


def test_verify_and_show_take_the_list(cli, root):
    Path("list.csv").write_text(as_csv(entries(root)))
    chosen = ["--data-root", root, "--set", "dataset.list=list.csv"]
    assert "12 training, 8 test, 8 validation" in cli("data", "verify", "celeba", *chosen).out
    shown = cli("data", "show", "celeba", "--output", "a.png", "--set", "dataset.size=56", *chosen)
    assert shown.code == 0, shown.err
    assert "12 training, 8 test, 8 validation" in shown.out
    assert cli("data", "verify", "celeba", "--data-root", root, "--set", "dataset.lost=1").code == 2


def test_a_model_that_was_not_kept_is_made_again_from_the_list(cli, root, monkeypatch):
    Path("list.csv").write_text(as_csv(entries(root)))
    told = cli("run", *TINY, "--data-root", root, "--set", "dataset.list=list.csv", "--methods", "original,train-more",
               "--store", "store")  # fmt: skip
    assert told.code == 0, told.err
    records = [json.loads(file.read_text()) for file in Path("store").glob("runs/*/record.json")]
    (key,) = [record["key"] for record in records if record["coordinates"]["method"]["name"] == "train-more"]
    export = ["runs", "export", key, "--store", "store", "--output", "a.safetensors", "--data-root", root]
    made = cli(*export)
    assert made.code == 0, made.err
    Path("list.csv").write_text(as_csv(entries(root)[1:]))
    monkeypatch.setattr(loading, "_loaded", None)  # as in another process
    export.append("--force")
    assert "it is not the file with sha256:" in cli(*export).err
