"""Who a plugin is, as a run's key has it: its name, its version, and its file if it is a local one."""

from typing import Any

from crayon_bench.budget import Budget
from crayon_bench.plugins.registry import Kind, Registry
from crayon_bench.store.records import NUMERICS


def identity_of(registry: Registry, kind: Kind, plugin: Any) -> dict[str, Any]:
    """Return a plugin's name, version and, if it comes from a local file, the hash of that."""
    # A local file changes from run to run without its author raising `version`: its content is part of its identity.
    file = registry.file_hash(kind, plugin.name)
    return {"name": plugin.name, "version": plugin.version, **({"file": file} if file else {})}


def budget_coordinates(budget: Budget | None, strategy: str, registry: Registry) -> dict[str, Any] | None:
    """Return a budget as a run's key has it, with the strategy that spends it. Raises UserError, PluginError."""
    if budget is None:
        return None
    chosen = registry.load(Kind.STRATEGY, strategy)
    return {**budget.coordinates, "strategy": identity_of(registry, Kind.STRATEGY, chosen)}


def changed_plugins(coordinates: dict[str, Any], registry: Registry) -> list[str]:
    """Return what makes a run's result here and is not what made it then, in words. Raises UserError, PluginError."""
    changed = []
    for kind in (Kind.DATASET, Kind.ORACLE, Kind.METHOD):
        then = {key: coordinates[kind.value].get(key) for key in ("name", "version", "file")}
        now = identity_of(registry, kind, registry.load(kind, then["name"]))
        if then != {"file": None, **now}:
            changed.append(f"{kind} '{then['name']}'")
    if coordinates.get("numerics") != NUMERICS:
        changed.append("the core's numerics")
    return changed
