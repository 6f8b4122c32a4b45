"""What was made of the files, in sentences that stand under every table."""

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from crayon_bench import UserError
from crayon_bench.data.image_cache import Look
from crayon_bench.data.pixels import usual_depth
from crayon_bench_plugins.datasets.folder.looks import Shades
from crayon_bench_plugins.datasets.folder.pixels import FolderParameters

_DARK = 32
"""Of 255: a set without any brighter pixel is hardly what it should be."""


def turned_notes(parameters: FolderParameters, looks: Mapping[str, Look]) -> Iterator[str]:
    """Yield how many images have an EXIF orientation, and what becomes of it."""
    if turned := [name for name, look in looks.items() if look.orientation != 1]:
        done = "were turned upright by" if parameters.turned else "are not turned by"
        yield (
            f"{len(turned):,} of {len(looks):,} images {done} their EXIF orientation, such as {turned[0]}"
            f" (dataset.exif = {parameters.exif}); masks and boxes must be of the images as they are then"
        )


def depth_notes(found: FolderParameters, given: FolderParameters, looks: Mapping[str, Look]) -> Iterator[str]:
    """Yield as how deep the images that have more than 8 bits a value are read.

    found: with the depth that is used. Raises UserError for colour of fewer than 16 bits, which cannot be read, and if
    no depth is given and a few bright pixels would make the others dark.
    """
    deep = {name: look for name, look in looks.items() if look.deep}
    if not deep:
        return
    brightest = max(deep, key=lambda name: deep[name].highest)
    usual = usual_depth([look.most for look in deep.values() if look.most] or [0])
    if not given.depth and usual < found.depth:
        below = sum(look.most < 1 << usual for look in deep.values())
        above = sum(look.highest >= 1 << usual for look in deep.values())
        raise UserError(
            f"{below:,} of {len(deep):,} images with more than 8 bits a value need only {usual} of them, and would be"
            f" dark: {above:,} have brighter pixels, up to {deep[brightest].highest:,} in {brightest}",
            f"--set dataset.depth={usual}: what is brighter becomes white, or dataset.depth={found.depth} if it is so",
        )
    if found.depth < 16 and (colour := [name for name, look in deep.items() if look.deep == "colour"]):
        raise UserError(
            f"{len(colour):,} images, such as {colour[0]}, have colour of {found.depth} bits in 16 (nothing is above"
            f" {deep[brightest].highest:,}), of which only the upper 8 can be read",
            "save them with 8 bits a value, or --set dataset.depth=16 if they are that dark",
        )
    text = f"{len(deep):,} of {len(looks):,} images store more than 8 bits a value and were read as {found.depth} bits"
    if given.depth:
        above = sum(look.highest >= 1 << found.depth for look in deep.values())
        yield text + (f"; {above:,} of them have brighter pixels, which became white" if above else "")
        return
    text += f": none is above {deep[brightest].highest:,} (dataset.depth)"
    if found.depth > 8 and (dark := sum(look.most < 1 << found.depth - 2 for look in deep.values())):
        text += f"; {dark:,} of them are darker than a quarter of that, but for the brightest thousandth"
    yield text


def mask_notes(parameters: FolderParameters, shades: Mapping[str, Shades]) -> Iterator[str]:
    """Yield how much of masks is neither dark nor bright, which values or colours are in them, and what surrounds what.

    Raises UserError where half of the masks of labels or colours are coloured all around, and nothing says whether the
    figure or the ground is meant.
    """
    turned = parameters.mask == "dark"
    yield from _ground_notes(shades, said="mask" in parameters.model_fields_set, turned=turned)
    if grey := {name: share for name, (share, _, _) in shades.items() if share}:
        most = max(grey, key=lambda name: grey[name])
        values = f" ({shades[most][1]})" if shades[most][1] else ""
        yield (
            f"{len(grey):,} of {len(shades):,} masks have pixels that are neither dark nor bright,"
            f" {100 * sum(grey.values()) / len(shades):.2g} % of all, and {100 * grey[most]:.2g} % of {most}{values};"
            f" those {'below' if turned else 'above'} the middle are relevant"
        )
    labels: dict[str, list[str]] = {}
    for name, (share, values, _) in shades.items():
        if values and not share:
            labels.setdefault(values, []).append(name)
    if labels:
        values, names = max(labels.items(), key=lambda item: len(item[1]))
        number = sum(map(len, labels.values()))
        more = f", {len(labels) - 1:,} other sets of values in others" if len(labels) > 1 else ""
        yield (
            f"{number:,} of {len(shades):,} masks are not black and white; what is {'' if turned else 'not '}black (0)"
            f" in them is relevant: {values} in {names[0]}{more}"
        )


def _ground_notes(shades: Mapping[str, Shades], *, said: bool, turned: bool) -> Iterator[str]:
    if turned:
        yield "what is dark in masks is relevant (dataset.mask = dark)"
    if said:
        return
    around = [name for name, (_, _, border) in shades.items() if border > 0.5]
    labels = [name for name, (_, values, _) in shades.items() if values]
    if odd := [name for name in around if shades[name][1]]:
        text = (
            f"{len(odd):,} of {len(labels):,} masks of labels or colours, such as {odd[0]} ({shades[odd[0]][1]}), are"
        )
        text += " coloured all around and black (0) within"
        if 2 * len(odd) >= len(labels):
            hint = "--set dataset.mask=bright: what is coloured is relevant; dataset.mask=dark: what is black is"
            raise UserError(f"{text}: which of them is relevant?", hint)
        yield f"{text}; what is coloured is relevant (dataset.mask)"
    if plain := [name for name in around if not shades[name][1]]:
        yield (
            f"{len(plain):,} of {len(shades):,} masks, such as {plain[0]}, are white all around and black within; what"
            " is white is relevant (--set dataset.mask=dark: what is black)"
        )


def warn_of_dark(root: Path, images: NDArray[np.uint8]) -> None:
    """Print a warning if none of 64 images has a pixel that is not almost black."""
    few = images[:: max(1, len(images) // 64)]
    if (brightest := int(few.max())) < _DARK:
        text = f"the brightest pixel of {len(few):,} images is {brightest} of 255: they are all but black"
        print(f"Warning: {root}: {text}", file=sys.stderr)
