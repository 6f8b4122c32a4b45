"""What checks of all kinds have in common."""

from collections.abc import Iterable
from typing import Any

from pydantic import ValidationError

from crayon_bench import Parameters
from crayon_bench.plugins.registry import Kind, Registry, kind_of
from crayon_bench.plugins.rows import PluginError

SECONDS = 30.0
"""How long one trial on the tiny set may take: CPU time, since on a busy machine the clock says little."""
CLOCK = 4 * SECONDS
"""How long a run may take by the clock: one that waits or never ends is stopped."""

_TEXTS = {
    Kind.METHOD: ("title", "summary"),
    Kind.ORACLE: ("title", "summary"),
    Kind.DATASET: ("title", "summary"),
    Kind.METRIC: ("short", "summary"),
}


def check_metadata(plugin: type[Any]) -> None:
    """Name, texts, version, docstring and every parameter are declared in full."""
    kind = kind_of(plugin)
    try:
        Registry(installed=False).add(kind, plugin)
    except PluginError as error:
        raise AssertionError(str(error)) from None
    for name in _TEXTS[kind]:
        text = getattr(plugin, name)
        assert is_reason(text), f"'{name}' must be a text of one line, not {text!r}"
    assert plugin.__dict__.get("__doc__"), "the class has no docstring, which 'plugins info' shows"
    if kind is not Kind.METRIC:
        version = plugin.version
        assert type(version) is int and version >= 1, f"'version' must be a whole number from 1, not {version!r}"
        for name, field in plugin.Parameters.model_fields.items():
            assert field.description, f"parameter '{name}' has no description"
            assert not field.is_required(), f"parameter '{name}' has no default"


def check_unknown_parameter_rejected(plugin: type[Any]) -> None:
    """A misspelt parameter is refused, not passed over."""
    model: type[Parameters] = plugin.Parameters
    try:
        model.model_validate({"no_such_parameter": 1})
    except ValidationError as error:
        if any(one["type"] == "extra_forbidden" for one in error.errors()):
            return
    raise AssertionError(f"{model.__name__} takes a parameter that it does not declare; keep extra='forbid'")


def is_reason(text: object) -> bool:
    """Return whether *text* is a text of one line, and not empty."""
    return isinstance(text, str) and bool(text.strip()) and len(text.splitlines()) == 1


def listed(things: Iterable[object]) -> str:
    """Return *things* separated by commas."""
    return ", ".join(map(str, things))


def expect_unchanged(changed: list[str], seed: str) -> None:
    """Raise AssertionError if something of the global state has *changed*. *seed*: where randomness comes from."""
    assert not changed, (
        f"it changed {listed(changed)}; restore what you set, and draw from"
        f" torch.Generator().manual_seed({seed}) or np.random.RandomState, not from the global generators"
    )


def expect_boxes(boxes: Any, height: int, width: int) -> None:
    """Raise AssertionError unless all *boxes* (n, 4) lie in the image and hold something."""
    top, left, bottom, right = boxes.T
    inside = (top >= 0) & (left >= 0) & (top < bottom) & (left < right) & (bottom <= height) & (right <= width)
    assert inside.all(), "a box is empty or reaches out of the image; it is top, left, bottom, right (excluded)"


def expect_no_pickles(where: list[str]) -> None:
    """Raise AssertionError if something was pickled."""
    assert not where, f"it pickles in {listed(dict.fromkeys(where))}; use safetensors, JSON or numpy without pickles"
