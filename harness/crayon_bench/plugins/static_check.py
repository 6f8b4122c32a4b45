"""Why a plugin would fail to import, as far as that can be told without running any of its code.

``plugins list`` promises to import nothing and yet to show a broken plugin as broken. Most broken plugins lack their
module, a package that they import, or the class that the entry point names, or do not parse: this finds those.
``plugins list --load`` finds the rest by importing.
"""

import ast
from importlib.machinery import ModuleSpec, PathFinder
from importlib.util import find_spec
from pathlib import Path


def why_not_importable(target: str) -> str | None:
    """Return why importing *target* (``module:attribute``) must fail, or None if nothing speaks against it."""
    module, _, attribute = target.partition(":")
    spec, missing = _find(module)
    if spec is None:
        return f"ModuleNotFoundError: No module named '{missing}'"
    if spec.origin is None or not spec.origin.endswith(".py"):
        return None
    try:
        tree = ast.parse(Path(spec.origin).read_bytes())
    except SyntaxError as error:
        return f"SyntaxError: {error.msg} (line {error.lineno} of {Path(spec.origin).name})"
    except (OSError, ValueError) as error:
        return f"{type(error).__name__}: {error}"
    for name in _imports(tree):
        if _find(name.partition(".")[0])[0] is None:
            return f"ModuleNotFoundError: No module named '{name}'"
    names, everything = _bound(tree)
    if attribute and not everything and attribute.partition(".")[0] not in names:
        return f"AttributeError: module '{module}' has no attribute '{attribute}'"
    return None


def _find(module: str) -> tuple[ModuleSpec | None, str]:
    # PathFinder walks down folder by folder; importlib.util.find_spec would import every parent package.
    path: list[str] | None = None
    spec: ModuleSpec | None = None
    parts = module.split(".")
    for depth in range(1, len(parts) + 1):
        name = ".".join(parts[:depth])
        # A top-level name is asked of every finder, since editable installs bring their own; that imports nothing.
        try:
            spec = find_spec(name) if depth == 1 else PathFinder.find_spec(name, path)
        except ValueError:  # it is loaded already, in an unusual way
            return ModuleSpec(name, None), ""
        if spec is None or (depth < len(parts) and spec.submodule_search_locations is None):
            return None, name
        path = list(spec.submodule_search_locations or [])
    return spec, ""


def _imports(tree: ast.Module) -> list[str]:
    # Only unconditional imports at the top level: one inside `try` or `if` may be meant to fail.
    names = []
    for node in tree.body:
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            names.append(node.module)
    return names


def _bound(tree: ast.Module) -> tuple[set[str], bool]:
    """Return the names bound anywhere in the module, and whether ``import *`` may bind any name."""
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef | ast.FunctionDef):
            names.add(node.name)
            if node.name == "__getattr__":
                return names, True
        elif isinstance(node, ast.Import | ast.ImportFrom):
            for alias in node.names:
                if alias.name == "*":
                    return names, True
                names.add((alias.asname or alias.name).partition(".")[0])
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
    return names, False
