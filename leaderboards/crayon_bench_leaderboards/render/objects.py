"""Tables as JSON; the layout is a contract for scripts (docs/reference/leaderboards.md)."""

import json
from typing import Any

from crayon_bench_leaderboards.board import Row, Table


def to_json(tables: list[Table]) -> str:
    """Return one JSON object: the newest table, and under ``also`` those of the store's other settings, if any."""
    first, *others = [_table(table) for table in tables]
    if others:
        first["also"] = others
    return json.dumps(first, indent=1, ensure_ascii=False) + "\n"


def _table(table: Table) -> dict[str, Any]:
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
    }


def _row(row: Row, table: Table) -> dict[str, Any]:
    return {
        "dataset": row.dataset,
        "method": row.method,
        "label": row.label,
        "feedback": row.feedback,
        "feedback_count": {"total": row.feedback_total, "by_kind": row.feedback_by_kind},
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
        "status": row.status,
        "reason": row.reason,
        "published": row.published,
        "seconds": row.seconds,
        "notes": [table.footnotes[note - 1] for note in row.notes],
    }
