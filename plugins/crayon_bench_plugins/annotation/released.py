"""Answers that the authors of the CRAYON paper released: JSON lists of numbers, by position in a list of names.

They are about the saliency maps of the authors' own models, which are not here. So their folder names a model that no
run has: a run uses them with ``oracle.misfit = use`` alone, and says under the table that it did. When they were given,
and how long that took, is not known either.
"""

import hashlib
import json
import math
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from crayon_bench import LoadedData, UserError
from crayon_bench.data.name_list import of_split, read_name_list
from crayon_bench.errors import one_line
from crayon_bench.store.atomic import write_file
from crayon_bench_plugins.annotation.answers.events import Event, Via, to_line, to_text
from crayon_bench_plugins.annotation.answers.folder import Answers, new_folder
from crayon_bench_plugins.annotation.answers.manifest import Manifest
from crayon_bench_plugins.annotation.answers.shown import unseen_hash
from crayon_bench_plugins.annotation.answers.tasks import MAYBE, NO, YES, Task

LARGEST = 1 << 26
"""Bytes of a JSON list."""
NOBODY = "not annotated"
MODEL = hashlib.sha256(b"the original model of the authors of the CRAYON paper").hexdigest()
"""Stands for a model of which nothing is known but that it is none of a run's."""

_WORDS = {1.0: NO, 0.0: YES, 0.5: MAYBE, -1.0: NOBODY}


def _of_one(value: float) -> str | None:
    return _WORDS.get(value)


def _of_three(value: float) -> str | None:
    if value == -1:
        return NOBODY
    if not 0 <= value <= 1:
        return None
    return YES if value > 0.7 else MAYBE if value >= 0.5 else NO


CODINGS = {
    "celeba": (_of_one, "1 is no, 0 yes, 0.5 maybe, -1 not annotated"),
    "waterbirds": (_of_three, "the mean of three people, 0 to 1: above 0.7 is yes, from 0.5 on maybe, below it no; -1"
                              " not annotated"),
}  # fmt: skip
"""Data set → what a number says (None: it says nothing), and that in words. The two go in opposite directions."""

RELEASED = {
    "celeba": {YES: 5_207, MAYBE: 4_779, NO: 10_214},
    "waterbirds": {YES: 3_414, MAYBE: 1_229, NO: 152},
}
"""How many of each there are in the authors' files, of 20,200 and 4,795."""


def differing(dataset: str, said: Mapping[str, str]) -> str:
    """Return in words how as many answers as the authors' are not the authors'; ``""`` for others, and if they are."""
    counts = {word: sum(given == word for given in said.values()) for word in RELEASED[dataset]}
    if len(said) != sum(RELEASED[dataset].values()) or counts == RELEASED[dataset]:
        return ""
    theirs = ", ".join(f"{number:,} {word}" for word, number in RELEASED[dataset].items())
    return f"of as many images the authors report {theirs}: is it their file, and this data set's?"


def read_released(dataset: str, path: Path, names: Path) -> dict[str, str]:
    """Return name → ``yes``, ``no``, ``maybe`` or ``not annotated``, in the order of the list *names*.

    The n-th number of *path* is about the n-th training image of the list. Raises UserError for anything else, with
    position and name where there is one.
    """
    if dataset not in CODINGS:
        raise UserError(f"--dataset {dataset}: the authors released answers about {' and '.join(CODINGS)} alone")
    meaning, words = CODINGS[dataset]
    values = _numbers(path)
    train = of_split(read_name_list(names), "train")
    if len(values) != len(train):
        raise UserError(
            f"{path}: {len(values):,} answers, and {names} lists {len(train):,} training images: they go by position",
            "give the list that they were released with",
        )
    said: dict[str, str] = {}
    for position, (value, entry) in enumerate(zip(values, train, strict=True)):
        number = math.nan if isinstance(value, bool) or not isinstance(value, int | float) else float(value)
        if (word := meaning(number)) is None:
            what = one_line(json.dumps(value), 40)
            raise UserError(f"{path}: position {position} (from 0; {entry.name}): {what} is no answer", words)
        said[entry.name] = word
    if all(word == NOBODY for word in said.values()):
        raise UserError(f"{path}: there is no answer in it")
    return said


def _numbers(path: Path) -> list[Any]:
    try:
        if path.stat().st_size > LARGEST:
            raise UserError(f"{path}: larger than {LARGEST >> 20} MiB, which no list of answers is")
        values = json.loads(path.read_bytes())
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror or error}") from None
    except (ValueError, RecursionError):
        raise UserError(f"{path}: not JSON") from None
    if not isinstance(values, list):
        raise UserError(f"{path}: not a JSON list of numbers, one for each training image")
    return values


def keep_released(
    said: Mapping[str, str], names: Path, data: LoadedData, dataset: Mapping[str, Any], who: str, output: Path
) -> int:
    """Write the answers to the new folder *output*, whole or not at all; return how many training images have no line.

    dataset: the data set's coordinates. Raises UserError if a name is no training image of *data*.
    """
    known = set(data.train.ids)
    for entry in of_split(read_name_list(names), "train"):
        if entry.name not in known:
            raise UserError(
                f"{names}: line {entry.line}: {entry.name} is no training image of these data",
                "give the data set and the parameters that the list is about",
            )
    manifest = Manifest(
        task=Task.MAPS,
        dataset=dict(dataset),
        model=MODEL,
        maps="logit",
        class_names=list(data.class_names),
        image_size=data.train.images.shape[2:],
        questions=[(name, unseen_hash(name)) for name in data.train.ids],
    )
    at = to_text(datetime.now(UTC))
    given = [(name, said[name]) for name in data.train.ids if said.get(name, NOBODY) != NOBODY]
    lines = [
        to_line(Event(n, name, word, None, at, Via.IMPORT.value), manifest, who)
        for n, (name, word) in enumerate(given, start=1)
    ]
    with new_folder(output) as temporary:
        answers = Answers(temporary)
        answers.begin(manifest)
        write_file(answers.file(Task.MAPS, who), b"".join(lines))
    return len(known) - len(said)
