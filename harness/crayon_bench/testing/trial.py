"""Trying a plugin out as ``crayon-bench run`` would, on the tiny set, and watching what it does meanwhile."""

import gc
import os
import pickle
import random
import sys
import tempfile
import threading
import unittest
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from types import FrameType, new_class
from typing import Any

import numpy as np
import torch

from crayon_bench import FeedbackKind, FeedbackOracle, Job, Method, Record, RunRequest, Source, Status
from crayon_bench.guard import refused
from crayon_bench.plugins.registry import Kind, Registry
from crayon_bench.runs.limits import Limits
from crayon_bench.runs.perform import perform
from crayon_bench.runs.plan import Options, make_plan
from crayon_bench.store.store import Store
from crayon_bench.testing import common
from crayon_bench.testing.tiny import NETWORKS, Case, TinyOracle, TinySet, Watch

Around = Callable[[Job], AbstractContextManager[object]]
"""Makes what :meth:`Method.refine` is called in."""


class CheckSkipped(unittest.SkipTest):
    """A check has nothing to look at; the message says why. pytest and unittest show it as skipped."""


@dataclass
class Trial:
    """One run on the tiny set. predictions: the store's columns, empty unless the run is ok. answers: by the oracle.

    reads: evidence that was read behind the oracle's back. refused: what the guards refused, and how often.
    changed: whether the data set's own arrays changed.
    """

    record: Record
    log: str
    predictions: dict[str, Any]
    answers: Counter[FeedbackKind]
    reads: Counter[str]
    refused: Counter[str]
    changed: bool

    def require(self) -> "Trial":
        """Return this trial. Raises CheckSkipped if the run was not ok: other checks than this one tell of that."""
        if self.record.status is not Status.OK:
            raise CheckSkipped(f"it does not fit the tiny set, see check_fits_tiny_set ({self.record.reason})")
        return self


def try_method(
    method: type[Method],
    *,
    network: str | None = None,
    case: Case = "plain",
    seed: int = 0,
    sets: Sequence[str] = (),
    around: Around = lambda job: nullcontext(),
) -> Trial:
    """Run *method* on the tiny set and return what happened. network: None for the first that it applies to."""
    watch = Watch()
    (request,), registry = plan_of(method, network or first_network(method), [seed], watch, case, sets, around)
    with tempfile.TemporaryDirectory() as folder:
        store, before = Store.create(Path(folder)), refused()
        with _few_collected():
            record = perform(request, store, registry, limits=_limits())
        return _trial(store, record, watch, refused() - before)


@lru_cache(maxsize=1)
def plain_trial(method: type[Method]) -> Trial:
    """Return one trial without anything special, which several checks look at."""
    return try_method(method)


def plan_of(
    method: type[Method],
    network: str,
    seeds: Sequence[int],
    watch: Watch,
    case: Case = "plain",
    sets: Sequence[str] = (),
    around: Around = lambda job: nullcontext(),
) -> tuple[list[RunRequest], Registry]:
    """Return the requests for runs of *method*, and the plugins that they need: itself, the tiny set and its oracle."""
    registry = Registry(installed=False)
    registry.add(Kind.DATASET, watch.of(TinySet))
    registry.add(Kind.ORACLE, watch.of(TinyOracle))
    registry.add(Kind.METHOD, _watched(method, watch, around))
    options = Options(
        datasets=["tiny"],
        methods=[method.name],
        seeds=seeds,
        protocol=network,
        source=Source.STANDIN,
        oracle="tiny",
        sets=[f"dataset.case={case}", *sets],
        device="cpu",
    )
    plan = make_plan(options, registry)
    if plan.problems:
        raise AssertionError(plan.problems[0])
    return plan.requests, registry


@lru_cache(maxsize=1)
def networks_for(method: type[Method]) -> dict[str, str | None]:
    """Return, for each network of the tiny set, why the method does not apply; None if it does."""
    return {network: plan_of(method, network, [0], Watch())[0][0].skip for network in NETWORKS}


def first_network(method: type[Method]) -> str:
    """Return the first network that *method* applies to. Raises CheckSkipped if there is none."""
    for network, reason in networks_for(method).items():
        if reason is None:
            return network
    raise CheckSkipped(f"it does not apply to the tiny set, see check_fits_tiny_set ({reason})")


@contextmanager
def _few_collected() -> Iterator[None]:
    # Loading other data collects garbage, which takes much longer than a trial on the tiny set.
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


def _watched(method: type[Method], watch: Watch, around: Around) -> type[Method]:
    def refine(self: Method, job: Job) -> Any:
        with around(job):
            watch.running = True
            try:
                return method.refine(self, job)
            finally:
                watch.running = False

    return new_class(method.__name__, (method,), exec_body=lambda namespace: namespace.update(refine=refine))


def _trial(store: Store, record: Record, watch: Watch, refused: Counter[str]) -> Trial:
    predictions = store.predictions(record).to_pydict() if record.status is Status.OK else {}
    return Trial(record, store.log(record), predictions, watch.answers, watch.reads, refused, watch.has_changed())


def _limits() -> Limits:
    if sys.platform == "win32" or threading.current_thread() is not threading.main_thread():  # none are kept there
        return Limits()
    return Limits(seconds=common.CLOCK)


def make_oracle(oracle: type[FeedbackOracle], seed: int = 0) -> FeedbackOracle:
    """Return an instance with default parameters."""
    return oracle(oracle.Parameters(), seed=seed)


# ---------------------------------------------------------------------------------------------------------------------
# what happens meanwhile


def _global_state() -> dict[str, object]:
    kind, keys, *rest = np.random.get_state()
    return {
        "the random state of Python": random.getstate(),
        "the random state of numpy": (kind, np.asarray(keys).tobytes(), *rest),
        "the random state of torch": torch.get_rng_state().numpy().tobytes(),
        "the number of threads": torch.get_num_threads(),
        "the default dtype": torch.get_default_dtype(),
        "the grad mode": torch.is_grad_enabled(),
        "deterministic algorithms": torch.are_deterministic_algorithms_enabled(),
        "the settings of cuDNN": (torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark),
        "the current folder": Path.cwd(),
        "environment variables": dict(os.environ),
        "sys.path": list(sys.path),
    }


@contextmanager
def global_state_kept(changed: list[str]) -> Iterator[None]:
    """Put into *changed* what of the global state is another after than before."""
    before = _global_state()
    try:
        yield
    finally:
        after = _global_state()
        changed += [name for name, value in before.items() if after[name] != value]


_PICKLES = {pickle.dump, pickle.dumps, pickle.load, pickle.loads}
_IN_PYTHON = {pickle._Pickler.dump.__code__, pickle._Unpickler.load.__code__}


@contextmanager
def pickles_noted(where: list[str]) -> Iterator[None]:
    """Put into *where* the places at which something is pickled or unpickled, however pickle was imported."""

    def look(frame: FrameType, event: str, argument: Any) -> None:
        if event == "c_call":
            owner = getattr(argument, "__self__", None)
            name = getattr(argument, "__name__", "")
            by_class = isinstance(owner, pickle.Pickler | pickle.Unpickler) and name in ("dump", "load")
            found = by_class or any(argument is one for one in _PICKLES)
        else:
            found = event == "call" and frame.f_code in _IN_PYTHON
        if found:
            where.append(f"{Path(frame.f_code.co_filename).name}, line {frame.f_lineno}")

    before = sys.getprofile()
    sys.setprofile(look)
    try:
        yield
    finally:
        sys.setprofile(before)
