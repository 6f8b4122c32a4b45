"""Finding, loading and guarding plugins.

Listing reads the installed packages' entry points and imports nothing. A plugin is imported when it is used; whatever
it raises then is kept as its error and does not stop the rest. ``--plugin FILE`` adds the plugins of a local file.
"""

import hashlib
import importlib.util
import inspect
import re
import sys
from collections.abc import Callable, Iterable
from contextlib import redirect_stdout
from enum import StrEnum
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from traceback import walk_tb
from typing import Any, TypeVar

from crayon_bench.errors import UserError, did_you_mean
from crayon_bench.feedback import FeedbackKind
from crayon_bench.plugins.hooks import _hook_entries, hook_failures, hooks
from crayon_bench.plugins.rows import PluginError, PluginRow, error_line, package_of
from crayon_bench.plugins.static_check import why_not_importable


class Kind(StrEnum):
    """The kinds of plugins that are found by name."""

    DATASET = "dataset"
    ORACLE = "oracle"
    METHOD = "method"
    METRIC = "metric"
    EXECUTOR = "executor"
    STRATEGY = "strategy"

    @property
    def group(self) -> str:
        """The entry-point group."""
        return "crayon_bench.strategies" if self is Kind.STRATEGY else f"crayon_bench.{self.value}s"


RESERVED = frozenset({"dataset", "oracle", "model", "refine", "protocol", "budget", "all"})
"""Names that mean something else in ``--set`` and ``--methods``."""


_BASES = {
    Kind.DATASET: ("crayon_bench.dataset", "Dataset"),
    Kind.ORACLE: ("crayon_bench.oracle", "FeedbackOracle"),
    Kind.METHOD: ("crayon_bench.method", "Method"),
    Kind.METRIC: ("crayon_bench.metric", "Metric"),
    Kind.EXECUTOR: ("crayon_bench.executor", "Executor"),
    Kind.STRATEGY: ("crayon_bench.strategy", "QueryStrategy"),
}


R = TypeVar("R")


class Registry:
    """The plugins of this Python environment and of the given *files*.

    installed: False leaves out the environment's; see :meth:`add`.
    Raises UserError for a file that is not there, fails to import, or has no plugin, or one that cannot be taken: who
    names a file wants it. for_listing: such a file is a row with its error.
    """

    def __init__(self, files: Iterable[Path] = (), *, installed: bool = True, for_listing: bool = False) -> None:
        self.files = tuple(files)
        self.contents: dict[Path, str] = {}
        """Of each file the beginning of the sha256 of the text that was executed."""
        self._entries: dict[Kind, dict[str, EntryPoint]] = {kind: {} for kind in Kind}
        self._rows: list[PluginRow] = []
        self._loaded: dict[tuple[Kind, str], type[Any]] = {}
        self._errors: dict[tuple[Kind, str], str] = {}
        self._file_hashes: dict[tuple[Kind, str], str] = {}
        self._file_errors: dict[Path, str] = {}
        for kind in Kind if installed else ():
            for entry in sorted(
                entry_points(group=kind.group), key=lambda e: (package_of(e) != "crayon-bench", e.name)
            ):
                self._add_entry(kind, entry)
        for file in self.files:
            try:
                self._add_file(file)
            except PluginError as error:
                if not for_listing:
                    raise UserError(f"--plugin {file} cannot be loaded: {error}") from None
                self._file_errors[file] = str(error)

    def _add_entry(self, kind: Kind, entry: EntryPoint) -> None:
        if (taken := self._entries[kind].get(entry.name)) is not None:
            if taken.value != entry.value:
                why = f"the name is taken by {taken.value}"
                self._rows.append(PluginRow(kind, entry.name, entry.value, package_of(entry), why))
            return
        self._entries[kind][entry.name] = entry

    def _add_file(self, file: Path) -> None:
        """Add a file's plugins. Raises UserError if it is not there, PluginError if it cannot be used."""
        if not file.is_file():
            raise UserError(f"--plugin {file}: there is no such file")
        try:
            text = file.read_bytes()
            module = _import_text(file, text)
        except BaseException as error:
            if isinstance(error, KeyboardInterrupt):
                raise
            raise PluginError(f"{error_line(error)}{_line_in(file, error)}") from None
        self.contents[file] = hashlib.sha256(text).hexdigest()[:16]
        found = 0
        for kind, base in ((kind, _base(kind)) for kind in Kind):
            for value in vars(module).values():
                if (
                    issubclass(type(value), type)  # and not isinstance(), which asks the object what it is
                    and issubclass(value, base)
                    and value.__module__ == module.__name__
                    and not value.__name__.startswith("_")
                ):
                    self._file_hashes[kind, self.add(kind, value, str(file))] = self.contents[file]
                    found += 1
        if not found:
            *bases, last = (name for _, name in _BASES.values())
            why = f"none of its own classes is a {', '.join(bases)} or {last} (names with _ in front do not count)"
            raise PluginError(f"it has no plugin: {why}")

    def add(self, kind: Kind, plugin: type[Any], where: str = "") -> str:
        """Register a class and return its name. *where* it is from, for people.

        Raises PluginError if it is not what it should be.
        """
        name = getattr(plugin, "name", "")
        self._check(kind, name, plugin)
        if name in self._entries[kind]:
            raise PluginError(f"the name '{name}' is taken by {self._entries[kind][name].value}")
        self._entries[kind][name] = EntryPoint(name, f"{where or plugin.__module__}:{plugin.__name__}", kind.group)
        self._loaded[kind, name] = plugin
        return str(name)

    def names(self, kind: Kind) -> list[str]:
        """Return the names of a kind, without importing anything."""
        return sorted(self._entries[kind])

    def file_hash(self, kind: Kind, name: str) -> str | None:
        """Return the beginning of the sha256 of the ``--plugin`` file that *name* is from; None if installed."""
        return self._file_hashes.get((kind, name))

    def rows(self, *, load: bool = False) -> list[PluginRow]:
        """Return one row per plugin. ``load`` imports each one, guarded, to find what only an import shows."""
        rows = []
        for kind in Kind:
            for name, entry in sorted(self._entries[kind].items()):
                error = self._errors.get((kind, name))
                if (kind, name) not in self._loaded and error is None:
                    error = why_not_importable(entry.value)
                    if error is None and load:
                        try:
                            self.load(kind, name)
                        except PluginError as failure:
                            error = self._errors.get((kind, name), str(failure))
                rows.append(PluginRow(kind, name, entry.value, package_of(entry), error))
        for file, error in self._file_errors.items():
            rows.append(PluginRow("file", file.stem, str(file), "--plugin", error))
        hooks()
        failures = {failure.name: failure for failure in hook_failures()}
        for entry in _hook_entries():
            fine = PluginRow("hooks", entry.name, entry.value, package_of(entry), None)
            rows.append(failures.get(entry.name, fine))
        return rows + self._rows

    def load(self, kind: Kind, name: str) -> type[Any]:
        """Return the class registered as *name*.

        Raises UserError for an unknown name, PluginError if it cannot be imported or is not what it should be.
        """
        if name not in self._entries[kind]:
            raise UserError(f"there is no {kind} '{name}'", did_you_mean(name, self._entries[kind]))
        if (kind, name) in self._errors:
            raise PluginError(f"{kind} '{name}' cannot be used: {self._errors[kind, name]}")
        if (kind, name) not in self._loaded:
            entry = self._entries[kind][name]
            try:
                with redirect_stdout(sys.stderr):  # standard output is for results
                    loaded = entry.load()
                self._check(kind, name, loaded)
            except BaseException as error:  # whatever a plugin raises, SystemExit too, must not stop the rest
                if isinstance(error, KeyboardInterrupt):
                    raise
                self._errors[kind, name] = error_line(error)
                raise PluginError(f"{kind} '{name}' cannot be used: {self._errors[kind, name]}") from error
            self._loaded[kind, name] = loaded
        return self._loaded[kind, name]

    @staticmethod
    def _check(kind: Kind, name: str, loaded: Any) -> None:
        base = _base(kind)
        if not isinstance(name, str):
            raise PluginError(f"class {loaded.__name__}: 'name' must be a text, not {name!r}")
        if not _is_subclass(loaded, base):
            raise PluginError(f"{loaded!r} is not a subclass of {base.__module__}.{base.__name__}")
        if inspect.isabstract(loaded):
            missing = ", ".join(sorted(loaded.__abstractmethods__))
            raise PluginError(f"class {loaded.__name__} does not define: {missing}")
        for attribute in base.__annotations__:
            if not hasattr(loaded, attribute):
                raise PluginError(f"class {loaded.__name__} does not set '{attribute}'")
        if not re.fullmatch(r"[a-z0-9][a-z0-9_-]*", name) or name in RESERVED:
            raise PluginError(
                f"'{name}' is no name for a {kind}: use a-z, 0-9, - and _, and none of {sorted(RESERVED)}"
            )
        for attribute in ("title", "summary", "short"):
            if not isinstance(getattr(loaded, attribute, ""), str):
                raise PluginError(f"class {loaded.__name__}: '{attribute}' must be a text")
        if not isinstance(getattr(loaded, "version", 0), int | str):
            raise PluginError(f"class {loaded.__name__}: 'version' must be a whole number or a text")
        asks = getattr(loaded, "asks", ())
        if not isinstance(asks, tuple) or not all(isinstance(kind_, FeedbackKind) for kind_ in asks):
            raise PluginError(f"class {loaded.__name__}: 'asks' must be a tuple of FeedbackKind, not {asks!r}")
        if hasattr(loaded, "Parameters") and not _is_subclass(loaded.Parameters, _parameters_base()):
            raise PluginError(f"class {loaded.__name__}: 'Parameters' must be a subclass of crayon_bench.Parameters")
        if loaded.name != name:
            raise PluginError(f"class {loaded.__name__} says name = '{loaded.name}' but is registered as '{name}'")


def guarded(plugin: Any, call: Callable[..., R], *arguments: Any, **keywords: Any) -> R:
    """Return ``call(…)`` into *plugin*; what it raises becomes a PluginError, unless it is the user's mistake."""
    try:
        return call(*arguments, **keywords)
    except (UserError, KeyboardInterrupt):
        raise
    except BaseException as error:
        raise PluginError(f"{plugin.__name__} '{plugin.name}' cannot be used: {error_line(error)}") from error


def kind_of(plugin: Any) -> Kind:
    """Return the kind of a plugin class. Raises TypeError if it is none."""
    for kind in Kind:
        if _is_subclass(plugin, _base(kind)):
            return kind
    bases = ", ".join(name for _, name in _BASES.values())
    raise TypeError(f"{plugin!r} is no plugin class: no subclass of {bases}")


def _is_subclass(thing: Any, base: type[Any]) -> bool:
    return isinstance(thing, type) and issubclass(thing, base)


def _base(kind: Kind) -> type[Any]:
    module, name = _BASES[kind]
    return getattr(importlib.import_module(module), name)  # type: ignore[no-any-return]


def _parameters_base() -> type[Any]:
    from crayon_bench.parameters import Parameters

    return Parameters


def _import_text(file: Path, text: bytes) -> Any:
    """Execute *text*, the content of *file*, as a module.

    Python's own import would take byte code that it kept of another text, if that had the same length and was written
    in the same second; and the text that is executed is to be the one whose hash is part of a run's key.
    """
    name = f"crayon_bench_plugin_{file.stem}"
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise ImportError("not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        with redirect_stdout(sys.stderr):
            exec(compile(text, str(file), "exec", dont_inherit=True), vars(module))
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _line_in(file: Path, error: BaseException) -> str:
    """Return at which line of a plugin file an error arose, as the end of a sentence; empty if it is not known."""
    if isinstance(error, SyntaxError):  # Python's own text has it
        return ""
    frames = [(Path(frame.f_code.co_filename), number) for frame, number in walk_tb(error.__traceback__)]
    lines = [number for where, number in frames if where.resolve() == file.resolve()]
    return f" (line {lines[-1]})" if lines else ""
