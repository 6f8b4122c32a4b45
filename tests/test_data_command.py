"""``crayon-bench data``: fetch, import, verify, where, show — against a server on this machine."""

import gzip
import hashlib
import io
import tarfile
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from conftest import write_mnist
from crayon_bench_plugins.datasets.decoymnist import DecoyMNIST


@pytest.fixture
def published(tmp_path, monkeypatch):
    """A folder with small files, declared to be the published ones."""
    folder = tmp_path / "published"
    write_mnist(folder)
    files = []
    for file in DecoyMNIST.files:
        packed = (folder / file.packed).read_bytes()
        plain = gzip.decompress(packed)
        sha = {"sha256": hashlib.sha256(plain).hexdigest(), "packed_sha256": hashlib.sha256(packed).hexdigest()}
        files.append(replace(file, **sha, size=len(plain), urls=()))
    monkeypatch.setattr(DecoyMNIST, "files", tuple(files))
    return folder


def visible(root: Path) -> list[str]:
    return sorted(p.name for p in root.rglob("*") if p.is_file())


def test_prepare_fetches_verifies_and_is_then_used(cli, published, server, tmp_path):
    root = tmp_path / "root"
    root.mkdir()
    result = cli("data", "prepare", "decoymnist", "--data-root", root, "--mirror", server(published))
    assert result.code == 0, result.err
    assert visible(root) == sorted(f.packed for f in DecoyMNIST.files)
    assert cli("data", "verify", "decoymnist", "--data-root", root).out.count(": verified") == 4
    assert "real" in cli("data", "list", "--data-root", root).out
    again = cli("data", "prepare", "decoymnist", "--data-root", root)
    assert again.code == 0
    assert again.err.count("there already, verified") == 4


def test_prepare_tries_the_next_source(cli, published, server, tmp_path):
    bad = tmp_path / "bad"
    bad.mkdir()
    for file in DecoyMNIST.files:
        (bad / file.packed).write_text("<!DOCTYPE html><html>Quota exceeded</html>")
    mirrors = [
        "--mirror",
        server(bad),
        "--mirror",
        server(tmp_path / "empty-there-is-nothing"),
        "--mirror",
        server(published),
    ]
    result = cli("data", "prepare", "decoymnist", *mirrors)
    assert result.code == 0
    assert result.err.count("an HTML page came in place of the file") == 4
    assert result.err.lower().count("not found") == 4


def test_prepare_mends_a_folder(cli, published, server):
    url = server(published)
    assert cli("data", "prepare", "decoymnist", "--mirror", url).code == 0
    folder = Path(cli("data", "where", "decoymnist").out.strip())
    first, second = (folder / file.packed for file in DecoyMNIST.files[:2])
    first.write_bytes(first.read_bytes()[:100])
    (folder / DecoyMNIST.files[1].name).write_bytes(b"another")
    assert cli("data", "verify", "decoymnist").code == 2
    assert cli("data", "prepare", "decoymnist", "--mirror", url).code == 0
    assert cli("data", "verify", "decoymnist").code == 0
    assert second.exists()


def test_prepare_keeps_nothing_that_does_not_verify(cli, published, server, tmp_path):
    bad = tmp_path / "bad"
    bad.mkdir()
    for file in DecoyMNIST.files:
        (bad / file.packed).write_bytes(gzip.compress(b"something else"))
    root = tmp_path / "root"
    result = cli("data", "prepare", "decoymnist", "--data-root", root, "--mirror", server(bad))
    assert result.code == 2
    last = result.err.strip().splitlines()[-1]
    assert last.startswith("Error: ")
    assert "wrong checksum" in last
    assert "data import decoymnist" in last
    assert visible(root) == []


def test_prepare_stops_at_a_file_that_is_far_too_large(cli, published, server, tmp_path):
    bad = tmp_path / "bad"
    bad.mkdir()
    for file in DecoyMNIST.files:
        (bad / file.packed).write_bytes(b"x" * (4 << 20))
    result = cli("data", "prepare", "decoymnist", "--mirror", server(bad))
    assert result.code == 2
    assert "larger than" in result.err


def test_prepare_without_a_network_says_what_to_do(cli, published):
    result = cli("data", "prepare", "decoymnist", "--mirror", "http://127.0.0.1:9/")
    assert result.code == 2
    assert "get it yourself, then crayon-bench data import decoymnist FOLDER" in result.err
    for address in ("file:///etc", "http://127.0.0.1:abc/", "http://", "nonsense"):
        result = cli("data", "prepare", "decoymnist", "--mirror", address)
        assert result.code == 2
        assert "Traceback" not in result.err


@pytest.mark.parametrize("form", ["folder", "file", "zip", "tar"])
def test_import_accepts_what_people_have(cli, published, tmp_path, form):
    source = published
    if form == "file":
        source = published / DecoyMNIST.files[0].packed
    elif form == "zip":
        source = tmp_path / "a.zip"
        with zipfile.ZipFile(source, "w") as bundle:
            for path in published.iterdir():
                bundle.write(path, f"deep/inside/{path.name}")
    elif form == "tar":
        source = tmp_path / "a.tar.gz"
        with tarfile.open(source, "w:gz") as bundle:
            bundle.add(published, "mnist")
    result = cli("data", "import", "decoymnist", source)
    assert result.code == 0, result.err
    where = Path(cli("data", "where", "decoymnist").out.strip())
    assert sorted(p.name for p in where.iterdir()) == sorted(f.packed for f in DecoyMNIST.files)
    assert cli("data", "verify", "decoymnist").code == 0


def test_import_never_writes_outside_and_follows_no_links(cli, published, tmp_path):
    evil = tmp_path / "evil.tar"
    with tarfile.open(evil, "w") as bundle:
        for file in DecoyMNIST.files[1:]:
            bundle.add(published / file.packed, f"../../../{file.packed}")
        link = tarfile.TarInfo(DecoyMNIST.files[0].packed)
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        bundle.addfile(link)
    before = set(tmp_path.rglob("*"))
    result = cli("data", "import", "decoymnist", evil)
    assert result.code == 2
    assert DecoyMNIST.files[0].packed in result.err
    assert set(tmp_path.rglob("*")) == before


def test_import_refuses_bombs_and_broken_archives(cli, published, tmp_path):
    bomb = tmp_path / "bomb.zip"
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as bundle:
        bundle.writestr(DecoyMNIST.files[0].name, b"\0" * (8 << 20))
    assert "larger than" in cli("data", "import", "decoymnist", bomb).err
    damaged = bytearray((tmp_path / "bomb.zip").read_bytes())
    damaged[200] ^= 0xFF
    (tmp_path / "crc.zip").write_bytes(damaged)
    cut = tmp_path / "cut.tar.gz"
    with tarfile.open(cut, "w:gz") as bundle:
        bundle.add(published, "mnist")
    cut.write_bytes(cut.read_bytes()[:-3000])
    for file in (tmp_path / "crc.zip", cut):
        result = cli("data", "import", "decoymnist", file)
        assert result.code == 2
        assert len(result.err.strip().splitlines()) == 1
        assert str(file) in result.err
    broken = tmp_path / "broken.zip"
    broken.write_bytes(bomb.read_bytes()[:2000])
    result = cli("data", "import", "decoymnist", broken)
    assert result.code == 2
    assert len(result.err.strip().splitlines()) == 1


def test_unverified_files_are_accepted_only_knowingly_and_stay_visible(cli, mnist):
    source = mnist / "MNIST" / "raw"
    refused = cli("data", "import", "decoymnist", source)
    assert refused.code == 2
    assert "--accept-unverified" in refused.err
    assert cli("data", "verify", "decoymnist").code == 2  # nothing was imported
    assert cli("data", "import", "decoymnist", source, "--accept-unverified").code == 0
    verify = cli("data", "verify", "decoymnist")
    assert verify.code == 1
    assert verify.out.count("UNVERIFIED, accepted on import") == 4
    result = cli("run", "--dataset", "decoymnist", "--methods", "original", "--seeds", "1", "--protocol", "quick", "--set",
                 "original.epochs=1")  # fmt: skip
    assert result.code == 0, result.err
    assert "UNVERIFIED data: train-images" in result.out
    assert "UNVERIFIED data: train-images" in result.err
    assert "STAND-IN" not in result.out
    # A file that changes after it was accepted is not the one that was accepted.
    folder = Path(cli("data", "where", "decoymnist").out.strip())
    write_mnist(folder, train=50)
    assert cli("data", "list").out.count("broken") == 1


def test_a_folder_that_the_user_names_is_used_and_shown_as_unverified(cli, mnist):
    result = cli(
        "run", "--dataset", "decoymnist", "--methods", "original", "--seeds", "1", "--data-root", mnist, "--set",
        "original.epochs=1",
    )  # fmt: skip
    assert result.code == 0, result.err
    assert "UNVERIFIED" in result.err
    assert "UNVERIFIED" in result.out
    assert "protocol paper" in result.out  # real data, whatever their checksum
    assert "UNVERIFIED" in cli("data", "list", "--data-root", mnist).out


def test_where(cli, mnist):
    assert cli("data", "where", "decoymnist", "--data-root", mnist).out.strip() == str(mnist / "MNIST" / "raw")
    assert "(not there yet)" in cli("data", "where", "decoymnist").out
    assert cli("data", "where").out.strip()


def test_the_contact_sheet_shows_the_decoys(cli):
    result = cli("data", "show", "decoymnist", "--output", "sheet.png", "--per-class", "3")
    assert result.code == 0, result.err
    assert "standin" in result.out
    sheet = np.asarray(Image.open(io.BytesIO(Path("sheet.png").read_bytes())))
    assert sheet.ndim == 3
    assert {(255 - 25 * d,) * 3 for d in range(1, 10)} <= {tuple(c) for c in sheet.reshape(-1, 3)}
    first = Path("sheet.png").read_bytes()
    cli("data", "show", "decoymnist", "--output", "sheet.png", "--per-class", "3", "--set", "dataset.seed=1")
    assert Path("sheet.png").read_bytes() != first
