"""The Dataset interface: images, labels and groups in splits, plus evidence that only an oracle may read.

To add a dataset, subclass :class:`Dataset`, set the class attributes, and write two methods:

* ``find(root, source, strict=…)``, a class method, says which data there are, without decoding them. It returns a
  :class:`Found`, whose ``content`` hash goes into every run's key; two different contents must never hash alike.
* ``load(found)`` decodes them into a :class:`LoadedData`.

Optional: ``notes`` (what stands under every table), ``protocols`` (a folder of TOML files; ``default_protocol`` names
the default on real data, ``quick`` is it on a stand-in), ``takes_path`` (for one that may be any folder), ``files``
(what ``data prepare``, ``import`` and ``verify`` fetch and check) and ``Parameters``.

An instance is given ``self.parameters``. It is made anew for each use and must keep no state between uses; two calls
of ``load`` with the same parameters and content return the same arrays.
"""

import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from functools import wraps
from importlib.resources import files as package_files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from crayon_bench.errors import GuardError, UserError
from crayon_bench.feedback import FeedbackKind
from crayon_bench.guard import require_open
from crayon_bench.parameters import Parameters as AnyParameters


class Source(StrEnum):
    """Where the data may come from. ``auto``: real files where they are, the stand-in where they are not."""

    AUTO = "auto"
    REAL = "real"
    STANDIN = "standin"


@dataclass(frozen=True)
class Found:
    """What :meth:`Dataset.find` found.

    source: ``Source.REAL`` or ``Source.STANDIN``.
    content: hash of the content, independent of how it is packed.
    where: for people: a folder, or where the stand-in comes from.
    verified: the files have the published checksums. A stand-in counts as verified: there is one.
    notes: sentences that stand under every table made from these data, such as which file is unverified.
    files: name → path, for :meth:`Dataset.load`.
    unable: kind of feedback → why these very data have no evidence for it, where that differs from folder to folder.
    title: in place of the data set's own, where a data set may be any folder; ``""``: the data set's.
    class_names: by label, where a data set may be any folder; empty: there are ``Dataset.classes``.
    remarks: sentences for the terminal alone, such as how many empty rows were skipped.
    """

    source: Source
    content: str
    where: str
    verified: bool = True
    notes: tuple[str, ...] = ()
    files: Mapping[str, Path] = field(default_factory=dict)
    unable: Mapping[FeedbackKind, str] = field(default_factory=dict)
    title: str = ""
    class_names: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()


class Split:
    """One split: N images with labels and groups. Closed to methods while they run: :mod:`crayon_bench.guard`.

    images: uint8 array (N, C, H, W), 0–255; may be a memory map.
    labels: int64 array (N,), in [0, number of classes).
    groups: int64 array (N,), in [0, number of groups); all 0 where there are no groups; −1 where an example's group is
    not known. Metrics of groups are undefined on a split with one of these, and of training images nobody can then be
    asked for groups: :attr:`Found.unable` has to say why.
    ids: N different strings that name the examples for good, never their positions.

    Raises ValueError if shapes or types disagree, GuardError if a method makes or reads one.
    """

    __slots__ = ("_groups", "_images", "_labels", "ids")

    def __init__(
        self, images: NDArray[np.uint8], labels: NDArray[np.int64], groups: NDArray[np.int64], ids: Sequence[str]
    ) -> None:
        require_open("a data set's splits")
        n = len(images)
        if images.ndim != 4 or images.dtype != np.uint8:
            raise ValueError(f"images must be uint8 (N, C, H, W), not {images.dtype} {images.shape}")
        for name, values in (("labels", labels), ("groups", groups)):
            if values.shape != (n,) or values.dtype != np.int64:
                raise ValueError(f"{name} must be int64 ({n},), not {values.dtype} {values.shape}")
        if len(ids) != n or len(set(ids)) != n:
            raise ValueError(f"ids must be {n} different strings")
        self._images = images
        self._labels = labels
        self._groups = groups
        self.ids = tuple(ids)

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def images(self) -> NDArray[np.uint8]:
        """The images, uint8 (N, C, H, W)."""
        require_open("a split's images")
        return self._images

    @property
    def labels(self) -> NDArray[np.int64]:
        """Label of each example, int64 (N,)."""
        require_open("a split's labels")
        return self._labels

    @property
    def groups(self) -> NDArray[np.int64]:
        """Group of each example, int64 (N,)."""
        require_open("group labels")
        return self._groups


_EVIDENCE = ("relevant_masks", "irrelevant_masks", "boxes")


class Evidence:
    """Where the truth lies in the training images. Subclass it and override what the data set has.

    Each method takes ``examples``, int64 positions in the training split (n,), and returns one answer per position.
    Masks have the images' height and width. What is not overridden raises GuardError, and so does every method while
    a refinement method runs, except on behalf of the oracle: overriding methods are fenced in when the class is made.
    """

    def __init_subclass__(cls, **keywords: Any) -> None:
        super().__init_subclass__(**keywords)
        for name in _EVIDENCE:
            if name in cls.__dict__:
                setattr(cls, name, _fenced(cls.__dict__[name]))

    def has(self, what: str) -> bool:
        """Return whether this evidence has *what*: ``relevant_masks``, ``irrelevant_masks`` or ``boxes``."""
        return getattr(type(self), what) is not getattr(Evidence, what)

    def relevant_masks(self, examples: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Pixels that matter: bool (n, H, W)."""
        raise GuardError("this data set has no masks of relevant pixels")

    def irrelevant_masks(self, examples: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Pixels that must not matter: bool (n, H, W)."""
        raise GuardError("this data set has no masks of irrelevant pixels")

    def boxes(self, examples: NDArray[np.int64]) -> NDArray[np.int64]:
        """Boxes around what matters: int64 (n, 4), as top, left, bottom, right in pixels; bottom and right excluded."""
        raise GuardError("this data set has no bounding boxes")


def _fenced(method: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(method)
    def checked(self: Evidence, *arguments: Any, **keywords: Any) -> Any:
        require_open("evidence")
        return method(self, *arguments, **keywords)

    return checked


@dataclass(frozen=True)
class LoadedData:
    """What :meth:`Dataset.load` returns. Class and group names are indexed by label and group number.

    no_groups: why nothing is known of groups; *group_names* are then empty, and the metrics of groups are undefined.
    notes: sentences that stand under every table, as :attr:`Found.notes`, of what is seen only when images are decoded.
    test_evidence: where the truth lies in the test images (``examples`` are positions in the test split), for metrics
    alone, when a run is over. None: nothing is known of it.
    """

    train: Split
    test: Split
    class_names: tuple[str, ...]
    group_names: tuple[str, ...]
    evidence: Evidence
    validation: Split | None = None
    no_groups: str = ""
    notes: tuple[str, ...] = ()
    test_evidence: Evidence | None = None


IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png")
"""Endings of the names of image files."""


@dataclass(frozen=True)
class Pretrained:
    """Weights that come with the data set, for its stand-in: a safetensors file whose metadata name the ``scaling``."""

    file: Traversable
    sha256: str


_ARCHIVES = (".zip", ".tar", ".tgz", ".tar.gz", ".tar.bz2", ".tar.xz")


@dataclass(frozen=True)
class DataFile:
    """A file that the data set is made of, or many files under one name.

    name: its name when unpacked; *packed* is its name where it is published, ``.gz`` allowed.
    sha256 / packed_sha256: of the plain and of the published file. size: bytes of the plain file.
    urls: where it can be fetched, tried in order.
    packed_md5: of the published file, where no sha256 of it is published. Without either, what was fetched is judged
    by :meth:`Dataset.check_file`.
    tree: *packed* is a zip or tar archive, *name* the folder that it unpacks to; either may be there, and it is read
    where it lies (:mod:`crayon_bench.data.trees`). *sha256* is then unused, and *size* is that of the archive, or an
    upper bound where that is not published.
    members: number of images (:data:`IMAGE_SUFFIXES`) in a published tree; 0 if unknown.
    origin: for people: where to get it by hand.
    also: other names that people have it under, plain or packed; of a tree, of its folder or of an archive.
    """

    name: str
    sha256: str
    size: int
    packed: str
    packed_sha256: str
    urls: tuple[str, ...]
    packed_md5: str = ""
    tree: bool = False
    members: int = 0
    origin: str = ""
    also: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """Every name that it may have, the plain one first."""
        return tuple(dict.fromkeys((self.name, self.packed, *self.also)))

    @property
    def folders(self) -> tuple[str, ...]:
        """Of a tree: the names that its own folder may have."""
        return (self.name, *(name for name in self.also if not name.endswith(_ARCHIVES)))


class Dataset(ABC):
    """Base class of data sets. See the module's docstring for what to write."""

    name: ClassVar[str]
    """As in ``--dataset``."""
    title: ClassVar[str]
    """As in a table's heading."""
    summary: ClassVar[str]
    """One sentence for ``data list``."""
    version: ClassVar[int] = 1
    """Raise it when the same files lead to other arrays; it is part of every run's key."""
    image_shape: ClassVar[tuple[int, int, int]]
    """Channels, height, width at the default parameters, for people; parameters may lead to another shape."""
    classes: ClassVar[int]
    """Number of classes; 0 if it differs from folder to folder, see :attr:`Found.class_names`."""
    evidence: ClassVar[Mapping[FeedbackKind, str]]
    """Kind of feedback → why this data set's evidence cannot answer it; ``""`` for those that it can."""
    takes_path: ClassVar[bool] = False
    """Whether its data are a folder that the user names, as in ``--dataset NAME:PATH``; that is its data root."""
    default_protocol: ClassVar[str] = "paper"
    """The protocol that is used on real data without ``--protocol``."""
    folders: ClassVar[tuple[str, ...]] = ()
    """Where :attr:`files` are looked for under the data root; ``data prepare`` and ``import`` put them in the first."""
    files: ClassVar[tuple[DataFile, ...]] = ()
    pretrained: ClassVar[Mapping[str, Pretrained]] = {}
    """Weights that a protocol may name in ``model.weights``."""
    build_inputs: ClassVar[Mapping[str, str]] = {}
    """For a data set that can be built from others: option of ``data build`` → what its folder holds."""
    Parameters: ClassVar[type[AnyParameters]] = AnyParameters

    def __init__(self, parameters: AnyParameters) -> None:
        self.parameters = parameters

    @classmethod
    @abstractmethod
    def find(cls, root: Path, source: Source, *, strict: bool) -> Found:
        """Say which data there are under *root*, without decoding them; the answer does not depend on parameters.

        strict: the folder is ours (the default data root), so a file without its published checksum is an error; a
        folder that the user named is taken as it is, and what is unverified is noted.

        Raises UserError if ``source`` is ``real`` and they are not there, or if files are incomplete or broken.
        """

    def notes(self, found: Found) -> tuple[str, ...]:
        """Return the sentences that stand under every table: those of :meth:`find`, and what these parameters add.

        Raises UserError if files cannot be read with them, before any run is begun.
        """
        return found.notes

    @abstractmethod
    def load(self, found: Found) -> LoadedData:
        """Decode what :meth:`find` found. Raises UserError if a file is broken."""

    def broken(self, root: Path) -> Sequence[tuple[str, UserError]]:
        """Return the name of every file under *root* that cannot be read, and why: ``data verify`` lists them.

        By default nothing is known of single files. May raise UserError if what names the files is wrong itself.
        """
        return ()

    @classmethod
    def protocols(cls) -> Traversable | None:
        """Return the folder with this data set's protocols, one ``NAME.toml`` each; None if there is none.

        By default it is ``protocols/NAME`` in the package that the class is in.
        """
        package = cls.__module__.partition(".")[0]
        if not hasattr(sys.modules.get(package), "__path__"):  # a file, not a package
            return None
        folder = package_files(package) / "protocols" / cls.name
        return folder if folder.is_dir() else None

    @classmethod
    def check_files(cls, files: Mapping[str, Path]) -> None:
        """Check the structure of :attr:`files` (plain name → path). Raises UserError naming what is wrong."""
        return

    @classmethod
    def check_file(cls, file: DataFile, path: Path) -> None:
        """Check one fetched file of which no checksum is published. Raises UserError if it is not what it should be."""
        return

    @classmethod
    def doubts(cls, files: Mapping[str, Path]) -> list[str]:
        """Return why complete and sound *files* are not the published ones, beyond what their checksums say."""
        return []

    @classmethod
    def build(cls, inputs: Mapping[str, Path], output: Path, seed: int, say: Callable[[str], None]) -> None:
        """Build the data set in the new folder *output*, a data root, from the folders of :attr:`build_inputs`.

        The same inputs and *seed* give the same files; *say* takes remarks for the user. Raises UserError if an input
        is wrong; nothing is then left at *output*.
        """
        raise NotImplementedError

    @classmethod
    def unable(cls, kind: FeedbackKind) -> str | None:
        """Return why the evidence cannot answer questions of this *kind*, or None if it can."""
        reason = cls.evidence.get(kind, f"{cls.title} has no evidence of the kind '{kind}'")
        return reason or None
