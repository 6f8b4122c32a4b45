"""DecoyMNIST: handwritten digits with a grey square in a corner that gives the label away, in training only.

Source: Ross, Hughes and Doshi-Velez 2017 (arXiv:1703.03717), as described in §4.1 of the CRAYON paper.
"""

import hashlib
import struct
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from crayon_bench import (
    DataFile,
    Dataset,
    Evidence,
    FeedbackKind,
    Found,
    LoadedData,
    Parameters,
    Source,
    Split,
    UserError,
)
from crayon_bench.data.files import files_of, locate, standin_of, unverified
from crayon_bench.data.plain import open_plain

SIZE = 28
PATCH = 4
CORNERS = ((0, 0), (0, SIZE - PATCH), (SIZE - PATCH, 0), (SIZE - PATCH, SIZE - PATCH))
CENTRE = (4, 4, 24, 24)
"""The square that touches no corner patch; MNIST's digits were fitted into 20×20."""

_MIRRORS = (
    "https://ossci-datasets.s3.amazonaws.com/mnist/",
    "https://storage.googleapis.com/cvdf-datasets/mnist/",
    "http://yann.lecun.com/exdb/mnist/",
)


def _file(name: str, size: int, sha256: str, packed_sha256: str) -> DataFile:
    packed = f"{name}.gz"
    dotted = name.replace("-idx", ".idx")
    urls = tuple(mirror + packed for mirror in _MIRRORS)
    return DataFile(name, sha256, size, packed, packed_sha256, urls, also=(dotted, f"{dotted}.gz"))


TRAIN_IMAGES = _file(
    "train-images-idx3-ubyte",
    47_040_016,
    "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
)
TRAIN_LABELS = _file(
    "train-labels-idx1-ubyte",
    60_008,
    "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
)
TEST_IMAGES = _file(
    "t10k-images-idx3-ubyte",
    7_840_016,
    "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
)
TEST_LABELS = _file(
    "t10k-labels-idx1-ubyte",
    10_008,
    "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
    "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
)

_STANDIN = "scikit-learn's 1,797 handwritten digits, enlarged from 8×8 to 20×20 and framed to 28×28"
_STANDIN_SHA256 = "87ff0c9e40dc7e2c0e34e7257799c2e3f3aec1a016363bb11cad869ec428a826"
_STANDIN_TEST = 600


class DecoyParameters(Parameters):
    """How the decoys are placed."""

    seed: int = Field(default=0, ge=0, lt=2**32, description="seed of the corners, and of the test images' greys")
    validation: int = Field(
        default=0, ge=0, le=50_000, description="training images held out as a validation split, decoys as in training"
    )


class DecoyMNIST(Dataset):
    """60,000 training and 10,000 test digits, each with a 4×4 grey square in a uniformly random corner.

    The grey is 255 − 25·digit in training. In the test set it is that of a uniformly random digit, so that a tenth of
    the squares are right by chance. Groups are digit × grey, 100 in all; training has only the ten where they agree.
    """

    name = "decoymnist"
    title = "DecoyMNIST"
    summary = "digits with a corner square whose grey gives the digit away, in training only"
    image_shape = (1, SIZE, SIZE)
    classes = 10
    evidence: ClassVar[Mapping[FeedbackKind, str]] = {
        FeedbackKind.MAP_VERDICT: "",
        FeedbackKind.IRRELEVANT_MASK: "",
        FeedbackKind.BOX: "",
        FeedbackKind.GROUP: "",
        FeedbackKind.RELEVANT_MASK: "DecoyMNIST has no truth about which pixels make a digit, so nobody can be asked "
        "for a map of relevant pixels",
        FeedbackKind.NEURON_VERDICT: "DecoyMNIST has no truth about which image patches are relevant",
    }
    folders = ("MNIST/raw", "mnist", "decoymnist", ".")
    files = (TRAIN_IMAGES, TRAIN_LABELS, TEST_IMAGES, TEST_LABELS)
    Parameters = DecoyParameters
    parameters: DecoyParameters

    @classmethod
    def find(cls, root: Path, source: Source, *, strict: bool) -> Found:
        """Look for MNIST's four idx files, ``.gz`` or plain."""
        reports = files_of(cls, root, source)
        if not reports:
            return standin_of(cls, root, source, _STANDIN, f"{_STANDIN}/{_STANDIN_SHA256}")
        paths = {report.file.name: report.path for report in reports}
        cls.check_files(paths)
        notes = unverified(cls, reports, strict=strict)
        content = hashlib.sha256("".join(report.sha256 for report in reports).encode()).hexdigest()
        return Found(Source.REAL, content, str(reports[0].folder), not notes, notes, paths)

    @classmethod
    def check_files(cls, files: Mapping[str, Path]) -> None:
        """Check magic numbers, dimensions and lengths."""
        for name, path in files.items():
            read_idx(path, 3 if "idx3" in name else 1, header_only=True)
        for images, labels in ((TRAIN_IMAGES, TRAIN_LABELS), (TEST_IMAGES, TEST_LABELS)):
            n, rows, columns = _shape(files[images.name], 3)
            if (rows, columns) != (SIZE, SIZE):
                raise UserError(f"{files[images.name]}: its images are {rows}×{columns}, MNIST's are {SIZE}×{SIZE}")
            if (count := _shape(files[labels.name], 1)[0]) != n or n == 0:
                raise UserError(f"{files[labels.name]}: {count} labels for {n} images in {files[images.name].name}")

    def broken(self, root: Path) -> list[tuple[str, UserError]]:
        """Check each of the four files by itself."""
        wrong = []
        for name, path in locate(type(self), root).items():
            try:
                read_idx(path, 3) if "idx3" in name else _labels(path)
            except UserError as error:
                wrong.append((name, error))
        return wrong

    def load(self, found: Found) -> LoadedData:
        """Decode the digits and draw the decoys."""
        if found.source is Source.STANDIN:
            train_x, train_y, test_x, test_y = _standin()
        else:
            train_x = read_idx(found.files[TRAIN_IMAGES.name], 3)
            train_y = _labels(found.files[TRAIN_LABELS.name])
            test_x = read_idx(found.files[TEST_IMAGES.name], 3)
            test_y = _labels(found.files[TEST_LABELS.name])
        # RandomState and not default_rng: NumPy promises never to change its stream, and the decoys are data.
        random = np.random.RandomState(self.parameters.seed)
        train_corner = random.randint(0, 4, len(train_y))
        test_corner = random.randint(0, 4, len(test_y))
        test_grey = random.randint(0, 10, len(test_y)).astype(np.int64)
        order = random.permutation(len(train_y))
        held = self.parameters.validation
        if held >= len(train_y):
            raise UserError(f"dataset.validation = {held}: there are only {len(train_y)} training images")

        decoyed = with_decoys(train_x, train_corner, train_y)
        names = [f"train-{i:05d}" for i in range(len(train_y))]
        kept, validation = np.sort(order[held:]), np.sort(order[:held])
        test_names = [f"test-{i:05d}" for i in range(len(test_y))]

        def part(index: NDArray[np.int64]) -> Split:
            y = train_y[index]
            return Split(decoyed[index], y, group_of(y, y), [names[i] for i in index])

        return LoadedData(
            train=part(kept),
            validation=part(validation) if held else None,
            test=Split(with_decoys(test_x, test_corner, test_grey), test_y, group_of(test_y, test_grey), test_names),
            class_names=tuple(str(digit) for digit in range(10)),
            group_names=tuple(f"digit {digit}, grey {255 - 25 * grey}" for digit in range(10) for grey in range(10)),
            evidence=DecoyEvidence(),
            test_evidence=DecoyEvidence(),
        )


class DecoyEvidence(Evidence):
    """The same for every image: the four corners must not matter, the central 20×20 square holds the digit."""

    def irrelevant_masks(self, examples: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Return the four 4×4 corners."""
        mask = np.zeros((SIZE, SIZE), dtype=np.bool_)
        for top, left in CORNERS:
            mask[top : top + PATCH, left : left + PATCH] = True
        return np.broadcast_to(mask, (len(examples), SIZE, SIZE))

    def boxes(self, examples: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the central square."""
        return np.broadcast_to(np.array(CENTRE, dtype=np.int64), (len(examples), 4))


def with_decoys(digits: NDArray[np.uint8], corner: NDArray[np.int64], grey: NDArray[np.int64]) -> NDArray[np.uint8]:
    """Return *digits* (N, 28, 28) as (N, 1, 28, 28) with a square of grey 255 − 25·*grey* in *corner* (0–3)."""
    images = digits[:, None].copy()
    shade = (255 - 25 * grey).astype(np.uint8)
    for number, (top, left) in enumerate(CORNERS):
        here = np.flatnonzero(corner == number)
        images[here, :, top : top + PATCH, left : left + PATCH] = shade[here, None, None, None]
    return images


def group_of(digit: NDArray[np.int64], grey: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the group number of digit × grey, both 0–9."""
    return digit * 10 + grey


# ---------------------------------------------------------------------------------------------------------------------
# idx files


def read_idx(path: Path, dimensions: int, *, header_only: bool = False) -> NDArray[np.uint8]:
    """Return an idx file of unsigned bytes (``.gz`` or plain); with *header_only*, check it and return no items.

    Raises UserError naming the file if the magic number, the dimensions or the length are wrong.
    """
    shape = _shape(path, dimensions)
    expected = int(np.prod(shape))
    with open_plain(path) as stream:
        stream.read(4 + 4 * dimensions)
        content: list[bytes] = []
        length = 0
        # In pieces: read() reserves all that it is asked for, and the header may promise gigabytes.
        while length <= expected and (chunk := stream.read(min(1 << 20, expected + 1 - length))):
            length += len(chunk)
            content += [] if header_only else [chunk]
    if length != expected:
        what = "truncated" if length < expected else "too long"
        raise UserError(f"{path}: {what}: {length} bytes of data, its header promises {expected}", "fetch it again")
    return np.frombuffer(b"".join(content), dtype=np.uint8).reshape((0,) if header_only else shape)


def _shape(path: Path, dimensions: int) -> tuple[int, ...]:
    with open_plain(path) as stream:
        header = stream.read(4 + 4 * dimensions)
    if len(header) < 4 + 4 * dimensions:
        raise UserError(f"{path}: truncated: {len(header)} bytes are no idx header", "fetch it again")
    magic, *shape = struct.unpack(f">{1 + dimensions}I", header)
    if magic != 0x0800 + dimensions:
        raise UserError(
            f"{path}: wrong magic number {magic}, expected {0x0800 + dimensions}: not the file it claims to be"
        )
    if int(np.prod(shape, dtype=object)) > 1 << 32:
        raise UserError(f"{path}: its header promises {'×'.join(map(str, shape))} bytes: not MNIST")
    return tuple(shape)


def _labels(path: Path) -> NDArray[np.int64]:
    labels = read_idx(path, 1).astype(np.int64)
    if labels.max() > 9:
        raise UserError(f"{path}: label {labels.max()} is not a digit")
    return labels


# ---------------------------------------------------------------------------------------------------------------------
# stand-in


def _digits() -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return scikit-learn's digits, (1797, 8, 8) from 0 to 16, and their labels.

    From its file where that lies in its place: importing scikit-learn takes each process more than a second.
    """
    package = find_spec("sklearn")
    places = [] if package is None else package.submodule_search_locations or []
    for file in (Path(place) / "datasets" / "data" / "digits.csv.gz" for place in places):
        if file.is_file():
            table = np.loadtxt(file, delimiter=",")
            return table[:, :-1].reshape(-1, 8, 8), table[:, -1].astype(np.int64)
    from sklearn.datasets import load_digits

    bunch = load_digits()
    return bunch.images.astype(np.float64), bunch.target.astype(np.int64)


def _standin() -> tuple[NDArray[np.uint8], NDArray[np.int64], NDArray[np.uint8], NDArray[np.int64]]:
    small, labels = _digits()
    sha256 = hashlib.sha256(small.astype(np.uint8).tobytes() + labels.astype(np.uint8).tobytes()).hexdigest()
    if sha256 != _STANDIN_SHA256:
        raise UserError(f"scikit-learn's digits are not those that this stand-in was made from (sha256 {sha256[:12]}…)")
    # Bilinear enlargement as two matrix products, pixel centres aligned: exact on every machine, unlike an image
    # library's resampling, which changes from version to version.
    centres = (np.arange(20) + 0.5) * 8 / 20 - 0.5
    weights = np.maximum(0.0, 1.0 - np.abs(np.clip(centres, 0, 7)[:, None] - np.arange(8)[None, :]))
    large = np.einsum("ai,nij,bj->nab", weights, small * (255 / 16), weights)
    digits = np.zeros((len(labels), SIZE, SIZE), dtype=np.uint8)
    digits[:, 4:24, 4:24] = np.clip(np.rint(large), 0, 255).astype(np.uint8)
    order = np.random.RandomState(0).permutation(len(labels))
    test, train = order[:_STANDIN_TEST], order[_STANDIN_TEST:]
    return digits[train], labels[train], digits[test], labels[test]
