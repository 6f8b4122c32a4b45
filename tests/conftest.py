"""Fixtures that several files share."""

import gzip
import os
import signal
import struct
import subprocess
import sys
import threading
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"

TINY = ["--source", "standin", "--set", "original.epochs=1", "--set", "refine.epochs=1"]
"""Options of a run that takes a second."""


if (
    signal.getsignal(signal.SIGINT) is signal.SIG_IGN
):  # a shell began this in the background; the tested processes inherit it
    signal.signal(signal.SIGINT, signal.default_int_handler)


os.environ.pop("COLUMNS", None)  # pytest-xdist sets it: what is printed here goes to no screen unless a test says so


_OF_WORKERS: list[dict[str, dict[str, int]]] = []
"""Hostile cases that the processes of pytest-xdist tried."""


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """Two processes for the whole suite, none beside this one for tests that were named."""
    whole = config.args_source is not pytest.Config.ArgsSource.ARGS and not config.option.keyword
    return min(2, os.cpu_count() or 1) if whole else 0


def _tally() -> dict[str, Counter[str]]:
    hostile = sys.modules.get("hostile")
    found: dict[str, Counter[str]] = defaultdict(Counter)
    for tallies in (hostile.TALLY if hostile is not None else {}, *_OF_WORKERS):
        for kind, tally in tallies.items():
            found[kind].update(tally)
    return found


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Send the count home, in a process of pytest-xdist."""
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["hostile"] = {kind: dict(tally) for kind, tally in _tally().items()}


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any, error: object) -> None:
    """Take it there."""
    _OF_WORKERS.append(getattr(node, "workeroutput", {}).get("hostile", {}))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say how many hostile cases were tried, by kind, and what became of them."""
    if not (tallies := _tally()):
        return
    terminalreporter.section("hostile cases")
    for kind, tally in sorted(tallies.items()):
        what = ", ".join(f"{number} {outcome}" for outcome, number in sorted(tally.items()))
        terminalreporter.line(f"{tally.total():6,} {kind}: {what}")
    total = sum(tally.total() for tally in tallies.values())
    terminalreporter.line(f"{total:6,} in all; more with CRAYON_BENCH_FUZZ=full")


def serial(arguments: Iterable[object]) -> list[str]:
    """The command; a `run` that names no executor is carried out in its own process, one run after the other.

    The default, ``auto``, would start worker processes for every sweep: seconds each, and more of them than cores.
    """
    words = [str(a) for a in arguments]
    named = any(word == "--executor" or word.startswith("--executor=") for word in words)
    return words if words[:1] != ["run"] or named else [*words, "--executor", "serial"]


@dataclass
class Result:
    code: int
    out: str
    err: str


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str]) -> Callable[..., Result]:
    """Call the command line in this process; see :func:`serial`."""
    from crayon_bench.cli import invoke

    def call(*arguments: object) -> Result:
        capsys.readouterr()
        code = invoke(serial(arguments))
        captured = capsys.readouterr()
        return Result(code, captured.out, captured.err)

    return call


@pytest.fixture
def process() -> Callable[..., Result]:
    """Call the command line in a process of its own; see :func:`serial`."""

    def call(*arguments: object, cwd: Path | None = None, env: dict[str, str] | None = None) -> Result:
        done = subprocess.run(
            [sys.executable, "-m", "crayon_bench", *serial(arguments)],
            capture_output=True,
            text=True,
            cwd=cwd,
            env={**os.environ, **(env or {})},
            timeout=300,
            check=False,
        )
        return Result(done.returncode, done.stdout, done.stderr)

    return call


@pytest.fixture
def warm() -> Callable[..., Result]:
    """As ``process``, but that PyTorch is imported already: see :mod:`warm`."""
    from warm import Command

    def call(*arguments: object, cwd: Path | None = None, env: dict[str, str] | None = None) -> Result:
        command = Command(serial(arguments), cwd=cwd, env=env)
        out, err = command.communicate(timeout=300)
        return Result(command.wait(), out, err)

    return call


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Work in an empty folder, with an empty data root and an empty cache, as a new user does."""
    monkeypatch.chdir(tmp_path_factory.mktemp("cwd"))
    monkeypatch.setenv("CRAYON_BENCH_DATA", str(tmp_path_factory.mktemp("data")))
    monkeypatch.setenv("CRAYON_BENCH_CACHE", str(tmp_path_factory.mktemp("cache")))


def idx(array: np.ndarray) -> bytes:
    """Return *array* of unsigned bytes as an idx file."""
    return struct.pack(f">{1 + array.ndim}I", 0x0800 + array.ndim, *array.shape) + array.astype(np.uint8).tobytes()


def write_mnist(folder: Path, *, train: int = 40, test: int = 1000, packed: bool = True) -> None:
    """Write four files of MNIST's format with random digits."""
    random = np.random.RandomState(7)
    folder.mkdir(parents=True, exist_ok=True)
    for name, n in (("train", train), ("t10k", test)):
        images = np.zeros((n, 28, 28), np.uint8)
        images[:, 4:24, 4:24] = random.randint(0, 256, (n, 20, 20))
        for kind, content in (("images-idx3", images), ("labels-idx1", np.arange(n) % 10)):
            raw = idx(content)
            path = folder / f"{name}-{kind}-ubyte{'.gz' if packed else ''}"
            path.write_bytes(gzip.compress(raw, mtime=0) if packed else raw)


@pytest.fixture
def mnist(tmp_path: Path) -> Path:
    """A data root with small files of MNIST's format (which are not MNIST, and therefore unverified)."""
    write_mnist(tmp_path / "root" / "MNIST" / "raw")
    return tmp_path / "root"


@pytest.fixture
def real_mnist() -> Path:
    """The real MNIST files, which lie outside the project."""
    if not (SHARED / "MNIST" / "raw").is_dir():
        pytest.skip("the real MNIST files are not here (../shared/data/MNIST)")
    return SHARED


@pytest.fixture
def server():
    """Return a function that serves a folder on the loopback address and returns its URL."""
    running = []

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *arguments):
            pass

    def serve(folder: Path) -> str:
        httpd = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder)))
        threading.Thread(target=httpd.serve_forever, daemon=True).start()
        running.append(httpd)
        return f"http://127.0.0.1:{httpd.server_port}"

    yield serve
    for httpd in running:
        httpd.shutdown()
        httpd.server_close()
