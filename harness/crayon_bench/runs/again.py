"""Carrying out a run of the store once more, for what was not kept of it: its refined model."""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from crayon_bench.data.located import locate_dataset
from crayon_bench.errors import UserError
from crayon_bench.networks.specification import model_spec
from crayon_bench.networks.weights import find_weights
from crayon_bench.plugins.hooks import call_hooks
from crayon_bench.plugins.registry import Kind, Registry
from crayon_bench.runs.identity import changed_plugins
from crayon_bench.runs.perform import perform
from crayon_bench.store.records import Record, Status
from crayon_bench.store.request import RunRequest
from crayon_bench.store.store import Store
from crayon_bench.texts import expanded

_CLOSE = 1e-4
"""Confidences that differ by more are not those of the same model, whatever machine it is computed on."""


@dataclass(frozen=True)
class Inputs:
    """What a record does not say: where its inputs lie. dataset: ``NAME:PATH``, or ``""`` for the record's own name."""

    dataset: str = ""
    data_root: Path | None = None
    weights: Path | None = None
    answers: Path | None = None
    device: str = "auto"


def carry_out_again(record: Record, store: Store, registry: Registry, inputs: Inputs, scratch: Path) -> bytes:
    """Carry out the run of *record* in a new store in the empty folder *scratch*; return its refined model as a file.

    The original model and what else was shared is taken from *store*, where it is there. Raises UserError if the run
    cannot be carried out here, or if it does not come out the same.
    """
    if changed := changed_plugins(record.coordinates, registry):
        what = ", ".join(changed)
        raise UserError(f"run {record.folder}: {what} changed since it was made: its model cannot be made again", _HINT)
    again = Store.create(scratch)
    for name in record.artifacts:
        if (store.artifacts / name).is_dir():
            shutil.copytree(store.artifacts / name, again.artifacts / name)
    request = _request(record, registry, inputs)
    call_hooks("sweep_started", requests=[request], done=0, quiet=False)
    made: list[Record] = []
    try:
        made.append(perform(request, again, registry))
    finally:
        call_hooks("sweep_finished", records=made)
    if made[0].status is not Status.OK:
        raise UserError(f"run {record.folder}: carried out again, it {made[0].status.value}: {made[0].reason}")
    _compare(record, store, made[0], again)
    if not again.has_model(made[0]):
        raise UserError(f"run {record.folder}: its method returns a network that cannot be kept in a file")
    return again.model(made[0])


_HINT = "run it again here, with --keep-models --rerun all"


def _request(record: Record, registry: Registry, inputs: Inputs) -> RunRequest:
    c = record.coordinates
    if not inputs.dataset and registry.load(Kind.DATASET, record.dataset).takes_path:
        hint = f"add --dataset {record.dataset}:PATH"
        raise UserError(f"run {record.folder}: its data are a folder of your own", hint)
    located = locate_dataset(inputs.dataset or record.dataset, registry, inputs.data_root)
    if located.dataset.name != record.dataset:
        raise UserError(f"--dataset {inputs.dataset}: the run is on '{record.dataset}'")
    if c["oracle"].get("answers") is not None and inputs.answers is None:
        raise UserError(f"run {record.folder}: its oracle answers from recorded answers", "add --answers DIR")
    path, weights = inputs.weights, c["weights"] or {"source": "none"}
    if path is None and weights["source"] not in ("none", "file"):
        path = find_weights(model_spec(c["model"]), located.dataset, None).path
    elif path is None and weights["source"] == "file":
        raise UserError(f"run {record.folder}: it began with weights from a file", "add --weights FILE")
    # Where a file of the data set's parameters lay is known by what was set; restored() compares its content.
    said = {name: record.overrides.get(f"dataset.{name}") for name in located.dataset.Parameters.files}
    return RunRequest(
        coordinates=c,
        key=record.key,
        setting=record.setting,
        title=record.title,
        baseline=record.baseline,
        overrides=record.overrides,
        source=record.source,
        verified=record.verified,
        notes=record.notes,
        where="",
        data_root=str(located.root.resolve()),
        strict=located.strict,
        device="cpu" if record.environment.get("device") == "cpu" else inputs.device,
        plugin_files=[str(file.resolve()) for file in registry.files],
        weights=str(path.resolve()) if path else None,
        answers=str(inputs.answers.resolve()) if inputs.answers else None,
        keep=True,
        files={name: str(expanded(Path(path)).absolute()) for name, path in said.items() if path},
    )


def count_right(table: pa.Table) -> tuple[int, int]:
    """Return how many predictions are right, and how many there are."""
    labels, predicted = table["label"].to_pylist(), table["predicted"].to_pylist()
    return sum(a == b for a, b in zip(labels, predicted, strict=True)), len(labels)


def _compare(record: Record, store: Store, made: Record, again: Store) -> None:
    """Raise UserError unless both runs predict the same."""
    then, now = store.predictions(record), again.predictions(made)
    examples = [table["example"].to_pylist() for table in (then, now)]
    if examples[0] != examples[1]:
        raise UserError(f"run {record.folder}: carried out again, it was tested on other images", _HINT)
    differ = sum(a != b for a, b in _pairs(then, now, "predicted"))
    far = max((abs(a - b) for a, b in _pairs(then, now, "confidence")), default=0.0)
    if differ or far > _CLOSE:
        environments = [{k: r.environment.get(k) for k in ("torch", "platform", "device")} for r in (record, made)]
        why = "" if environments[0] == environments[1] else f" (made with {environments[0]}, now {environments[1]})"
        raise UserError(
            f"run {record.folder}: carried out again, {differ:,} of {len(then):,} predictions differ, and confidences"
            f" by up to {far:.2g}: this is another model, and it is not exported{why}",
            _HINT,
        )


def _pairs(then: pa.Table, now: pa.Table, column: str) -> Sequence[tuple[float, float]]:
    return list(zip(then[column].to_pylist(), now[column].to_pylist(), strict=True))
