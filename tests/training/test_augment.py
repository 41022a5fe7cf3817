"""Augmentation keeps ranges, moves targets with the inputs, and depends on its generator alone."""

import pytest
import torch
from torch import Tensor

from shallow2deep.outputs import IGNORED
from shallow2deep.settings import AugmentSettings
from shallow2deep.training.augment import Kind, augment, change_geometry

ALL = AugmentSettings(elastic=1, temperature=1, noise=1, blur=1, dropout=1, invert=1)
NONE = AugmentSettings(elastic=0, temperature=0, noise=0, blur=0, dropout=0)
BOTH: tuple[Kind, ...] = ("map", "raw")


def random(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def batch(shape: tuple[int, ...], count: int = 6) -> tuple[Tensor, Tensor]:
    """A disc as map, its negative as raw; as targets the disc and its background."""
    grid = torch.meshgrid(*(torch.arange(n) for n in shape), indexing="ij")
    y, x = grid[-2:]
    truth = ((x - shape[-1] * 0.4) ** 2 + (y - shape[-2] * 0.6) ** 2 < 200).float()
    inputs, targets = torch.stack([truth, 1 - truth]), torch.stack([truth, 1 - truth]).byte()
    return inputs.expand(count, *inputs.shape).clone(), targets.expand(count, *targets.shape).clone()


@pytest.mark.parametrize("shape", [(64, 64), (48, 80), (8, 64, 64)])
def test_shapes_ranges_and_determinism(shape: tuple[int, ...]) -> None:
    inputs, targets = batch(shape)
    for seed in range(5):
        new, moved = augment(inputs, targets, BOTH, ALL, random(seed))
        again, _ = augment(inputs, targets, BOTH, ALL, random(seed))
        assert (new.shape, new.dtype) == (inputs.shape, torch.float32)
        assert (moved.shape, moved.dtype) == (targets.shape, torch.uint8)
        assert new.isfinite().all()
        assert torch.equal(new, again)
        assert new[:, 0].min() >= 0
        assert new[:, 0].max() <= 1
        assert len({tuple(one.flatten().tolist()) for one in new}) == len(new)  # each in its own way


@pytest.mark.parametrize("shape", [(96, 96), (6, 96, 96), (80, 112)])
def test_targets_move_with_the_inputs(shape: tuple[int, ...]) -> None:
    inputs, targets = batch(shape, 30)
    new, moved = change_geometry(inputs, targets, AugmentSettings(elastic=1), random(0))
    torch.testing.assert_close(new[:, 1], 1 - new[:, 0], atol=1e-5, rtol=0)
    axes = list(range(1, new.ndim - 1))
    overlap = ((new[:, 0] > 0.5) & (moved[:, 0] > 0)).sum(axes)
    union = ((new[:, 0] > 0.5) | (moved[:, 0] > 0)).sum(axes)
    assert (overlap / union.clamp(min=1)).min() > 0.85


def test_shapes_stay_alike_in_planes_that_are_not_square() -> None:
    inputs, targets = batch((64, 128), 40)
    _, moved = change_geometry(inputs, targets, AugmentSettings(elastic=1, zoom=(1, 1)), random(1))
    inside = moved[:, 0].sum((1, 2)).float()
    whole = [k for k in range(40) if not moved[k, 0, [0, -1]].any() and not moved[k, 0, :, [0, -1]].any()]
    assert len(whole) > 5
    assert (inside[whole] / targets[0, 0].sum() - 1).abs().median() < 0.1


def test_everything_can_be_switched_off_but_flips() -> None:
    inputs, targets = batch((64, 64))
    new, moved = augment(inputs, targets, BOTH, NONE, random(3))
    assert torch.equal(new[:, 0], moved[:, 0].float())
    torch.testing.assert_close(new[:, 1], 1 - new[:, 0], atol=2e-3, rtol=0)
    assert new[:, 0].sum() == inputs[:, 0].sum()


@pytest.mark.parametrize("name", ["elastic", "temperature", "noise", "blur", "dropout", "invert"])
def test_every_setting_changes_something(name: str) -> None:
    inputs, targets = batch((64, 64))
    inputs = inputs * 0.8 + 0.1
    kinds: tuple[Kind, ...] = ("raw", "raw") if name == "invert" else ("map", "map")
    plain, _ = augment(inputs, targets, kinds, NONE, random(3))
    changed, _ = augment(inputs, targets, kinds, NONE.model_copy(update={name: 1.0}), random(3))
    assert not torch.allclose(plain, changed, atol=1e-3)


def test_volumes_are_turned_in_every_plane_only_where_voxels_are_cubes() -> None:
    """A bar along x: what is not of cubes keeps it in its plane."""
    bar = torch.zeros(40, 1, 8, 8, 8)
    bar[:, :, 4, 4] = 1
    for cubes, axes in ((True, {0, 1, 2}), (False, {1, 2})):
        new, moved = change_geometry(bar, bar.byte(), NONE, random(0), cubes)
        assert torch.equal(new, moved.float())
        along = [int(torch.nonzero(one[0]).float().std(0).argmax()) for one in new]
        assert set(along) == axes
    uneven = torch.zeros(4, 1, 4, 8, 8)
    assert change_geometry(uneven, uneven.byte(), NONE, random(0), True)[0].shape == uneven.shape


def test_what_is_upright_stays_so() -> None:
    """The disc is low in the picture; mirrored along x alone, it stays there."""
    inputs, targets = batch((64, 64), 40)
    settings = AugmentSettings(elastic=0, flips="x", turns=False)
    new, moved = change_geometry(inputs, targets, settings, random(0))
    rows = torch.arange(64.0)
    heights = (new[:, 0].sum(2) * rows).sum(1) / new[:, 0].sum((1, 2))
    assert torch.allclose(heights, heights[:1].expand(40))
    assert len({tuple(one.flatten().tolist()) for one in moved}) == 2
    still, _ = change_geometry(inputs, targets, AugmentSettings(elastic=0, flips="", turns=False), random(0))
    assert torch.equal(still, inputs)


def test_rotation_has_its_limit() -> None:
    inputs, targets = batch((96, 96), 40)
    upright = {"elastic": 1, "flips": "", "turns": False, "zoom": (1, 1)}
    columns = torch.arange(96.0)

    def spread(**more: float) -> float:
        new, _ = change_geometry(inputs, targets, AugmentSettings.model_validate(upright | more), random(0))
        return float(((new[:, 0].sum(1) * columns).sum(1) / new[:, 0].sum((1, 2))).std())

    assert spread(rotation=5) < 0.5 * spread()


def test_beyond_the_border_nothing_counts_or_samples_are_left_alone() -> None:
    inputs, targets = batch((64, 64), 40)
    inputs = inputs + 1  # so that 0 is none of its values
    shared = {"elastic": 1, "flips": "", "turns": False}
    new, moved = change_geometry(
        inputs, targets, AugmentSettings.model_validate(shared | {"border": "constant"}), random(0)
    )
    beyond = new[:, 0] < 1 - 1e-6  # zeros are mixed in within a pixel of the border
    assert 0 < (moved == IGNORED).float().mean() < 0.5
    assert (moved[:, 0][new[:, 0] < 0.5] == IGNORED).float().mean() > 0.95
    assert not (moved[:, 0][~beyond] == IGNORED).any()
    mirrored, truth = change_geometry(inputs, targets, AugmentSettings.model_validate(shared), random(0))
    assert mirrored.min() >= 1 - 1e-6
    assert not (truth == IGNORED).any()
    rejected = AugmentSettings.model_validate(shared | {"border": "reject", "zoom": (1.2, 1.33)})
    kept, _ = change_geometry(inputs, targets, rejected, random(0))
    same = [bool(torch.equal(a, b)) for a, b in zip(kept, inputs, strict=True)]
    assert any(same)
    assert not all(same)


def test_a_volume_can_keep_its_up_and_down() -> None:
    inputs, targets = batch((8, 32, 32), 20)
    inputs[:, :, 0] = 5  # the plane above
    settings = AugmentSettings(elastic=0, flips="yx")
    new, _ = change_geometry(inputs, targets, settings, random(0))
    assert (new[:, :, 0] == 5).all()
    turned, _ = change_geometry(inputs, targets, AugmentSettings(elastic=0), random(0))
    assert not (turned[:, :, 0] == 5).all()


def test_channels_are_changed_together_or_each_on_its_own() -> None:
    raw = torch.randn(8, 1, 32, 32).expand(8, 2, 32, 32).clone()
    targets = torch.zeros(8, 1, 32, 32, dtype=torch.uint8)
    only = {"elastic": 0, "temperature": 1, "noise": 0, "blur": 0, "dropout": 0}
    together, _ = augment(raw, targets, ("raw", "raw"), AugmentSettings.model_validate(only), random(0))
    own = AugmentSettings.model_validate(only | {"per_channel": True})
    apart, _ = augment(raw, targets, ("raw", "raw"), own, random(0))
    assert torch.equal(together[:, 0], together[:, 1])
    assert not torch.allclose(apart[:, 0], apart[:, 1], atol=1e-2)
