"""Tables as CSV: one line per data set, method and budget, full precision."""

import csv
import io

from crayon_bench_leaderboards.board import Row, Section, Table


def to_csv(tables: list[Table]) -> str:
    """Return CSV with a heading. Accuracies in percent; empty where there is no value."""
    metrics = list(dict.fromkeys(name for table in tables for name in table.board.metric_names()))
    heads = ["board", "source", "setting", "protocol", "dataset", "method", "label", "budget", "feedback"]
    heads += ["feedback_count", "status", "reason", "notes"]
    for metric in metrics:
        heads += [f"{metric}_{part}" for part in ("mean", "std", "n", "mark", "published")]
    references = list(dict.fromkeys(name for table in tables for name in table.board.reference_names()))
    heads += [f"{metric}_published_{reference}" for metric in metrics for reference in references]
    heads += ["worst_group", "worst_group_total", "worst_group_seeds", "seconds", "memory_mib"]
    with_price = any(table.price for table in tables)
    if with_price:
        heads += ["price", "person_hours", "gained_per_hour"]
    with_statistics = any(table.statistics for table in tables)
    if with_statistics:
        heads += [f"{metric}_{part}" for metric in metrics for part in _STATISTICS]
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(heads)
    for table in tables:
        for section in table.sections:
            for row in section.rows:
                line = [table.board.name, section.source, section.setting[:12], section.protocol, row.dataset]
                line += [row.method, row.label, row.budget or "", row.feedback, _text(row.feedback_total)]
                line += [row.status, row.reason or ""]
                line.append("; ".join([*(table.footnotes[note - 1] for note in row.all_notes()), *table.remarks]))
                for metric in metrics:
                    cell = row.metrics.get(metric)
                    if cell is None:
                        line += [""] * 5
                        continue
                    line += [
                        _text(cell.mean),
                        _text(cell.std),
                        str(len(cell.per_seed)),
                        cell.mark,
                        _text(cell.published.get(table.board.reference_names()[0])) if cell.published else "",
                    ]
                for metric in metrics:
                    theirs = row.metrics[metric].published if metric in row.metrics else {}
                    line += [_text(theirs.get(reference)) for reference in references]
                line += _details(row)
                if with_price:
                    line += [table.price.name if table.price else "", _text(row.hours), _text(row.gain)]
                if with_statistics:
                    line += _statistics(table, section, row, metrics)
                writer.writerow(line)
    return out.getvalue()


def _text(value: float | None) -> str:
    return "" if value is None else repr(value)


def _details(row: Row) -> list[str]:
    worst = row.worst_group
    group = [worst.name, _text(worst.total), f"{worst.seeds}/{worst.of}"] if worst else [""] * 3
    return [*group, _text(row.seconds), _text(row.memory)]


_STATISTICS = (
    "low",
    "high",
    *(f"to_{to}{part}" for to in ("original", "best") for part in ("", "_low", "_high", "_p")),
    "rank",
)


def _statistics(table: Table, section: Section, row: Row, metrics: list[str]) -> list[str]:
    from crayon_bench_leaderboards.compared import statistics_of

    found = {one.metric: {r.label: r for r in one.rows} for one in statistics_of(table, section)}
    line = []
    for metric in metrics:
        mine = found.get(metric, {}).get(row.title)
        if mine is None:
            line += [""] * len(_STATISTICS)
            continue
        line += [_text(mine.interval.low), _text(mine.interval.high)] if mine.interval else ["", ""]
        for d in (mine.to_original, mine.to_best):
            line += [*map(_text, (d.interval.estimate, d.interval.low, d.interval.high, d.p))] if d else [""] * 4
        line.append("" if mine.rank is None else str(mine.rank))
    return line
