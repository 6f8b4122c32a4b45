"""The progress display: bars on a terminal and in a notebook, plain lines elsewhere. Itself a hook plugin."""

import io
import sys
import time
from typing import TYPE_CHECKING, Any

from crayon_bench.plugins.hookspecs import hookimpl
from crayon_bench_plugins.displays.remaining import Remaining

if TYPE_CHECKING:
    from collections.abc import Sequence

    from crayon_bench.store.records import Record
    from crayon_bench.store.request import RunRequest

_EVERY = 20.0
"""Seconds between plain lines about the same run."""


class _Plain:
    """One line per run, and one now and then about a long run."""

    def __init__(self, requests: "Sequence[RunRequest]") -> None:
        self.total, self.spoke = _to_do(requests), time.monotonic()
        self.left, self.foretold = Remaining(requests), False
        self.numbers: dict[str, int] = {}  # by key: with several workers, several start before one ends

    def start(self, request: "RunRequest") -> None:
        self._number(request)
        self.spoke = time.monotonic()

    def epoch(self, request: "RunRequest", phase: str, epoch: int, epochs: int, loss: float) -> None:
        self.left.epoch(request, phase, epoch, epochs)
        first = not self.foretold and bool(str(self.left))
        if first or time.monotonic() - self.spoke >= _EVERY:
            self.spoke, self.foretold = time.monotonic(), True
            self._say(request, f"{phase}, epoch {epoch} of {epochs}, loss {loss:.4g}")

    def end(self, request: "RunRequest", record: "Record") -> None:
        self.left.end(request)
        if _is_news(record):
            self._say(request, describe(record))

    def close(self) -> None:
        pass

    def _say(self, request: "RunRequest", text: str) -> None:
        where = f"{self._number(request)}{request.label}"
        print("; ".join(filter(None, [f"{where}: {text}", str(self.left)])), file=sys.stderr, flush=True)

    def _number(self, request: "RunRequest") -> str:
        if request.skip is not None:  # nothing is done for it
            return ""
        return f"[{self.numbers.setdefault(request.key, len(self.numbers) + 1)}/{self.total}] "


class _Bars:
    """A bar for the sweep and one for each run in hand: several, if there are several workers."""

    def __init__(self, requests: "Sequence[RunRequest]") -> None:
        self.progress = self._progress()
        self.left = Remaining(requests)
        total = _to_do(requests)
        self.sweep = self.progress.add_task("runs", total=total, visible=total > 0, of_a_run=True)
        self.runs: dict[str, Any] = {}
        self._begin()

    def _progress(self) -> Any:
        from rich.console import Console

        return _bars(Console(stderr=True))

    def _begin(self) -> None:
        self.progress.start()

    def _changed(self) -> None:
        """Do what is needed for the change to be seen; on a terminal, a thread draws the bars."""

    def start(self, request: "RunRequest") -> None:
        if request.skip is None and request.key not in self.runs:  # a run may start again, by itself
            self.runs[request.key] = self.progress.add_task(request.label, total=None, of_a_run=True)

    def epoch(self, request: "RunRequest", phase: str, epoch: int, epochs: int, loss: float) -> None:
        if request.key not in self.runs:  # of a worker that has died since
            return
        at_loss = f", loss {loss:.3g}" if self.progress.console.width >= _ROOMY else ""
        text = f"{request.label}: {phase}{at_loss}"
        self.left.epoch(request, phase, epoch, epochs)
        self.progress.update(self.runs[request.key], completed=epoch, total=epochs, description=text)
        self._foretell()
        self._changed()

    def end(self, request: "RunRequest", record: "Record") -> None:
        if request.key in self.runs:
            self.progress.remove_task(self.runs.pop(request.key))
        self.left.end(request)
        self.progress.advance(self.sweep, int(request.skip is None))
        self._foretell()
        if _is_news(record):
            self._say(f"{request.label}: {describe(record)}")
        self._changed()

    def _foretell(self) -> None:
        self.progress.update(self.sweep, description=", ".join(filter(None, ["runs", str(self.left)])))

    def _say(self, line: str) -> None:
        self.progress.console.print(line, markup=False, highlight=False)

    def close(self) -> None:
        self.progress.stop()


class _Notebook(_Bars):
    """The same bars as an output of the notebook's cell, drawn anew now and then; they are gone when all is over."""

    def _progress(self) -> Any:
        from rich.console import Console

        return _bars(Console(file=io.StringIO(), width=100, force_jupyter=False, force_terminal=False), own=True)

    def _begin(self) -> None:
        import IPython.display as notebook

        self.drawn = 0.0
        self.lines: list[str] = []
        show: Any = notebook.display
        self.output: Any = show({"text/plain": ""}, raw=True, display_id=True)

    def _say(self, line: str) -> None:
        self.lines.append(line)

    def _changed(self) -> None:
        if time.monotonic() - self.drawn >= _REDRAW:
            self._draw()

    def _draw(self, bars: bool = True) -> None:
        self.drawn = time.monotonic()
        console = self.progress.console
        with console.capture() as drawing:
            if bars:
                console.print(self.progress.get_renderable())
        text = "\n".join([*self.lines, drawing.get().rstrip()])
        self.output.update({"text/plain": text.strip()}, raw=True)

    def close(self) -> None:
        self._draw(bars=False)


_ROOMY = 100
"""Columns from which on there is room for the loss."""
_REDRAW = 0.2
"""Seconds between two drawings in a notebook."""


def _bars(console: Any, *, own: bool = False) -> Any:
    """Return bars on *console*. own: they are drawn by whoever made them, and not by a thread."""
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        Task,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )
    from rich.text import Text

    # Of runs, the sweep's line says what is left: bars of methods that go from phase to phase cannot know.
    class Count(MofNCompleteColumn):
        def render(self, task: Task) -> Text:
            return Text() if task.total is None else super().render(task)

    class Rest(TimeRemainingColumn):
        def render(self, task: Task) -> Text:
            return Text() if task.total is None or "of_a_run" in task.fields else super().render(task)

    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(20),
        Count(),
        TimeElapsedColumn(),
        Rest(),
        console=console,
        auto_refresh=not own,
        # The run's own output goes to its log; the bars must not divert what other code writes meanwhile.
        redirect_stdout=False,
        redirect_stderr=False,
        transient=True,
    )


def _to_do(requests: "Sequence[RunRequest]") -> int:
    """Return how many runs will be carried out: methods that do not apply are none."""
    return sum(request.skip is None for request in requests)


def _in_notebook() -> bool:
    """Return whether this process is a notebook's kernel."""
    interactive = sys.modules.get("IPython")
    shell = interactive.get_ipython() if interactive is not None else None
    return any(base.__name__ == "ZMQInteractiveShell" for base in type(shell).__mro__)


def _is_news(record: "Record") -> bool:
    """Return False for a method that does not apply and of which that was said for another seed."""
    if record.status.value != "skipped":
        return True
    known = (record.dataset, record.method) in _skipped
    _skipped.add((record.dataset, record.method))
    return not known


def describe(record: "Record") -> str:
    """Return a run's outcome in a few words."""
    if record.status.value != "ok":
        return f"{record.status.value}: {record.reason}"
    usual = [metric for metric in record.metrics.values() if not metric.columns]
    scores = ", ".join(f"{m.short} {m.value:.2f}" for m in usual if m.value is not None)
    feedback = f"{record.feedback.total:,} answers" if record.feedback.total else "no feedback"
    return f"{scores}; {feedback}; {record.seconds['total']:.1f} s"


class _PreparingLines:
    """Plain lines about long preparations; nothing about those that are over at once."""

    def __init__(self, what: str, total: int) -> None:
        self.what, self.started = what, time.monotonic()
        self.spoke = self.started - _EVERY + _PATIENCE

    def update(self, done: int, total: int) -> None:
        now = time.monotonic()
        if now - self.spoke >= _EVERY:
            self.spoke = now
            print(f"{self.what}: {done:,} of {total:,}", file=sys.stderr, flush=True)

    def close(self) -> None:
        pass


class _PreparingBar:
    """A bar that goes away when the work is done; in a sweep's display, if there is one."""

    def __init__(self, what: str, total: int) -> None:
        from rich.console import Console

        self.own = not isinstance(_display, _Bars)
        if isinstance(_display, _Bars):
            self.progress = _display.progress
        else:
            self.progress = _bars(Console(stderr=True))
            self.progress.start()
        self.task = self.progress.add_task(what, total=total)

    def update(self, done: int, total: int) -> None:
        self.progress.update(self.task, completed=done, total=total)
        if isinstance(_display, _Bars):
            _display._changed()

    def close(self) -> None:
        self.progress.remove_task(self.task)
        if self.own:
            self.progress.stop()


_PATIENCE = 3.0
"""Seconds that a preparation may take before a plain line is worth it."""

_preparing: dict[str, _PreparingLines | _PreparingBar] = {}
_quiet = False


@hookimpl
def preparing(what: str, done: int, total: int) -> None:
    """Show how far a preparation is."""
    if _quiet:
        return
    if what not in _preparing:
        bar = sys.stderr.isatty() or isinstance(_display, _Bars)
        _preparing[what] = (_PreparingBar if bar else _PreparingLines)(what, total)
    if done >= total:
        _preparing.pop(what).close()
    else:
        _preparing[what].update(done, total)


_display: _Plain | _Bars | None = None
_skipped: set[tuple[str, str]] = set()


@hookimpl
def sweep_started(requests: "list[RunRequest]", quiet: bool) -> None:
    """Choose the display."""
    global _display, _quiet
    _skipped.clear()
    _quiet = quiet
    display: type[_Plain | _Bars] = _Bars if sys.stderr.isatty() else _Notebook if _in_notebook() else _Plain
    _display = None if quiet else display(requests)


@hookimpl
def run_started(request: "RunRequest") -> None:
    """Show that a run begins."""
    if _display is not None:
        _display.start(request)


@hookimpl
def epoch_finished(request: "RunRequest", phase: str, epoch: int, epochs: int, loss: float) -> None:
    """Move the run's bar."""
    if _display is not None:
        _display.epoch(request, phase, epoch, epochs, loss)


@hookimpl
def run_finished(request: "RunRequest", record: "Record") -> None:
    """Say how it went."""
    if _display is not None:
        _display.end(request, record)


@hookimpl
def sweep_finished() -> None:
    """Clear the bars."""
    global _display, _quiet
    if _display is not None:
        _display.close()
    _display, _quiet = None, False
