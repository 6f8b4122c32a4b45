"""Tables as JSON; the layout is a contract for scripts (docs/reference/leaderboards.md)."""

import json
from dataclasses import asdict
from typing import Any

from crayon_bench_leaderboards.price import Price
from crayon_bench_leaderboards.table import Row, Table


def to_json(tables: list[Table]) -> str:
    """Return one JSON object: the newest table, and under ``also`` those of the store's other settings, if any."""
    first, *others = [_with_statistics(table) for table in tables]
    if others:
        first["also"] = others
    return json.dumps(first, indent=1, ensure_ascii=False) + "\n"


def _with_statistics(table: Table) -> dict[str, Any]:
    if not table.statistics:
        return _table(table)
    from crayon_bench_leaderboards.compared import statistics_of

    found = {section.dataset: [asdict(one) for one in statistics_of(table, section)] for section in table.sections}
    return {**_table(table), "statistics": found}


def _table(table: Table) -> dict[str, Any]:
    priced = {} if table.price is None else {"price": _price(table.price)}
    return {
        "schema": 1,
        "board": table.board.name,
        "title": table.title,
        "source": {section.dataset: section.source for section in table.sections},
        "protocol": {section.dataset: section.protocol for section in table.sections},
        "setting": {section.dataset: section.setting for section in table.sections},
        "seeds": {section.dataset: section.seeds for section in table.sections},
        "rows": [_row(row, table) for section in table.sections for row in section.rows],
        "remarks": table.remarks,
        "references": {
            reference.name: {"citation": reference.citation, "protocol": reference.protocol}
            for reference in table.references
        },
        **priced,
    }


def _price(price: Price) -> dict[str, Any]:
    if price.prices is None:
        return {"name": price.name, "title": "recorded times", "answers": None}
    answers = {kind.value: answer.model_dump() for kind, answer in price.prices.answers.items()}
    return {"name": price.name, "title": price.prices.title, "answers": answers}


def _row(row: Row, table: Table) -> dict[str, Any]:
    priced = {} if table.price is None else {"person_hours": row.hours, "gained_per_hour": row.gain}
    return {
        "dataset": row.dataset,
        "method": row.method,
        "label": row.label,
        "budget": row.budget,
        "control": row.control,
        "feedback": row.feedback,
        "feedback_count": {"total": row.feedback_total, "by_kind": row.feedback_by_kind},
        **priced,
        "metrics": {
            name: {
                "mean": cell.mean,
                "std": cell.std,
                "per_seed": {str(seed): value for seed, value in cell.per_seed.items()},
                "n": len(cell.per_seed),
                "mark": cell.mark or None,
                "reason": cell.reason,
            }
            for name, cell in row.metrics.items()
        },
        **_answers_add(row),
        "status": row.status,
        "reason": row.reason,
        "published": next((row.published.get(name) for name in table.board.reference_names()[:1]), None),
        "published_by": row.published,
        "worst_group": _worst_group(row),
        "seconds": row.seconds,
        "memory_mib": row.memory,
        "notes": [table.footnotes[note - 1] for note in row.all_notes()],
    }


def _answers_add(row: Row) -> dict[str, Any]:
    """Return what the answers of a row with controls add, in points."""
    if row.control is not None or not row.answers_add:
        return {}
    return {"answers_add": {c: {name: asdict(one) for name, one in m.items()} for c, m in row.answers_add.items()}}


def _worst_group(row: Row) -> dict[str, Any] | None:
    if row.worst_group is None:
        return None
    return {**asdict(row.worst_group), "per_seed": {str(s): names for s, names in row.worst_group.per_seed.items()}}
