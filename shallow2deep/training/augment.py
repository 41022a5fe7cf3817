"""Changes to training samples that imitate what other forests, strokes and microscopes would give.

Everything works on `(*spatial)` arrays of two or three dimensions; flips and quarter turns are made in the
plane of the last two axes.
"""

import numpy as np
import torch
from scipy import ndimage as ndi
from torch.nn.functional import grid_sample, interpolate

from shallow2deep.settings import AugmentSettings

_EPSILON = 1e-3


def augment(
    image: np.ndarray, targets: np.ndarray, settings: AugmentSettings, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """One changed copy of a sample whose input is a probability map.

    Args:
        image: float32 `(*spatial)` in 0..1.
        targets: uint8 `(K, *spatial)`.

    Returns:
        The same shapes and dtypes; `image` stays in 0..1, `targets` are moved as the image is.
    """
    moved, targets = change_geometry(image[None], targets, settings, rng)
    image = moved[0]
    if rng.random() < settings.temperature:
        image = _change_confidence(image, rng)
    if rng.random() < settings.blur:
        image = ndi.gaussian_filter(image, _planar(image, rng.uniform(0.4, 2.0)))
    if rng.random() < settings.noise:
        image = _add_noise(image, rng)
    if rng.random() < settings.dropout:
        image = _drop_regions(image, rng)
    return np.ascontiguousarray(image, np.float32).clip(0, 1), targets


def augment_raw(
    image: np.ndarray, targets: np.ndarray, settings: AugmentSettings, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """The same for normalised raw `(C, *spatial)`: geometry, contrast, brightness, noise and blur."""
    image, targets = change_geometry(image, targets, settings, rng)
    if rng.random() < settings.temperature:
        image = image * np.exp(rng.normal(0, 0.25)) + rng.normal(0, 0.25)
    if rng.random() < settings.blur:
        image = ndi.gaussian_filter(image, _planar(image, rng.uniform(0.4, 1.5)))
    if rng.random() < settings.noise:
        image = image + rng.normal(0, rng.uniform(0.05, 0.3), image.shape)
    return np.ascontiguousarray(image, np.float32), targets


def change_geometry(
    images: np.ndarray, targets: np.ndarray, settings: AugmentSettings, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Flips, quarter turns where the plane is square, and a smooth deformation with rotation and zoom.

    Args:
        images: `(C, *spatial)`.
        targets: `(K, *spatial)`.
    """
    for axis in range(1, images.ndim):
        if rng.random() < 0.5:
            images, targets = np.flip(images, -axis), np.flip(targets, -axis)
    if images.shape[-1] == images.shape[-2]:
        turns = int(rng.integers(4))
        images, targets = np.rot90(images, turns, (-2, -1)), np.rot90(targets, turns, (-2, -1))
    if rng.random() < settings.elastic:
        where = _deformation(images.shape[1:], settings.zoom, rng)
        images = _sampled(images, where, "bilinear")
        targets = _sampled(targets, where, "nearest").astype(targets.dtype)
    return np.ascontiguousarray(images), np.ascontiguousarray(targets)


def _deformation(shape: tuple[int, ...], zoom: tuple[float, float], rng: np.random.Generator) -> np.ndarray:
    """Source coordinates `(ndim, *shape)`: rotation and zoom in the plane, and a smooth displacement."""
    angle, factor = rng.uniform(-np.pi, np.pi), np.exp(rng.uniform(*np.log(zoom)))
    strength = rng.uniform(0, 6)
    matrix = np.eye(len(shape), dtype=np.float32)
    matrix[-2:, -2:] = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]) / factor
    centred = np.stack(
        np.meshgrid(*(np.arange(n, dtype=np.float32) - (n - 1) / 2 for n in shape), indexing="ij")
    )
    middle = (np.array(shape, np.float32) - 1) / 2
    where = np.tensordot(matrix, centred, 1) + middle.reshape(-1, *[1] * len(shape))
    grid = [max(2, round(n / 48)) for n in shape[-2:]]
    coarse = torch.from_numpy(rng.normal(0, strength, (1, 2, *grid)).astype(np.float32))
    smooth = interpolate(coarse, shape[-2:], mode="bilinear", align_corners=False)[0].numpy()
    where[-2:] += smooth.reshape(2, *[1] * (len(shape) - 2), *shape[-2:])
    return where


def _sampled(images: np.ndarray, where: np.ndarray, mode: str) -> np.ndarray:
    """Images `(n, *spatial)` at coordinates `(ndim, *spatial)`; beyond their border they are mirrored."""
    size = np.array(images.shape[1:], np.float32).reshape(-1, *[1] * (where.ndim - 1))
    grid = np.moveaxis(2 * where / np.maximum(size - 1, 1) - 1, 0, -1)[..., ::-1]  # x first, from -1 to 1
    pair = (
        torch.from_numpy(np.ascontiguousarray(images, np.float32)),
        torch.from_numpy(grid.astype(np.float32)),
    )
    found = grid_sample(pair[0][None], pair[1][None], mode, padding_mode="reflection", align_corners=True)
    return found[0].numpy()


def _planar(image: np.ndarray, sigma: float) -> list[float]:
    return [0.0] * (image.ndim - 2) + [sigma, sigma]


def _change_confidence(p: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Another temperature and offset of the log-odds: surer or less sure, more or less foreground."""
    odds = np.log((p + _EPSILON) / (1 - p + _EPSILON))
    odds = odds * np.exp(rng.normal(0, 0.4)) + rng.normal(0, 0.6)
    return 1 / (1 + np.exp(-odds))


def _add_noise(p: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Noise whose grain is between one and a few pixels."""
    grain, strength = rng.uniform(0, 2), rng.uniform(0.03, 0.2)
    noise = ndi.gaussian_filter(rng.standard_normal(p.shape, np.float32), _planar(p, grain))
    return p + noise * (strength / max(float(noise.std()), 1e-6))


def _drop_regions(p: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Boxes in which a forest failed: all one value."""
    p = p.copy()
    for _ in range(int(rng.integers(1, 5))):
        sides = [int(rng.integers(max(1, n // 24), max(2, n // 6))) for n in p.shape]
        start = [int(rng.integers(0, n - s + 1)) for n, s in zip(p.shape, sides, strict=True)]
        box = tuple(slice(a, a + s) for a, s in zip(start, sides, strict=True))
        p[box] = rng.choice([0.0, float(p[box].mean()), rng.random()])
    return p
