"""Every number and word of the leaderboards and of the gate, as in ``tests/golden/``.

The records there are real ones, of which some were changed, with few groups. A change that is meant is written down with
``CRAYON_BENCH_GOLDEN=write pytest -n0 tests/test_golden.py``.
"""

import io
import json
import os
import re
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from crayon_bench.store.records import Record, Status, digest, setting_of
from crayon_bench.store.store import Store
from crayon_bench_leaderboards import remarks
from crayon_bench_leaderboards.boards import boards_for
from crayon_bench_leaderboards.fill import make_tables
from crayon_bench_leaderboards.render import to_html

GOLDEN = Path(__file__).parent / "golden"
TABLES = {
    "all": [],
    "statistics": ["--board", "table1", "--statistics"],
    "price": ["--board", "table2", "--price", "published"],
    "curve": ["--board", "curve", "--metric", "acc"],
}
FORMS = {"terminal": "txt", "markdown": "md", "latex": "tex", "csv": "csv", "json": "json"}
REPORTS = {"terminal": "txt", "markdown": "md", "json": "json", "junit": "xml"}
OUTPUTS = {
    "all.html": None,
    "short.txt": ["leaderboard", "--store", "now"],
    **{f"{name}.{end}": ["leaderboard", *more, "--explain", "--format", form, "--store", "now"]
       for name, more in TABLES.items() for form, end in FORMS.items()},
    **{f"check.{end}": ["check", "--baseline", "before", "--store", "now", "--format", form, "--methods", "original,rrr,energy"]
       for form, end in REPORTS.items()},
}  # fmt: skip


def records() -> list[Record]:
    lines = (GOLDEN / "records.jsonl").read_text(encoding="utf-8").splitlines()
    return [Record.model_validate_json(line) for line in lines]


def older(record: Record) -> Record:
    """The same run by the arithmetic before: the gate compares the two."""
    coordinates = {**record.coordinates, "numerics": 2}
    return record.model_copy(
        update={"coordinates": coordinates, "key": digest(coordinates), "setting": setting_of(coordinates)}
    )


def predictions(record: Record, *, before: bool) -> bytes:
    """As many right ones as the record says, elsewhere for each seed; before, those of RRR were all right."""
    columns: dict[str, list] = {name: [] for name in ("example", "label", "predicted", "group", "confidence")}
    for number, group in enumerate(record.groups):
        right = group.total if before and record.method == "rrr" else group.right
        wrong = np.roll(np.arange(group.total) >= right, 17 * record.seed + before)
        columns["example"] += [f"{number}-{n:03d}" for n in range(group.total)]
        columns["label"] += [0] * group.total
        columns["predicted"] += wrong.astype(int).tolist()
        columns["group"] += [number] * group.total
        columns["confidence"] += [1.0] * group.total
    sink = io.BytesIO()
    pq.write_table(pa.table(columns), sink)
    return sink.getvalue()


def rounded(text: str) -> str:
    """Without the last digits, which another processor may compute differently."""
    return re.sub(r"\d+\.\d{9,}(e-\d+)?", lambda found: f"{float(found[0]):.9g}", text)


@pytest.fixture(scope="module")
def stores(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("golden")
    for name in ("before", "now"):
        store = Store.create(folder / name)
        for record in map(older, records()) if name == "before" else records():
            done = record.status is Status.OK
            store.save(record, predictions(record, before=name == "before") if done else None, "")
    return folder


@pytest.mark.parametrize("name", OUTPUTS)
def test_every_number_and_word_is_as_it_was_written_down(cli, stores, monkeypatch, name):
    monkeypatch.chdir(stores)
    monkeypatch.setattr(remarks, "NUMERICS", 3)
    if (command := OUTPUTS[name]) is not None:
        result = cli(*command)
        assert not result.err
        text = rounded(result.out)
    else:
        found = records()
        text = to_html([table for board in boards_for(found) for table in make_tables(board, found)])
    text = "\n".join(line.strip() if name.endswith(".json") else line.rstrip() for line in text.splitlines()) + "\n"
    file = GOLDEN / name
    if os.environ.get("CRAYON_BENCH_GOLDEN") == "write":
        file.write_text(text, encoding="utf-8")
    assert text == file.read_text(encoding="utf-8")


def test_the_golden_tables_show_what_they_are_to_guard():
    """A guard that no longer has a failed run, a skipped one, a budget or an older version guards less."""
    text = (GOLDEN / "all.txt").read_text(encoding="utf-8")
    for word in ("n/a", "(n=2)", "failed for seed 2", "10.0) [", "1%", "numerics 2, now 3", "dead maps", "STAND-IN"):
        assert word in text
    verdicts = {cell["verdict"] for cell in json.loads((GOLDEN / "check.json").read_text(encoding="utf-8"))["cells"]}
    assert {"holds", "regressed", "undecided"} <= verdicts
    assert "numerics 2 → 3: another version's arithmetic" in (GOLDEN / "check.txt").read_text(encoding="utf-8")
