"""Biased CelebA as a data set: found, checked, drawn, decoded."""

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import suppress
from functools import partial
from importlib.resources import files as package_files
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from crayon_bench import Dataset, FeedbackKind, Found, LoadedData, Pretrained, Source, Split, UserError
from crayon_bench.data.files import files_of, locate, standin_of, unverified
from crayon_bench.data.image_cache import decoded, open_picture
from crayon_bench.data.trees.broken import broken_members
from crayon_bench.data.trees.opening import open_tree
from crayon_bench.data.trees.scans import digest_of
from crayon_bench.data.trees.tree import Tree
from crayon_bench_plugins.datasets.celeba.chosen import chosen
from crayon_bench_plugins.datasets.celeba.draw import CelebAParameters, draw
from crayon_bench_plugins.datasets.celeba.evidence import MouthEvidence
from crayon_bench_plugins.datasets.celeba.listing import Listing, read_listing
from crayon_bench_plugins.datasets.celeba.published import ATTRIBUTES, GROUPS, HEIGHT, IMAGES, PARTITION, WIDTH

_STANDIN = "drawn faces, 1st and 2nd edition"


class CelebA(Dataset):
    """Aligned CelebA faces; label: smiling (1) or not (0); groups: black or blond hair × not smiling or smiling.

    Only images with exactly one of the attributes Black_Hair and Blond_Hair take part. No random draw is made. In the
    order of list_attr_celeba.txt, each group gives

    * to training its first `majority` or `minority` images of the official partition 0;
    * to the test its first `test` images of partition 2. Where partition 2 has fewer (the official one has some 1,100
      that are blond and not smiling), the last ones of partition 1 fill up;
    * to validation its first `validation` images of partition 1, never one that the test took.

    With `list`, a file of names and splits, these images are taken instead, in the order of the file; each must have
    exactly one of the two attributes too, and every group training and test images.

    Images are resized so that the shorter side has `size` pixels (bilinear, antialiased; the longer side is rounded
    down) and not normalised. Evidence: the mouth is relevant, everything else is not. The mouth box is the same for
    all images, because they are aligned: x 58 to 120, y 136 to 170 in the frame of 178×218, scaled with the image.
    """

    name = "celeba"
    title = "Biased CelebA"
    summary = "faces, smiling or not; in training hair colour (in the stand-in, a sticker) gives it away"
    image_shape = (3, 274, 224)
    classes = 2
    evidence: ClassVar[Mapping[FeedbackKind, str]] = dict.fromkeys(FeedbackKind, "")
    folders = ("celeba", ".")
    files = (IMAGES, ATTRIBUTES, PARTITION)
    pretrained: ClassVar[Mapping[str, Pretrained]] = {
        "standin": Pretrained(
            package_files("crayon_bench_plugins") / "standins" / "weights" / "faces.safetensors",
            "c2a2af0fc798faab4874a4c29f02e68fb7c3440827458e924b81faf2776e11cd",
        )
    }
    Parameters = CelebAParameters
    parameters: CelebAParameters

    @classmethod
    def find(cls, root: Path, source: Source, *, strict: bool) -> Found:
        """Look for the images, as a folder or the official zip, and the two text files, official or CSV."""
        reports = files_of(cls, root, source)
        if not reports:
            return standin_of(cls, root, source, _STANDIN)
        paths = {report.file.name: report.path for report in reports}
        listing, tree = _check(paths)
        notes = unverified(cls, reports, strict=strict)
        # The listed images alone and in their order: what else lies in the folder changes nothing.
        images = digest_of(tree.members, listing.names)
        texts = "".join(report.sha256 for report in reports if not report.file.tree)
        content = hashlib.sha256((images + texts).encode()).hexdigest()
        return Found(Source.REAL, content, str(reports[0].folder), not notes, notes, paths)

    @classmethod
    def check_files(cls, files: Mapping[str, Path]) -> None:
        """Check the format of the text files, that every listed image is there, and the first one's frame."""
        _check(files)

    @classmethod
    def doubts(cls, files: Mapping[str, Path]) -> list[str]:
        """Images of another size than the published ones."""
        first = read_listing(files).names[0]
        width, height = _size_of(open_tree(files[IMAGES.name], *IMAGES.folders), first)
        if (width, height) == (WIDTH, HEIGHT):
            return []
        return [f"the images are {width}×{height} pixels, the published ones {WIDTH}×{HEIGHT}"]

    def notes(self, found: Found) -> tuple[str, ...]:
        """Add which list the images are of. Raises UserError if it is wrong."""
        for name, path in self.parameters.paths().items():
            if found.source is Source.STANDIN:
                self._refuse_list()
            parts = chosen(path, read_listing(found.files))
            train, test, validation = (f"{len(part):,}" for part in parts)
            content = self.parameters.to_dict()[name]
            note = f"images of a list ({content[:15]}…): {train} training, {test} test, {validation} validation"
            return (*found.notes, note)
        return found.notes

    def _refuse_list(self) -> None:
        if self.parameters.list:
            what = f"dataset.list = {self.parameters.list}: the stand-in has none of these images"
            raise UserError(what, "use real data: --data-root DIR")

    def load(self, found: Found) -> LoadedData:
        """Draw the groups, or take those of a list, and decode the images that were drawn, once."""
        if found.source is Source.STANDIN:
            return self._standin()
        listing = read_listing(found.files)
        path = self.parameters.paths().get("list")
        parts = draw(listing, self.parameters, found.where) if path is None else chosen(path, listing)
        size = self.parameters.size
        tree = open_tree(found.files[IMAGES.name], *IMAGES.folders)
        height, width = resized(_size_of(tree, listing.names[0]), size)
        names = [listing.names[i] for part in parts for i in part]
        position = {name: i for i, name in enumerate(names)}

        def items() -> Iterator[tuple[int, tuple[str, bytes]]]:
            for name, content in tree.contents(names):
                yield position[name], (name, content)

        key = {
            "version": self.version,
            "images": digest_of(tree.members, names),
            "resize": f"bilinear, shorter side {size}",
        }
        decode = partial(self._decode, tree, (height, width))
        pixels = decoded(self.name, key, (len(names), 3, height, width), items, decode, what=f"{self.name} images")
        splits = []
        for part, start in zip(parts, np.cumsum([0, *map(len, parts)]), strict=False):
            groups = listing.groups[part]
            ids = [listing.names[i] for i in part]
            splits.append(Split(pixels[start : start + len(part)], groups % 2, groups, ids))
        train, test, validation = splits
        return LoadedData(
            train=train,
            test=test,
            validation=validation if len(validation) else None,
            class_names=("not smiling", "smiling"),
            group_names=GROUPS,
            evidence=MouthEvidence(height, width),
            test_evidence=MouthEvidence(height, width),
        )

    def broken(self, root: Path) -> list[tuple[str, UserError]]:
        """Read every image that is listed, as :meth:`load` reads those that are drawn."""
        paths = locate(type(self), root)
        names, tree = read_listing(paths).names, open_tree(paths[IMAGES.name], *IMAGES.folders)
        frame = None
        for name in names:
            with suppress(UserError):
                if _is_aligned(size := _size_of(tree, name)):
                    frame = resized(size, self.parameters.size)
                    break
        if frame is None:  # other images altogether: that is said, and not of each of them
            return []
        attributes = paths[ATTRIBUTES.name].name
        hint = f"fetch it again, or take its line out of {attributes}"

        def missing(name: str) -> UserError:
            return UserError(f"{tree.path}: {name} is missing, which {attributes} lists", hint)

        return broken_members(tree, names, missing, partial(self._decode, tree, frame))

    def _decode(self, tree: Tree, frame: tuple[int, int], item: tuple[str, bytes]) -> NDArray[np.uint8]:
        """Return an image, (3, height, width); *frame* is (height, width)."""
        name, content = item
        picture = open_picture(content, f"{tree.path}: {name}")
        if resized(picture.size, self.parameters.size) != frame:
            what = f"{tree.path}: {name} is {picture.width}×{picture.height}, which has not the aspect of the others"
            raise UserError(what, "the aligned images all have the same aspect, 178×218")
        picture = picture.resize(frame[::-1], Image.Resampling.BILINEAR)
        return np.asarray(picture, dtype=np.uint8).transpose(2, 0, 1)

    def _standin(self) -> LoadedData:
        from crayon_bench_plugins.standins.faces.sample import SIZE
        from crayon_bench_plugins.standins.splits import standin_faces

        self._refuse_list()
        if self.parameters.size != SIZE[1]:
            raise UserError(
                f"dataset.size = {self.parameters.size}: the stand-in's faces are {SIZE[1]} pixels wide",
                f"use the protocol quick, --set dataset.size={SIZE[1]}, or real data",
            )
        return standin_faces(self.parameters.of_standin(), self.parameters.edition)


def resized(size: tuple[int, int], shorter: int) -> tuple[int, int]:
    """Return (height, width) of an image of *size* (width, height) whose shorter side becomes *shorter*."""
    width, height = size
    if width <= height:
        return int(shorter * height / width), shorter
    return shorter, int(shorter * width / height)


def _check(files: Mapping[str, Path]) -> tuple[Listing, Tree]:
    listing = read_listing(files)
    path = files[IMAGES.name]
    tree = open_tree(path, *IMAGES.folders)
    missing = tree.missing(listing.names)
    if missing:
        more = f" and {len(missing) - 1:,} more are" if len(missing) > 1 else " is"
        attributes = files[ATTRIBUTES.name].name
        what = f"{path}: {missing[0]}{more} missing, which {attributes} lists"
        hint = f"fetch the images again, or take the lines of missing ones out of {attributes}"
        if nested := tree.nested(missing[0]):
            hint = f"it lies in {nested} there: move the images from that folder to {IMAGES.name} itself"
        raise UserError(what, hint)
    width, height = _size_of(tree, listing.names[0])
    if not _is_aligned((width, height)):
        raise UserError(
            f"{path}: {listing.names[0]} is {width}×{height}, and the aligned images have the aspect {WIDTH}×{HEIGHT}",
            "take img_align_celeba, not the images in the wild",
        )
    return listing, tree


def _is_aligned(size: tuple[int, int]) -> bool:
    return abs(size[0] / size[1] / (WIDTH / HEIGHT) - 1) <= 0.02


def _size_of(tree: Tree, name: str) -> tuple[int, int]:
    return open_picture(tree.read(name), f"{tree.path}: {name}").size
