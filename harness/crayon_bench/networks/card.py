"""The card beside an exported model: what it was trained with, how it scored, and how to load it. Markdown."""

import json
from collections.abc import Iterator, Mapping, Sequence
from math import sqrt
from typing import Any

from crayon_bench.feedback import control_label
from crayon_bench.networks.specification import CNNSpec, MLPSpec, ModelSpec, Scaling, model_spec
from crayon_bench.store.records import Record

_Z = 1.959963984540054
"""Of a normal distribution, 95 % lie within so many standard deviations."""


def wilson(right: int, total: int) -> tuple[float, float]:
    """Return the ends of the 95 % Wilson score interval of right / total, in percent (Wilson 1927)."""
    p, square = right / total, _Z**2
    middle = p + square / (2 * total)
    half = _Z * sqrt(p * (1 - p) / total + square / (4 * total**2))
    low, high = ((middle + sign * half) / (1 + square / total) for sign in (-1, 1))
    return 100 * max(0.0, min(low, p)), 100 * min(1.0, max(high, p))


def card(record: Record, metadata: Mapping[str, str], file: str, right: int, total: int, how: str) -> str:
    """Return the card of the model in *file*.

    metadata: see :mod:`crayon_bench.networks.exported`. right, total: of its test predictions. how: where the weights
    are from.
    """
    lines = [f"# {_text(record.title['method'])} on {_text(record.title['dataset'])}", ""]
    if record.source == "standin":
        lines += [
            "> **STAND-IN.** This model was trained and tested on stand-in data, made without the real ones. It says"
            " nothing about real data.",
            "",
        ]
    if not record.verified:
        lines += ["> **UNVERIFIED.** The data are not, or not known to be, the published ones.", ""]
    lines += [*_made_with(record, metadata, how), *_scores(record, right, total), *_feedback(record)]
    lines += ["## How to load it", "", *_loading(record, metadata, file), ""]
    return "\n".join(lines)


def _text(value: Any) -> str:
    """Return a text that Markdown shows as it is."""
    text = " ".join(str(value).split())
    return "".join(f"\\{c}" if c in "\\`*_{}[]<>|#" else c for c in text)


def _made_with(record: Record, metadata: Mapping[str, str], how: str) -> Iterator[str]:
    c = record.coordinates
    data, method, weights = c["dataset"], c["method"], c.get("weights") or {}
    yield from ("## What it was made with", "", "| | |", "| --- | --- |")
    rows = {
        "data": f"{record.title['dataset']}, content {data['content'][:16]}…",
        "data set's parameters": _listed(data["parameters"]),
        "classes": ", ".join(f"{n}: {name}" for n, name in enumerate(json.loads(metadata["classes"]))),
        # Which weights the protocol names says nothing where others took their place: the next line tells.
        "network": _listed({k: v for k, v in json.loads(metadata["model"]).items() if k != "weights"}),
        "initial weights": _listed(weights) or "random",
        "original model": "the user's, not trained" if weights.get("head") else _listed(c["original"]),
        "method": f"{record.title['method']}, version {method['version']}",
        "method's parameters": _listed(method["parameters"]),
        "method's recipe": _listed(method["recipe"] or {}) or "it does not train",
        "protocol": record.protocol + (f", changed: {_listed(record.overrides)}" if record.overrides else ""),
        "epoch": f"chosen by {c['selection']}",
        "seed": record.seed,
        "oracle": f"{record.title['oracle']}: {_listed(c['oracle']['parameters'])}".removesuffix(": "),
        "budget": record.budget or "all questions",
        **({} if record.control is None else {"control": f"{control_label(record.control)}: NOT the true ones"}),
        "made by": f"crayon-bench {record.environment.get('crayon_bench', '?')}, PyTorch"
        f" {record.environment.get('torch', '?')}, on {record.environment.get('device', '?')}, {record.finished}",
        "run": record.folder,
        "weights": how,
    }
    for name, value in rows.items():
        yield f"| {name} | {_text(value)} |"
    yield ""
    for note in record.notes:
        yield f"- {_text(note)}"
    for what, times in record.warnings.items():
        yield f"- warning: {_text(what)} ({times:,} times)"
    if record.notes or record.warnings:
        yield ""


def _listed(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} = {value}" for name, value in values.items() if value is not None)


def _scores(record: Record, right: int, total: int) -> Iterator[str]:
    yield from ("## Scores on the test images", "", "| metric | value |", "| --- | --- |")
    for name, metric in record.metrics.items():
        value = f"n/a: {_text(metric.reason)}" if metric.value is None else f"{metric.value:.2f} {metric.unit}"
        yield f"| {_text(metric.short)} (`{name}`) | {value} |"
    yield from ("", "| test images | right | accuracy | 95 % interval |", "| --- | --- | --- | --- |")
    for name, r, n in [("all", right, total), *((g.name, g.right, g.total) for g in record.groups)]:
        low, high = wilson(r, n) if n else (0.0, 100.0)
        share = f"{100 * r / n:.2f} %" if n else "n/a"
        yield f"| {_text(name)} | {r:,} of {n:,} | {share} | {low:.2f} to {high:.2f} % |"
    yield from ("", "Wilson intervals over test images, for this one model: other seeds vary more.", "")


def _feedback(record: Record) -> Iterator[str]:
    yield from ("## Feedback", "")
    own = record.feedback
    if own.total:
        kinds = ", ".join(f"{number:,} {kind}" for kind, number in own.by_kind.items())
        yield f"{own.total:,} answers were counted: {kinds}."
    else:
        yield "None."
    for kind, tally in own.verdicts.items():
        yield f"Of {kind}: {', '.join(f'{number:,} {verdict}' for verdict, number in tally.items())}."
    yield ""


# ---------------------------------------------------------------------------------------------------------------------
# how to load it


def _loading(record: Record, metadata: Mapping[str, str], file: str) -> Sequence[str]:
    spec = model_spec(json.loads(metadata["model"]))
    channels, height, width = json.loads(metadata["image_shape"])
    if metadata["names"] == "other":
        return [
            f"The method made a network of its own, `{metadata['architecture']}`; `{file}` holds its `state_dict`,"
            " under its own names. Load it with the method's own code."
        ]
    mode = "L" if channels == 1 else "RGB"
    stored = record.coordinates["dataset"]["parameters"].get("exif") == "ignore"
    opened = 'Image.open("image.png")' if stored else 'ImageOps.exif_transpose(Image.open("image.png"))'
    pillow = f"from PIL import Image{'' if stored else ', ImageOps'}"
    reading = [
        f'image = {opened}.convert("{mode}").resize(({width}, {height}), Image.Resampling.BILINEAR)',
        f"pixels = torch.from_numpy(np.array(image)).view({height}, {width}, {channels}).permute(2, 0, 1)  # 0 to 255",
    ]
    note = (
        f"Images are {width} pixels wide and {height} high, read as the data set reads them: see its parameters above."
    )
    if metadata["names"] == "torchvision" and isinstance(spec, CNNSpec):
        return [
            f"It is torchvision's network, under torchvision's names. {note}",
            "",
            *_code(
                ["import numpy as np", "import torch", "import torchvision", pillow],
                ["from safetensors.torch import load_file", ""],
                [f"model = torchvision.models.{_call(spec, len(json.loads(metadata['classes'])))}"],
                [f'model.load_state_dict(load_file("{file}"))', "model.eval()", f"classes = {metadata['classes']}", ""],
                reading,
                _scaled(spec),
                ["with torch.no_grad():", "    print(classes[model(x[None]).argmax().item()])"],
            ),
        ]
    return [
        f"The network, {_title(spec)}, is not one of torchvision's: the file has names of crayon-bench's own, and"
        f" crayon-bench loads it. It takes pixels from 0 to 255 and scales them itself. {note}",
        "",
        *_code(
            ["import numpy as np", "import torch", pillow],
            ["from crayon_bench import load_model", ""],
            [f'model = load_model("{file}")', f"classes = {metadata['classes']}", ""],
            reading,
            ["with torch.no_grad():", "    print(classes[model(pixels[None]).argmax().item()])"],
        ),
    ]


def _code(*parts: Sequence[str]) -> list[str]:
    return ["```python", *[line for part in parts for line in part], "```"]


def _title(spec: ModelSpec) -> str:
    if isinstance(spec, MLPSpec):
        return "an MLP"
    changed = f" cut at block {spec.cut}" if spec.cut else ""
    return spec.title + changed + (f" with output stride {spec.output_stride}" if spec.output_stride else "")


def _call(spec: CNNSpec, classes: int) -> str:
    dilation = {8: "[False, True, True]", 16: "[False, False, True]"}.get(spec.output_stride or 32)
    own = f", replace_stride_with_dilation={dilation}" if dilation else ""
    return f"{spec.name}(num_classes={classes}{own})"


def _scaled(spec: CNNSpec) -> list[str]:
    if spec.scaling == Scaling.UNIT.value:
        return ["x = pixels / 255"]
    if spec.scaling == Scaling.SYMMETRIC.value:
        return ["x = pixels / 127.5 - 1"]
    return [
        "mean = torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1)",
        "std = torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1)",
        "x = (pixels / 255 - mean) / std",
    ]
