"""The folder as a data set: found, checked, decoded."""

import hashlib
import json
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from crayon_bench import Dataset, FeedbackKind, Found, LoadedData, Source, Split, UserError
from crayon_bench.data.image_cache import Look, decoded, open_mask
from crayon_bench.data.pixels import depth_of
from crayon_bench.errors import one_line
from crayon_bench_plugins.datasets.folder.boxes import box_notes, check_boxes
from crayon_bench_plugins.datasets.folder.evidence import FolderEvidence, unable_to_answer
from crayon_bench_plugins.datasets.folder.files import broken_files, checksums, failing, missing_files, opened
from crayon_bench_plugins.datasets.folder.looks import looks_of, shades_of
from crayon_bench_plugins.datasets.folder.metadata import (
    SPLITS,
    Row,
    attributes_of,
    class_names,
    group_names,
    read_metadata,
)
from crayon_bench_plugins.datasets.folder.notes import depth_notes, mask_notes, turned_notes, warn_of_dark
from crayon_bench_plugins.datasets.folder.pixels import FolderParameters, box_of, boxes_from, image_of, mask_of
from crayon_bench_plugins.datasets.folder.sheet import LIST

NO_GROUPS = f"{LIST} has no attributes, and without them there are no groups"


class Folder(Dataset):
    """Images of your own: a folder with a metadata.csv, named as in `--dataset folder:PATH`.

    Columns: `path` (of an image, from the folder), `label` (any text), `split` (train, val or test; val may be
    missing); optional: `attribute` (what the shortcut may be, any text), `mask` (path of an image as large as the
    row's, white where it is relevant), `box` ("top left bottom right" in pixels of the upright image, bottom and right
    are excluded; other orders and units by `box` and `box_unit`). Further columns are not looked at. Classes are the
    sorted labels (2 before 10 if all are whole numbers); groups are label × attribute.

    Images may have any size; grey ones become RGB, and transparency is dropped. They are turned upright as their EXIF
    orientation says (`exif`). Values of more than 8 bits are scaled by the depth that the whole set needs (`depth`).
    They are resized to `size` × `size` (bilinear, antialiased) and not normalised.

    Evidence: masks, or else boxes, if every training image has one. If every test image has one, metrics read those of
    the test images, after the run. A pixel of the
    resized mask is relevant if half of its area is; where that leaves nothing, those with more than half of the largest
    share. A mask without anything, and one that is cropped away, tells nothing: the whole image counts as relevant.
    Without a column `box`, boxes are tight round the masks. With boxes alone, maps and neurons are judged by what lies
    inside of the box, and there are no masks.
    """

    name = "folder"
    title = "Your own images"
    version = 2
    summary = f"a folder of images of your own with a {LIST}: --dataset folder:PATH"
    image_shape = (3, 224, 224)
    classes = 0
    evidence: ClassVar[Mapping[FeedbackKind, str]] = dict.fromkeys(FeedbackKind, "")
    takes_path = True
    default_protocol = "finetune"
    Parameters = FolderParameters
    parameters: FolderParameters

    @classmethod
    def find(cls, root: Path, source: Source, *, strict: bool) -> Found:
        """Read metadata.csv in *root*, and the checksums of the files that it names."""
        if source is Source.STANDIN:
            raise UserError("dataset 'folder' has no stand-in", "leave --source out")
        metadata = read_metadata(root)
        rows = metadata.rows
        sums = checksums(root, rows)
        content = [[row.path, row.label, row.split, row.attribute, row.mask, row.box] for row in rows]
        digest = hashlib.sha256(json.dumps([content, list(sums.values())]).encode()).hexdigest()
        return Found(
            Source.REAL,
            digest,
            str(root),
            notes=tuple(_notes(rows, sums)),
            files={LIST: root / LIST},
            unable=unable_to_answer(rows),
            title=f"folder {_called(root)}",
            class_names=class_names(rows),
            remarks=(metadata.skipped,) if metadata.skipped else (),
        )

    def notes(self, found: Found) -> tuple[str, ...]:
        """Say also what was made of the files: what was turned, how deep they are, what is grey in masks."""
        root = found.files[LIST].parent
        rows = read_metadata(root).rows
        sums = checksums(root, rows)
        looks = looks_of(root, rows, sums)
        sized = self._with_depth(looks)
        own = [*turned_notes(self.parameters, looks), *depth_notes(sized, self.parameters, looks)]
        train = [row for row in rows if row.split == "train"]
        if all(row.mask for row in train):
            own += mask_notes(self.parameters, shades_of(root, train, sums))
        if all(row.box for row in train):
            own += self._boxes_fit(root, train, looks)
        test = [row for row in rows if row.split == "test"]
        if _has_all(test, "box"):
            self._boxes_fit(root, test, looks)  # a mistake in one is told before any run
        return (*found.notes, *own)

    def load(self, found: Found) -> LoadedData:
        """Decode images, masks and boxes, once."""
        root = found.files[LIST].parent
        rows = read_metadata(root).rows
        sums = checksums(root, rows)
        looks = looks_of(root, rows, sums)
        sized = self._with_depth(looks)
        deque(depth_notes(sized, self.parameters, looks), maxlen=0)  # what it raises is wanted
        own = type(self)(sized)
        train, validation, test = ([row for row in rows if row.split == split] for split in SPLITS)
        if not self.parameters.validation:
            validation = []
        classes, groups = class_names(rows), group_names(rows)
        attributes = attributes_of(rows)
        size = self.parameters.size
        images = own._decoded("images", root, sums, [*train, *test, *validation], (3, size, size), image_of)
        warn_of_dark(root, images)

        def part(part_rows: Sequence[Row], start: int) -> Split:
            labels = np.array([classes.index(row.label) for row in part_rows], dtype=np.int64)
            numbers = np.zeros_like(labels)
            if groups:
                places = [attributes.index(row.attribute) if row.attribute else -1 for row in part_rows]
                numbers = np.where(np.array(places) < 0, -1, labels * len(attributes) + np.array(places))
            return Split(images[start : start + len(part_rows)], labels, numbers, [row.path for row in part_rows])

        evidence = own._evidence(root, sums, looks, train)
        known = _has_all(test, "mask") or _has_all(test, "box")
        return LoadedData(
            train=part(train, 0),
            test=part(test, len(train)),
            validation=part(validation, len(train) + len(test)) if validation else None,
            class_names=classes,
            group_names=groups,
            evidence=evidence,
            no_groups="" if groups else NO_GROUPS,
            notes=tuple(evidence.notes()),
            test_evidence=own._evidence(root, sums, looks, test) if known else None,
        )

    def broken(self, root: Path) -> list[tuple[str, UserError]]:
        """Read every file as :meth:`load` does, and go on after the first that fails."""
        rows = read_metadata(root).rows
        masked = [split for split in ("train", "test") if _has_all([r for r in rows if r.split == split], "mask")]
        there = [row for row in rows if not missing_files(root, [row])]
        sized = self._with_depth(looks_of(root, there, checksums(root, there)))

        def read(row: Row) -> list[tuple[str, UserError]]:
            own = sized, root, row
            wrong = failing(row.path, partial(image_of, *own))
            if row.split in masked:
                alone = partial(opened, root, row, row.mask, open_mask)  # there is no image to compare it with
                wrong += failing(row.mask, alone if wrong else partial(mask_of, *own))
            return wrong

        return broken_files(root, rows, read)

    def _with_depth(self, looks: Mapping[str, Look]) -> FolderParameters:
        """Return the parameters with the depth that is found, if none is given and images need one."""
        deep = [look.highest for look in looks.values() if look.deep]
        if self.parameters.depth or not deep:
            return self.parameters
        return self.parameters.model_copy(update={"depth": depth_of(max(deep))})

    def _boxes_fit(self, root: Path, rows: Sequence[Row], looks: Mapping[str, Look]) -> list[str]:
        """Return what is odd about the boxes. Raises UserError if one cannot be a box."""
        sizes = {name: look.size(turned=self.parameters.turned) for name, look in looks.items()}
        reading = self.parameters.box, self.parameters.box_unit
        check_boxes(root, rows, sizes, *reading)
        return list(box_notes(rows, sizes, *reading, said="box" in self.parameters.model_fields_set))

    def _evidence(
        self, root: Path, sums: Mapping[str, str], looks: Mapping[str, Look], rows: Sequence[Row]
    ) -> FolderEvidence:
        size = self.parameters.size
        masks = boxes = None
        if all(row.mask for row in rows):
            deque(mask_notes(self.parameters, shades_of(root, rows, sums)), maxlen=0)
            masks = self._decoded("masks", root, sums, rows, (1, size, size), mask_of)[:, 0]
        if all(row.box for row in rows):
            self._boxes_fit(root, rows, looks)
            kept = self._decoded("boxes", root, sums, rows, (1, 4, 4), box_of)
            boxes = boxes_from(kept)
        return FolderEvidence(masks, boxes, size)

    def _decoded(
        self,
        what: str,
        root: Path,
        sums: Mapping[str, str],
        rows: Sequence[Row],
        shape: tuple[int, int, int],
        decode: Callable[[FolderParameters, Path, Row], NDArray[np.uint8]],
    ) -> NDArray[np.uint8]:
        files = [[sums[row.path], sums.get(row.mask) if what == "masks" else row.box] for row in rows]
        own = self.parameters
        only = {"images": (own.depth,), "boxes": (own.box, own.box_unit), "masks": (own.mask,)}.get(what, ())
        key = {
            "version": self.version,
            "how": [own.size, own.fit, own.short_side, own.exif, *only],
            "files": hashlib.sha256(json.dumps(files).encode()).hexdigest(),
        }
        return decoded(
            f"{self.name}-{what}",
            key,
            (len(rows), *shape),
            lambda: enumerate(rows),
            partial(decode, self.parameters, root),
            what=f"{root.name} {what}",
        )


def _has_all(rows: Sequence[Row], what: str) -> bool:
    """Return whether each of some *rows* has a ``mask``, or a ``box``."""
    return bool(rows) and all(getattr(row, what) for row in rows)


def _called(root: Path) -> str:
    """Return the ends of a folder's path: many a folder is called images."""
    whole = root.resolve()
    names = [whole.parent.name, whole.name]
    return "/".join(one_line(name, 60) for name in names if name) or "/"


def _notes(rows: Sequence[Row], sums: Mapping[str, str]) -> Iterator[str]:
    names = group_names(rows)
    if not names:
        yield f"{NO_GROUPS}: WGA and MA cannot be computed"
    seen = {f"{row.label}, {row.attribute}" for row in rows if row.split == "test"}
    if empty := [name for name in names if name not in seen]:
        more = f" and {len(empty) - 1} more" if len(empty) > 1 else ""
        yield f"{LIST} has no test images of the group '{empty[0]}'{more}: WGA and MA cannot be computed"
    learned = {sums[row.path] for row in rows if row.split == "train"}
    if leaked := [row for row in rows if row.split == "test" and sums[row.path] in learned]:
        yield f"{len(leaked):,} of the test images are training images too, such as {leaked[0].path}"
