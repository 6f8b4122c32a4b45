"""What tells runs apart in tables: their setting and, in one setting, the variants of a method."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from crayon_bench.budget import Budget
from crayon_bench.feedback import Control
from crayon_bench.store.records import Record, digest

Order = tuple[bool, bool, float, str]


@dataclass(frozen=True)
class Variant:
    """The runs of a method with equal parameters, under equal budgets and the same control: a row of a table.

    changes: what ``--set`` changed and what differs from the method's other variants; ``""`` for nothing. budget:
    ``10%``, ``100 uncertain``; None for no limit. control: ``shuffled`` …; None for the true answers. Of one setting,
    no two variants of a method have the same of all three.
    """

    method: str
    changes: str = ""
    budget: str | None = None
    control: str | None = None
    order: Order = (True, False, 0.0, "")
    """Sorts the budgets of a method."""
    records: tuple[Record, ...] = ()


def by_setting(records: Iterable[Record]) -> list[list[Record]]:
    """Return the records of each setting, the one with the newest run first."""
    found: dict[str, list[Record]] = defaultdict(list)
    for record in records:
        found[record.setting].append(record)
    return sorted(found.values(), key=lambda group: max(record.finished for record in group), reverse=True)


def variants_of(records: Sequence[Record]) -> list[Variant]:
    """Return the variants of each method in *records*, which are of one setting: by changes, budget and control."""
    found: dict[str, dict[tuple[str, str | None], list[Record]]] = defaultdict(lambda: defaultdict(list))
    for record in records:
        asked = digest([record.coordinates["method"], record.coordinates.get("budget")])
        found[record.method][asked, record.control].append(record)
    variants = []
    for method, mine in found.items():
        groups = list(mine.values())
        texts = list(zip(_changes(groups), _budgets(groups), strict=True))
        # A row and its controls were asked for alike; only what was not needs another name.
        alike = defaultdict(set)
        for text, (asked, _) in zip(texts, mine, strict=True):
            alike[text].add(asked)
        for (changes, budget), (asked, control), group in zip(texts, mine, groups, strict=True):
            if len(alike[changes, budget]) > 1:
                changes = ", ".join(filter(None, [changes, asked[:6]]))
            order = _order(group[0].coordinates.get("budget"))
            variants.append(Variant(method, changes, budget, control, order, tuple(group)))
    return sorted(
        variants, key=lambda one: (one.method, one.changes, one.order, one.budget or "", control_place(one.control))
    )


def control_place(control: str | None) -> tuple[int, str]:
    """Return what sorts the rows of a method under one budget: true answers, then its controls."""
    known = [None, *(member.value for member in Control)]
    return known.index(control) if control in known else len(known), control or ""


def _order(budget: Mapping[str, Any] | None) -> Order:
    """Return what sorts the budgets of a method: numbers of questions, then shares, each ascending; no limit last.

    The last of them is the name of the strategy.
    """
    if budget is None:
        return (True, False, 0.0, "")
    limit = Budget.from_coordinates(budget)
    return (False, limit.questions is None, limit.questions or limit.share or 0.0, str(budget["strategy"]["name"]))


def _changes(groups: list[list[Record]]) -> list[str]:
    flat = []
    for records in groups:
        method = records[0].coordinates["method"]
        own = {key: value for key, value in method.items() if key not in ("name", "parameters", "recipe")}
        flat.append({**own, **(method.get("recipe") or {}), **(method.get("parameters") or {})})
    keys = {key for one in flat for key in one}
    differing = {key for key in keys if len({repr(one.get(key)) for one in flat}) > 1}
    texts = []
    for records, values in zip(groups, flat, strict=True):
        # A key of [refine] that the method's own table in the protocol has is not changed by --set refine.KEY.
        changed = {
            parameter
            for key, value in records[0].overrides.items()
            if is_rows_own(key, records[0].method)
            and (parameter := key.partition(".")[2]) in values
            and values[parameter] == value
        }
        # What a record does not have is left at what it was before there was such a parameter.
        named = [key for key in sorted(changed | differing) if values.get(key) is not None]
        texts.append(", ".join(f"{key}={values[key]}" for key in named))
    return texts


def _budgets(groups: list[list[Record]]) -> list[str | None]:
    """Return the budget of each group; with more of its strategy where others have the same name."""
    given = [(record.budget, (record.coordinates.get("budget") or {}).get("strategy", {})) for record, *_ in groups]
    strategies = Counter(text for text, _ in {(text, digest(strategy)) for text, strategy in given})
    return [
        text
        if text is None or strategies[text] == 1
        else text + "".join(f" {key}={str(value)[:8]}" for key, value in sorted(strategy.items()) if key != "name")
        for text, strategy in given
    ]


def shared_changes(records: Iterable[Record]) -> dict[str, Any]:
    """Return what ``--set`` changed for all rows, such as the data set's size or the original model's epochs."""
    return {key: value for r in records for key, value in r.overrides.items() if not is_rows_own(key, r.method)}


LIST = "dataset.list"
"""The parameter of a data set that takes the images which somebody else published as a list."""


def is_another_experiment(records: Iterable[Record], images: int | None) -> bool:
    """Return whether what ``--set`` changed for all rows makes another experiment than a published one.

    images: how many test images the published list has; None: there is none. A list of as many may be the same list,
    which nothing here can check: that is said under the table.
    """
    records = list(records)
    changed = set(shared_changes(records))
    return bool(changed) and (changed != {LIST} or number_of_tests(records) != {images})


def number_of_tests(records: Iterable[Record]) -> set[int]:
    """Return the numbers of test images of runs with groups; several where they differ."""
    return {sum(group.total for group in record.groups) for record in records if record.groups}


def is_rows_own(key: str, method: str) -> bool:
    """Return whether an override concerns one row; the others, such as ``original.epochs``, make another table."""
    section = key.partition(".")[0]
    return section == "refine" or section == method != "original"
