"""Calling the hooks of every plugin, guarded: one that raises is switched off, and the rest goes on."""

import sys
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from threading import RLock
from typing import Any

from crayon_bench.errors import UserError
from crayon_bench.plugins.rows import PluginRow, error_line, package_of

HOOKS_GROUP = "crayon_bench.hooks"


_hook_failures: list[PluginRow] = []


def _hook_entries() -> list[EntryPoint]:
    """Return the hook plugins' entry points, the first of each name, ours before others'."""
    found: dict[str, EntryPoint] = {}
    for entry in sorted(entry_points(group=HOOKS_GROUP), key=lambda e: (package_of(e) != "crayon-bench", e.name)):
        found.setdefault(entry.name, entry)
    return list(found.values())


@cache
def hooks() -> Any:
    """Return the pluggy manager with every importable hook plugin registered; the others are :func:`hook_failures`."""
    import pluggy

    from crayon_bench.plugins import hookspecs

    manager = pluggy.PluginManager(hookspecs.PROJECT)
    manager.add_hookspecs(hookspecs)
    for entry in _hook_entries():
        try:
            manager.register(entry.load(), name=entry.name)
        except BaseException as error:
            if isinstance(error, KeyboardInterrupt):
                raise
            _hook_failures.append(PluginRow("hooks", entry.name, entry.value, package_of(entry), error_line(error)))
    return manager


def hook_failures() -> list[PluginRow]:
    """Return the hook plugins that failed to import, or whose functions raised, so far."""
    return list(_hook_failures)


_away: Callable[[str, dict[str, Any]], None] | None = None


_calling = RLock()
"""Hooks are called by one thread at a time: events of workers come in beside those of this process."""


def send_hooks(send: Callable[[str, dict[str, Any]], None] | None) -> None:
    """From now on, hand what :func:`call_hooks` is given to *send*: this process is a worker of another."""
    global _away
    _away = send


def call_hooks(name: str, **arguments: Any) -> bool:
    """Call hook *name* of every plugin; return whether none raised.

    One that raises is reported once on standard error and not called again.
    """
    if _away is not None:
        _away(name, arguments)
        return True
    with _calling:
        return _call_hooks(name, arguments)


def _call_hooks(name: str, arguments: dict[str, Any]) -> bool:
    manager = hooks()
    fine = True
    for implementation in list(getattr(manager.hook, name).get_hookimpls()):
        wanted = {key: arguments[key] for key in implementation.argnames}
        try:
            implementation.function(**wanted)
        except UserError:
            raise
        except BaseException as error:
            if isinstance(error, KeyboardInterrupt):
                raise
            why = f"hook {name} raised {error_line(error)}"
            fine = False
            with suppress(OSError):  # nobody may be reading; that must not end a sweep
                print(f"Warning: plugin '{implementation.plugin_name}' is switched off: {why}", file=sys.stderr)
            manager.unregister(implementation.plugin)
            _hook_failures.append(PluginRow("hooks", implementation.plugin_name, "", "", why))
    return fine
