"""A folder of the user's own images, described by a metadata.csv."""

import csv
import hashlib
import io
import json
import math
import re
import stat
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from functools import partial
from importlib.resources import files as package_files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydantic import Field, model_validator

from crayon_bench import Dataset, Evidence, FeedbackKind, Found, LoadedData, Parameters, Source, Split, UserError
from crayon_bench.data.image_cache import decoded, open_mask, open_picture, picture_size
from crayon_bench.data.preparing import Preparing, in_threads
from crayon_bench.data.trees import LARGEST, cache_root
from crayon_bench.errors import did_you_mean, one_line
from crayon_bench.store.atomic import read_json, write_file
from crayon_bench_plugins.datasets._masks import tight_boxes

LIST = "metadata.csv"
SPLITS = ("train", "val", "test")
REQUIRED = ("path", "label", "split")
OPTIONAL = ("attribute", "mask", "box")
MOST_CLASSES = 1000
LONGEST_SIDE = 32_768
"""Pixels; Pillow's tables for a longer one take as much memory as a large image."""

NO_GROUPS = f"{LIST} has no attributes, and without them there are no groups"
_MEND = f"replace it, or take its line out of {LIST}"


class FolderParameters(Parameters):
    """How the images are read."""

    size: int = Field(default=224, ge=16, le=1024, description="width and height of the images, in pixels")
    fit: Literal["stretch", "crop"] = Field(
        default="stretch",
        description='"stretch": the whole image, whatever its aspect; "crop": the shorter side is resized to'
        " short_side, and the square in the middle is taken, as torchvision's Resize and CenterCrop do",
    )
    short_side: int = Field(
        default=0, ge=0, le=4096, description='pixels, for fit = "crop"; at least size; 0: the same as size'
    )
    validation: bool = Field(default=True, description="whether the rows of the split val are loaded")

    @model_validator(mode="after")
    def _short_side_fits(self) -> Self:
        if self.short_side and (self.fit != "crop" or self.short_side < self.size):
            raise ValueError(f'short_side = {self.short_side}: only with fit = "crop", and not below size')
        return self

    def frame(self, width: int, height: int) -> tuple[int, int, int, int]:
        """Return what an image is resized to, width and height, and the left and top of the part that is taken."""
        if self.fit == "stretch":
            return self.size, self.size, 0, 0
        short = self.short_side or self.size
        long = short * max(width, height) // min(width, height)
        wide, high = (long, short) if width > height else (short, long)
        return wide, high, round((wide - self.size) / 2), round((high - self.size) / 2)


@dataclass(frozen=True)
class Row:
    """A row of metadata.csv. line: where it stands in the file, from 1. box: top, left, bottom, right."""

    line: int
    path: str
    label: str
    split: str
    attribute: str
    mask: str
    box: tuple[float, float, float, float] | None


class Folder(Dataset):
    """Images of your own: a folder with a metadata.csv, named as in `--dataset folder:PATH`.

    Columns: `path` (of an image, from the folder), `label` (any text), `split` (train, val or test; val may be
    missing); optional: `attribute` (what the shortcut may be, any text), `mask` (path of an image as large as the
    row's, in which what is not zero is relevant), `box` ("top left bottom right" in pixels of the image file; bottom
    and right are excluded). Further columns are not looked at. Classes are the sorted labels; groups are label ×
    attribute.

    Images may have any size; grey ones become RGB, and transparency is dropped. Pixels are taken as they are stored: an
    EXIF orientation is not applied. They are resized to `size` × `size` (bilinear, antialiased) and not normalised.

    Evidence, of the training images alone: masks, or else boxes, if every training image has one. A pixel of the
    resized mask is relevant if half of its area is; where that leaves nothing, those with more than half of the largest
    share. A mask without anything, and one that is cropped away, tells nothing: the whole image counts as relevant.
    Without a column `box`, boxes are tight round the masks. With boxes alone, maps and neurons are judged by what lies
    inside of the box, and there are no masks.
    """

    name = "folder"
    title = "Your own images"
    summary = f"a folder of images of your own with a {LIST}: --dataset folder:PATH"
    image_shape = (3, 224, 224)
    classes = 0
    evidence: ClassVar[Mapping[FeedbackKind, str]] = dict.fromkeys(FeedbackKind, "")
    takes_path = True
    default_protocol = "finetune"
    Parameters = FolderParameters
    parameters: FolderParameters

    @classmethod
    def protocols(cls) -> Traversable:
        """Return the folder of built-in protocols."""
        return package_files("crayon_bench_plugins") / "protocols" / cls.name

    @classmethod
    def find(cls, root: Path, source: Source, *, strict: bool) -> Found:
        """Read metadata.csv in *root*, and the checksums of the files that it names."""
        if source is Source.STANDIN:
            raise UserError("dataset 'folder' has no stand-in", "leave --source out")
        rows = read_metadata(root)
        sums = checksums(root, rows)
        content = [[row.path, row.label, row.split, row.attribute, row.mask, row.box] for row in rows]
        digest = hashlib.sha256(json.dumps([content, list(sums.values())]).encode()).hexdigest()
        return Found(
            Source.REAL,
            digest,
            str(root),
            notes=tuple(_notes(rows, sums)),
            files={LIST: root / LIST},
            unable=_unable(rows),
            title=f"folder {one_line(root.resolve().name, 60)}",
            class_names=class_names(rows),
        )

    def load(self, found: Found) -> LoadedData:
        """Decode images, masks and boxes, once."""
        root = found.files[LIST].parent
        rows = read_metadata(root)
        sums = checksums(root, rows)
        train, validation, test = ([row for row in rows if row.split == split] for split in SPLITS)
        if not self.parameters.validation:
            validation = []
        classes, groups = class_names(rows), group_names(rows)
        attributes = sorted({row.attribute for row in rows})
        size = self.parameters.size
        images = self._decoded("images", root, sums, [*train, *test, *validation], (3, size, size), self._image)

        def part(part_rows: Sequence[Row], start: int) -> Split:
            labels = np.array([classes.index(row.label) for row in part_rows], dtype=np.int64)
            places = np.array([attributes.index(row.attribute) for row in part_rows], dtype=np.int64)
            numbers = labels * len(attributes) + places if groups else np.zeros_like(labels)
            return Split(images[start : start + len(part_rows)], labels, numbers, [row.path for row in part_rows])

        return LoadedData(
            train=part(train, 0),
            test=part(test, len(train)),
            validation=part(validation, len(train) + len(test)) if validation else None,
            class_names=classes,
            group_names=groups,
            evidence=self._evidence(root, sums, train),
            no_groups="" if groups else NO_GROUPS,
        )

    def _evidence(self, root: Path, sums: Mapping[str, str], rows: Sequence[Row]) -> "FolderEvidence":
        size = self.parameters.size
        masks = boxes = None
        if all(row.mask for row in rows):
            masks = self._decoded("masks", root, sums, rows, (1, size, size), self._mask)[:, 0]
            _warn(root, "masks", int(masks.all(axis=(1, 2)).sum()))
        if all(row.box for row in rows):
            kept = self._decoded("boxes", root, sums, rows, (1, 4, 4), self._box)
            boxes = np.ascontiguousarray(kept[:, 0]).view("<i4")[..., 0].astype(np.int64)
        return FolderEvidence(masks, boxes, size)

    def _decoded(
        self,
        what: str,
        root: Path,
        sums: Mapping[str, str],
        rows: Sequence[Row],
        shape: tuple[int, int, int],
        decode: Callable[[Path, Row], NDArray[np.uint8]],
    ) -> NDArray[np.uint8]:
        files = [[sums[row.path], sums.get(row.mask) if what == "masks" else row.box] for row in rows]
        key = {
            "version": self.version,
            "how": [self.parameters.size, self.parameters.fit, self.parameters.short_side],
            "files": hashlib.sha256(json.dumps(files).encode()).hexdigest(),
        }
        return decoded(
            f"{self.name}-{what}",
            key,
            (len(rows), *shape),
            lambda: enumerate(rows),
            partial(decode, root),
            what=f"{root.name} {what}",
        )

    def _image(self, root: Path, row: Row) -> NDArray[np.uint8]:
        picture = _opening(root, row, row.path, open_picture)
        wide, high, left, top = self._frame(root, row, picture.size)
        size = self.parameters.size
        picture = picture.resize((wide, high), Image.Resampling.BILINEAR).crop((left, top, left + size, top + size))
        return np.asarray(picture, dtype=np.uint8).transpose(2, 0, 1)

    def _mask(self, root: Path, row: Row) -> NDArray[np.uint8]:
        mask = _opening(root, row, row.mask, open_mask)
        width, height = _opening(root, row, row.path, picture_size)
        if mask.shape != (height, width):
            raise UserError(
                f"{_at(root, row)}: the mask {row.mask} has {mask.shape[1]}×{mask.shape[0]} pixels, its image"
                f" {width}×{height}",
                "a mask must be as large as its image",
            )
        wide, high, left, top = self._frame(root, row, (width, height))
        size = self.parameters.size
        part = (left, top, left + size, top + size)

        def resized(mode: str) -> NDArray[Any]:
            picture = Image.fromarray(mask.astype(np.uint8) * np.uint8(255)).convert(mode)
            return np.asarray(picture.resize((wide, high), Image.Resampling.BOX).crop(part))

        small = resized("L") > 127
        if not small.any():
            share = resized("F")  # not rounded: of something thin, little is left
            small = share > share.max() / 2 if share.any() else np.ones_like(small)
        return small[None].astype(np.uint8)

    def _box(self, root: Path, row: Row) -> NDArray[np.uint8]:
        assert row.box is not None
        width, height = _opening(root, row, row.path, picture_size)
        top, left, bottom, right = row.box
        if bottom > height or right > width:
            text = " ".join(f"{side:g}" for side in row.box)
            raise UserError(
                f"{_at(root, row)}: the box '{text}' leaves the image, which is {width} wide and {height} high",
                "expected: top left bottom right, in pixels",
            )
        wide, high, begin, start = self._frame(root, row, (width, height))
        ends = [
            math.floor(top * high / height) - start,
            math.floor(left * wide / width) - begin,
            math.ceil(bottom * high / height) - start,
            math.ceil(right * wide / width) - begin,
        ]
        size = self.parameters.size
        box = np.clip(np.array(ends, dtype="<i4"), 0, size).astype("<i4")
        if box[0] >= box[2] or box[1] >= box[3]:  # cropped away
            box = np.array([0, 0, size, size], dtype="<i4")
        return np.frombuffer(box.tobytes(), dtype=np.uint8).reshape(1, 4, 4)

    def _frame(self, root: Path, row: Row, size: tuple[int, int]) -> tuple[int, int, int, int]:
        if max(size) > LONGEST_SIDE or (self.parameters.fit == "crop" and max(size) > 50 * min(size)):
            raise UserError(f"{_at(root, row)}: {row.path} has {size[0]}×{size[1]} pixels, which is too long", _MEND)
        return self.parameters.frame(*size)


class FolderEvidence(Evidence):
    """What metadata.csv says of the training images. masks: uint8 (N, size, size); boxes: int64 (N, 4); or None."""

    def __init__(self, masks: NDArray[np.uint8] | None, boxes: NDArray[np.int64] | None, size: int) -> None:
        self._masks, self._boxes, self._size = masks, boxes, size

    def has(self, what: str) -> bool:
        """Return whether there are masks; inside of boxes is relevant too, but outside of them is not irrelevant."""
        return self._masks is not None or (what != "irrelevant_masks" and self._boxes is not None)

    def relevant_masks(self, examples: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Return the masks, or else what lies inside of the boxes."""
        if self._masks is not None:
            masks: NDArray[np.bool_] = self._masks[examples] != 0
            return masks
        if self._boxes is None:
            return super().relevant_masks(examples)
        pixel = np.arange(self._size)
        top, left, bottom, right = self._boxes[examples].T[..., None]
        rows, columns = (pixel >= top) & (pixel < bottom), (pixel >= left) & (pixel < right)
        return np.asarray(rows[:, :, None] & columns[:, None, :])

    def irrelevant_masks(self, examples: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Return everything but the masks."""
        if self._masks is None:
            return super().irrelevant_masks(examples)
        return ~self.relevant_masks(examples)

    def boxes(self, examples: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the boxes, or else those round the masks."""
        if self._boxes is not None:
            boxes: NDArray[np.int64] = self._boxes[examples]
            return boxes
        if self._masks is None:
            return super().boxes(examples)
        return tight_boxes(self.relevant_masks(examples))


def class_names(rows: Sequence[Row]) -> tuple[str, ...]:
    """Return the sorted labels."""
    return tuple(sorted({row.label for row in rows}))


def group_names(rows: Sequence[Row]) -> tuple[str, ...]:
    """Return the names of the groups, label by label; none if there are no attributes."""
    attributes = sorted({row.attribute for row in rows})
    if attributes == [""]:
        return ()
    return tuple(f"{label}, {attribute}" for label in class_names(rows) for attribute in attributes)


def _unable(rows: Sequence[Row]) -> dict[FeedbackKind, str]:
    train = [row for row in rows if row.split == "train"]
    no_masks = _lacking("masks", sum(bool(row.mask) for row in train), len(train))
    no_boxes = _lacking("boxes", sum(row.box is not None for row in train), len(train))
    unable = {FeedbackKind.GROUP: "" if group_names(rows) else f"{LIST} has no attributes"}
    unable |= dict.fromkeys((FeedbackKind.RELEVANT_MASK, FeedbackKind.IRRELEVANT_MASK), no_masks)
    if no_masks:
        neither = f"{no_masks} and no boxes" if no_masks.endswith("no masks") and "has no" in no_boxes else no_masks
        verdicts = (FeedbackKind.MAP_VERDICT, FeedbackKind.NEURON_VERDICT)
        unable |= dict.fromkeys(verdicts, neither if no_boxes else "") | {FeedbackKind.BOX: no_boxes}
    return {kind: why for kind, why in unable.items() if why}


def _lacking(what: str, there: int, wanted: int) -> str:
    if there == wanted:
        return ""
    return f"{LIST} has {what} for {there:,} of {wanted:,} training images" if there else f"{LIST} has no {what}"


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


def _warn(root: Path, what: str, number: int) -> None:
    if number:
        text = f"Warning: {root}: {number:,} {what} of training images tell nothing; the whole image counts as relevant"
        print(text, file=sys.stderr)


# ---------------------------------------------------------------------------------------------------------------------
# metadata.csv


def read_metadata(root: Path) -> list[Row]:
    """Return the rows of metadata.csv, in their order. Raises UserError naming the line that is wrong."""
    file = root / LIST
    try:
        content = _read(file)
    except FileNotFoundError:
        hint = f"its columns: {', '.join(REQUIRED)}; optional: {', '.join(OPTIONAL)}"
        raise UserError(f"{root}: there is no {LIST} in it", hint) from None
    except OSError as error:
        raise UserError(f"{file}: cannot be read: {error.strerror or error}") from None
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise UserError(f"{file}, line {line}: not UTF-8 text", "save it as CSV in UTF-8") from None
    reader = csv.DictReader(io.StringIO(text, newline=""), strict=True, skipinitialspace=True)
    rows: list[Row] = []
    lines: dict[str, int] = {}
    try:
        columns = _columns(file, reader.fieldnames or [])
        for record in reader:
            row = _row(f"{file}, line {reader.line_num}", reader.line_num, record, columns)
            if row.path in lines:
                raise UserError(
                    f"{file}, line {row.line}: path {row.path} is in line {lines[row.path]} already",
                    "an image may have one row",
                )
            lines[row.path] = row.line
            rows.append(row)
    except csv.Error as error:
        raise UserError(f"{file}, line {reader.line_num}: {error}", "save it as CSV, with commas and quotes") from None
    _check(file, rows)
    return rows


def _columns(file: Path, header: Sequence[str]) -> dict[str, str]:
    """Return the header's own spelling of the columns that are looked at."""
    columns: dict[str, str] = {}
    for name in header:
        known = name.strip().lower()
        if known in columns and known in (*REQUIRED, *OPTIONAL):
            raise UserError(f"{file}, line 1: the column {known} is there twice", "leave one out")
        columns[known] = name
    for name in REQUIRED:
        if name not in columns:
            separated = len(header) == 1 and re.search(r"[;\t|]", header[0])
            hint = "separate columns by commas" if separated else f"expected: {', '.join(REQUIRED)}"
            raise UserError(f"{file}, line 1: the column {name} is missing", hint)
    return columns


def _row(where: str, line: int, record: Mapping[str | None, Any], columns: Mapping[str, str]) -> Row:
    if None in record:
        raise UserError(f"{where}: it has more cells than the first line", "put quotes round a text with a comma")
    cells = dict.fromkeys((*REQUIRED, *OPTIONAL), "")
    cells |= {name: (record[column] or "").strip() for name, column in columns.items() if name in cells}
    for name in REQUIRED:
        if not cells[name]:
            raise UserError(f"{where}: {name} is empty", "every image needs one")
    if cells["split"] not in SPLITS:
        near = {"validation": "val", "valid": "val", "training": "train"}.get(cells["split"].lower())
        hint = f"did you mean '{near}'?" if near else did_you_mean(cells["split"], SPLITS)
        raise UserError(f"{where}: split is {_quoted(cells['split'])}", hint)
    for name in ("label", "attribute"):
        if len(cells[name]) > 100 or not (cells[name].isprintable() or not cells[name]):
            raise UserError(f"{where}: {name} is {_quoted(cells[name])}", "expected at most 100 plain characters")
    path, mask = (_inside(where, name, cells[name]) for name in ("path", "mask"))
    return Row(line, path, cells["label"], cells["split"], cells["attribute"], mask, _box(where, cells["box"]))


def _inside(where: str, column: str, name: str) -> str:
    """Return a path inside of the folder, without doubled slashes. Raises UserError if it leads outside."""
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if name.startswith("/") or ".." in parts or "\0" in name or re.match("[A-Za-z]:", name):
        raise UserError(f"{where}: {column} {_quoted(name)} leaves the folder", "write it from the folder itself")
    if "\\" in name:
        raise UserError(f"{where}: {column} {_quoted(name)} has a backslash", "write / between folders")
    if name and not parts:
        raise UserError(f"{where}: {column} {_quoted(name)} is no file", "write it from the folder itself")
    return "/".join(parts)


def _box(where: str, text: str) -> tuple[float, float, float, float] | None:
    if not text:
        return None
    words = re.split(r"[\s,;]+", text)
    if len(words) != 4 or not all(re.fullmatch(r"\d{1,6}(\.\d{1,9})?", word, re.ASCII) for word in words):
        raise UserError(f"{where}: box is {_quoted(text)}", "expected four numbers: top left bottom right, in pixels")
    top, left, bottom, right = map(float, words)
    if top >= bottom or left >= right:
        raise UserError(f"{where}: the box {_quoted(text)} is empty", "expected: top left bottom right, in pixels")
    return top, left, bottom, right


def _quoted(text: str) -> str:
    return repr(text if len(text) <= 80 else f"{text[:80]}…")


def _check(file: Path, rows: Sequence[Row]) -> None:
    """Raise UserError if the rows together are no data set."""
    for split in ("train", "test"):
        if not any(row.split == split for row in rows):
            raise UserError(f"{file}: it has no rows with split {split}", "both train and test are needed")
    learned = {row.label for row in rows if row.split == "train"}
    for row in rows:
        if row.label not in learned:
            raise UserError(
                f"{file}, line {row.line}: no training image has the label {_quoted(row.label)}",
                did_you_mean(row.label, learned) if len(learned) < 20 else "add one, or take the line out",
            )
    if len(learned) < 2:
        raise UserError(f"{file}: all training images have the label {_quoted(rows[0].label)}", "two are needed")
    if len(learned) > MOST_CLASSES:
        raise UserError(f"{file}: {len(learned):,} labels", f"at most {MOST_CLASSES:,}; is it the right column?")
    if 0 < sum(bool(row.attribute) for row in rows) < len(rows):
        line = next(row.line for row in rows if not row.attribute)
        hint = "give every image one, or leave the column out"
        raise UserError(f"{file}, line {line}: attribute is empty, and other images have one", hint)
    names = group_names(rows)
    if len(names) > 10 * MOST_CLASSES:
        raise UserError(f"{file}: {len(names):,} groups of label and attribute", "is attribute the right column?")
    if len(set(names)) < len(names):
        raise UserError(f"{file}: two groups of label and attribute have one name", "take commas out of them")


# ---------------------------------------------------------------------------------------------------------------------
# files


def checksums(root: Path, rows: Sequence[Row]) -> dict[str, str]:
    """Return the sha256 of every image and mask, in the rows' order.

    They are kept in the cache folder, and hold until a file's size or time of modification changes. Raises UserError
    with its line for a file that is not there.
    """
    lines: dict[str, Row] = {}
    for row in rows:
        for name in (row.path, row.mask):
            if name:
                lines.setdefault(name, row)
    kept_in = cache_root() / "folders" / f"{hashlib.sha256(str(root.resolve()).encode()).hexdigest()[:24]}.json"
    known = _kept(kept_in)
    signatures = _signatures(root, lines)
    stale = [name for name, signature in signatures.items() if known.get(name, [])[:2] != signature]

    def make(name: str) -> str:
        try:
            return hashlib.sha256(_read(root / name)).hexdigest()
        except OSError as error:
            raise _missing(root, lines[name], name, error) from None

    with Preparing(f"{root.name}: checksums", len(stale)) as progress, closing(in_threads(make, stale)) as results:
        for name, sha256 in zip(stale, results, strict=True):
            known[name] = [*signatures[name], sha256]
            progress.step()
    if stale:
        with suppress(OSError):  # a cache that cannot be kept is done without
            kept_in.parent.mkdir(parents=True, exist_ok=True)
            write_file(kept_in, json.dumps({name: known[name] for name in lines}).encode())
    return {name: known[name][2] for name in lines}


def _signatures(root: Path, lines: Mapping[str, Row]) -> dict[str, list[int]]:
    signatures, problem, missing = {}, None, 0
    for name, row in lines.items():
        try:
            info = (root / name).stat()
            if not stat.S_ISREG(info.st_mode):
                raise FileNotFoundError(2, "not a file")
            signatures[name] = [info.st_size, info.st_mtime_ns]
        except (OSError, ValueError) as error:
            missing += 1
            problem = problem or (row, name, error)
    if problem:
        raise _missing(root, *problem, f" (and {missing - 1:,} more)" if missing > 1 else "")
    return signatures


def _missing(root: Path, row: Row, name: str, error: Exception, more: str = "") -> UserError:
    why = "there is no such file" if isinstance(error, FileNotFoundError) else getattr(error, "strerror", None) or error
    column = "path" if name == row.path else "mask"
    return UserError(f"{_at(root, row)}: {column} {name}: {why}{more}", "paths are written from the folder itself")


def _kept(file: Path) -> dict[str, list[Any]]:
    try:
        content = read_json(file)
        if all(
            [type(part) for part in value] == [int, int, str] and re.fullmatch("[0-9a-f]{64}", value[2])
            for value in content.values()
        ):
            return dict(content)
    except (OSError, ValueError, AttributeError, TypeError, IndexError):
        pass
    return {}


def _read(path: Path) -> bytes:
    """Return a file's content. Raises OSError, and ValueError where it is no file, or too large."""
    info = path.stat()
    if not stat.S_ISREG(info.st_mode):
        raise OSError(22, "not a file")
    if info.st_size > LARGEST:
        raise OSError(27, f"larger than {LARGEST >> 20} MiB")
    return path.read_bytes()


def _opening(root: Path, row: Row, name: str, opener: Callable[[bytes, str], Any]) -> Any:
    try:
        content = _read(root / name)
    except OSError as error:
        raise _missing(root, row, name, error) from None
    try:
        return opener(content, f"{_at(root, row)}: {name}")
    except UserError as error:
        raise UserError(error.message, _MEND if error.hint == "fetch it again" else error.hint) from None


def _at(root: Path, row: Row) -> str:
    return f"{root / LIST}, line {row.line}"
