"""A run for people: what it was, what came out, and the command that repeats it."""

import json
import shlex
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from crayon_bench.commands import STORE
from crayon_bench.feedback import control_label
from crayon_bench.screen import fit_lines
from crayon_bench.store.records import Record


@dataclass(frozen=True)
class Known:
    """What is known of a record's data set here: the names of its protocols, and whether it is a folder of one's own.

    protocols: None if its plugin is not here.
    """

    protocols: Sequence[str] | None
    takes_path: bool


def shown(record: Record, store: Path, known: Known, columns: int | None = None) -> Iterator[str]:
    """Give the lines, safe to print; facts are wrapped at *columns*, the command is not, so that it can be copied."""
    for line in _lines(record, store, known, columns):
        yield "".join(c if c.isprintable() else ascii(c)[1:-1] for c in line)


def _lines(record: Record, store: Path, known: Known, columns: int | None) -> Iterator[str]:
    title = record.title
    standin = " (STAND-IN data)" if record.source == "standin" else "" if record.verified else " (UNVERIFIED data)"
    yield f"{title['method']} on {title['dataset']}{standin}, seed {record.seed}: {record.status.value}"
    if record.reason:
        yield f"Why: {record.reason}"
    yield ""
    yield from _table(_facts(record), columns)
    for group in sorted({m.columns for m in record.metrics.values()}):  # the usual ones, without a name, first
        scores = [
            f"{m.short} {'n/a' if m.value is None else f'{m.value:.2f} {m.unit}'.rstrip()}"
            + ("" if m.chance is None else f" (chance {m.chance:.2f})")
            for m in record.metrics.values()
            if m.columns == group
        ]
        if not group:
            yield ""
        yield from _listed(f"{group.capitalize() or 'Scores'} on the test split", scores, columns)
    yield from (f"  no {m.short}: {m.reason}" for m in record.metrics.values() if m.value is None and m.reason)
    if record.validation:
        pairs = [
            f"{record.metrics[k].short if k in record.metrics else k} {v:.2f}" for k, v in record.validation.items()
        ]
        yield from _listed("On the validation split", pairs, columns)
    if record.groups:
        yield ""
        yield "Groups of the test split: right / images"
        share = [f"  {g.right / g.total:.1%}" if g.total else "" for g in record.groups]
        rows = [(g.name, f"{g.right:,} / {g.total:,}{s}") for g, s in zip(record.groups, share, strict=True)]
        yield from _table(rows, columns)
    yield ""
    yield from _feedback(record)
    if record.warnings:
        yield ""
        yield "Warnings:"
        yield from (f"  {what} ({times:,})" for what, times in record.warnings.items())
    yield ""
    yield "To repeat it:"
    command, missing = command_of(record, store, known)
    yield f"  {shlex.join(command)}"
    if missing:
        yield f"  where {' and '.join(missing)} must be what {'it was' if len(missing) == 1 else 'they were'}."


def _listed(what: str, items: Sequence[str], columns: int | None) -> list[str]:
    """Return the lines of a list; none of its items is broken."""
    unbroken = ", ".join(item.replace(" ", "\xa0") for item in items)
    return fit_lines(f"{what}: {unbroken}", columns).replace("\xa0", " ").splitlines()


def _facts(record: Record) -> Iterator[tuple[str, str]]:
    c = record.coordinates
    yield "run", record.folder
    yield "protocol", record.protocol + "".join(f", {key}={_toml(value)}" for key, value in record.overrides.items())
    yield "budget", record.budget or "all"
    if record.control is not None:
        yield "control", f"{record.control}: {control_label(record.control)}"
    own = ", ".join(f"{k}={_toml(v)}" for k, v in (c["oracle"].get("parameters") or {}).items())
    yield "oracle", record.oracle + (f" ({own})" if own else "")
    if record.calibrated:
        yield "calibrated", ", ".join(f"{name} {value:g}" for name, value in record.calibrated.items())
    if weights := c.get("weights"):
        yield "weights", f"{weights.get('source')}, sha256 {str(weights.get('sha256'))[:12]}…"
    for note in record.notes:
        yield "data", note
    if record.seconds:
        yield (
            "time",
            f"{record.seconds.get('total', 0):.1f} s, of which refining {record.seconds.get('refine', 0):.1f} s",
        )
    if "peak" in record.memory:
        yield "memory", f"{record.memory['peak']:,.0f} MiB at most"
    for name, share in record.attention.items():
        yield "attention", f"{share:.1%} of the refined model's {name} maps lie on relevant pixels"
    if record.finished:
        yield "finished", record.finished
    if device := record.environment.get("device"):
        yield "on", f"{device}, crayon-bench {record.environment.get('crayon_bench', '?')}"


def _feedback(record: Record) -> Iterator[str]:
    told = record.feedback
    if not told.total and not told.lent:
        yield "Feedback: none"
        return
    yield f"Feedback: {told.total:,} answers"
    for kind, number in told.by_kind.items():
        verdicts = ", ".join(f"{word} {n:,}" for word, n in told.verdicts.get(kind, {}).items())
        took = f", {told.seconds[kind]:,.0f} s of people's time" if kind in told.seconds else ""
        yield f"  {kind.replace('_', ' ')}: {number:,}" + (f" ({verdicts})" if verdicts else "") + took
    for kind, number in told.lent.items():
        yield f"  {kind.replace('_', ' ')}: the tally of {number:,}, not counted (a control)"


def command_of(record: Record, store: Path, known: Known) -> tuple[list[str], list[str]]:
    """Return the command that carries the run out again, and its words for files that a record does not name."""
    c = record.coordinates
    missing = ["PATH"] if known.takes_path else []
    dataset = f"{record.dataset}:PATH" if known.takes_path else record.dataset
    command = ["crayon-bench", "run", "--dataset", dataset, "--methods", record.method, "--seeds", f"{record.seed},"]
    command += ["--source", record.source, "--protocol"]
    if known.protocols is None or record.protocol in known.protocols:
        command += [record.protocol]
    else:
        command += [f"{record.protocol}.toml"]
        missing.append(command[-1])
    if record.oracle != "simulated":
        command += ["--oracle", record.oracle]
    if c["oracle"].get("answers") is not None:
        command += ["--answers", "DIR"]
        missing.append("DIR")
    if (budget := c.get("budget")) is not None:
        command += ["--budget", (record.budget or "").split()[0].replace(",", "")]
        if (strategy := budget["strategy"]["name"]) != "random":
            command += ["--strategy", strategy]
    if record.control is not None:
        command += ["--control", record.control]
    if (c.get("weights") or {}).get("source") == "file":
        command += ["--weights", "FILE"]
        missing.append("FILE")
    for key, value in record.overrides.items():
        command += ["--set", f"{key}={_toml(value)}"]
    return [*command, "--rerun", "all", *(["--store", str(store)] if store != STORE else [])], missing


def _toml(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _table(rows: Iterable[tuple[str, str]], columns: int | None) -> Iterator[str]:
    pairs = list(rows)
    widest = max((len(name) for name, _ in pairs), default=0)
    for name, text in pairs:
        room = None if columns is None else max(20, columns - widest - 4)
        parts = [text] if room is None or len(text) <= room else textwrap.wrap(text, room, break_on_hyphens=False)
        yield from (f"  {name if not n else '':<{widest}}  {part}" for n, part in enumerate(parts))
