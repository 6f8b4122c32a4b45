"""MaskTune fits into crayon-bench, and masks what it should."""

import torch
from crayon_bench_masktune import MaskTune, most_salient

from crayon_bench.testing import parametrize_with_checks, try_method


@parametrize_with_checks([MaskTune])
def test_it_keeps_to_the_interface(plugin, check):
    check(plugin)


def test_the_highest_pixels_are_masked_and_nothing_of_a_flat_map():
    maps = torch.zeros(2, 8, 8)
    maps[0, 2, 3] = 1.0
    found = most_salient(maps, (8, 8), 2.0)
    assert found[0].nonzero().tolist() == [[2, 3]]
    assert not found[1].any()
    # μ = 1/64 and σ = √(1/64 − 1/64²) ≈ 0.124: at (1 − μ)/σ ≈ 7.94 deviations the pixel is no longer above.
    assert most_salient(maps, (8, 8), 7.9).any()
    assert not most_salient(maps, (8, 8), 8.0).any()


def test_a_coarse_map_is_scaled_to_the_image():
    maps = torch.zeros(1, 4, 4)
    maps[0, 0, 0] = 1.0
    found = most_salient(maps, (16, 16), 2.0)[0]
    assert found[:3, :3].all()
    assert not found[8:].any() and not found[:, 8:].any()


def test_it_asks_nothing_and_says_how_much_it_masked():
    trial = try_method(MaskTune)
    assert trial.record.feedback.total == 0
    assert "% of the pixels" in trial.log


def test_a_mask_of_nothing_is_plain_training_of_one_epoch():
    many = try_method(MaskTune, sets=["masktune.deviations=1000"])
    assert "masked 0.0 %" in many.log
    assert many.predictions != try_method(MaskTune).predictions
