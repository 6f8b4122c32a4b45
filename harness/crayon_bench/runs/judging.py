"""What a refined model is worth: its predictions on the test split, its metrics, and where it looks."""

import io
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from torch import Tensor, nn

from crayon_bench.dataset import Evidence, LoadedData, Split
from crayon_bench.errors import MetricError
from crayon_bench.guard import method_running
from crayon_bench.metric import Attention, Predictions
from crayon_bench.networks.classifier import Classifier, batch_for_maps
from crayon_bench.networks.exported import effective_spec, model_bytes
from crayon_bench.networks.grids import to_grid
from crayon_bench.networks.training import predict
from crayon_bench.plugins.registry import Kind, Registry
from crayon_bench.plugins.rows import PluginError
from crayon_bench.runs.loading import own_images
from crayon_bench.runs.prepared import Prepared
from crayon_bench.runs.run import Run
from crayon_bench.store.records import LARGEST, GroupCount, MetricValue


def judge(run: "Run", registry: Registry, prepared: Prepared, refined: Any) -> None:
    """Note what the refined model predicts, and the metrics of that."""
    record, job, data = run.record, prepared.job, prepared.data
    device = job.device
    test_images = own_images(data.test.images, device)
    with run.timed("test"):
        predictions = _predict(refined, data.test, test_images, data, device)
        run.predictions = _to_parquet(data.test, predictions)
        right, total = predictions.group_counts()
        record.groups = [
            GroupCount(name=name, right=int(r), total=int(t))
            for name, r, t in zip(predictions.group_names, right, total, strict=True)
        ]
        looks = _looks(refined, data, test_images, device)
        record.metrics = _compute_metrics(replace(predictions, attention=looks), registry, run)
        if data.validation is not None:
            seen = _predict(refined, data.validation, own_images(data.validation.images, device), data, device)
            values = _compute_metrics(seen, registry, run).items()
            record.validation = {name: value.value for name, value in values if value.value is not None}
        if run.request.keep:
            _keep(run, refined, data)
        if data.evidence.has("relevant_masks") and isinstance(refined, Classifier):
            record.attention = _attention(refined, data.train, device, data.evidence)


def _keep(run: "Run", refined: nn.Module, data: LoadedData) -> None:
    spec, shape = effective_spec(run.request.coordinates), data.train.images.shape[1:]
    try:
        run.model = model_bytes(refined, spec, data.class_names, shape, run=run.request.key)
    except Exception as error:  # a network of a method's own may hold anything, and its result is none the worse
        run.log.write(f"The refined model cannot be kept: {type(error).__name__}: {error}\n")
        run.record.warnings["the refined model cannot be kept, see the log"] = 1


def _predict(refined: Any, split: Split, images: Tensor, data: LoadedData, device: str) -> Predictions:
    with method_running():  # a refined model is the method's code too
        logits = _checked_logits(refined, images, len(data.class_names), device)
    known = bool((split.groups >= 0).all())
    return Predictions(
        labels=split.labels,
        predicted=logits.argmax(-1).numpy(),
        groups=split.groups if known else np.zeros_like(split.groups),
        probabilities=logits.softmax(-1).numpy(),
        group_names=data.group_names if known else (),
        no_groups=data.no_groups if known else "the groups of some examples are not known",
        training=_in_training(data) if known else None,
    )


def _in_training(data: LoadedData) -> Any:
    groups = data.train.groups
    return np.bincount(groups, minlength=len(data.group_names)) if (groups >= 0).all() else None


@torch.no_grad()
def _looks(model: Any, data: LoadedData, images: Tensor, device: str) -> Attention | None:
    """Return where the model looks in the test images; None where that cannot be known."""
    evidence = data.test_evidence
    relevant = None if evidence is None else _relevant(evidence, (images.shape[-2], images.shape[-1]))
    if relevant is None or not isinstance(model, Classifier):
        return None
    labels, maps = torch.from_numpy(data.test.labels), []
    for index in torch.split(torch.arange(len(labels)), min(128, batch_for_maps(images.shape[1:]))):
        with method_running():
            maps.append(model.run(images[index].to(device)).saliency(labels[index].to(device)).float().cpu())
    return Attention(torch.cat(maps).numpy(), relevant)


def _relevant(evidence: Evidence, size: tuple[int, int]) -> Callable[[Any], Any] | None:
    """Return what gives relevant pixels: the masks, or else what lies inside of the boxes."""
    if evidence.has("relevant_masks"):
        return evidence.relevant_masks
    if not evidence.has("boxes"):
        return None
    rows, columns = (np.arange(n) for n in size)

    def inside(examples: Any) -> Any:
        top, left, bottom, right = evidence.boxes(examples).T[..., None]
        down, across = (rows >= top) & (rows < bottom), (columns >= left) & (columns < right)
        return down[:, :, None] & across[:, None, :]

    return inside


_LOOKED_AT = 256
"""How many training images :func:`_attention` looks at, evenly spread."""


@torch.no_grad()
def _attention(model: Classifier, split: Split, device: str, evidence: Evidence) -> dict[str, float]:
    """Return the mean share of the maps' total on relevant pixels: of the label's map, and of its contrast."""
    chosen = torch.linspace(0, len(split) - 1, min(len(split), _LOOKED_AT)).round().long()
    shares: dict[str, list[Tensor]] = {"saliency": [], "contrast": []}
    # In small batches, which stay in a CPU's caches: of small images, 700 at once take 1.7 times as long as 128.
    for index in torch.split(chosen, min(128, batch_for_maps(split.images.shape[1:]))):
        # The split's own images: a method may have changed those that it was given.
        images = torch.from_numpy(np.array(split.images[index.numpy()])).to(device)
        labels = torch.from_numpy(split.labels[index.numpy()]).to(device)
        with method_running():
            forward = model.run(images)
            maps = {"saliency": forward.saliency(labels), "contrast": forward.contrast(labels)}
        masks = torch.from_numpy(np.ascontiguousarray(evidence.relevant_masks(index.numpy())))
        height, width = maps["saliency"].shape[-2:]
        S = to_grid(masks, (height, width)).to(device)
        for name, M in maps.items():
            total = M.sum((-2, -1))
            shares[name].append(((M * S).sum((-2, -1)) / total)[total > 0])
    means = {name: torch.cat(parts) for name, parts in shares.items()}
    finite = {name: values for name, values in means.items() if len(values) and bool(values.isfinite().all())}
    return {name: round(float(values.double().mean()), 6) for name, values in finite.items()}


def _checked_logits(model: Any, images: Tensor, classes: int, device: str) -> Tensor:
    if not isinstance(model, nn.Module):
        raise TypeError(f"refine() must return a model, not {type(model).__name__}")
    logits = predict(model.to(device), images, device).float().cpu()
    if logits.shape != (len(images), classes):
        raise ValueError(f"the refined model's logits are {tuple(logits.shape)}, not {(len(images), classes)}")
    if not torch.isfinite(logits).all():
        raise ValueError("the refined model's logits are not all finite")
    return logits


def _to_parquet(split: Split, predictions: Predictions) -> bytes:
    confidence = predictions.probabilities[np.arange(len(predictions.predicted)), predictions.predicted]
    known = bool(predictions.group_names)
    groups = pa.array(predictions.groups.astype(np.int32)) if known else pa.nulls(len(split), pa.int32())
    table = pa.table(
        {
            "example": list(split.ids),
            "label": pa.array(predictions.labels.astype(np.int32)),
            "predicted": pa.array(predictions.predicted.astype(np.int32)),
            "group": groups,
            "confidence": pa.array(confidence.astype(np.float32)),
        }
    )
    sink = io.BytesIO()
    pq.write_table(table, sink, compression="zstd")
    return sink.getvalue()


def _compute_metrics(predictions: Predictions, registry: Registry, run: Run) -> dict[str, MetricValue]:
    values = {}
    for name in registry.names(Kind.METRIC):
        try:
            metric = registry.load(Kind.METRIC, name)()
        except PluginError as error:
            run.log.write(f"metric left out: {error}\n")
            continue
        value, reason, chance = None, None, None
        try:
            if not metric.applies(predictions):
                continue
            value, chance = float(metric.compute(predictions)), metric.chance(predictions)
            if not (abs(value) <= LARGEST and abs(chance or 0.0) <= LARGEST):
                value, reason, chance = None, "the value is not finite", None
        except MetricError as error:
            reason = str(error)
        except Exception as error:
            reason = f"{type(error).__name__}: {' '.join(str(error).split())}"
        values[name] = MetricValue(
            value=value,
            short=metric.short,
            direction=metric.direction.value,
            unit=metric.unit,
            reason=reason,
            chance=chance if value is not None else None,
            columns=metric.columns,
        )
    return values
