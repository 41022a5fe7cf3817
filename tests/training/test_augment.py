"""Augmentation keeps ranges, moves targets with the image, and depends on its generator alone."""

from collections.abc import Callable

import numpy as np
import pytest

from shallow2deep.settings import AugmentSettings
from shallow2deep.training.augment import augment, augment_raw, change_geometry

RNG = np.random.default_rng
ALL = AugmentSettings(elastic=1, temperature=1, noise=1, blur=1, dropout=1)
NONE = AugmentSettings(elastic=0, temperature=0, noise=0, blur=0, dropout=0)


def sample(shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    y, x = np.indices(shape)[-2:]
    truth = ((x - shape[-1] * 0.4) ** 2 + (y - shape[-2] * 0.6) ** 2 < 200).astype(np.uint8)
    return truth.astype(np.float32), np.stack([truth, 1 - truth])


@pytest.mark.parametrize("shape", [(64, 64), (48, 80), (8, 64, 64)])
@pytest.mark.parametrize("function", [augment, augment_raw])
def test_shapes_ranges_and_determinism(shape: tuple[int, ...], function: Callable) -> None:
    image, targets = sample(shape)
    for seed in range(10):
        given = image if function is augment else np.stack([image, 1 - image])
        new, moved = function(given, targets, ALL, RNG(seed))
        again, _ = function(given, targets, ALL, RNG(seed))
        assert new.shape == given.shape
        assert new.dtype == np.float32
        assert moved.shape == targets.shape
        assert moved.dtype == np.uint8
        assert np.isfinite(new).all()
        np.testing.assert_array_equal(new, again)
        if function is augment:
            assert new.min() >= 0
            assert new.max() <= 1


def test_targets_move_with_the_image() -> None:
    image, targets = sample((96, 96))
    overlaps = []
    for seed in range(30):
        (new, other), moved = change_geometry(
            np.stack([image, 1 - image]), targets, AugmentSettings(elastic=1), RNG(seed)
        )
        np.testing.assert_allclose(other, 1 - new, atol=1e-5)
        union = np.count_nonzero((new > 0.5) | (moved[0] > 0))
        overlaps.append(np.count_nonzero((new > 0.5) & (moved[0] > 0)) / max(union, 1))
    assert min(overlaps) > 0.85


def test_everything_can_be_switched_off_but_flips() -> None:
    image, targets = sample((64, 64))
    for seed in range(10):
        new, moved = augment(image, targets, NONE, RNG(seed))
        np.testing.assert_array_equal(new, moved[0])
        assert new.sum() == image.sum()


def test_every_setting_changes_something() -> None:
    image, targets = sample((64, 64))
    image = image * 0.8 + 0.1
    plain, _ = augment(image, targets, NONE, RNG(3))
    for name in ("elastic", "temperature", "noise", "blur", "dropout"):
        changed, _ = augment(image, targets, NONE.model_copy(update={name: 1.0}), RNG(3))
        assert not np.array_equal(plain, changed), name
