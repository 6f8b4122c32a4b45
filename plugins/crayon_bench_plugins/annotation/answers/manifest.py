"""The questions of one task, written once: ``questions.json``."""

import hashlib
import json
from functools import cached_property
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from crayon_bench_plugins.annotation.answers.tasks import Task

SCHEMA = 1

LONGEST_ID = 512
"""Characters of an example's id."""

MOST_QUESTIONS = 2_000_000

Word = Annotated[str, Field(min_length=1, max_length=LONGEST_ID)]
Hash16 = Annotated[str, Field(pattern=r"^[0-9a-f]{16}$")]


class Manifest(BaseModel):
    """What is asked in one task, written once.

    dataset: the data set's coordinates, as in a record: name, source and content hash at least. protocol, seed, model:
    of the original model, *model* as :func:`crayon_bench.networks.classifier.state_hash` has it; None where no model
    is needed. maps: kind of maps, ``logit`` or ``contrast``. patches, radius: how neurons are shown. image_size:
    height and width in pixels. questions: (id, hash of what is shown), in the data set's order.
    """

    model_config = ConfigDict(frozen=True, extra="ignore", strict=True)

    schema_: Annotated[int, Field(alias="schema", ge=1, le=SCHEMA)] = SCHEMA
    task: Annotated[Task, Field(strict=False)]
    dataset: dict[str, Any]
    protocol: Word | None = None
    seed: Annotated[int, Field(ge=0, lt=1 << 63)] | None = None
    model: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] | None = None
    maps: Word | None = None
    patches: Annotated[int, Field(ge=1, le=1_000_000)] | None = None
    radius: Annotated[int, Field(ge=0, le=1_000_000)] | None = None
    class_names: Annotated[list[Word], Field(max_length=100_000)]
    image_size: Annotated[
        tuple[Annotated[int, Field(ge=1, le=65536)], Annotated[int, Field(ge=1, le=65536)]], Field(strict=False)
    ]
    questions: Annotated[
        list[Annotated[tuple[Word, Hash16], Field(strict=False)]], Field(min_length=1, max_length=MOST_QUESTIONS)
    ]

    @model_validator(mode="after")
    def _makes_sense(self) -> Self:
        for key in ("name", "source", "content"):
            value = self.dataset.get(key)
            if not isinstance(value, str) or not 1 <= len(value) <= LONGEST_ID:
                raise ValueError(f"dataset.{key} must be a text")
        if len(self.shown) != len(self.questions):
            raise ValueError("a question is there twice")
        if self.task.judged and self.model is None:
            raise ValueError(f"questions about {self.task} need the hash of a model")
        return self

    @cached_property
    def shown(self) -> dict[str, str]:
        """Question's id → hash of what is shown."""
        return dict(self.questions)

    @property
    def content(self) -> str:
        """The data set's content hash."""
        return str(self.dataset["content"])

    def to_bytes(self) -> bytes:
        """Return the content of ``questions.json``."""
        return json.dumps(self.model_dump(by_alias=True, mode="json"), sort_keys=True).encode() + b"\n"

    @cached_property
    def digest(self) -> str:
        """The sha256 of :meth:`to_bytes`."""
        return hashlib.sha256(self.to_bytes()).hexdigest()

    def difference(self, other: "Manifest") -> str | None:
        """Return in one clause how *other* differs; None if it asks the same."""
        for name in ("task", "protocol", "seed", "model", "maps", "patches", "radius", "image_size"):
            mine, its = getattr(self, name), getattr(other, name)
            if mine != its:
                return f"{name} is {mine} in one and {its} in the other"
        for key in sorted({*self.dataset, *other.dataset}):
            if self.dataset.get(key) != other.dataset.get(key):
                return f"dataset {key} is {self.dataset.get(key)} in one and {other.dataset.get(key)} in the other"
        if self.class_names != other.class_names:
            return "the names of the classes are not the same"
        if self.questions != other.questions:
            return "the questions are not the same"
        return None
