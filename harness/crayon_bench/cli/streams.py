"""Standard output and standard error: of another encoding, closed, or read by somebody who goes away (``| head``)."""

import contextlib
import io
import os
import sys
import warnings
from pathlib import Path
from typing import Any

from crayon_bench.screen import ON_A_PLAIN_SCREEN, cells, fit_lines, screen_width


class _Outlet(io.FileIO):
    """A standard stream. What is written after its reader has gone is dropped, and the command goes on.

    So a table is no failure because nobody read its end, and a verdict has its own exit code.
    """

    def write(self, content: Any) -> int | None:  # type: ignore[override]
        try:
            return super().write(content)
        except BrokenPipeError:
            _point_to_nowhere(self.fileno())
            return memoryview(content).nbytes


class _Sentences(io.TextIOWrapper):
    """Standard error: lines longer than a terminal is wide are broken between words. Elsewhere a line stays a line.

    What moves a cursor, as bars do, is left as it is.
    """

    def write(self, text: str) -> int:
        if "\x1b" in text or "\r" in text or not self.isatty():
            return super().write(text)
        width = screen_width(self)
        for line in text.splitlines(keepends=True):
            super().write(fit_lines(line, width) if width is not None and cells(line.rstrip()) > width else line)
        return len(text)


def prepare_streams() -> None:
    """Make both streams such that a command need not care who reads them, in which encoding, and how wide it is."""
    warnings.filterwarnings("ignore", module="PIL")  # what is wrong with an image is said in our own line
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:  # closed by the caller
            setattr(sys, name, Path(os.devnull).open("w"))  # noqa: SIM115
        elif isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=ON_A_PLAIN_SCREEN)  # "*" for "★" where there is none
            if stream is getattr(sys, f"__{name}__"):
                setattr(sys, name, _with_outlet(stream, _Sentences if name == "stderr" else io.TextIOWrapper))


def _with_outlet(stream: io.TextIOWrapper, kind: type[io.TextIOWrapper]) -> io.TextIOWrapper:
    buffer: Any = stream.buffer
    raw = getattr(buffer, "raw", buffer)  # with `python -u` there is no buffer
    if type(raw) is not io.FileIO:  # a console of Windows, for one
        return stream
    stream.flush()
    outlet: Any = _Outlet(raw.fileno(), "w", closefd=False)
    return kind(
        outlet if buffer is raw else io.BufferedWriter(outlet),
        encoding=stream.encoding,
        errors=stream.errors,
        line_buffering=stream.line_buffering,
        write_through=stream.write_through,
    )


def output_is_lost() -> bool:
    """Return whether standard output cannot be written, a full disk for one; it is silenced then.

    Otherwise the interpreter's last flush would fail once more, loudly.
    """
    try:
        sys.stdout.flush()  # what could not be written is still waiting
    except (OSError, ValueError):
        with contextlib.suppress(OSError, ValueError):
            _point_to_nowhere(sys.stdout.fileno())
        return True
    return False


def _point_to_nowhere(descriptor: int) -> None:
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, descriptor)
    os.close(null)
