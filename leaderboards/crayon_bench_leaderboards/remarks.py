"""What is said about a table: numbered footnotes at its rows, and remarks under it."""

from collections.abc import Iterator

from crayon_bench.feedback import control_label
from crayon_bench.store.records import NUMERICS, Record
from crayon_bench_leaderboards.boards import Board, Reference
from crayon_bench_leaderboards.price import Price, price_remarks
from crayon_bench_leaderboards.table import Cell, Row, Section, Table, Warned, gained_metric, number_of_seeds
from crayon_bench_leaderboards.variants import (
    LIST,
    control_place,
    is_another_experiment,
    is_rows_own,
    number_of_tests,
    shared_changes,
)


def annotate(table: Table, groups: list[list[Record]]) -> None:
    """Give *table* its footnotes and remarks. groups: the records of each of its sections."""
    table.remarks.append(_words(table))
    several = len(groups) > 1  # then what is said of one data set must name it
    for section, records in zip(table.sections, groups, strict=True):
        for row in section.rows:
            row.notes += [_number(table, text) for text in _footnotes(row, f" on {section.title}" if several else "")]
            for reference in table.references:
                if row.method in reference.rows and any(reference.name in c.published for c in row.metrics.values()):
                    row.notes.append(_number(table, reference.rows[row.method]))
            for metric, cell in row.metrics.items():
                for reference in table.references:
                    note = reference.note(section.dataset, row.method, metric)
                    if note and reference.name in cell.published:
                        cell.published_notes[reference.name] = _number(table, note)
        where = f"{section.title}: " if several else ""
        idle = list(_about_no_epochs(records, where))
        table.grave += idle
        table.remarks += _about_chance(section, records, where)
        table.remarks += [*idle, *_about_runs(section, records, where)]
        table.grave += [f"{section.title}: {note}" for record in records for note in record.notes]
        if section.oracle != "simulated":
            table.grave.append(f"{where}Feedback by oracle: {section.oracle}")
            table.remarks.append(table.grave[-1])
        table.remarks += _about_answers(section, table.board, where)
        table.remarks += _about_published(section, records, table.references)
    if table.price is not None:
        table.remarks += _about_price(table, table.price)
    table.remarks = list(dict.fromkeys(table.remarks))


_WORDS = {
    "WGA": "accuracy of the worst group",
    "MA": "mean of the groups' accuracies",
    "Acc": "accuracy",
    "AdjAcc": "mean of the groups' accuracies, weighted by their shares of the training images",
    "EPG": "share of maps on relevant pixels of test images",
    "PG": "maps whose maximum is there",
    "IoU": "overlap with as many of a map's highest pixels",
    "Dead": "maps that are zero everywhere",
}


def _words(table: Table) -> str:
    """Spell out what the headings say in short."""
    metrics = {cell.short: cell for section in table.sections for row in section.rows for cell in row.metrics.values()}
    spelled = [f"{short}: {_WORDS[short]}" for short in metrics if short in _WORDS]
    return "; ".join([*spelled, "#FB: answers that were counted"]) + "."


def _about_chance(section: Section, records: list[Record], where: str) -> Iterator[str]:
    """Say what columns would have without looking. It depends on the test images alone, and is the same in all rows."""
    shown = dict.fromkeys(metric for row in section.rows for metric in row.metrics)
    chances = {
        metric.short: metric.chance
        for record in records
        for name, metric in record.metrics.items()
        if name in shown and metric.chance is not None
    }
    if chances:
        told = ", ".join(f"{short} {value:.2f}" for short, value in chances.items())
        yield f"{where}By chance, for a map that looks everywhere alike: {told}."


def _number(table: Table, footnote: str) -> int:
    if footnote not in table.footnotes:
        table.footnotes.append(footnote)
    return table.footnotes.index(footnote) + 1


def _footnotes(row: Row, where: str) -> list[str]:
    notes = []
    if row.status == "skipped":
        notes.append(f"does not apply{where}: {row.reason}")  # without the label: several methods share a reason
    elif row.status != "ok":
        notes.append(f"{row.title}{where}: {row.reason}")
    for cell in row.metrics.values():
        if cell.reason:
            notes.append(f"no {cell.short}{where}: {cell.reason}")  # where it is the data's, all rows share it
    notes += [
        f"{row.title}{where}: {cell.short} of its seeds: {_values(cell)}"
        for cell in row.metrics.values()
        if cell.std is not None and cell.std > WIDE
    ]
    notes += [f"{row.title}{where}: {warned(what, count, row.done)}" for what, count in row.warnings.items()]
    return notes


def _values(cell: Cell) -> str:
    return ", ".join(f"{value:.2f}" for _, value in sorted(cell.per_seed.items()))


WIDE = 10.0
"""A standard deviation, in points, above which the values of the seeds say more."""

_MEANT = {
    "dead maps in training": (
        "maps that are zero everywhere (dead maps), in training: what was said of these images taught the model"
        " nothing; see docs/foot-guns.md, Dead maps"
    ),
    "dead maps of the original model": (
        "maps of the original model that are zero everywhere (dead maps): asked about and counted, and of no use; see"
        " docs/foot-guns.md, Dead maps"
    ),
}
"""What a warning that names an internal notion means for its reader."""


def warned(what: str, count: Warned, done: int) -> str:
    """Return a warning in words, with how often it was given in how many of *done* seeds."""
    times = "once" if count.times == 1 else f"{count.times:,} times"
    of = "" if done == 1 else f" in all {done} seeds" if count.seeds == done else f" in {count.seeds} of {done} seeds"
    return f"warning: {_MEANT.get(what, what)} ({times}{of})"


def _about_runs(section: Section, records: list[Record], where: str) -> Iterator[str]:
    seeds = number_of_seeds(section.seeds)
    several = len(section.seeds) > 1
    what = f"Mean ± sample standard deviation over {seeds}" if several else "One seed, no deviation"
    yield f"{where}{what}. Setting {section.setting[:8]}."
    if section.left_out:
        numbers = ", ".join(map(str, section.left_out))
        yield f"{where}Left out, because fewer than half of the methods have it: seed {numbers}."
    numerics = records[0].coordinates.get("numerics")
    if numerics != NUMERICS:
        age = "a newer" if isinstance(numerics, int) and numerics > NUMERICS else "an older"
        said = "not recorded" if numerics is None else numerics
        yield (
            f"{where}Made by {age} version's arithmetic (numerics {said}, now {NUMERICS}): runs made now are not"
            " compared with these."
        )
    if section.source == "standin":
        yield (
            f"{section.title} here is a STAND-IN made without the real data: nothing in this table says how a method"
            " does on the real data."
        )
    yield from (f"{section.title}: {note}" for record in records for note in record.notes)
    if shared := shared_changes(records):
        changed = ", ".join(f"{key}={value}" for key, value in sorted(shared.items()))
        yield f"{section.title}: protocol {section.protocol} changed by --set: {changed}"


def _about_answers(section: Section, board: Board, where: str) -> Iterator[str]:
    """Say for which methods the answers add nothing that can be told from chance, or that no control was run."""
    asking = [row for row in section.rows if row.feedback_total and not row.baseline and row.control is None]
    controls = sorted({control for row in asking for control in row.answers_add}, key=control_place)
    metric = gained_metric(board, section.rows)
    if asking and not controls:
        # The same words for every data set: they stand once.
        yield "No control was run; what the answers add, crayon-bench run --control shuffled finds out."
    for control in controls:
        of = [(row.title, added[control].get(metric)) for row in asking if control in (added := row.answers_add)]
        known = [(title, one) for title, one in of if one is not None]
        nothing = [title for title, one in known if one.low is not None and not one.told]
        harm = [title for title, one in known if one.told and one.mean < 0]
        unknown = [title for title, one in known if one.low is None]
        said = [f"nothing that can be told from chance for {'; '.join(nothing)}"] if nothing else []
        said += [f"less than nothing for {'; '.join(harm)}"] if harm else []
        said += [f"not known how surely for {'; '.join(unknown)}, without predictions"] if unknown else []
        one_seed = "; of one seed, which says nothing of others" if any(one.n == 1 for _, one in known) else ""
        words = f"{where}Answers add (against {control_label(control)}; paired, 95 % interval{one_seed}): "
        if known:
            yield words + ("; ".join(said) or "more than chance for every method that was run with it") + "."


def _about_no_epochs(records: list[Record], where: str) -> Iterator[str]:
    """Yield what was trained for no epochs: its row looks like any other."""
    if any((record.coordinates.get("original") or {}).get("epochs") == 0 for record in records):
        yield f"{where}The original model was trained for 0 epochs: it is what its initial weights are."
    idle = [r.title["method"] for r in records if (r.coordinates["method"].get("recipe") or {}).get("epochs") == 0]
    if idle:
        names = ", ".join(dict.fromkeys(idle))
        yield f"{where}{names}: 0 epochs of training, nothing was refined, but for what a method does before it trains."


def _about_published(section: Section, records: list[Record], references: list[Reference]) -> Iterator[str]:
    for reference in references:
        if section.dataset not in reference.values:
            continue
        by = "" if len(references) == 1 else f" ({reference.short})"
        place = reference.where.get(section.dataset, "")
        yield f"Published{by}: {reference.citation}{', ' if place else ''}{place}"
        images = reference.images.get(section.dataset)
        listed = set(shared_changes(records)) == {LIST}
        if is_another_experiment(records, images):
            why = "they are for a protocol that nothing was changed of"
            if listed and images is not None:
                why = f"the list has {_named(number_of_tests(records))} test images, the published one {images:,}"
            yield f"Published numbers{by} are left out: {why}."
            continue
        if listed:
            yield (
                f"Published numbers{by}: the list has {images:,} test images, as many as the published one; whether it"
                " is the same list was not checked."
            )
        if section.protocol != reference.protocol:
            yield f"Published numbers{by} are for protocol {reference.protocol}; no row here is of it."
        elif any(is_rows_own(key, record.method) for record in records for key in record.overrides):
            yield f"Published numbers{by} are for protocol {reference.protocol} as it is; changed rows have none."
        if any(record.budget is not None for record in records):
            yield f"Published numbers{by} are for all feedback; rows with a budget have none."


def _named(numbers: set[int]) -> str:
    return " or ".join(f"{number:,}" for number in sorted(numbers)) or "no"


def _about_price(table: Table, price: Price) -> list[str]:
    rows = [row for section in table.sections for row in section.rows]
    short = next((row.metrics[gained_metric(table.board, rows)].short for row in rows), "")
    kinds = {kind: row.feedback_by_kind[kind] for row in rows for kind in row.feedback_by_kind}
    unknown = list(dict.fromkeys(row.label for row in rows if row.hours_by_seed and row.hours is None))
    return price_remarks(price, [kind for kind, number in kinds.items() if number], short, unknown)
