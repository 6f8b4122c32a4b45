"""What is known of a plugin, and what is wrong with it, in one line."""

from dataclasses import dataclass
from importlib.metadata import EntryPoint

from crayon_bench.errors import one_line


@dataclass(frozen=True)
class PluginRow:
    """One row of ``plugins list``. error: why the plugin cannot be used, as far as is known; None if nothing is."""

    kind: str
    name: str
    target: str
    package: str
    error: str | None


class PluginError(Exception):
    """A plugin cannot be used; the message says which and why, on one line."""


def package_of(entry: EntryPoint) -> str:
    """Return the name of the distribution that an entry point is of."""
    return entry.dist.name if entry.dist is not None else "--plugin"


def error_line(error: BaseException) -> str:
    """Return what was raised, in one line."""
    if isinstance(error, PluginError):
        return str(error)
    text = one_line(str(error))
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
