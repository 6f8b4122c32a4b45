"""Building Waterbirds from CUB-200-2011 and Places, by the recipe of Sagawa et al. 2020 (appendix C.1 and script).

The published set cannot be had this way, because its draws were not seeded; a set built here is another draw of the
same distribution:

* waterbirds are the species whose name contains one of :data:`WATERBIRDS` (which mislabels three, as published);
* CUB's test images are the test set; a fifth of its training images, drawn at random, is the validation set;
* in training, 95 % of each kind of bird are put on its own kind of place, in validation and test 50 %;
* places are shuffled and used once each; if there are too few, each is used equally often, which is said;
* the place is scaled to cover the bird's photograph and cropped at its centre; the bird is blended in by its
  segmentation's grey, and the result saved as JPEG under the photograph's name.
"""

import csv
import io
import json
import os
import shutil
import uuid
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from crayon_bench import UserError
from crayon_bench.data.image_cache import open_mask, open_picture
from crayon_bench.data.preparing import Preparing, in_threads
from crayon_bench_plugins.datasets.waterbirds.published import BUILD_NOTE, GROUPS, PICTURES, SEGMENTATIONS, SPLITS

WATERBIRDS = (
    *("albatross", "auklet", "cormorant", "frigatebird", "fulmar", "gull", "jaeger", "kittiwake", "pelican"),
    *("puffin", "tern", "gadwall", "grebe", "mallard", "merganser", "guillemot", "pacific_loon"),
)
"""Seabirds and waterfowl: parts of species' names."""

PLACES = (("bamboo_forest", "forest/broadleaf"), ("ocean", "lake/natural"))
"""Categories of Places, land and water."""

_VALIDATION, _BIAS, _EVEN = 0.2, 0.95, 0.5


@dataclass(frozen=True)
class _Bird:
    number: int
    filename: str
    y: int
    training: bool

    @property
    def mask(self) -> str:
        return str(PurePosixPath(self.filename).with_suffix(".png"))


def build(cub: Path, places: Path, output: Path, seed: int, say: Callable[[str], None]) -> None:
    """Write the new folder *output*; see the module's docstring. Raises UserError; nothing is then left of it."""
    root = cub if (cub / "images.txt").is_file() else cub / "CUB_200_2011"
    birds = _read_birds(root)
    masks = next(
        (folder for folder in (root / "segmentations", root.parent / "segmentations") if folder.is_dir()), None
    )
    if masks is None:
        raise UserError(
            f"{root}: there is no folder segmentations in it or beside it",
            f"unpack segmentations.tgz there, from {SEGMENTATIONS.origin}",
        )
    for bird in birds:
        for file in (root / "images" / bird.filename, masks / bird.mask):
            if not file.is_file():
                raise UserError(f"{file}: missing, which {root / 'images.txt'} names", "unpack CUB-200-2011 again")
    photographs = [_find_places(places, names, kind) for names, kind in zip(PLACES, ("land", "water"), strict=True)]
    random = np.random.RandomState(seed)  # NumPy promises never to change its stream
    split, place = _draw(birds, random)
    backgrounds = _assign(photographs, place, random, say)
    rows = [
        (bird.number, bird.filename, bird.y, int(s), int(p), background)
        for bird, s, p, background in zip(birds, split, place, (name for name, _ in backgrounds), strict=True)
    ]
    temporary = output.absolute().with_name(f".{output.name}.{uuid.uuid4().hex[:8]}.tmp")
    try:
        temporary.mkdir(parents=True)
        _write(temporary, root, masks, birds, [path for _, path in backgrounds])
        _write_notes(temporary / PICTURES.name, rows, seed, len(birds), [len(paths) for paths in photographs])
        if output.exists():
            raise UserError(f"--output {output}: is there already", "nothing is overwritten")
        temporary.rename(output)
    except OSError as error:
        raise UserError(f"{output}: cannot be written: {error.strerror or error}", "choose another --output") from None
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    table = np.zeros((len(SPLITS), len(GROUPS)), dtype=np.int64)
    np.add.at(table, (split, 2 * np.array([bird.y for bird in birds]) + place), 1)
    for name, numbers in zip(SPLITS, table, strict=True):
        say(f"{name}: {', '.join(f'{n} {group}' for n, group in zip(numbers, GROUPS, strict=True))}")


# ---------------------------------------------------------------------------------------------------------------------
# inputs


def _read_birds(root: Path) -> list[_Bird]:
    if not (root / "images.txt").is_file():
        raise UserError(f"--cub {root.parent}: no images.txt in it", "name the folder CUB_200_2011")
    names = _table(root / "images.txt")
    training = _table(root / "train_test_split.txt")
    classes = _table(root / "image_class_labels.txt")
    species = _table(root / "classes.txt")
    birds = []
    seen: set[str] = set()
    for number, filename in names.items():
        where = f"{root / 'images.txt'}: image {number}"
        parts = filename.split("/")
        is_number = number.isascii() and number.isdigit() and len(number) < 19
        if len(parts) != 2 or ".." in parts or "\\" in filename or not is_number or "." not in parts[0]:
            raise UserError(f"{where}: {filename!r} is not NUMBER.Species/IMAGE.jpg")
        if filename in seen:
            raise UserError(f"{where}: {filename} is there twice")
        seen.add(filename)
        if training.get(number) not in ("0", "1"):
            raise UserError(f"{root / 'train_test_split.txt'}: image {number} is not 0 or 1, or missing")
        if species.get(classes.get(number, "")) != parts[0]:
            raise UserError(f"{where}: {parts[0]} is not its class in image_class_labels.txt and classes.txt")
        bird = parts[0].partition(".")[2].lower()
        y = int(any(part in bird for part in WATERBIRDS))
        birds.append(_Bird(int(number), filename, y, training[number] == "1"))
    if not birds:
        raise UserError(f"{root / 'images.txt'}: it names no images")
    return birds


def _table(path: Path) -> dict[str, str]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "not a text file"
        raise UserError(f"{path}: cannot be read: {why}", "unpack CUB-200-2011 again") from None
    table: dict[str, str] = {}
    for number, line in enumerate(lines, start=1):
        key, _, value = line.strip().partition(" ")
        if not key:
            continue
        if not value or key in table:
            raise UserError(f"{path}: line {number}: {'twice the number ' + key if value else 'two values expected'}")
        table[key] = value.strip()
    return table


def _find_places(root: Path, categories: Sequence[str], kind: str) -> list[tuple[str, Path]]:
    """Return (published name, path) of the photographs of one kind of place, in a fixed order."""
    found = []
    for category in categories:
        full = f"{category[0]}/{category}"
        for base in (root, root / "data_large", root / "data_large_standard", root / "data_256"):
            folder = next((base / layout for layout in (full, category) if (base / layout).is_dir()), None)
            if folder is not None:
                paths = sorted(path for path in folder.iterdir() if path.suffix.lower() in (".jpg", ".jpeg", ".png"))
                found += [(f"/{full}/{path.name}", path) for path in paths]
                break
    if not found:
        folders = " nor ".join(f"{category} ({category[0]}/{category})" for category in categories)
        raise UserError(f"--places {root}: no pictures of {kind}: neither {folders}", "unpack Places there")
    return found


# ---------------------------------------------------------------------------------------------------------------------
# draws


def _draw(birds: Sequence[_Bird], random: np.random.RandomState) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return each bird's split (0 training, 1 validation, 2 test) and place (0 land, 1 water)."""
    y = np.array([bird.y for bird in birds])
    split = np.where([bird.training for bird in birds], 0, 2)
    training = np.flatnonzero(split == 0)
    split[random.choice(training, size=round(_VALIDATION * len(training)), replace=False)] = 1
    place = np.zeros(len(birds), dtype=np.int64)
    for number in range(len(SPLITS)):
        for label in (0, 1):
            here = np.flatnonzero((split == number) & (y == label))
            share = _EVEN if number else (_BIAS if label else 1 - _BIAS)
            place[random.choice(here, size=round(share * len(here)), replace=False)] = 1
    return split, place


def _assign(
    photographs: Sequence[Sequence[tuple[str, Path]]],
    place: NDArray[np.int64],
    random: np.random.RandomState,
    say: Callable[[str], None],
) -> list[tuple[str, Path]]:
    backgrounds: list[tuple[str, Path]] = [("", Path())] * len(place)
    for kind, paths in enumerate(photographs):
        here = np.flatnonzero(place == kind)
        if len(here) > len(paths):
            word = ("land", "water")[kind]
            say(f"{len(paths):,} pictures of {word} for {len(here):,} birds: some are used more than once")
        order = [random.permutation(len(paths)) for _ in range(-(-len(here) // len(paths)))]
        for bird, chosen in zip(here, np.concatenate([*order, []]).astype(np.int64), strict=False):
            backgrounds[bird] = paths[chosen]
    return backgrounds


# ---------------------------------------------------------------------------------------------------------------------
# pictures


def compose(bird: Image.Image, mask: Image.Image, place: Image.Image) -> Image.Image:
    """Return the *bird* (RGB) on the *place* (RGB), blended by the *mask* (grey, of the bird's size)."""
    width, height = bird.size
    scale = min(place.width / width, place.height / height)
    left, top = max(0.0, (place.width - width * scale) / 2), max(0.0, (place.height - height * scale) / 2)
    box = (left, top, place.width - left, place.height - top)
    ground = np.asarray(place.resize(bird.size, Image.Resampling.LANCZOS, box=box), dtype=np.float64)
    share = np.asarray(mask, dtype=np.float64)[:, :, None] / 255
    mixed = np.asarray(bird, dtype=np.float64) * share + ground * (1 - share)
    return Image.fromarray(np.rint(mixed).astype(np.uint8))


def _write(folder: Path, root: Path, masks: Path, birds: Sequence[_Bird], places: Sequence[Path]) -> None:
    def one(item: tuple[_Bird, Path]) -> None:
        bird, place = item
        content = _read(masks / bird.mask)
        # As stored: the segmentations were drawn so, and the published set was made so.
        mask = Image.fromarray(open_mask(content, str(masks / bird.mask), turned=False, shares=True).levels)
        picture, ground = (
            open_picture(_read(path), str(path), turned=False) for path in (root / "images" / bird.filename, place)
        )
        if mask.size != picture.size:
            raise UserError(f"{masks / bird.mask}: its size is not that of the image", "unpack CUB-200-2011 again")
        for target in (folder / PICTURES.name / bird.filename, folder / SEGMENTATIONS.name / bird.mask):
            target.parent.mkdir(parents=True, exist_ok=True)
        compose(picture, mask, ground).save(folder / PICTURES.name / bird.filename, format="JPEG")
        (folder / SEGMENTATIONS.name / bird.mask).write_bytes(content)

    with (
        Preparing("building waterbirds", len(birds)) as progress,
        closing(in_threads(one, zip(birds, places, strict=True))) as results,
    ):
        for _ in results:
            progress.step()


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror or error}") from None


def _write_notes(folder: Path, rows: Sequence[Sequence[object]], seed: int, birds: int, places: Sequence[int]) -> None:
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["img_id", "img_filename", "y", "split", "place", "place_filename"])
    writer.writerows(rows)
    made = {"by": "crayon-bench data build waterbirds", "seed": seed, "birds": birds, "places": list(places)}
    for name, content in (("metadata.csv", text.getvalue()), (BUILD_NOTE, json.dumps(made, indent=1) + "\n")):
        with (folder / name).open("w", encoding="utf-8", newline="") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
