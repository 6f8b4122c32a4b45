"""How a folder of one's own is named on the command line, and how two of them are told apart in what comes out."""

import csv
import io
import json
import re
import shutil
from pathlib import Path

import click
import pytest

from crayon_bench import list_protocols, load_results, run
from crayon_bench.cli import cli as root
from crayon_bench.errors import UserError
from crayon_bench_leaderboards.boards import load_board
from crayon_bench_leaderboards.price import load_price
from test_docs import all_commands
from test_folder import ONCE, draw, read, write

QUICK = ["--protocol", "quick", *ONCE, "--seeds", "1", "--methods", "original"]


@pytest.fixture(scope="module")
def drawn(tmp_path_factory) -> Path:
    """Not to be changed."""
    return draw(tmp_path_factory.mktemp("data") / "balls", {"train": 8, "test": 8})


def planned(cli, dataset: str):
    return cli("run", "--dataset", dataset, *QUICK, "--dry-run")


def test_tilde_is_the_home_wherever_shells_leave_it(cli, drawn, monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    shutil.copytree(drawn, tmp_path / "balls")
    assert planned(cli, "folder:~/balls").code == 0
    assert cli("data", "where", "folder:~/balls").out == f"{tmp_path / 'balls'}\n"
    assert cli("data", "where", "--data-root=~/data").out == f"{tmp_path / 'data'}\n"
    monkeypatch.setenv("CRAYON_BENCH_DATA", "~/elsewhere")
    assert cli("data", "where").out == f"{tmp_path / 'elsewhere'}\n"
    assert cli("run", "--dataset", "folder:~/balls", *QUICK, "--quiet", "--store=~/runs").code == 0
    assert (tmp_path / "runs" / "runs").is_dir()
    assert run("folder:~/balls", dry_run=True, methods="original", seeds=1, protocol="quick", store="x").planned
    assert "dataset folder:~nobody-here/x: there is no such folder" in planned(cli, "folder:~nobody-here/x").err
    assert not Path("~").exists()


NAME_OR_FILE = ("NAME|FILE", "published|recorded|FILE")


def test_tilde_is_the_home_in_every_path_option():
    paths = 0
    for command, parameter in ((c, p) for _, c in all_commands(root) for p in c.params):
        context = click.Context(command)
        if isinstance(parameter.type, click.Path):
            paths += 1
            name = "~" if parameter.type.exists else "~/x"
            assert parameter.type.convert(name, parameter, context) == Path(name).expanduser(), parameter.name
        elif {"FILE", "DIR", "PATH"} & set(re.findall(r"\w+", str(parameter.metavar))):
            assert parameter.metavar in NAME_OR_FILE or parameter.name in ("dataset", "inputs"), parameter.name
    assert paths > 40


def test_tilde_is_the_home_where_a_name_or_a_file_is_meant(cli, monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "mine.toml").write_text("x = [")
    for reader in (load_board, load_price):
        with pytest.raises(UserError, match="not valid TOML"):
            reader("~/mine.toml")
    result = cli("run", "--dataset", "decoymnist", "--dry-run", "--protocol=~/mine.toml")
    assert result.code == 2
    assert "not valid TOML" in result.err
    for call in (lambda: load_results("~/none"), lambda: run("decoymnist", plugin="~/none.py", dry_run=True)):
        with pytest.raises(UserError) as error:
            call()
        assert str(tmp_path / "none") in str(error.value)


def test_paths_may_have_commas(cli, drawn):
    for name in ("my,images", "a,celeba", "x, y, z"):
        shutil.copytree(drawn, name)
        assert planned(cli, f"folder:{name}").code == 0
        both = planned(cli, f"folder:{name},decoymnist")
        assert both.code == 0, both.err
        assert "folder: real data from" in both.err
        assert "decoymnist: STAND-IN" in both.err
        assert planned(cli, f"decoymnist,folder:{name}").out.count("original") == 2
    assert planned(cli, "folder:my,images,folder:a,celeba").code == 0
    assert "dataset folder:no,images: there is no such folder" in planned(cli, "folder:no,images").err
    assert "dataset folder:no: there is no such folder" in planned(cli, "folder:no,decoymnist").err


def test_commas_that_can_be_read_in_two_ways_are_refused(cli, drawn):
    for name in ("a", "a,celeba"):
        shutil.copytree(drawn, name)
    result = planned(cli, "folder:a,celeba")
    assert result.code == 2
    assert "is it 'folder:a' and 'celeba' or 'folder:a,celeba'? — rename one of the folders" in result.err
    listed = run(["folder:a,celeba"], dry_run=True, methods="original", seeds=1, protocol="quick")
    assert len(listed.planned) == 1  # in a script, a list says it
    shutil.rmtree("a,celeba")
    assert planned(cli, "folder:a,celeba").out.count("original") == 2


@pytest.mark.parametrize("name", ["my-images", "./my-images", "my-images/", "~/my-images"])
def test_a_folder_named_without_its_data_set_is_hinted_at(cli, monkeypatch, tmp_path, name):
    monkeypatch.setenv("HOME", str(Path.cwd()))
    Path("my-images").mkdir()
    for verb in (("run", *QUICK, "--dry-run", "--dataset"), ("data", "verify"), ("data", "prepare")):
        result = cli(*verb, name)
        assert result.code == 2
        assert result.err == f"Error: there is no dataset '{name}', but a folder — write folder:{name}\n"
    with pytest.raises(UserError, match="write folder:"):
        list_protocols(name)
    assert "but a folder" not in planned(cli, "your-images").err


def test_the_list_in_place_of_its_folder_is_hinted_at(cli, drawn):
    shutil.copytree(drawn, "balls")
    result = planned(cli, "folder:balls/metadata.csv")
    assert "not a folder — name the folder that it is in: folder:balls" in result.err


def rows_of(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def test_two_folders_of_one_name_are_told_apart_everywhere(cli, drawn, tmp_path):
    one, two = (shutil.copytree(drawn, tmp_path / site / "images") for site in ("north", "south"))
    write(two, [*read(two)[:-1]])
    store = ["--store", tmp_path / "store"]
    result = cli("run", "--dataset", f"folder:{one},folder:{two}", *QUICK, *store, "--quiet")
    assert result.code == 0, result.err
    titles = {f"folder {site}/images" for site in ("north", "south")}
    records = [json.loads(file.read_text()) for file in tmp_path.glob("store/runs/*/record.json")]
    assert {record["title"]["dataset"] for record in records} == titles
    board = cli("leaderboard", *store)
    listed = cli("runs", "list", *store)
    for title in titles:
        assert title in result.out
        assert title in board.out
        assert listed.out.count(title) == 1
    lines = rows_of(cli("leaderboard", *store, "--format", "csv").out)
    assert {line["data"] for line in lines} == titles
    assert {line["dataset"] for line in lines} == {"folder"}


def test_a_folder_before_and_after_a_change_is_two(cli, drawn, tmp_path):
    folder = shutil.copytree(drawn, tmp_path / "north" / "images")
    store = ["--store", tmp_path / "store"]
    assert cli("run", "--dataset", f"folder:{folder}", *QUICK, *store, "--quiet").code == 0
    assert "folder north/images" not in cli("runs", "list", *store).out  # there is but one
    write(folder, [*read(folder)[:-1]])
    assert cli("run", "--dataset", f"folder:{folder}", *QUICK, *store, "--quiet").code == 0
    records = [json.loads(file.read_text()) for file in tmp_path.glob("store/runs/*/record.json")]
    titles = {f"folder north/images [{record['coordinates']['dataset']['content'][:6]}]" for record in records}
    assert len(titles) == 2
    board, listed = cli("leaderboard", *store).out, cli("runs", "list", *store).out
    for title in titles:
        assert title in board
        assert title in listed
    assert {line["data"] for line in rows_of(cli("leaderboard", *store, "--format", "csv").out)} == titles
