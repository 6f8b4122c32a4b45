"""Decoded images: made once, found damaged, never half-written."""

import errno
import io
import multiprocessing
import shutil
import tarfile
import threading
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from crayon_bench.data import image_cache, preparing
from crayon_bench.data.image_cache import decoded, open_picture
from crayon_bench.data.preparing import in_threads
from crayon_bench.data.roots import cache_root
from crayon_bench.data.trees import tree
from crayon_bench.data.trees.folder import FolderTree
from crayon_bench.data.trees.opening import open_tree
from crayon_bench.data.trees.tar import TarTree
from crayon_bench.errors import UserError

SHAPE = (6, 3, 40, 50)


def picture(number: int) -> np.ndarray:
    return np.full(SHAPE[1:], number, np.uint8)


def make(calls: list[int] | None = None, key=None, decode=picture):
    def items():
        if calls is not None:
            calls.append(1)
        return ((i, i) for i in (3, 1, 2, 0, 5, 4))

    return decoded("set", key or {"content": "a"}, SHAPE, items, decode)


def cached() -> Path:
    return cache_root() / "decoded"


def visible() -> list[str]:
    return sorted(p.suffix for p in cached().iterdir() if p.suffix != ".lock")


def test_images_are_decoded_once_and_cannot_be_written():
    calls: list[int] = []
    first = make(calls)
    assert (first == np.arange(6)[:, None, None, None]).all()
    assert (make(calls) == first).all()
    assert len(calls) == 1
    assert isinstance(first, np.memmap)
    with pytest.raises(ValueError, match="read-only"):
        first[0] = 1
    make(calls, key={"content": "b"})
    assert len(calls) == 2
    assert visible() == [".json", ".json", ".npy", ".npy"]
    assert decoded("set", {}, (0, 3, 4, 5), list, picture).shape == (0, 3, 4, 5)


@pytest.mark.parametrize("damage", ["cut", "longer", "first", "last", "json", "no json", "shape"])
def test_a_damaged_file_is_set_aside_and_remade(damage, capsys):
    before = np.array(make())
    file = next(cached().glob("*.npy"))
    note = file.with_suffix(".json")
    content = bytearray(file.read_bytes())
    if damage == "cut":
        file.write_bytes(content[:-1])
    elif damage == "longer":
        file.write_bytes(content + b"x")
    elif damage in ("first", "last"):
        content[200 if damage == "first" else -1] ^= 1
        file.write_bytes(content)
    elif damage == "json":
        note.write_text("{")
    elif damage == "no json":
        note.unlink()
    else:
        note.write_text(note.read_text().replace("50", "51"))
    for _ in range(2):
        assert (make() == before).all()
    assert capsys.readouterr().err.count("are damaged") == 1
    assert visible() == [".damaged", ".json", ".npy"]


def test_a_failure_leaves_nothing_and_stops_the_threads():
    def broken(number: int) -> np.ndarray:
        if number == 2:
            raise UserError("x.jpg: broken image")
        return picture(number)

    with pytest.raises(UserError, match=r"x\.jpg"):
        make(decode=broken)
    assert visible() == []
    for wrong in (lambda n: np.zeros((3, 4, 4), np.uint8), lambda n: picture(n).astype(float)):
        with pytest.raises(ValueError, match="expected uint8"):
            make(decode=wrong)
    for positions in ([0, 1], [0, 0, 1, 2, 3, 4], range(7)):
        with pytest.raises(ValueError, match="position"):
            decoded("set", {}, SHAPE, lambda p=positions: ((i, i) for i in p), picture)
    assert visible() == []
    assert not [t for t in threading.enumerate() if t.name.startswith("crayon-bench")]
    make()
    assert visible() == [".json", ".npy"]


def test_an_interruption_leaves_nothing():
    def interrupted():
        yield 0, 0
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        decoded("set", {}, SHAPE, interrupted, picture)
    assert visible() == []


def test_what_a_killed_process_left_is_cleared_away():
    make()
    file = next(cached().glob("*.npy"))
    file.with_name(f".{file.name}.12345678.tmp").write_bytes(b"half")
    file.unlink()
    make()
    assert visible() == [".json", ".npy"]


def test_a_full_disk_is_one_line(monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10, 10, 5))
    with pytest.raises(UserError, match=r"GB free, decoding set takes .* CRAYON_BENCH_CACHE"):
        make()
    assert visible() == []


def test_a_disk_that_fills_up_meanwhile_is_one_line(monkeypatch):
    def full(descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(image_cache.os, "fsync", full)
    with pytest.raises(UserError, match="no room left"):
        make()
    assert visible() == []


def test_a_cache_that_cannot_be_written_is_one_line(monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("CRAYON_BENCH_CACHE", str(tmp_path / "file"))
    with pytest.raises(UserError, match="set CRAYON_BENCH_CACHE to another folder"):
        make()


def in_another_process(queue) -> None:
    calls: list[int] = []
    array = make(calls)
    queue.put((len(calls), int(array.sum())))


def test_two_processes_decode_once():
    context = multiprocessing.get_context("spawn")
    queue = context.Queue()
    processes = [context.Process(target=in_another_process, args=(queue,)) for _ in range(2)]
    for process in processes:
        process.start()
    results = [queue.get(timeout=300) for _ in processes]
    for process in processes:
        process.join()
    assert sorted(calls for calls, _ in results) == [0, 1]
    assert len({total for _, total in results}) == 1


def test_threads_keep_the_order_and_take_little_ahead():
    taken = []

    def items():
        for i in range(100):
            taken.append(i)
            yield i

    results = in_threads(lambda i: i * i, items(), 2)
    assert [next(results) for _ in range(3)] == [0, 1, 4]
    assert len(taken) <= 12
    results.close()


def test_progress_begins_at_0_and_ends_at_the_total_even_after_a_failure(monkeypatch):
    told = []
    monkeypatch.setattr(
        preparing, "call_hooks", lambda name, **known: told.append((name, known["done"], known["total"]))
    )
    with pytest.raises(RuntimeError), preparing.Preparing("x", 10) as progress:
        progress.step()
        raise RuntimeError
    assert told[0] == ("preparing", 0, 10)
    assert told[-1] == ("preparing", 10, 10)


def test_the_display_speaks_only_of_what_takes_long(monkeypatch, capsys):
    from crayon_bench_plugins.displays import progress

    clock = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: clock[0])
    progress.preparing("a", 0, 100)
    clock[0] = 1
    progress.preparing("a", 50, 100)
    assert capsys.readouterr().err == ""
    clock[0] = 4
    progress.preparing("a", 60, 100)
    clock[0] = 5
    progress.preparing("a", 70, 100)
    progress.preparing("a", 100, 100)
    assert capsys.readouterr().err == "a: 60 of 100\n"
    assert not progress._preparing
    progress.sweep_started([], quiet=True)
    progress.preparing("a", 0, 100)
    clock[0] = 100
    progress.preparing("a", 60, 100)
    progress.sweep_finished()
    assert capsys.readouterr().err == ""


def test_a_broken_image_names_itself():
    stream = io.BytesIO()
    Image.fromarray(np.random.RandomState(0).randint(0, 256, (50, 50, 3), np.uint8)).save(stream, "JPEG")
    content = stream.getvalue()
    assert open_picture(content, "x").size == (50, 50)
    for wrong in (content[: len(content) // 2], b"", b"text", content[:10]):
        with pytest.raises(UserError, match=r"^x\.jpg: "):
            open_picture(wrong, "x.jpg")
    huge = io.BytesIO()
    Image.new("1", (9000, 9000)).save(huge, "PNG")
    with pytest.raises(UserError, match="81,000,000 pixels, and the limit is"):
        open_picture(huge.getvalue(), "x.png")


# ---------------------------------------------------------------------------------------------------------------------
# trees

FILES = {"a/1.jpg": b"one", "a/2.jpg": b"two" * 1000, "meta.csv": b"x,y\n"}


def packed(tmp_path: Path, how: str, files=FILES, top="set/") -> Path:
    if how == "folder":
        path = tmp_path / "set"
        for name, content in files.items():
            (path / name).parent.mkdir(parents=True, exist_ok=True)
            (path / name).write_bytes(content)
        return path
    path = tmp_path / f"set.{how}"
    if how == "zip":
        with zipfile.ZipFile(path, "w") as bundle:
            for name, content in files.items():
                bundle.writestr(top + name, content)
    else:
        with tarfile.open(path, "w:gz" if how.endswith("gz") else "w") as bundle:
            for name, content in files.items():
                info = tarfile.TarInfo(top + name)
                info.size = len(content)
                bundle.addfile(info, io.BytesIO(content))
    return path


@pytest.mark.parametrize("how", ["folder", "zip", "tar", "tar.gz"])
def test_a_tree_is_the_same_however_it_is_packed(tmp_path, how):
    litter = {**FILES, ".DS_Store": b"x", "a/._1.jpg": b"y"}
    tree = open_tree(packed(tmp_path, how, litter), "set")
    assert set(tree.members) == set(FILES)
    assert tree.digest() == open_tree(packed(tmp_path / "plain", "folder"), "set").digest()
    assert dict(tree.contents([*FILES, "no"])) == FILES
    assert tree.read("meta.csv") == b"x,y\n"
    assert tree.missing(["no", "a/1.jpg"]) == ["no"]
    with pytest.raises(UserError, match="there is no no in it"):
        tree.read("no")
    tree.check()


@pytest.mark.parametrize("how", ["folder", "tar.gz"])
def test_a_scan_is_kept_until_the_files_change(tmp_path, how, monkeypatch):
    path = packed(tmp_path, how)
    first = open_tree(path, "set").digest()
    made = []
    for kind in (FolderTree, TarTree):
        original = kind._make_scan
        monkeypatch.setattr(kind, "_make_scan", lambda self, original=original: made.append(1) or original(self))
    tree._scans.clear()  # as in another process
    assert open_tree(path, "set").digest() == first
    assert made == []
    packed(tmp_path, how, {**FILES, "a/1.jpg": b"eno"})
    assert open_tree(path, "set").digest() != first
    assert made == [1]
    for file in (cache_root() / "trees").iterdir():
        file.write_text("damaged")
    tree._scans.clear()
    open_tree(path, "set").digest()
    assert made == [1, 1]


@pytest.mark.parametrize("how", ["zip", "tar.gz"])
@pytest.mark.parametrize("name", ["../x.jpg", "/x.jpg", "set/../../x.jpg", "a\\..\\x.jpg", "C:/x.jpg"])
def test_a_name_that_leads_outside_is_refused(tmp_path, how, name):
    path = packed(tmp_path, how, {"ok.jpg": b"1", name: b"2"}, top="")
    with pytest.raises(UserError, match="leads outside the archive"):
        open_tree(path, "set").members  # noqa: B018


def test_links_and_twins_are_refused(tmp_path):
    path = tmp_path / "links.tar"
    for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE):
        with tarfile.open(path, "w") as bundle:
            info = tarfile.TarInfo("set/x.jpg")
            info.type, info.linkname = kind, "/etc/passwd"
            bundle.addfile(info)
        with pytest.raises(UserError, match="which is not followed"):
            open_tree(path, "set").members  # noqa: B018
    link = zipfile.ZipInfo("set/x.jpg")
    link.external_attr = 0o120777 << 16
    with zipfile.ZipFile(tmp_path / "links.zip", "w") as bundle:
        bundle.writestr(link, "/etc/passwd")
    with pytest.raises(UserError, match="which is not followed"):
        open_tree(tmp_path / "links.zip", "set").members  # noqa: B018
    twice = packed(tmp_path, "zip", {"a.jpg": b"1", "set/a.jpg": b"2"})
    with pytest.raises(UserError, match="twice"):
        open_tree(twice, "set").members  # noqa: B018


@pytest.mark.parametrize("how", ["zip", "tar", "tar.gz"])
def test_a_broken_archive_is_one_line(tmp_path, how):
    noise = np.random.RandomState(0).bytes(200_000)
    path = packed(tmp_path, how, {"a.jpg": noise, "b.jpg": noise[::-1]})
    content = path.read_bytes()
    for wrong in (content[: len(content) // 2], content[:20], b"", b"<!DOCTYPE html><html>Quota</html>"):
        path.write_bytes(wrong)
        tree._scans.clear()
        with pytest.raises(UserError, match=str(path)):
            dict(open_tree(path, "set").contents(["a.jpg", "b.jpg"]))
    flipped = bytearray(content)
    flipped[len(content) // 2] ^= 0xFF
    path.write_bytes(flipped)
    if how != "tar":  # which has no checksums of its own; the content hash changes
        with pytest.raises(UserError, match=str(path)):
            open_tree(path, "set").check()


def test_splits_that_are_slices_of_one_map_are_each_themselves(tmp_path):
    """What a run is given of a split is that split, and what it writes there stays in the run."""
    from crayon_bench.runs.loading import _private

    values = np.random.RandomState(0).randint(0, 256, (10, 3, 4, 5)).astype(np.uint8)
    np.save(tmp_path / "x.npy", values)
    whole = np.load(tmp_path / "x.npy", mmap_mode="r")
    for part in (slice(0, 4), slice(4, 7), slice(7, 10), slice(0, 10)):
        mine = _private(whole[part])
        assert np.array_equal(mine, values[part])
        mine[:] = 0
        assert np.array_equal(_private(whole[part]), values[part])
    assert np.array_equal(_private(whole[4:][1:3]), values[5:7])
    assert np.array_equal(_private(whole[::2]), values[::2])
    assert np.array_equal(whole, values)
