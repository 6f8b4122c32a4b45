"""Many runs: in which order, by which executor's workers, and what becomes of a run whose worker died."""

import sys
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path

from crayon_bench.errors import UserError
from crayon_bench.executor import Executor
from crayon_bench.plugins.hooks import call_hooks, send_hooks
from crayon_bench.plugins.registry import Registry
from crayon_bench.runs.environment import resolve_device
from crayon_bench.runs.events import Listener, here, sender
from crayon_bench.runs.limits import Limits, last_words
from crayon_bench.runs.originals import original_depends_on
from crayon_bench.runs.perform import perform, save_interrupted
from crayon_bench.runs.run import Run
from crayon_bench.store.records import Record, Status, digest
from crayon_bench.store.request import RunRequest
from crayon_bench.store.store import Store


@dataclass(frozen=True)
class Performer:
    """What an executor calls for each request. Plain data, so that it can be sent to another process."""

    store: str
    plugin_files: tuple[tuple[str, str], ...] = ()
    """Path and content hash of each ``--plugin`` file."""
    limits: Limits = field(default_factory=Limits)
    home: str = ""
    """The process that started the sweep, whose hooks are called."""
    sweep: str | None = None
    """Folder for what other processes have to say, and for an executor's own files."""

    @property
    def folder(self) -> Path:
        """See :class:`crayon_bench.executor.Perform`."""
        return Path(self.sweep or self.store)

    def __call__(self, request: RunRequest) -> Record:
        """Carry out one run and return its record, or that of another sweep which was quicker."""
        if away := self.sweep is not None and here() != self.home:
            send_hooks(sender(self.folder))
        registry, store = _registry(self.plugin_files), Store(Path(self.store))
        with store.claimed(request.key):
            if (record := _anothers(request, store)) is not None:
                call_hooks("run_started", request=request)
                call_hooks("run_finished", request=request, record=record)
                return record
            remark = "Carried out again: its worker died.\n" if request.tries else ""
            return perform(request, store, registry, remark, self.limits, self._note(request, away))

    def lost(self, request: RunRequest, why: str, *, guilty: bool = True) -> RunRequest | Record:
        """See :class:`crayon_bench.executor.Perform`."""
        words = last_words(note) if (note := self._note(request)) is not None else ""
        if not words and request.tries < (_TRIES if guilty else _TRIES_OF_MACHINES) - 1:
            return replace(request, tries=request.tries + 1)
        return self._fail(request, words or f"{why}, {request.tries + 1} times")

    def _fail(self, request: RunRequest, reason: str) -> Record:
        call_hooks("run_started", request=request)
        store = Store(Path(self.store))
        run = Run(replace(request, device="cpu"))  # there may be no GPU here
        run.log.write(f"The worker ended without a record, and with it what it had logged: {reason}\n")
        run.end(Status.FAILED, reason)
        with store.claimed(request.key):
            if (done := _anothers(request, store)) is not None and done.status is Status.OK:
                run.record = done  # what was done is never replaced by what was not
            else:
                store.save(run.record, None, run.log.getvalue())
        call_hooks("run_finished", request=request, record=run.record)
        return run.record

    def stopped(self, request: RunRequest) -> None:
        """See :class:`crayon_bench.executor.Perform`."""
        store = Store(Path(self.store))
        known = store.find(request.coordinates, request.key)
        if known is None or known.status is not Status.INTERRUPTED:
            save_interrupted(Run(replace(request, device="cpu")), store)

    def _note(self, request: RunRequest, away: bool = True) -> Path | None:
        """Return the file in which a worker says that it is ended for a limit; None in the user's own process."""
        return self.folder / f"{request.key}.why" if self.sweep is not None and away else None


_TRIES = 2
_TRIES_OF_MACHINES = 5
"""How often a run is tried whose machine went down: that is not the run's fault."""


@cache
def _registry(plugin_files: tuple[tuple[str, str], ...]) -> Registry:
    registry = Registry(Path(path) for path, _ in plugin_files)
    for path, content in plugin_files:
        if registry.contents[Path(path)] != content:  # its result would be kept under the key of another text
            raise UserError(f"--plugin {path}: it changed after the plan was made", "give the same command again")
    return registry


def _anothers(request: RunRequest, store: Store) -> Record | None:
    """Return the record of *request* that another sweep has written since it was planned; None if there is none."""
    if request.seen is None or request.seen == store.stamp(request.coordinates, request.key):
        return None
    record = store.find(request.coordinates, request.key)
    if record is None or record.status is Status.INTERRUPTED:
        return None
    lacks_model = request.keep and record.status is Status.OK and not store.has_model(record)
    return None if lacks_model else record


def sweep(
    requests: Sequence[RunRequest], executor: Executor, store: Store, registry: Registry, limits: Limits | None = None
) -> Iterator[Record]:
    """Carry out the *requests* and yield their records, each of which is in the store by then.

    Two sweeps on one store share the work: a run that the other one has in hand is waited for, and its record taken.
    """
    files = tuple((str(file.resolve()), registry.contents[file]) for file in registry.files)
    if executor.elsewhere:  # so that all machines do the same
        requests = [
            replace(one, device="cuda" if one.device == "cuda" else resolve_device(one.device)) for one in requests
        ]
    several = executor.at_once(requests) > 1
    folder = store.path.resolve() / f".sweep.{uuid.uuid4().hex[:8]}"
    performer = Performer(str(store.path.resolve()), files, limits or Limits(), here(), str(folder))
    missing = {request.key: request for request in requests}
    with store.in_use() as alone, Listener(folder, requests, store) as listener:
        if not alone:
            print(
                f"Another sweep is at work on store {store.path}: the two share the runs, none is computed twice.",
                file=sys.stderr,
            )
            requests = requests[::-1]  # from the other end, so that they meet in the middle
        if several:
            requests = makers_first(requests)
        for record in executor.execute(requests, performer):
            listener.check()
            missing.pop(record.key, None)
            yield record
    if missing:
        some = next(iter(missing.values()))
        raise UserError(f"executor '{executor.name}' returned no record of {len(missing)} runs, such as {some.folder}")


def makers_first(requests: Sequence[RunRequest]) -> list[RunRequest]:
    """Return the requests for several workers: first those that make the original models of the others.

    Otherwise all workers would begin by waiting for the first model.
    """
    made: set[str] = set()
    first: list[RunRequest] = []
    rest: list[RunRequest] = []
    for request in requests:
        model = digest(original_depends_on(request.coordinates)) if request.skip is None else ""
        (first if model and model not in made else rest).append(request)
        made.add(model)
    return first + rest
