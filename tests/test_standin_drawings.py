"""Drawn faces and birds: the same bytes everywhere, true masks, and pairs that differ only where they should."""

import hashlib
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from crayon_bench_plugins.standins.birds import sample as birds_module
from crayon_bench_plugins.standins.birds.drawing import draw_birds
from crayon_bench_plugins.standins.birds.ground import GAP
from crayon_bench_plugins.standins.birds.outside import draw_birds_outside
from crayon_bench_plugins.standins.birds.sample import sample_birds, sample_birds_outside
from crayon_bench_plugins.standins.canvas import Canvas, Draws, cover, spread, to_bytes
from crayon_bench_plugins.standins.faces import sample as faces_module
from crayon_bench_plugins.standins.faces.drawing import draw_faces
from crayon_bench_plugins.standins.faces.sample import MOUTH_BOX, sample_faces

N = 320


def labels(n):
    number = np.arange(n)
    return number % 2, number // 2 % 2


def some_faces(n=N, seed=3):
    blond, smiling = labels(n)
    return sample_faces(blond, smiling, np.random.RandomState(seed))


def some_birds(n=N, seed=3):
    water_bird, water_scene = labels(n)
    return sample_birds(water_bird, water_scene, np.random.RandomState(seed))


def some_outside(n=N, seed=3):
    number = np.arange(n)
    return sample_birds_outside(number % 2, number // 2 % 3, np.random.RandomState(seed))


def drawn(what, seed=4):
    draw = draw_faces if hasattr(what, "blond") else draw_birds_outside if hasattr(what, "beside") else draw_birds
    return draw(what, np.random.RandomState(seed))


def in_mouth_box():
    top, left, bottom, right = MOUTH_BOX
    box = np.zeros(faces_module.SIZE, dtype=np.bool_)
    box[top:bottom, left:right] = True
    return box


@pytest.mark.parametrize(
    ("some", "size", "sha256"),
    [
        (some_faces, faces_module.SIZE, "9d9550408035049605bd0b4f87c1a7b0b363db083addb1ec64875aa25730e702"),
        (some_birds, birds_module.SIZE, "8097cb61e25658fa759459a921b3728134ed13911ea5aab6c8706df4dc59a764"),
        (some_outside, birds_module.SIZE, "71850c7f67d1079cb24ec459ce18c84917e8596cbc486b764b1e5f065b14633d"),
    ],
    ids=["faces", "birds", "birds outside"],
)
def test_the_same_bytes_on_every_machine(some, size, sha256):
    images, masks = drawn(some(40))
    assert images.shape == (40, 3, *size) and images.dtype == np.uint8
    assert masks.shape == (40, *size) and masks.dtype == np.bool_
    assert hashlib.sha256(images.tobytes() + masks.tobytes()).hexdigest() == sha256
    again, _ = drawn(some(40))
    assert np.array_equal(images, again)
    other, _ = drawn(some(40), seed=5)
    assert not np.array_equal(images, other)


@pytest.mark.parametrize("some", [some_faces, some_birds, some_outside])
def test_an_image_does_not_depend_on_those_after_it(some):
    what = some(130)
    first = type(what)(**{name: values[:7] for name, values in vars(what).items()})
    images, masks = drawn(what)
    few, few_masks = drawn(first)
    assert np.array_equal(images[:7], few) and np.array_equal(masks[:7], few_masks)


@pytest.mark.parametrize(
    ("some", "fixed"),
    [
        (some_faces, ("blond", "smiling")),
        (some_birds, ("water_bird", "water_scene")),
        (some_outside, ("water_bird", "beside")),
    ],
)
def test_everything_else_is_independent_of_label_and_shortcut_and_of_each_other(some, fixed):
    n = 20_000
    what = vars(some(n))
    names = list(what)
    for i, first in enumerate(names):
        for second in names[:i]:
            if {first, second} == set(fixed):
                continue
            a, b = what[first] - what[first].min(), what[second] - what[second].min()
            counts = np.zeros((a.max() + 1, b.max() + 1))
            np.add.at(counts, (a, b), 1)
            expected = counts.sum(1, keepdims=True) * counts.sum(0, keepdims=True) / n
            freedom = (counts.shape[0] - 1) * (counts.shape[1] - 1)
            chi2 = ((counts - expected) ** 2 / expected).sum()
            assert freedom > 0, f"{first} or {second} never varies"
            assert chi2 < freedom + 5 * np.sqrt(2 * freedom) + 10, (first, second)


@pytest.mark.parametrize("sample", [sample_faces, sample_birds, sample_birds_outside])
def test_label_and_shortcut_must_have_the_same_length(sample):
    with pytest.raises(ValueError, match=r"\(N,\) each"):
        sample(np.zeros(3, np.int64), np.zeros(4, np.int64), np.random.RandomState(0))


def test_no_images():
    none = np.zeros(0, np.int64)
    images, masks = drawn(sample_faces(none, none, np.random.RandomState(0)))
    assert images.shape == (0, 3, *faces_module.SIZE) and masks.shape == (0, *faces_module.SIZE)
    for sample in (sample_birds, sample_birds_outside):
        images, masks = drawn(sample(none, none, np.random.RandomState(0)))
        assert images.shape == (0, 3, *birds_module.SIZE) and masks.shape == (0, *birds_module.SIZE)


# ---------------------------------------------------------------------------------------------------------------------
# faces


def test_mouth_masks_are_rectangles_inside_the_mouth_box():
    _, masks = drawn(some_faces())
    assert not masks[:, ~in_mouth_box()].any()
    for mask in masks:
        rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
        assert mask.sum() == len(rows) * len(columns) == mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].size
    assert (np.ptp(masks.argmax(2).max(1)) <= 2) and (np.ptp(masks.any(2).argmax(1)) <= 2)
    assert 0.05 < masks.mean() < 0.1


def test_a_smile_changes_the_mouth_only():
    what = some_faces()
    images, masks = drawn(replace(what, smiling=np.zeros(N, np.int64)))
    smiles, smile_masks = drawn(replace(what, smiling=np.ones(N, np.int64)))
    assert np.array_equal(masks, smile_masks)
    changed = (images != smiles).any(1)
    assert not (changed & ~masks).any()
    assert (changed.sum((1, 2)) > 25).all()


def test_hair_colour_never_changes_the_mouth_box_and_always_much_of_the_image():
    what = some_faces()
    dark, masks = drawn(replace(what, blond=np.zeros(N, np.int64)))
    blond, blond_masks = drawn(replace(what, blond=np.ones(N, np.int64)))
    assert np.array_equal(masks, blond_masks)
    changed = (dark != blond).any(1)
    assert not changed[:, in_mouth_box()].any()
    far = np.abs(dark.astype(int) - blond).max(1) > 60
    # Under a hat too.
    assert far.mean((1, 2)).min() > 0.02
    assert far.mean() > 0.15


# ---------------------------------------------------------------------------------------------------------------------
# faces with stickers, the second edition


def with_stickers(stickers, what=None, seed=4):
    what = some_faces() if what is None else what
    return draw_faces(what, np.random.RandomState(seed), np.broadcast_to(stickers, N).astype(np.int64))


def test_the_second_edition_has_the_same_bytes_on_every_machine():
    images, masks = with_stickers(np.arange(N) % 3)
    assert images.shape == (N, 3, *faces_module.SIZE) and images.dtype == np.uint8
    digest = hashlib.sha256(images.tobytes() + masks.tobytes()).hexdigest()
    assert digest == "9b350200a22aa38280b12626c936414007c9ffcb3bdbf050bdb11baa070d37f3"
    few, few_masks = draw_faces(
        type(some_faces())(**{name: values[:7] for name, values in vars(some_faces()).items()}),
        np.random.RandomState(4),
        np.arange(7) % 3,
    )
    assert np.array_equal(images[:7], few) and np.array_equal(masks[:7], few_masks)


def test_a_sticker_lies_anywhere_but_on_the_mouth_and_changes_nothing_else():
    plain, masks = with_stickers(2)
    seen = np.zeros(faces_module.SIZE)
    for kind in (0, 1):
        images, same = with_stickers(kind)
        assert np.array_equal(masks, same)
        changed = (images != plain).any(1)
        assert not (changed & masks).any()
        sizes = changed.sum((1, 2))
        assert sizes.min() > 25 and sizes.max() < 160, "a sticker is small, and never off the image"
        seen += changed.mean(0)
    assert (seen > 0).mean() > 0.9 and seen.max() < 0.4, "no place that would do as a prior"


def test_the_face_moves_and_the_mask_with_it():
    _, masks = with_stickers(2)
    top, left = masks.any(2).argmax(1), masks.any(1).argmax(1)
    assert np.ptp(top) >= 10 and np.ptp(left) >= 14
    assert len(np.unique(masks.sum((1, 2)))) == 1, "no answer can follow the mask's size"
    what = some_faces()
    smiles, _ = with_stickers(0, replace(what, smiling=np.ones(N, np.int64)))
    serious, _ = with_stickers(0, replace(what, smiling=np.zeros(N, np.int64)))
    changed = (smiles != serious).any(1)
    assert not (changed & ~masks).any() and (changed.sum((1, 2)) > 25).all()


# ---------------------------------------------------------------------------------------------------------------------
# birds


def test_bird_masks_are_in_one_piece_and_of_a_sensible_size():
    _, masks = drawn(some_birds())
    share = masks.mean((1, 2))
    assert share.min() > 0.05 and share.max() < 0.3
    border = masks.copy()
    border[:, 1:-1, 1:-1] = False
    assert border.any((1, 2)).mean() < 0.05
    for mask in masks:
        seen = np.zeros_like(mask)
        seen[tuple(np.argwhere(mask)[0])] = True
        while True:
            grown = np.pad(seen, 1)
            grown = sum(grown[1 + i : 57 + i, 1 + j : 57 + j] for i in (-1, 0, 1) for j in (-1, 0, 1)) > 0
            grown &= mask
            if np.array_equal(grown, seen):
                break
            seen = grown
        assert (mask & ~seen).sum() <= 2


def test_the_scene_changes_nothing_of_the_bird():
    what = some_birds()
    land, masks = drawn(replace(what, water_scene=np.zeros(N, np.int64)))
    water, water_masks = drawn(replace(what, water_scene=np.ones(N, np.int64)))
    assert np.array_equal(masks, water_masks)
    changed = (land != water).any(1)
    assert not (changed & masks).any()
    assert changed[~masks].mean() > 0.95


def test_the_bird_changes_nothing_of_the_scene():
    what = some_birds()
    images, masks = drawn(replace(what, water_bird=np.zeros(N, np.int64)))
    others, other_masks = drawn(replace(what, water_bird=np.ones(N, np.int64)))
    changed = (images != others).any(1)
    assert not (changed & ~masks & ~other_masks).any()
    assert ((masks ^ other_masks).sum((1, 2)) > 60).all()


def test_species_and_scenes_differ():
    what = some_birds(1)
    for name, kinds in (("species", 5), ("variant", 4)):
        for label in ("water_bird", "water_scene"):
            one = replace(what, **{label: np.ones(1, np.int64)})
            images = [drawn(replace(one, **{name: np.array([kind])}))[0] for kind in range(kinds)]
            assert all(not np.array_equal(a, b) for a, b in pairwise(images))


# ---------------------------------------------------------------------------------------------------------------------
# birds on open ground, the second edition


def test_what_is_beside_a_bird_changes_nothing_of_it_and_keeps_away_from_it():
    what = some_outside()
    alone, masks = drawn(replace(what, beside=np.full(N, 2)))
    for thing in (0, 1):
        images, same = drawn(replace(what, beside=np.full(N, thing)))
        assert np.array_equal(masks, same)
        changed = np.abs(images.astype(int) - alone).max(1) > 60
        assert not (changed & masks).any()
        # A bush or a pond is always there to be seen, in another place in each image.
        assert np.quantile(changed.sum((1, 2)), 0.02) > 40
        middle = np.array([np.argwhere(some).mean(0) for some in changed if some.any()])
        assert (middle.std(0) > 3).all()
        near = np.zeros_like(masks)
        for down in (-GAP // 2, 0, GAP // 2):
            for across in (-GAP // 2, 0, GAP // 2):
                near |= np.roll(masks, (down, across), (1, 2))
        assert ((changed & near).any((1, 2))).mean() < 0.2


def test_birds_of_both_kinds_and_all_species_have_one_area_on_open_ground():
    what = some_outside(1200)
    _, masks = drawn(what)
    area = masks.sum((1, 2))
    kind = what.species + 5 * what.water_bird
    means = np.array([area[kind == k].mean() for k in range(10)])
    assert means.max() / means.min() < 1.1
    assert abs(np.corrcoef(area, what.water_bird)[0, 1]) < 0.1
    border = masks.copy()
    border[:, 1:-1, 1:-1] = False
    assert border.any((1, 2)).mean() < 0.05


def test_birds_move_over_open_ground():
    _, masks = drawn(some_outside())
    middle = np.array([np.argwhere(mask).mean(0) for mask in masks])
    assert middle[:, 0].std() > 3 and middle[:, 1].std() > 6


# ---------------------------------------------------------------------------------------------------------------------
# the canvas


def test_a_painted_disc_has_the_area_of_a_disc_and_a_soft_edge():
    canvas = Canvas.blank(2, 40, 40)
    canvas.paint(cover(canvas.ellipse(20.0, np.array([20, 18], np.float32), 10.0, 10.0)), (1.0, 0.5, 0.0))
    area = canvas.image[:, 0].sum((1, 2))
    assert np.allclose(area, 100 * np.pi, rtol=0.01)
    assert ((canvas.image[:, 0] > 0.1) & (canvas.image[:, 0] < 0.9)).any()
    assert canvas.image[0, :, 20, 20].tolist() == [1.0, 0.5, 0.0]


def test_distances_are_those_of_geometry():
    canvas = Canvas.blank(1, 20, 20)
    stroke = canvas.stroke(5.5, 10.5, 14.5, 10.5, 2.0)[0]
    assert (
        stroke[10, 10] == pytest.approx(-2) and stroke[10, 18] == pytest.approx(2) and stroke[4, 10] == pytest.approx(4)
    )
    box = canvas.box(10.5, 10.5, 6.0, 3.0, 0.0)[0]
    assert box[10, 10] == pytest.approx(-3) and box[10, 18] == pytest.approx(2) and box[17, 19] == pytest.approx(5)
    arc = canvas.arc(10.5, 10.5, 6.0, 0.0, 1.0)[0]
    assert arc[10, 10] == pytest.approx(-1) and arc[10, 18] == pytest.approx(2)


def test_a_window_shares_its_canvas():
    canvas = Canvas.blank(1, 20, 20)
    part = canvas.window(4, 6, 10, 16)
    part.paint(np.ones((1, 6, 10), np.float32), (1.0, 1.0, 1.0))
    assert canvas.image.sum() == 3 * 60 and part.x[0, 0, 0] == 6.5 and part.y[0, 0, 0] == 4.5


def test_noise_lies_between_its_knots_and_bytes_are_clipped():
    grid = np.random.RandomState(0).random_sample((3, 4, 5)).astype(np.float32)
    smooth = spread(grid, 30, 40)
    assert smooth.shape == (3, 30, 40) and smooth.dtype == np.float32
    assert smooth.min() >= grid.min() and smooth.max() <= grid.max()
    assert to_bytes(np.array([-1, 0.5, 2], np.float32)).tolist() == [0, 128, 255]


def test_draws_are_handed_out_in_order():
    draws = Draws(np.array([[0.0, 0.5, 0.999]], np.float32))
    assert draws.between(2, 4).tolist() == [2.0] and draws.between(2, 4).tolist() == [3.0]
    assert draws.one_of(np.array([1, 2, 3], np.float32)).tolist() == [3.0]


@pytest.mark.parametrize("some", [some_faces, some_birds, some_outside])
def test_everything_is_painted_in_float32(some, monkeypatch):
    # A stray float64 would round differently under NumPy 1, whose promotion rules were others.
    paint = Canvas.paint

    def checked(canvas, opacity, colour):
        assert canvas.image.dtype == np.float32 and opacity.dtype == np.float32
        assert isinstance(colour, tuple) or colour.dtype == np.float32
        paint(canvas, opacity, colour)

    monkeypatch.setattr(Canvas, "paint", checked)
    drawn(some(40))
