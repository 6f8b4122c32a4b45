"""A report of the gate as text: terminal, markdown, JSON and JUnit XML."""

import json
import re
from dataclasses import asdict
from typing import Any
from xml.etree import ElementTree

from tabulate import tabulate

from crayon_bench_leaderboards.boards import SHORT
from crayon_bench_leaderboards.check import Comparison, Measured, Report, Verdict
from crayon_bench_leaderboards.pairing import short
from crayon_bench_leaderboards.render.grid import markdown_text
from crayon_bench_leaderboards.statistics import Interval

_WORDS = {
    0: "HOLDS: no cell lost more than the margin",
    1: "REGRESSED: at least one cell lost more than the margin",
    2: "NOT MEASURED: at least one cell could not be measured",
    3: "NOTHING COMPARABLE: no cell of the baseline was run",
}
_UNDECIDED = "UNDECIDED: of at least one cell nobody can say whether it lost more than the margin"
_SIGNS = {Verdict.HOLDS: "✓", Verdict.REGRESSED: "✗", Verdict.NOT_COMPARABLE: "–"}


def conclusion(report: Report) -> str:
    """Return the last word in one line."""
    verdicts = {comparison.verdict for comparison in report.comparisons}
    word = _WORDS[report.exit_code]
    if report.exit_code == 2 and not verdicts & {Verdict.NOT_MEASURED, Verdict.NOT_COMPARABLE}:
        word = _UNDECIDED
    judged = [c.measured.metric for c in report.comparisons if c.measured is not None]
    names = dict.fromkeys([report.metric] if report.metric else judged)
    of = f" of {', '.join(f'{name} ({SHORT[name]})' for name in names)}" if names else ""
    allowed = f"; allowed to differ: {', '.join(report.allowed)}" if report.allowed else ""
    return f"{word} (margin {report.margin:g} points{of}{allowed})"


def report_terminal(report: Report) -> str:
    """Return plain text: a paragraph for each cell, the conclusion last."""
    lines = []
    for comparison in report.comparisons:
        sign = _SIGNS.get(comparison.verdict, "?")
        lines.append(f"{sign} {comparison.name}: {comparison.verdict.value}{_because(comparison)}{_but(comparison)}")
        if comparison.measured is not None:
            lines += [f"    {sentence}" for sentence in _sentences(comparison.measured)]
    return "\n".join([*lines, *_remarks(report), conclusion(report)]) + "\n"


def report_markdown(report: Report) -> str:
    """Return GitHub-flavoured markdown, for a pull request or a job's summary."""
    heads = ["", "Cell", "Metric", "Then", "Now", "Difference (95 %)"]
    heads += ["Other metrics", "Worst group", "Could have seen", "Seeds"]
    rows = []
    for comparison in report.comparisons:
        verdict = f"{_SIGNS.get(comparison.verdict, '?')} {comparison.verdict.value}"
        if comparison.measured is not None:
            verdict += _because(comparison) + _but(comparison)
        rows.append([verdict, comparison.name, *_columns(comparison)])
    body = [[markdown_text(cell) for cell in row] for row in rows]
    table = tabulate(body, headers=heads, tablefmt="pipe", disable_numparse=True)
    remarks = "".join(f"- {markdown_text(remark)}\n" for remark in _remarks(report))
    return f"### {markdown_text(conclusion(report))}\n\n{table}\n" + (f"\n{remarks}" if remarks else "")


def report_json(report: Report) -> str:
    """Return JSON; the layout is in docs/reference/leaderboards.md."""
    content = {
        "schema": 1,
        "metric": report.metric,
        "margin": report.margin,
        "allowed": report.allowed,
        "exit_code": report.exit_code,
        "cells": [asdict(comparison) for comparison in report.comparisons],
        "added": report.added,
        "versions": {name: list(values) for name, values in report.versions.items()},
    }
    return json.dumps(content, indent=1, ensure_ascii=False) + "\n"


def report_junit(report: Report) -> str:
    """Return JUnit XML: a cell that regressed is a failure, one that could not be measured or compared an error."""
    counts = [comparison.verdict for comparison in report.comparisons]
    failures = counts.count(Verdict.REGRESSED)
    errors = len(counts) - failures - counts.count(Verdict.HOLDS)
    # Without a cell there would be no test, and no test is green: the emptiness is a test of its own.
    sizes = {"tests": str(max(len(counts), 1)), "failures": str(failures), "errors": str(errors or int(not counts))}
    suite = ElementTree.Element("testsuite", {"name": "crayon-bench check", **sizes})
    for comparison in report.comparisons:
        where = f"{comparison.dataset}.{comparison.protocol}"
        case = ElementTree.SubElement(suite, "testcase", classname=_xml(where), name=_xml(comparison.title))
        text = f"{comparison.verdict.value}{_because(comparison)}{_but(comparison)}"
        if comparison.measured is not None:
            text = "; ".join([text, *_sentences(comparison.measured)])
        if comparison.verdict is not Verdict.HOLDS:
            kind = "failure" if comparison.verdict is Verdict.REGRESSED else "error"
            ElementTree.SubElement(case, kind, message=_xml(text))
        else:
            ElementTree.SubElement(case, "system-out").text = _xml(text)
    if not counts:
        case = ElementTree.SubElement(suite, "testcase", classname="crayon-bench", name="check")
        ElementTree.SubElement(case, "error", message=conclusion(report))
    ElementTree.indent(suite)
    return '<?xml version="1.0" encoding="utf-8"?>\n' + ElementTree.tostring(suite, encoding="unicode") + "\n"


def _xml(text: str) -> str:
    return re.sub(r"[^\t\n\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]", "?", text)  # XML 1.0 has no others


def _because(comparison: Comparison) -> str:
    return f": {comparison.reason}" if comparison.reason else ""


def _but(comparison: Comparison) -> str:
    """Return what was allowed to differ and did."""
    changes = [f"{path} {short(then)} → {short(now)}" for path, (then, now) in comparison.differs.items()]
    return f"; differs: {', '.join(changes)}" if changes else ""


def _sentences(measured: Measured) -> list[str]:
    d, worst = measured.difference, measured.worst_group
    lines = [f"{_change(measured.metric, measured.old, measured.new)}, 95 % interval {_ends(d)} ({_seeds(measured)})"]
    for other in measured.others:
        fell = ": fell by more than the margin" if other.fell else ""
        change = _change(other.metric, other.old, other.new)
        lines.append(f"{change}, 95 % interval {_ends(other.difference)}{fell}")
    if worst:
        group = f"{worst.name} ({worst.total:,} test examples)"
        lines.append(f"worst group now, by its mean over seeds: {group}, {worst.old:.2f} then, {worst.new:.2f} now")
    if measured.smallest is not None:
        short = SHORT[measured.metric]
        lines.append(f"a drop of {measured.smallest:.2f} points or more of {short} could have been seen")
    return lines


def _change(metric: str, old: float, new: float) -> str:
    return f"{SHORT[metric]} {old:.2f} then, {new:.2f} now: {_signed(new - old)}"


def _signed(value: float) -> str:
    return f"{round(value, 2) + 0.0:+.2f}"  # never -0.00


def _ends(interval: Interval) -> str:
    return f"[{_signed(interval.low)}, {_signed(interval.high)}]"


def _seeds(measured: Measured) -> str:
    if not measured.paired:
        return f"unpaired: {len(measured.seeds_old)} seeds then, {len(measured.seeds_new)} others now"
    count = len(measured.seeds_new)
    return f"{count} paired seeds" if count > 1 else "one seed: the interval says nothing of other seeds"


def _columns(comparison: Comparison) -> list[str]:
    measured = comparison.measured
    if measured is None:
        return ["", "", "", comparison.reason or "", "", "", "", ""]
    d, worst = measured.difference, measured.worst_group
    others = (
        f"{_change(o.metric, o.old, o.new)} {_ends(o.difference)}{' fell' if o.fell else ''}" for o in measured.others
    )
    return [
        SHORT[measured.metric],
        f"{measured.old:.2f}",
        f"{measured.new:.2f}",
        f"{_signed(d.estimate)} {_ends(d)}",
        "; ".join(others),
        f"{worst.name} ({worst.total:,}): {worst.old:.2f} → {worst.new:.2f}" if worst else "",
        "nothing" if measured.smallest is None else f"−{measured.smallest:.2f}",
        _seeds(measured),
    ]


def _remarks(report: Report) -> list[str]:
    remarks = []
    for name, (old, new) in report.versions.items():
        why = ": another version's arithmetic, by which scores may differ a little" if name == "numerics" else ""
        remarks.append(f"Changed since the baseline: {name} {old} → {new}{why}")
    if report.added:
        remarks.append(f"Not in the baseline: {', '.join(report.added)}")
    at_floor = [c for c in report.comparisons if c.measured is not None and c.measured.old <= report.margin]
    if any(comparison.verdict is Verdict.UNDECIDED for comparison in at_floor):
        remarks.append(
            "Cells whose score was near 0 hold nothing: judge them by --metric ma or acc, or leave them out."
        )
    return remarks


def report_text(report: Report, form: str) -> str:
    """Return *report* in one of the formats terminal, markdown, json and junit."""
    forms: dict[str, Any] = {
        "terminal": report_terminal,
        "markdown": report_markdown,
        "json": report_json,
        "junit": report_junit,
    }
    return str(forms[form](report))
