"""From a file to pixels: images, masks and boxes, all in one frame."""

import math
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydantic import Field, model_validator

from crayon_bench import Parameters, UserError
from crayon_bench.data.image_cache import Look, look_at, open_mask, open_picture
from crayon_bench_plugins.datasets.folder.boxes import BoxOrder, BoxUnit, sides_of, written
from crayon_bench_plugins.datasets.folder.files import MEND, opened
from crayon_bench_plugins.datasets.folder.metadata import Row, place_of

LONGEST_SIDE = 32_768
"""Pixels; Pillow's tables for a longer one take as much memory as a large image."""


class FolderParameters(Parameters):
    """How the images are read."""

    later: ClassVar[tuple[str, ...]] = ("mask",)

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
    exif: Literal["apply", "ignore"] = Field(
        default="apply",
        description='"apply": images and masks are turned upright as their EXIF orientation says, as browsers and'
        ' annotation tools do; "ignore": pixels are taken as they are stored',
    )
    depth: int = Field(
        default=0,
        ge=0,
        le=16,
        description="bits that a value has in images that store more than 8, at least 8; 0: as many as the brightest"
        " pixel of all these images needs",
    )
    mask: Literal["bright", "dark"] = Field(
        default="bright",
        description='what is relevant in a mask: "bright": what is white, or coloured on black; "dark": what is black',
    )
    box: BoxOrder = Field(
        default="tlbr",
        description='order of the numbers in the column box: "tlbr" top left bottom right, "xyxy" left top right'
        ' bottom, "xywh" left top width height, "cxcywh" centre and width and height',
    )
    box_unit: BoxUnit = Field(
        default="pixels",
        description='of the numbers in the column box: whole "pixels", "subpixels" (with fractions), "normalised" (0 to'
        " 1, of the image's width and height)",
    )

    @model_validator(mode="after")
    def _depth_is_one(self) -> Self:
        if 0 < self.depth < 8:
            raise ValueError(f"depth = {self.depth}: 8 to 16 bits, or 0")
        return self

    @property
    def turned(self) -> bool:
        """Whether EXIF orientations are applied."""
        return self.exif == "apply"

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


def image_of(parameters: FolderParameters, root: Path, row: Row) -> NDArray[np.uint8]:
    """Return a row's image, (3, size, size)."""
    opener = partial(open_picture, turned=parameters.turned, depth=parameters.depth or None)
    picture = opened(root, row, row.path, opener)
    wide, high, left, top = _frame(parameters, root, row, picture.size)
    size = parameters.size
    picture = picture.resize((wide, high), Image.Resampling.BILINEAR).crop((left, top, left + size, top + size))
    return np.asarray(picture, dtype=np.uint8).transpose(2, 0, 1)


def mask_of(parameters: FolderParameters, root: Path, row: Row) -> NDArray[np.uint8]:
    """Return a row's mask, (1, size, size) of 0 and 1; all 1 if it tells nothing."""
    mask = opened(root, row, row.mask, partial(open_mask, turned=parameters.turned)).relevant
    if parameters.mask == "dark":
        mask = ~mask
    look: Look = opened(root, row, row.path, partial(look_at, deep=False))
    width, height = look.size(turned=parameters.turned)
    if mask.shape != (height, width):
        hint = "a mask must be as large as its image"
        if mask.shape[::-1] == look.size(turned=not parameters.turned):
            done, other = ("not turned", "apply") if parameters.exif == "ignore" else ("turned", "ignore")
            hint = f"the image is {done} by its EXIF orientation, the mask fits with --set dataset.exif={other}"
        raise UserError(
            f"{place_of(root, row)}: the mask {row.mask} has {mask.shape[1]}×{mask.shape[0]} pixels, its image"
            f" {width}×{height}",
            hint,
        )
    wide, high, left, top = _frame(parameters, root, row, (width, height))
    size = parameters.size
    part = (left, top, left + size, top + size)

    def resized(mode: str) -> NDArray[Any]:
        picture = Image.fromarray(mask.astype(np.uint8) * np.uint8(255)).convert(mode)
        return np.asarray(picture.resize((wide, high), Image.Resampling.BOX).crop(part))

    small = resized("L") > 127
    if not small.any():
        share = resized("F")  # not rounded: of something thin, little is left
        small = share > share.max() / 2 if share.any() else np.ones_like(small)
    return small[None].astype(np.uint8)


def box_of(parameters: FolderParameters, root: Path, row: Row) -> NDArray[np.uint8]:
    """Return a row's box in the frame: the bytes of four int32, (1, 4, 4), little-endian; see :func:`boxes_from`."""
    assert row.box is not None
    look: Look = opened(root, row, row.path, partial(look_at, deep=False))
    width, height = look.size(turned=parameters.turned)
    try:
        top, left, bottom, right = sides_of(row.box, parameters.box, parameters.box_unit, (width, height))
    except ValueError as error:
        raise UserError(f"{place_of(root, row)}: the box '{written(row)}' {error}", "see dataset.box") from None
    wide, high, begin, start = _frame(parameters, root, row, (width, height))
    ends = [
        math.floor(top * high / height) - start,
        math.floor(left * wide / width) - begin,
        math.ceil(bottom * high / height) - start,
        math.ceil(right * wide / width) - begin,
    ]
    size = parameters.size
    box = np.clip(np.array(ends, dtype="<i4"), 0, size).astype("<i4")
    if box[0] >= box[2] or box[1] >= box[3]:  # cropped away
        box = np.array([0, 0, size, size], dtype="<i4")
    return np.frombuffer(box.tobytes(), dtype=np.uint8).reshape(1, 4, 4)


def boxes_from(kept: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Return boxes, int64 (N, 4), from what :func:`box_of` gave of each, (N, 1, 4, 4)."""
    return np.ascontiguousarray(kept[:, 0]).view("<i4")[..., 0].astype(np.int64)


def _frame(parameters: FolderParameters, root: Path, row: Row, size: tuple[int, int]) -> tuple[int, int, int, int]:
    if max(size) > LONGEST_SIDE or (parameters.fit == "crop" and max(size) > 50 * min(size)):
        limit = f"a side may have {LONGEST_SIDE:,}" if max(size) > LONGEST_SIDE else 'for fit = "crop", 50 to 1 at most'
        where = f"{place_of(root, row)}: {row.path}"
        raise UserError(f"{where} has {size[0]}×{size[1]} pixels, which is too long: {limit}", MEND)
    return parameters.frame(*size)
