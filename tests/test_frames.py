"""Results as data frames: what the columns hold, and what is never lost in them."""

import statistics
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from crayon_bench.errors import UserError
from crayon_bench.store.store import Store
from crayon_bench_leaderboards.boards import boards_for, load_board
from crayon_bench_leaderboards.fill import make_tables
from crayon_bench_leaderboards.frames import cells_frame, examples_frame, groups_frame, runs_frame
from crayon_bench_leaderboards.render import tables_frame, to_html, to_markdown
from test_boards import SCORES, asked, faces, full, limit, record, save, swept, table1  # noqa: F401
from test_check import save as save_with_predictions

COLUMNS = [
    "dataset", "source", "protocol", "setting", "method", "variant", "budget", "control", "oracle", "seed", "status",
    "metric", "value", "feedback_total", "feedback_map_verdict", "feedback_neuron_verdict", "feedback_relevant_mask",
    "feedback_irrelevant_mask", "feedback_box", "feedback_group", "seconds", "peak_mib", "key",
]  # fmt: skip


def test_a_row_per_run_and_metric_with_all_columns():
    runs = runs_frame(swept("celeba", lambda m, s, v, **more: faces(m, s, 90.0, v, **more)))
    assert list(runs.columns) == COLUMNS
    assert len(runs) == 3 * 6 * 2
    one = runs[(runs.method == "crayon-attention") & (runs.budget == "10%") & (runs.seed == 1)]
    assert dict(zip(one.metric, one.value, strict=True)) == {"group_mean_accuracy": 90.0, "worst_group_accuracy": 71.0}
    assert set(one.feedback_total) == set(one.feedback_map_verdict) == {6000}
    assert (set(one.feedback_box), set(one.seconds), set(one.peak_mib)) == ({0}, {2.0}, {1001.0})
    assert set(runs.budget) == {"all", "10%", "1%", "500"}
    assert list(runs_frame([]).columns) == COLUMNS


def test_seconds_are_those_of_refine_and_of_what_is_shared():
    (row,) = runs_frame([record("rrr", 0, 90.0, seconds={"refine": 2.0, "shared": 3.5, "total": 99.0})]).itertuples()
    assert row.seconds == 5.5
    assert np.isnan(row.peak_mib)  # not measured


def test_what_did_not_end_well_is_not_lost():
    failed = record("rrr", 0, None, status="failed", reason="x", metrics={})
    skipped = record("gradia", 0, None, status="skipped", reason="x", metrics={})
    runs = runs_frame([record("rrr", 1, 90.0), failed, skipped])
    assert dict(zip(zip(runs.method, runs.seed, strict=True), runs.status, strict=True)) == {
        ("rrr", 0): "failed", ("rrr", 1): "ok", ("gradia", 0): "skipped",
    }  # fmt: skip
    lost = runs[runs.status != "ok"]
    assert lost[["metric", "value", "seconds", "peak_mib"]].isna().all(axis=None)
    cells = cells_frame([record("rrr", 1, 90.0), failed, skipped]).set_index("method")
    assert cells.loc["rrr", ["metric", "mean", "n", "ok", "failed"]].tolist() == ["sample_accuracy", 90.0, 1, 1, 1]
    assert cells.loc["gradia", ["n", "ok", "skipped"]].tolist() == [0, 0, 1]
    assert pd.isna(cells.loc["gradia", "metric"]) and pd.isna(cells.loc["rrr", "std"])


def test_variants_are_told_apart_as_on_a_board():
    changed = [record("rrr", s, 90.0, parameters={"lambda": 1}, overrides={"rrr.lambda": 1}) for s in range(2)]
    plain = [record("rrr", s, 96.0) for s in range(2)]
    cells = cells_frame([*plain, *changed])
    assert dict(zip(cells.variant, cells["mean"], strict=True)) == {"": 96.0, "lambda=1": 90.0}
    # None is not another value for people, but it is for the key: never one cell.
    alike = [*plain, *(record("rrr", s, 50.0, parameters={"lambda": None}) for s in range(2))]
    cells = cells_frame(alike)
    assert sorted(cells["mean"]) == [50.0, 96.0]
    assert len(set(cells.variant)) == 2
    [table] = make_tables(load_board("table2"), alike)
    labels = [row.label for row in table.sections[0].rows if row.method == "rrr"]
    assert len(set(labels)) == 2


def test_cells_are_means_and_sample_deviations_over_seeds(full):  # noqa: F811
    cells = cells_frame(full).set_index("method")
    for name, values in SCORES.items():
        assert cells.loc[name, "mean"] == statistics.fmean(values)
        assert cells.loc[name, "std"] == statistics.stdev(values)
        assert cells.loc[name, ["n", "ok", "feedback_total"]].tolist() == [
            3,
            3,
            60000 * (name not in ("original", "train-more")),
        ]


def test_a_mean_over_some_of_the_seeds_is_no_mean():
    some = [record("rrr", 0, 90.0), record("rrr", 1, None)]
    (cell,) = cells_frame(some).itertuples()
    assert np.isnan(cell.mean) and (cell.n, cell.ok) == (1, 2)


def test_groups_have_their_counts_and_an_empty_one_has_no_accuracy():
    shares = [{"name": "a", "right": 1, "total": 3}, {"name": "b", "right": 0, "total": 0}]
    groups = groups_frame([faces("rrr", 0, 70, 30, groups=shares), record("res", 0, None, status="failed", metrics={})])
    assert list(groups.columns) == [
        "dataset", "source", "protocol", "setting", "method", "variant", "budget", "control", "oracle", "seed", "group",
        "right", "total", "accuracy", "key",
    ]  # fmt: skip
    assert groups[["group", "right", "total"]].values.tolist() == [["a", 1, 3], ["b", 0, 0]]
    assert groups.accuracy[0] == pytest.approx(100 / 3)
    assert np.isnan(groups.accuracy[1])


def test_examples_are_read_from_the_store_with_their_groups_by_name():
    for seed in range(2):
        save_with_predictions("s", seed=seed, right={"blond": 0.5})
    save_with_predictions("s", method="bare", no_groups=True)
    store = Store.open(Path("s"))
    examples = examples_frame(store.records(), store.predictions)
    assert list(examples.columns) == [
        "dataset", "source", "protocol", "setting", "method", "variant", "budget", "control", "oracle", "seed", "key",
        "example", "label", "predicted", "group", "confidence", "right",
    ]  # fmt: skip
    right = examples[examples.method == "rrr"].groupby(["seed", "group"])["right"].agg(["sum", "size"])
    assert right.loc[(1, "blond")].tolist() == [25, 50]
    assert right.loc[(0, "black")].tolist() == [95, 100]
    assert examples[examples.method == "bare"]["group"].isna().all()
    assert examples_frame([], store.predictions).empty


def break_(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:60] + b"PAR1")


@pytest.mark.parametrize("how", [break_, Path.unlink, lambda file: file.write_bytes(b"PAR1----PAR1")])
@pytest.mark.parametrize("sums", [True, False])
def test_damaged_predictions_are_a_line_that_names_the_run(how, sums):
    save_with_predictions("s")
    store = Store.open(Path("s"))
    (found,) = store.records()
    folder = store.runs / found.folder
    how(folder / "predictions.parquet")
    if not sums:
        (folder / "SHA256SUMS").unlink()
    with pytest.raises(UserError, match=f"run {found.folder}: its predictions cannot be read: "):
        store.predictions(found)


def test_a_table_is_a_frame_of_numbers_and_a_page(full):  # noqa: F811
    skipped = [record("gradia", s, None, status="skipped", reason="no <masks>", metrics={}) for s in range(3)]
    [table] = make_tables(load_board("table2"), [*full, *skipped])
    frame = tables_frame([table]).set_index("method")
    assert frame.loc["rrr", "sample_accuracy_mean"] == pytest.approx(96.3)
    assert frame["sample_accuracy_mean"].dtype == frame["feedback_count"].dtype == np.float64
    assert np.isnan(frame.loc["gradia", "sample_accuracy_mean"])
    assert frame.loc["rrr", "sample_accuracy_published"] == 96.18
    page = to_html([table])
    assert "<b>96.30 ± 0.26</b>" in page
    assert "no &lt;masks&gt;" in page and "<masks>" not in page
    assert page.count("<table>") == page.count("</table>") == page.count("<caption>") == 2
    for remark in table.remarks:
        assert remark.partition(".")[0] in page


def test_a_stand_in_is_named_on_the_page_too():
    [table] = make_tables(load_board("table1"), table1("celeba", source="standin", protocol="quick"))
    assert "STAND-IN DATA — Table 1" in to_html([table])


def test_runs_of_older_numerics_are_told_apart_in_one_line():
    def lines(**more) -> list[str]:
        [table] = make_tables(load_board("table2"), [record("rrr", 0, 90.0, **more)])
        return [line for line in to_markdown([table]).splitlines() if "arithmetic" in line]

    assert lines() == []
    (line,) = lines(numerics=2)
    assert "Made by an older version's arithmetic (numerics 2, now " in line
    assert "not recorded" in lines(numerics=None)[0]
    # They are never in a table with runs of today.
    both = make_tables(load_board("table2"), [record("rrr", 0, 90.0), record("energy", 0, 80.0, numerics=2)])
    assert len(both) == 2


def test_a_board_of_ones_own_data_begins_with_original():
    own = [record(name, 0, 50.0, dataset="folder") for name in ("energy", "crayon-attention", "original", "rrr")]
    (board,) = boards_for(own)
    [table] = make_tables(board, own)
    assert [row.method for row in table.sections[0].rows] == ["original", "crayon-attention", "energy", "rrr"]
    assert to_markdown([table]).index("| Original") < to_markdown([table]).index("| CRAYON-Attention")


def test_a_kind_of_feedback_that_is_not_known_here_has_a_column_all_the_same():
    strange = record("rrr", 0, 90.0, feedback={"total": 7, "by_kind": {"telepathy": 7}, "label": "?"})
    runs = runs_frame([strange, record("energy", 0, 90.0, **asked("energy", 5, budget=limit(5)))])
    assert dict(zip(runs.method, runs.feedback_telepathy, strict=True)) == {"rrr": 7, "energy": 0}
    assert list(runs.columns)[:19] == COLUMNS[:19]


def test_what_prints_no_table_imports_no_pandas(full):  # noqa: F811
    save(full)
    code = (
        "import sys\nfrom crayon_bench.cli import invoke\n"
        "for command in (['--help'], ['leaderboard', '--help'], ['plugins', 'list'], ['runs', 'list']):\n"
        "    assert invoke(command) == 0, command\n"
        "assert not {'pandas', 'pyarrow'} & set(sys.modules)\n"
        "import crayon_bench_leaderboards.frames, crayon_bench_leaderboards.fill\n"
        "assert 'torch' not in sys.modules\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
