"""A new plugin's package: pyproject with the entry point, the plugin, a test that passes."""

import keyword
import re
import shutil
import uuid
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path
from string import Template

from crayon_bench._version import __version__
from crayon_bench.errors import UserError
from crayon_bench.plugins.registry import RESERVED, Kind, Registry

KINDS = (Kind.METHOD, Kind.METRIC, Kind.ORACLE, Kind.DATASET)

_USAGE = {
    Kind.METHOD: "crayon-bench run --dataset decoymnist --methods original,$name",
    Kind.METRIC: "crayon-bench run --dataset decoymnist --methods original",
    Kind.ORACLE: "crayon-bench run --dataset celeba --methods crayon-attention --oracle $name",
    Kind.DATASET: "crayon-bench run --dataset $name",
}


def write_package(kind: Kind, name: str, parent: Path) -> Path:
    """Write the package of a new plugin into a new folder of *parent*, and return that folder.

    Raises UserError if the name is none, or taken, or if there is a folder of that name already.
    """
    _check_name(kind, name)
    package = "crayon_bench_" + name.replace("-", "_")
    if find_spec(package) is not None:
        raise UserError(f"'{name}': there is a package {package} already", "choose another name")
    folder = parent / f"crayon-bench-{name}"
    if folder.exists() or folder.is_symlink():
        raise UserError(f"{folder}: this is there already", "nothing is overwritten; choose another name or --output")
    contents = _contents(kind, name, package)
    temporary = parent / f".{folder.name}.{uuid.uuid4().hex[:8]}.tmp"
    try:
        for path, text in contents.items():
            (temporary / path).parent.mkdir(parents=True, exist_ok=True)
            (temporary / path).write_text(text, encoding="utf-8")
        temporary.rename(folder)
    except OSError as error:
        raise UserError(f"{folder}: cannot be written: {error.strerror or error}") from None
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return folder


def _check_name(kind: Kind, name: str) -> None:
    if not re.fullmatch(r"[a-z][a-z0-9]*([_-][a-z0-9]+)*", name) or name in RESERVED or keyword.iskeyword(name):
        raise UserError(f"'{name}' is no name for a {kind}", "begin with a letter, then a-z, 0-9, and single - or _")
    if name in Registry().names(kind):
        raise UserError(f"there is a {kind} '{name}' already", "choose another name")


def _contents(kind: Kind, name: str, package: str) -> dict[str, str]:
    """Return path → text of every file."""
    words = re.split("[-_]", name)
    own = [*words, kind.value] if words[-1] != kind.value or len(words) == 1 else words  # `Method` itself is taken
    values = {
        "kind": kind.value if kind is not Kind.DATASET else "data set",
        "name": name,
        "title": " ".join(word.capitalize() for word in words),
        "class_": "".join(word.capitalize() for word in own),
        "package": package,
        "distribution": f"crayon-bench-{name}",
        "group": kind.group,
        "core": __version__,
        "usage": Template(_USAGE[kind]).substitute(name=name),
    }
    values["own_test"] = _filled("method_test.py", values).rstrip() if kind is Kind.METHOD else ""
    contents = {
        "pyproject.toml": _filled("pyproject.toml", values),
        "README.md": _filled("README.md", values),
        f"src/{package}/__init__.py": _filled(f"{kind.value}.py", values),
        f"tests/test_{name.replace('-', '_')}.py": _filled("test.py", values).rstrip() + "\n",
    }
    if kind is Kind.DATASET:
        contents[f"src/{package}/protocols/quick.toml"] = _filled("quick.toml", values)
    return contents


def _filled(template: str, values: dict[str, str]) -> str:
    text = (files("crayon_bench.plugins") / "templates" / f"{template}.txt").read_text(encoding="utf-8")
    return Template(text).substitute(values)
