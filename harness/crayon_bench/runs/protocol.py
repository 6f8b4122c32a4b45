"""Protocols: the recipe of an experiment, read from TOML and validated.

A protocol names everything that a result depends on beside data, method code and seed. ``--set SECTION.KEY=VALUE``
changes one value; what was changed is recorded and shown.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date, time
from enum import StrEnum
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from crayon_bench.dataset import Dataset, Found, Source
from crayon_bench.errors import UserError, did_you_mean
from crayon_bench.networks.specification import ModelSpec, Recipe, model_spec
from crayon_bench.parameters import Parameters, validated
from crayon_bench.store.atomic import parse_toml
from crayon_bench.texts import expanded


class Selection(StrEnum):
    """Which epoch's model is judged. None of them sees the test set."""

    LAST = "last"
    VAL_WGA = "val_wga"
    VAL_ACCURACY = "val_accuracy"


_OWN = ("selection", "threads", "curve")
"""Keys of ``protocol.`` for ``--set``."""


class _Sources(Parameters):
    code: list[str] = Field(default_factory=list)
    ours: list[str] = Field(default_factory=list)


class _File(Parameters):
    schema_: Literal[1] = Field(alias="schema")
    name: str = Field(pattern=r"^[a-z0-9][a-z0-9._-]*$", max_length=60)
    dataset: str
    summary: str = ""
    source: str = ""
    note: str = Field(default="", max_length=300)
    selection: str = Selection.LAST.value
    threads: int = Field(default=1, ge=1, le=1024)
    curve: bool = False
    dataset_parameters: dict[str, Any] = Field(default_factory=dict)
    oracle: dict[str, dict[str, Any]] = Field(default_factory=dict)
    model: dict[str, Any]
    original: Recipe
    refine: Recipe
    methods: dict[str, dict[str, Any]] = Field(default_factory=dict)
    sources: _Sources | None = None


CURVE = "the test accuracy of every epoch was kept (protocol.curve), for study: it chose nothing"


@dataclass(frozen=True)
class Protocol:
    """A validated protocol.

    threads: CPU threads of one run; fixed here because the number changes the last bits of a sum.
    curve: whether the test accuracy of every epoch is kept, for study.
    note: what stands under every table made by it, about its oracle.
    oracle, methods: parameters by plugin name, validated against the plugin when it is used.
    sources: "code" and "ours" → dotted keys, and tables for all their keys, whose values are from public code or
    nobody's but ours; what else the file has, *source* states. Empty if the file does not say. No part of a run's key.
    overrides: what ``--set`` changed, dotted key → value.
    """

    name: str
    dataset: str
    summary: str
    source: str
    note: str
    selection: Selection
    threads: int
    curve: bool
    dataset_parameters: Mapping[str, Any]
    oracle: Mapping[str, Mapping[str, Any]]
    model: ModelSpec
    original: Recipe
    refine: Recipe
    methods: Mapping[str, Mapping[str, Any]]
    sources: Mapping[str, list[str]] = field(default_factory=dict)
    overrides: Mapping[str, Any] = field(default_factory=dict)

    @property
    def notes(self) -> list[str]:
        """What the protocol has to say under every table, unless somebody has set the oracle otherwise."""
        own = not any(key.startswith("oracle.") for key in self.overrides)
        noted = [f"protocol {self.name}: {self.note}"] if self.note and own else []
        return [*noted, CURVE] if self.curve else noted

    def for_method(self, name: str, own: type[Parameters], *, trains: bool) -> tuple[Recipe, dict[str, Any]]:
        """Return a method's recipe and its own parameters.

        Its table in the protocol holds both: keys that the method does not declare itself and that a recipe has
        (``epochs``, ``lr`` …) change ``[refine]`` for this method alone; one that does not train has no such keys.
        """
        table = dict(self.methods.get(name, {}))
        mine = own.names()
        recipe_keys = [key for key in Recipe.names() if key not in mine] if trains else []
        changes = {key: table.pop(key) for key in list(table) if key in recipe_keys}
        unknown = [key for key in table if key not in mine]
        if unknown:
            raise UserError(
                f"{name}.{unknown[0]}: there is no such parameter", did_you_mean(unknown[0], [*mine, *recipe_keys])
            )
        recipe = validated(Recipe, {**self.refine.to_dict(), **changes}, name) if changes else self.refine
        _check_recipe(self.model, recipe, name)
        return recipe, table


def load_protocol(path: Any, sets: Iterable[tuple[str, str]] = (), *, oracle: str = "simulated") -> Protocol:
    """Read and validate a protocol file, then apply ``--set`` pairs.

    *oracle* is the name that the section ``oracle.`` of ``--set`` stands for. Raises UserError with the key's path.
    """
    try:
        content = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"protocol {path}: cannot be read: {error}") from None
    try:
        raw = parse_toml(content)
    except ValueError as error:
        raise UserError(f"protocol {path}: not valid TOML: {error}") from None
    where = f"protocol {Path(str(path)).name}: "
    try:
        model_spec(validated(_File, raw, "").model)
        _check_sources(raw)
    except UserError as error:
        raise UserError(where + error.message, error.hint) from None
    overrides = {}
    for key, text in sets:
        value = parse_value(text)
        if _apply(raw, key, value, oracle):
            overrides[key] = value
    try:
        file = validated(_File, raw, "")
    except UserError as error:  # the file itself is valid: it is what was set
        section = "protocol." if error.message.startswith(_OWN) else ""
        raise UserError(f"--set {section}{error.message}", error.hint) from None
    if file.selection not in list(Selection):
        raise UserError(f"{where}selection = '{file.selection}'", did_you_mean(file.selection, list(Selection)))
    model = model_spec(file.model)
    for section, recipe in (("original", file.original), ("refine", file.refine)):
        _check_recipe(model, recipe, section)
    return Protocol(
        name=file.name,
        dataset=file.dataset,
        summary=file.summary,
        source=file.source,
        note=file.note,
        selection=Selection(file.selection),
        threads=file.threads,
        curve=file.curve,
        dataset_parameters=file.dataset_parameters,
        oracle=file.oracle,
        model=model,
        original=file.original,
        refine=file.refine,
        methods=file.methods,
        sources={} if file.sources is None else file.sources.to_dict(),
        overrides=overrides,
    )


def _check_sources(raw: Mapping[str, Any]) -> None:
    """Raise UserError if ``[sources]`` names what the file does not have, or something twice."""
    if "sources" not in raw:
        return
    if not raw.get("source"):
        raise UserError("sources: the keys that it does not name are stated by source, and there is none")
    there = _paths({key: value for key, value in raw.items() if key not in _IDENTITY})
    told: list[str] = []
    for list_, keys in raw["sources"].items():
        for key in keys:
            if key not in there:
                raise UserError(f"sources.{list_}: the file has no key '{key}'", did_you_mean(key, there))
            if twice := [
                other for other in told if f"{key}.".startswith(f"{other}.") or f"{other}.".startswith(f"{key}.")
            ]:
                raise UserError(f"sources.{list_}: '{key}': {twice[0]} is named already")
            told.append(key)


_IDENTITY = ("schema", "name", "dataset", "summary", "source", "note", "sources")
"""Keys of a file that say what it is, and change no result."""


def _paths(table: Mapping[str, Any], above: str = "") -> list[str]:
    """Return the dotted names of the keys of *table*, and of those of the tables in it."""
    found = []
    for key, value in table.items():
        found += [above + key, *(_paths(value, f"{above}{key}.") if isinstance(value, dict) else [])]
    return found


def _check_recipe(model: ModelSpec, recipe: Recipe, where: str) -> None:
    if recipe.bn_momentum is not None and not model.has_feature_maps:
        raise UserError(f"{where}.bn_momentum: changes nothing: {model.title} has no batch normalisation")


def default_protocol(dataset: type[Dataset], found: Found) -> str:
    """Return the name of the protocol that is used without ``--protocol``."""
    return dataset.default_protocol if found.source is Source.REAL else "quick"


def choose_protocol(
    given: str | None, dataset: type[Dataset], found: Found, sets: Iterable[tuple[str, str]], *, oracle: str
) -> Protocol:
    """Return the protocol that ``--protocol`` names, or the default one, with the ``--set`` pairs *sets* applied.

    *given*: name of one of the data set's own, a path, or None. Raises UserError for a name that there is not, and for
    a file that is for another data set or takes the name of one of its own.
    """
    name = given or default_protocol(dataset, found)
    folder = dataset.protocols()
    is_file = name.endswith(".toml") or "/" in name or "\\" in name
    if is_file:
        path: Any = expanded(Path(name))
        if not path.is_file():
            raise UserError(f"--protocol {name}: {'not a file' if path.exists() else 'there is no such file'}")
    else:
        known = [] if folder is None else [f.name[:-5] for f in folder.iterdir() if f.name.endswith(".toml")]
        if folder is None or name not in known:
            raise UserError(f"dataset '{dataset.name}' has no protocol '{name}'", did_you_mean(name, known))
        path = folder / f"{name}.toml"
    protocol = load_protocol(path, sets, oracle=oracle)
    if is_file and folder is not None and (folder / f"{protocol.name}.toml").is_file():
        raise UserError(
            f"protocol {path}: name = '{protocol.name}': a built-in protocol has this name", "choose another"
        )
    if protocol.dataset != dataset.name:
        raise UserError(f"protocol {name} is for dataset '{protocol.dataset}', not '{dataset.name}'")
    return protocol


def parse_set(text: str) -> tuple[str, str]:
    """Split ``SECTION.KEY=VALUE``; raises UserError if it is not of that form."""
    if any("\ud800" <= character <= "\udfff" for character in text):
        raise UserError(f"--set {text}: not text in the terminal's encoding")
    key, equals, value = text.partition("=")
    section, dot, name = key.strip().partition(".")
    if not (equals and dot and section and name and value.strip()):
        raise UserError(f"--set {text}: expected SECTION.KEY=VALUE, for example --set rrr.lambda=10")
    return key.strip(), value.strip()


def parse_value(text: str) -> Any:
    """Read a value as TOML would (``3``, ``1e-3``, ``true``, ``[1, 2]``); anything else, dates too, is a string."""
    try:
        content = parse_toml(f"value = {text}")
    except ValueError:
        return text
    value = content.pop("value")
    return text if content or isinstance(value, date | time) else value


def _apply(raw: dict[str, Any], key: str, value: Any, oracle: str) -> bool:
    """Set one value; return whether that changed it."""
    section, _, name = key.partition(".")
    if section == "dataset":
        table = raw.setdefault("dataset_parameters", {})
    elif section == "oracle":
        table = raw.setdefault("oracle", {}).setdefault(oracle, {})
    elif section in ("model", "original", "refine"):
        # `original` is a method too, and its parameters are the recipe of the original model: one and the same.
        table = raw.setdefault(section, {})
    elif section == "protocol":
        if name not in _OWN:
            raise UserError(f"--set {key}: there is no such parameter", did_you_mean(name, _OWN))
        table = raw
    else:
        table = raw.setdefault("methods", {}).setdefault(section, {})
    changed = name not in table or type(table[name]) is bool or table[name] != value
    table[name] = value
    return changed
