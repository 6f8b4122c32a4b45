"""Waterbirds as a data set: found, checked, decoded."""

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from importlib.resources import files as package_files
from pathlib import Path
from typing import ClassVar, Literal, Self

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydantic import Field, model_validator

from crayon_bench import (
    DataFile,
    Dataset,
    FeedbackKind,
    Found,
    LoadedData,
    Parameters,
    Pretrained,
    Source,
    Split,
    UserError,
)
from crayon_bench.data.files import files_of, locate, standin_of, unverified
from crayon_bench.data.image_cache import decoded, open_mask, open_picture
from crayon_bench.data.masks import silent_masks
from crayon_bench.data.trees.broken import broken_members
from crayon_bench.data.trees.opening import open_tree
from crayon_bench.data.trees.scans import digest_of
from crayon_bench.data.trees.tree import Tree
from crayon_bench_plugins.datasets.waterbirds.evidence import BirdEvidence, bird_mask
from crayon_bench_plugins.datasets.waterbirds.metadata import Row, corrected, differing_sizes, read_metadata
from crayon_bench_plugins.datasets.waterbirds.published import BUILD_NOTE, GROUPS, PICTURES, SEGMENTATIONS

_STANDIN = "drawn birds"
_EDITIONS = "drawn birds, editions 1 and 2, 150 of 600 among bushes or ponds"
"""What the content hash is of; which of the two it is stands among the parameters."""
STANDIN_MAJORITY, STANDIN_OPEN, STANDIN_VALIDATION, STANDIN_TEST = {1: 600, 2: 150}, 450, 100, 200
"""The stand-in's images of each group, in training of each frequent one; as many of both classes. Few are among bushes
or ponds, so that "no" seldom comes to one of them by chance: shuffled answers would repair else."""


class WaterbirdsParameters(Parameters):
    """How the images are read."""

    later: ClassVar[tuple[str, ...]] = ("edition", "resize")

    size: int = Field(default=224, ge=16, le=1024, description="width and height of the images, in pixels")
    resize: int = Field(
        default=0,
        ge=0,
        le=4096,
        description="pixels, at least size: images and segmentations are resized to resize × resize, and the square of"
        " size × size in the middle is taken; 0: the same as size, nothing is cut off",
    )
    labels: Literal["published", "corrected"] = Field(
        default="published",
        description='"corrected": Eastern Towhee, Western Meadowlark and Western Wood Pewee are landbirds, which the '
        "published labels call waterbirds; their groups follow",
    )
    edition: Literal[1, 2] = Field(
        default=2,
        description="stand-in alone: 2, birds on open ground, a quarter of those in training among bushes or ponds; 1, "
        "birds before scenes of land or water, where all maps are equally wrong and answers carry little",
    )
    standin_minority: int = Field(
        default=6,
        ge=0,
        le=10_000,
        description="stand-in alone: training images of landbirds among ponds, and of waterbirds among bushes;"
        " there are 150 of each with the place of its kind, and 450 of each on open ground. In edition 1: of landbirds"
        " on water, and of waterbirds on land, beside 600",
    )
    validation: bool = Field(default=True, description="whether the validation split is loaded")

    @model_validator(mode="after")
    def _resize_holds_size(self) -> Self:
        if self.resize and self.resize < self.size:
            raise ValueError(f"resize = {self.resize}: not below size, {self.size}, or 0")
        return self

    @property
    def frame(self) -> tuple[int, slice]:
        """What both sides are resized to, and the part of each that is taken; as torchvision's CenterCrop has it."""
        side = self.resize or self.size
        start = round((side - self.size) / 2)
        return side, slice(start, start + self.size)


class Waterbirds(Dataset):
    """Birds on land or water; label: landbird (0) or waterbird (1); groups: label × background.

    Reads the published folder or tar archive with its metadata.csv, and CUB's segmentations as a folder or archive; an
    archive is read in place. Or a set in the same layout that `crayon-bench data build waterbirds` made; it is named
    UNVERIFIED, as is every set whose groups have other sizes than the published ones. Images are resized to
    `size`×`size` (bilinear, antialiased), whatever their aspect, and not normalised; with `resize`, to
    `resize`×`resize`, of which the `size`×`size` in the middle are taken.

    Evidence: the bird is relevant, the rest is not. A segmentation's grey says how many annotators saw bird there; more
    than 127 of 255, the majority, counts. A pixel of the resized mask is bird if more than half of its area is. A bird
    too thin for that keeps the pixels with more than half of the largest mean grey. Mask and box are of the part that
    is taken. If a segmentation is all black, or `resize` cut the whole bird off, nothing is known: the whole image
    counts as relevant, nothing as irrelevant, and the box is the whole image.
    """

    name = "waterbirds"
    title = "Waterbirds"
    summary = "landbirds and waterbirds; in training the background, land or water, gives the bird away"
    image_shape = (3, 224, 224)
    classes = 2
    evidence: ClassVar[Mapping[FeedbackKind, str]] = dict.fromkeys(FeedbackKind, "")
    folders = ("waterbirds", ".")
    files = (PICTURES, SEGMENTATIONS)
    build_inputs: ClassVar[Mapping[str, str]] = {
        "cub": "CUB_200_2011 with images.txt, images/ and, in it or beside it, segmentations/",
        "places": "Places: bamboo_forest or forest/broadleaf (land) and ocean or lake/natural (water), or all four",
    }
    pretrained: ClassVar[Mapping[str, Pretrained]] = {
        "standin": Pretrained(
            package_files("crayon_bench_plugins") / "standins" / "weights" / "birds.safetensors",
            "a954d2382d16bd263366880d30763d9a838498fa869d0abb1bcc372ed16fb269",
        )
    }
    Parameters = WaterbirdsParameters
    parameters: WaterbirdsParameters

    @classmethod
    def find(cls, root: Path, source: Source, *, strict: bool) -> Found:
        """Look for the published set and for CUB's segmentations, each as a folder or an archive."""
        reports = files_of(cls, root, source)
        if not reports:
            return standin_of(cls, root, source, _STANDIN, _EDITIONS)
        paths = {report.file.name: report.path for report in reports}
        pictures, masks, rows = _check(paths)
        notes = unverified(cls, reports, strict=strict)
        parts = (
            hashlib.sha256(pictures.read("metadata.csv")).hexdigest(),
            digest_of(pictures.members, [row.filename for row in rows]),
            digest_of(masks.members, [row.mask for row in rows]),
        )
        content = hashlib.sha256("".join(parts).encode()).hexdigest()
        return Found(Source.REAL, content, str(reports[0].folder), not notes, notes, paths)

    @classmethod
    def check_files(cls, files: Mapping[str, Path]) -> None:
        """Check metadata.csv, and that every image and segmentation that it names is there."""
        _check(files)

    @classmethod
    def check_file(cls, file: DataFile, path: Path) -> None:
        """Check that a fetched archive has the published numbers of images: no checksum of it is published."""
        pictures = open_tree(path, *file.folders)
        rows = read_metadata(pictures)
        if differing := differing_sizes(rows):
            raise UserError(f"{path}: not the published set: {differing}")
        if missing := pictures.missing([row.filename for row in rows]):
            raise UserError(f"{path}: {missing[0]} is missing, which metadata.csv names")

    @classmethod
    def doubts(cls, files: Mapping[str, Path]) -> list[str]:
        """Groups of other sizes than published, or a set of the user's own making."""
        pictures = open_tree(files[PICTURES.name], *PICTURES.folders)
        if BUILD_NOTE in pictures.members:
            try:
                seed = json.loads(pictures.read(BUILD_NOTE))["seed"]
            except (ValueError, KeyError, TypeError):
                seed = "unknown"
            return [f"not the published set, but one made by crayon-bench data build (seed {seed})"]
        differing = differing_sizes(read_metadata(pictures))
        return [f"not the published set, one of your own making perhaps: {differing}"] if differing else []

    @classmethod
    def build(cls, inputs: Mapping[str, Path], output: Path, seed: int, say: Callable[[str], None]) -> None:
        """Build a set from CUB and Places by the published recipe; see ``build.py``."""
        from crayon_bench_plugins.datasets.waterbirds.build import build

        build(inputs["cub"], inputs["places"], output, seed, say)

    def load(self, found: Found) -> LoadedData:
        """Decode images and segmentations, once."""
        if found.source is Source.STANDIN:
            return self._standin()
        pictures, segmentations, rows = _check(found.files)
        if self.parameters.labels == "corrected":
            rows = [corrected(row) for row in rows]
        train, validation, test = ([row for row in rows if row.split == split] for split in range(3))
        if not self.parameters.validation:
            validation = []
        images = self._images(pictures, [*train, *test, *validation])
        masks = self._masks(segmentations, train)
        blank = int(masks.all(axis=(1, 2, 3)).sum())

        def part(part_rows: Sequence[Row], start: int) -> Split:
            groups = np.array([row.group for row in part_rows], dtype=np.int64)
            names = [row.filename for row in part_rows]
            return Split(images[start : start + len(part_rows)], groups // 2, groups, names)

        return LoadedData(
            train=part(train, 0),
            test=part(test, len(train)),
            validation=part(validation, len(train) + len(test)) if validation else None,
            class_names=("landbird", "waterbird"),
            group_names=GROUPS,
            evidence=BirdEvidence(masks),
            test_evidence=BirdEvidence(self._masks(segmentations, test)),
            notes=(silent_masks(blank, len(masks)),) if blank else (),
        )

    def broken(self, root: Path) -> list[tuple[str, UserError]]:
        """Read every image and segmentation that metadata.csv names, as :meth:`load` does."""
        paths = locate(type(self), root)
        pictures = open_tree(paths[PICTURES.name], *PICTURES.folders)
        masks = open_tree(paths[SEGMENTATIONS.name], *SEGMENTATIONS.folders)
        rows = read_metadata(pictures)
        wrong = []
        for tree, lines, decode in (
            (pictures, {row.filename: row.line for row in rows}, self._image),
            (masks, {row.mask: row.line for row in rows}, self._mask),
        ):

            def missing(name: str, tree: Tree = tree, lines: Mapping[str, int] = lines) -> UserError:
                hint = _GET_MASKS if tree is masks else "fetch it again"
                return UserError(f"{tree.path}: {name} is missing, of metadata.csv line {lines[name]}", hint)

            wrong += broken_members(tree, [*lines], missing, partial(decode, tree, lines))
        return wrong

    def _standin(self) -> LoadedData:
        from crayon_bench_plugins.standins.birds.sample import SIZE
        from crayon_bench_plugins.standins.splits import standin_birds, standin_birds_outside

        if self.parameters.size != SIZE[0]:
            raise UserError(
                f"dataset.size = {self.parameters.size}: the stand-in's images have {SIZE[0]} pixels a side",
                f"use the protocol quick, --set dataset.size={SIZE[0]}, or real data",
            )
        if self.parameters.resize not in (0, SIZE[0]):
            raise UserError(
                f"dataset.resize = {self.parameters.resize}: the stand-in's images are drawn at {SIZE[0]} pixels a"
                " side, and there is nothing to resize",
                "use --set dataset.resize=0, or real data",
            )
        rare, often = self.parameters.standin_minority, STANDIN_MAJORITY[self.parameters.edition]
        if self.parameters.edition == 1:
            draw, train = standin_birds, [often, rare, rare, often]
        else:
            draw, train = standin_birds_outside, [often, rare, STANDIN_OPEN, rare, often, STANDIN_OPEN]
        return draw(
            {
                "train": train,
                "validation": [STANDIN_VALIDATION if self.parameters.validation else 0] * len(train),
                "test": [STANDIN_TEST] * len(train),
            }
        )

    def _images(self, tree: Tree, rows: Sequence[Row]) -> NDArray[np.uint8]:
        size = self.parameters.size
        decode = partial(self._image, tree, {row.filename: row.line for row in rows})
        names = [row.filename for row in rows]
        return self._decoded("images", tree, names, f"bilinear {self._how}", (3, size, size), decode)

    def _masks(self, tree: Tree, rows: Sequence[Row]) -> NDArray[np.uint8]:
        size = self.parameters.size
        decode = partial(self._mask, tree, {row.mask: row.line for row in rows})
        names = [row.mask for row in rows]
        return self._decoded("masks", tree, names, f"bird {self._how}", (1, size, size), decode)

    @property
    def _how(self) -> str:
        """What decoded images are kept under."""
        side, _ = self.parameters.frame
        size = self.parameters.size
        return f"{size}" if side == size else f"{side}, centre {size}"

    def _image(self, tree: Tree, lines: Mapping[str, int], item: tuple[str, bytes]) -> NDArray[np.uint8]:
        name, content = item
        picture = open_picture(content, f"{tree.path}: {name} (metadata.csv, line {lines[name]})")
        side, part = self.parameters.frame
        picture = picture.resize((side, side), Image.Resampling.BILINEAR)
        return np.asarray(picture, dtype=np.uint8)[part, part].transpose(2, 0, 1)

    def _mask(self, tree: Tree, lines: Mapping[str, int], item: tuple[str, bytes]) -> NDArray[np.uint8]:
        name, content = item
        mask = open_mask(content, f"{tree.path}: {name} (metadata.csv, line {lines[name]})", shares=True)
        side, part = self.parameters.frame
        bird = bird_mask(mask.levels, side)[part, part]
        return (bird if bird.any() else np.ones_like(bird))[None].astype(np.uint8)

    def _decoded(
        self,
        what: str,
        tree: Tree,
        names: Sequence[str],
        how: str,
        shape: tuple[int, int, int],
        decode: Callable[[tuple[str, bytes]], NDArray[np.uint8]],
    ) -> NDArray[np.uint8]:
        position = {name: number for number, name in enumerate(names)}

        def items() -> Iterator[tuple[int, tuple[str, bytes]]]:
            for name, content in tree.contents(names):
                yield position[name], (name, content)

        key = {"version": self.version, "files": digest_of(tree.members, names), "how": how}
        return decoded(f"{self.name}-{what}", key, (len(names), *shape), items, decode, what=f"{self.name} {what}")


_GET_MASKS = f"get the segmentations from {SEGMENTATIONS.origin}"


def _check(files: Mapping[str, Path]) -> tuple[Tree, Tree, list[Row]]:
    pictures = open_tree(files[PICTURES.name], *PICTURES.folders)
    masks = open_tree(files[SEGMENTATIONS.name], *SEGMENTATIONS.folders)
    rows = read_metadata(pictures)
    for tree, names in ((pictures, [row.filename for row in rows]), (masks, [row.mask for row in rows])):
        if missing := set(tree.missing(names)):
            name, row = next((name, row) for name, row in zip(names, rows, strict=True) if name in missing)
            more = f" and {len(missing) - 1:,} more" if len(missing) > 1 else ""
            hint = _GET_MASKS if tree is masks else "fetch it again"
            if nested := tree.nested(name):
                hint = f"it lies in {nested} there: move what is in that folder up to {tree.path.name} itself"
            raise UserError(f"{tree.path}: {name}{more} is missing, of metadata.csv line {row.line}", hint)
    return pictures, masks, rows
