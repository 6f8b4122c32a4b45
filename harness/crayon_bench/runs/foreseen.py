"""What plugins say before a run, without any data: what they will ask, and why they cannot."""

from pathlib import Path
from typing import Any

from crayon_bench.dataset import Dataset, Found
from crayon_bench.feedback import FeedbackKind
from crayon_bench.guard import method_running
from crayon_bench.method import Method, Setting
from crayon_bench.oracle import FeedbackOracle
from crayon_bench.parameters import Parameters
from crayon_bench.runs.protocol import Protocol


def oracle_table(oracle: type[FeedbackOracle], protocol: Protocol) -> dict[str, Any]:
    """Return an oracle's parameters in a protocol: its own table's, and those of the oracles that it is made from."""
    table: dict[str, Any] = {}
    for base in reversed(oracle.__mro__):
        if isinstance(name := base.__dict__.get("name"), str):
            table |= protocol.oracle.get(name, {})
    return table


def questions_of(method: type[Method], parameters: Parameters) -> tuple[FeedbackKind, ...]:
    """Return what :meth:`Method.questions` says. Raises TypeError for what is not a tuple of kinds."""
    with method_running():
        asks = method().questions(parameters)
    if not isinstance(asks, tuple) or not all(isinstance(kind, FeedbackKind) for kind in asks):
        raise TypeError(f"questions() must return a tuple of FeedbackKind, not {asks!r}")
    return asks


def skip_of(method: type[Method], setting: Setting) -> tuple[str | None]:
    """Return what :meth:`Method.skip` says, in a tuple of one."""
    with method_running():  # the data set that the setting names is not to be loaded here
        reason = method().skip(setting)
    if reason is not None and not isinstance(reason, str):
        raise TypeError(f"skip() must return a reason or None, not {type(reason).__name__}")
    return (reason,)


def unable_of(
    oracle: type[FeedbackOracle], parameters: Any, dataset: type[Dataset], found: Found, answers: Path | None
) -> dict[FeedbackKind, str]:
    """Return what an oracle with these *parameters* cannot answer about the data *found*, with the reasons."""
    asker = oracle(parameters, seed=0)
    asker.answers = answers
    return {kind: why for kind in FeedbackKind if (why := asker.unable(kind, dataset, found))}
