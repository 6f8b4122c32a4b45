"""Commands in processes of their own that need not import PyTorch first, which takes longer than most of them do.

Each is a process as a user's is, with its own signals, streams and exit code, begun by a server that has PyTorch and pandas
loaded and nothing of ours. What is tested of the start itself, or of the interpreter's end, needs a new interpreter:
``conftest.process``, ``subprocess``.
"""

import os
import runpy
import shutil
import signal
import sys
import tempfile
import time
import weakref
from collections.abc import Sequence
from multiprocessing import get_context
from pathlib import Path
from subprocess import TimeoutExpired
from types import ModuleType
from unittest.mock import patch

CONTEXT = get_context("forkserver") if os.name == "posix" else get_context("spawn")
if os.name == "posix":
    CONTEXT.set_forkserver_preload(["torch", "pandas", "pyarrow.parquet"])


class Command:
    """``python -m MODULE ARGUMENTS``, ``crayon-bench`` if not told otherwise, with as much of :class:`subprocess.Popen` as tests need."""

    def __init__(
        self,
        arguments: Sequence[object],
        *,
        cwd: Path | None = None,
        env: dict[str, str] | None = None,
        group: bool = False,
        module: str = "crayon_bench",
    ) -> None:
        temporary = tempfile.mkdtemp()
        weakref.finalize(self, shutil.rmtree, temporary, ignore_errors=True)
        self._files = [Path(temporary) / name for name in ("out", "err")]
        words, folder = [str(argument) for argument in arguments], str(cwd or Path.cwd())
        said = [str(file) for file in self._files]
        self._process = CONTEXT.Process(
            target=_command, args=(module, words, folder, {**os.environ, **(env or {})}, said, group)
        )
        # The server would import the program that runs the tests, for what may be defined there.
        with patch.dict(sys.modules, {"__main__": ModuleType("__main__")}):
            self._process.start()
        assert self._process.pid is not None
        self.pid = self._process.pid
        while group and self.poll() is None and os.getpgid(self.pid) != self.pid:
            time.sleep(0.005)

    @property
    def returncode(self) -> int | None:
        return self._process.exitcode

    def poll(self) -> int | None:
        return self._process.exitcode

    def wait(self, timeout: float | None = None) -> int:
        self._process.join(timeout)
        if self._process.exitcode is None:
            raise TimeoutExpired(["crayon-bench"], timeout or 0)
        return self._process.exitcode

    def communicate(self, timeout: float | None = None) -> tuple[str, str]:
        self.wait(timeout)
        return self.said(0), self.said(1)

    def said(self, number: int) -> str:
        """Return what it has written so far: to standard output (0), to standard error (1)."""
        return self._files[number].read_text(encoding="utf-8") if self._files[number].exists() else ""

    def first_line(self) -> str:
        """Wait for a line on standard output; what there is, if it ends without one."""
        while "\n" not in self.said(0) and self.poll() is None:
            time.sleep(0.02)
        return self.said(0).partition("\n")[0]

    def send_signal(self, number: int) -> None:
        os.kill(self.pid, number)

    def kill(self) -> None:
        if self.poll() is None:
            self.send_signal(signal.SIGKILL)


def _command(module: str, arguments: list[str], folder: str, env: dict[str, str], said: list[str], group: bool) -> None:
    if group:
        os.setsid()
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(env)
    sys.path[:0] = [path for path in env.get("PYTHONPATH", "").split(os.pathsep) if path and path not in sys.path]
    for number, file in enumerate(said, 1):
        written = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(written, number)
        os.close(written)
    sys.argv = [module, *arguments]
    runpy.run_module(module, run_name="__main__", alter_sys=True)
