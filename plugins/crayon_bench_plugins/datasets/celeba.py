"""Biased CelebA: faces labelled smiling or not, where in training hair colour gives the label away.

Source: Liu et al. 2015 (aligned and cropped images); the biased draw is that of the CRAYON paper.
"""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.resources import files as package_files
from importlib.resources.abc import Traversable
from itertools import count, islice
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydantic import Field

from crayon_bench import (
    DataFile,
    Dataset,
    Evidence,
    FeedbackKind,
    Found,
    LoadedData,
    Parameters,
    Pretrained,
    Source,
    Split,
    UserError,
)
from crayon_bench.data.files import inspect, open_plain, unverified
from crayon_bench.data.image_cache import decoded, open_picture
from crayon_bench.data.trees import Tree, digest_of, open_tree

WIDTH, HEIGHT = 178, 218
"""The aligned frame, in pixels, in which the mouth box is given."""
MOUTH = (136, 58, 170, 120)
"""Top, left, bottom, right in the aligned frame; the corners of the mouth lie near (72, 152) and (105, 152)."""

GROUPS = ("black hair, not smiling", "black hair, smiling", "blond hair, not smiling", "blond hair, smiling")
_MAJORITY = (1, 2)
_TRAIN, _VALIDATION, _TEST = 0, 1, 2
"""Partitions of ``list_eval_partition.txt``."""

_ORIGIN = "the official site, mmlab.ie.cuhk.edu.hk/projects/CelebA.html (folders Img, Anno and Eval)"
_DRIVE = "https://drive.usercontent.google.com/download?export=download&confirm=t&id="
_UCSD = "https://cseweb.ucsd.edu/~weijian/static/datasets/celeba/"

IMAGES = DataFile(
    "img_align_celeba",
    "",
    1_443_490_838,
    "img_align_celeba.zip",
    "",
    (_DRIVE + "0B7EVK8r0v71pZjFTYXZWM3FlRnM", _UCSD + "img_align_celeba.zip"),
    packed_md5="00d2c5bc6d35e252742224ab0c1e8fcb",
    tree=True,
    members=202_599,
    origin=_ORIGIN,
)
ATTRIBUTES = DataFile(
    "list_attr_celeba.txt",
    "",
    26_721_026,
    "list_attr_celeba.txt",
    "",
    (_DRIVE + "0B7EVK8r0v71pblRyaVFSWGxPY0U", _UCSD + "list_attr_celeba.txt"),
    packed_md5="75e246fa4810816ffd6ee81facbd244c",
    origin=_ORIGIN,
)
PARTITION = DataFile(
    "list_eval_partition.txt",
    "",
    2_836_386,
    "list_eval_partition.txt",
    "",
    (_DRIVE + "0B7EVK8r0v71pY0NSMzRuSXJEVkk", _UCSD + "list_eval_partition.txt"),
    packed_md5="d32c9cbf5e040fd4025c592c306e6668",
    origin=_ORIGIN,
)

_STANDIN = "drawn faces, 1st edition"


class CelebAParameters(Parameters):
    """How many images of each group are drawn, and how large they are."""

    majority: int = Field(
        default=10_000,
        ge=1,
        le=200_000,
        description="training images of each of the two frequent groups: black hair and smiling, blond and not smiling",
    )
    minority: int = Field(
        default=100,
        ge=0,
        le=200_000,
        description="training images of each of the two rare groups: black hair and not smiling, blond and smiling",
    )
    test: int = Field(default=2_000, ge=1, le=200_000, description="test images of each of the four groups")
    validation: int = Field(default=0, ge=0, le=200_000, description="validation images of each of the four groups")
    scale: float = Field(
        default=1.0,
        gt=0,
        le=10,
        description="factor on the four numbers above; products are rounded, and what was 1 or more stays at least 1",
    )
    size: int = Field(
        default=224, ge=16, le=1024, description="shorter side of the images in pixels; 224 gives 224 wide, 274 high"
    )

    def wanted(self, scale: float | None = None) -> "Wanted":
        """Return the numbers of images after scaling, by *scale* instead of :attr:`scale` if given."""
        factor = self.scale if scale is None else scale

        def scaled(number: int) -> int:
            return max(1, round(number * factor)) if number else 0

        rare, often = scaled(self.minority), scaled(self.majority)
        train = tuple(often if group in _MAJORITY else rare for group in range(len(GROUPS)))
        return Wanted(train, scaled(self.test), scaled(self.validation))


@dataclass(frozen=True)
class Wanted:
    """Numbers of images: *train* by group, *test* and *validation* of each group."""

    train: tuple[int, ...]
    test: int
    validation: int


@dataclass(frozen=True)
class Listing:
    """The two text files, in file order. groups: int64 (N,), −1 where hair is neither just black nor just blond."""

    names: tuple[str, ...]
    groups: NDArray[np.int64]
    partition: NDArray[np.int64]

    def positions(self, partition: int, group: int) -> NDArray[np.int64]:
        """Return where a partition's images of a group are, in file order."""
        return np.flatnonzero((self.partition == partition) & (self.groups == group))


class CelebA(Dataset):
    """Aligned CelebA faces; label: smiling (1) or not (0); groups: black or blond hair × not smiling or smiling.

    Only images with exactly one of the attributes Black_Hair and Blond_Hair take part. No random draw is made. In the
    order of list_attr_celeba.txt, each group gives

    * to training its first `majority` or `minority` images of the official partition 0;
    * to the test its first `test` images of partition 2. Where partition 2 has fewer (the official one has some 1,100
      that are blond and not smiling), the last ones of partition 1 fill up;
    * to validation its first `validation` images of partition 1, never one that the test took.

    Images are resized so that the shorter side has `size` pixels (bilinear, antialiased; the longer side is rounded
    down) and not normalised. Evidence: the mouth is relevant, everything else is not. The mouth box is the same for
    all images, because they are aligned: x 58 to 120, y 136 to 170 in the frame of 178×218, scaled with the image.
    """

    name = "celeba"
    title = "Biased CelebA"
    summary = "faces, smiling or not; in training black hair smiles and blond hair does not"
    image_shape = (3, 274, 224)
    classes = 2
    evidence: ClassVar[Mapping[FeedbackKind, str]] = dict.fromkeys(FeedbackKind, "")
    folders = ("celeba", ".")
    files = (IMAGES, ATTRIBUTES, PARTITION)
    pretrained: ClassVar[Mapping[str, Pretrained]] = {
        "standin": Pretrained(
            package_files("crayon_bench_plugins") / "standins" / "weights" / "faces.safetensors",
            "14759ecd6badc0dc0dfb323212786cf27556cd72293bb8eaba0c5e4fb04e43a2",
        )
    }
    Parameters = CelebAParameters
    parameters: CelebAParameters

    @classmethod
    def protocols(cls) -> Traversable:
        """Return the folder of built-in protocols."""
        return package_files("crayon_bench_plugins") / "protocols" / cls.name

    @classmethod
    def find(cls, root: Path, source: Source, *, strict: bool) -> Found:
        """Look for the images, as a folder or the official zip, and the two text files."""
        reports = [] if source is Source.STANDIN else inspect(cls, root)
        if not reports:
            if source is Source.REAL:
                looked = ", ".join(str(root / folder) for folder in cls.folders)
                raise UserError(
                    f"no CelebA files found (looked in {looked} for {', '.join(file.packed for file in cls.files)})",
                    "crayon-bench data prepare celeba, data import celeba FOLDER, or --data-root DIR",
                )
            return Found(Source.STANDIN, hashlib.sha256(_STANDIN.encode()).hexdigest(), _STANDIN)
        paths = {report.file.name: report.path for report in reports}
        listing, tree = _check(paths)
        notes = unverified(cls, reports, strict=strict)
        # The listed images alone and in their order: what else lies in the folder changes nothing.
        images = digest_of(tree.members, listing.names)
        texts = "".join(report.sha256 for report in reports if not report.file.tree)
        content = hashlib.sha256((images + texts).encode()).hexdigest()
        return Found(Source.REAL, content, str(reports[0].path.parent), not notes, notes, paths)

    @classmethod
    def check_files(cls, files: Mapping[str, Path]) -> None:
        """Check the format of the text files, that every listed image is there, and the first one's frame."""
        _check(files)

    @classmethod
    def doubts(cls, files: Mapping[str, Path]) -> list[str]:
        """Images of another size than the published ones."""
        first = next(line for line in islice(_lines(files[ATTRIBUTES.name]), 2, None) if line.strip()).split()[0]
        width, height = _size_of(open_tree(files[IMAGES.name], IMAGES.name), first)
        if (width, height) == (WIDTH, HEIGHT):
            return []
        return [f"the images are {width}×{height} pixels, the published ones {WIDTH}×{HEIGHT}"]

    def load(self, found: Found) -> LoadedData:
        """Draw the groups and decode the images that were drawn, once."""
        if found.source is Source.STANDIN:
            return self._standin()
        listing = read_listing(found.files)
        parts = draw(listing, self.parameters, found.where)
        path, size = found.files[IMAGES.name], self.parameters.size
        tree = open_tree(path, IMAGES.name)
        height, width = resized(_size_of(tree, listing.names[0]), size)
        names = [listing.names[i] for part in parts for i in part]
        position = {name: i for i, name in enumerate(names)}

        def items() -> Iterator[tuple[int, tuple[str, bytes]]]:
            for name, content in tree.contents(names):
                yield position[name], (name, content)

        def decode(item: tuple[str, bytes]) -> NDArray[np.uint8]:
            name, content = item
            picture = open_picture(content, f"{path}: {name}")
            if resized(picture.size, size) != (height, width):
                raise UserError(
                    f"{path}: {name} is {picture.width}×{picture.height}, which has not the aspect of the other images",
                    "the aligned images all have the same aspect, 178×218",
                )
            picture = picture.resize((width, height), Image.Resampling.BILINEAR)
            return np.asarray(picture, dtype=np.uint8).transpose(2, 0, 1)

        key = {
            "version": self.version,
            "images": digest_of(tree.members, names),
            "resize": f"bilinear, shorter side {size}",
        }
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
        )

    def _standin(self) -> LoadedData:
        from crayon_bench_plugins.standins import faces, splits

        if self.parameters.size != faces.SIZE[1]:
            raise UserError(
                f"dataset.size = {self.parameters.size}: the stand-in's faces are {faces.SIZE[1]} pixels wide",
                f"use the protocol quick, --set dataset.size={faces.SIZE[1]}, or real data",
            )
        wanted = self.parameters.wanted()
        return splits.standin_faces(
            {"train": wanted.train, "validation": [wanted.validation] * 4, "test": [wanted.test] * 4}
        )


class MouthEvidence(Evidence):
    """The mouth box of aligned faces, in images of *height* × *width* pixels."""

    def __init__(self, height: int, width: int) -> None:
        self.shape = height, width
        top, left, bottom, right = MOUTH
        self.box = (
            round(top * height / HEIGHT),
            round(left * width / WIDTH),
            round(bottom * height / HEIGHT),
            round(right * width / WIDTH),
        )

    def relevant_masks(self, examples: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Return the mouth box."""
        mask = np.zeros(self.shape, dtype=np.bool_)
        top, left, bottom, right = self.box
        mask[top:bottom, left:right] = True
        return np.broadcast_to(mask, (len(examples), *self.shape))

    def irrelevant_masks(self, examples: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Return everything but the mouth box."""
        return ~self.relevant_masks(examples)

    def boxes(self, examples: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the mouth box."""
        return np.broadcast_to(np.array(self.box, dtype=np.int64), (len(examples), 4))


def resized(size: tuple[int, int], shorter: int) -> tuple[int, int]:
    """Return (height, width) of an image of *size* (width, height) whose shorter side becomes *shorter*."""
    width, height = size
    if width <= height:
        return int(shorter * height / width), shorter
    return shorter, int(shorter * width / height)


# ---------------------------------------------------------------------------------------------------------------------
# which images


def draw(
    listing: Listing, parameters: CelebAParameters, where: str
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Return the positions of the training, test and validation images, each in file order.

    Raises UserError, with what each group has and the largest scale that would work, if a group has too few.
    """
    wanted = parameters.wanted()
    have = [
        tuple(len(listing.positions(partition, group)) for partition in (_TRAIN, _VALIDATION, _TEST))
        for group in range(len(GROUPS))
    ]
    if not _fits(wanted, have):
        raise UserError(_too_few(wanted, have, where), _advice(parameters, have))
    train, test, validation = [], [], []
    for group in range(len(GROUPS)):
        official, reserve = listing.positions(_TEST, group), listing.positions(_VALIDATION, group)
        train.append(listing.positions(_TRAIN, group)[: wanted.train[group]])
        validation.append(reserve[: wanted.validation])
        test.append(official[: wanted.test])
        if (more := wanted.test - len(official)) > 0:
            test.append(reserve[len(reserve) - more :])
    first, second, third = (np.sort(np.concatenate(part)) for part in (train, test, validation))
    return first, second, third


def _fits(wanted: Wanted, have: list[tuple[int, ...]]) -> bool:
    return all(
        train <= in_train and wanted.validation + max(0, wanted.test - in_test) <= in_validation
        for train, (in_train, in_validation, in_test) in zip(wanted.train, have, strict=True)
    )


def _too_few(wanted: Wanted, have: list[tuple[int, ...]], where: str) -> str:
    rows = []
    for name, train, (in_train, in_validation, in_test) in zip(GROUPS, wanted.train, have, strict=True):
        row = f"{name}: training {in_train:,} / {train:,}, test {in_test:,} / {wanted.test:,}"
        more = max(0, wanted.test - in_test)
        row += f", validation {in_validation:,} / {wanted.validation:,}" + (f" + {more:,} for the test" if more else "")
        rows.append(row)
    return f"{where}: too few images (found / asked for): {'; '.join(rows)}"


def _advice(parameters: CelebAParameters, have: list[tuple[int, ...]]) -> str:
    # Four decimals are enough; from above, so that the first that fits is the largest.
    bound = 10.0
    for train, (in_train, in_validation, in_test) in zip(parameters.wanted(1.0).train, have, strict=True):
        reserve = in_validation + in_test
        for asked, available in (
            (train, in_train),
            (parameters.validation, in_validation),
            (parameters.test + parameters.validation, reserve),
        ):
            if asked:
                bound = min(bound, (available + 1) / asked)
    for steps in range(int(bound * 10_000), 0, -1):
        if _fits(parameters.wanted(steps / 10_000), have):
            return f"largest that works: --set dataset.scale={steps / 10_000:g}"
    return "no scale of 0.0001 or more works: set majority, minority, test and validation yourself"


# ---------------------------------------------------------------------------------------------------------------------
# files


def read_listing(files: Mapping[str, Path]) -> Listing:
    """Read the two text files (plain name → path). Raises UserError naming the file and the line that is wrong."""
    path = files[ATTRIBUTES.name]
    lines = _lines(path)
    announced = lines[0].strip() if lines else ""
    header = lines[1].split() if len(lines) > 1 else []
    if not announced.isdigit() or len(announced) > 18 or not header:
        raise UserError(
            f"{path}: line 1 must be the number of images, line 2 the names of the attributes",
            "this is not the official list_attr_celeba.txt",
        )
    columns = {}
    for name in ("Black_Hair", "Blond_Hair", "Smiling"):
        if header.count(name) != 1:
            raise UserError(f"{path}: line 2 must name the attribute {name} once")
        columns[name] = header.index(name) + 1
    names: list[str] = []
    values = []
    for number, line in zip(count(3), lines[2:], strict=False):
        words = line.split()
        if not words:
            continue
        if len(words) != len(header) + 1:
            raise UserError(f"{path}: line {number}: {len(words) - 1} values instead of {len(header)}")
        value = tuple(words[column] for column in columns.values())
        if not set(value) <= {"1", "-1"}:
            raise UserError(f"{path}: line {number}: a value is neither 1 nor -1")
        names.append(words[0])
        values.append([word == "1" for word in value])
    if len(names) != int(announced):
        raise UserError(f"{path}: {len(names):,} rows, line 1 promises {int(announced):,}", "fetch it again")
    if not names:
        raise UserError(f"{path}: it lists no images")
    black, blond, smiling = np.array(values, dtype=np.bool_).T
    groups = np.where(black != blond, 2 * blond.astype(np.int64) + smiling, -1)
    return Listing(tuple(names), groups, _read_partition(files[PARTITION.name], names, path))


def _read_partition(path: Path, names: list[str], attributes: Path) -> NDArray[np.int64]:
    partition: dict[str, int] = {}
    for number, line in enumerate(_lines(path), start=1):
        words = line.split()
        if not words:
            continue
        if len(words) != 2 or words[1] not in ("0", "1", "2"):
            raise UserError(f"{path}: line {number}: expected an image's name and 0, 1 or 2")
        if words[0] in partition:
            raise UserError(f"{path}: line {number}: {words[0]} is there twice")
        partition[words[0]] = int(words[1])
    if len(set(names)) < len(names):
        seen: set[str] = set()
        twice = next(name for name in names if name in seen or seen.add(name))  # type: ignore[func-returns-value]
        raise UserError(f"{attributes}: {twice} is there twice")
    for name in names:
        if name not in partition:
            raise UserError(f"{path}: {name} is missing, which {attributes.name} lists", "the two must belong together")
    return np.array([partition[name] for name in names], dtype=np.int64)


def _lines(path: Path) -> list[str]:
    with open_plain(path) as stream:
        content = stream.read()
    if content.lstrip()[:1] == b"<":
        raise UserError(f"{path}: an HTML page, not the text file", "open it in a browser to see what it says")
    try:
        return content.decode("ascii").splitlines()
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not a text file (byte {error.start})", "fetch it again") from None


def _check(files: Mapping[str, Path]) -> tuple[Listing, Tree]:
    listing = read_listing(files)
    path = files[IMAGES.name]
    tree = open_tree(path, IMAGES.name)
    missing = tree.missing(listing.names)
    if missing:
        more = f" and {len(missing) - 1:,} more are" if len(missing) > 1 else " is"
        what = f"{path}: {missing[0]}{more} missing, which {ATTRIBUTES.name} lists"
        raise UserError(what, f"fetch the images again, or take the lines of missing ones out of {ATTRIBUTES.name}")
    width, height = _size_of(tree, listing.names[0])
    if abs(width / height / (WIDTH / HEIGHT) - 1) > 0.02:
        raise UserError(
            f"{path}: {listing.names[0]} is {width}×{height}, and the aligned images have the aspect {WIDTH}×{HEIGHT}",
            "take img_align_celeba, not the images in the wild",
        )
    return listing, tree


def _size_of(tree: Tree, name: str) -> tuple[int, int]:
    return open_picture(tree.read(name), f"{tree.path}: {name}").size
