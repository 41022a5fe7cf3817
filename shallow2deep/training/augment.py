"""Changes to training samples that imitate what other forests, strokes and microscopes would give.

Everything works on batches `(n, channels, *spatial)` of two or three spatial dimensions, on any device; each
sample is changed in its own way. Deformation, blur and the grain of noise are in the plane of the last two
axes: planes of a volume are treated alike. So are turns, unless voxels are cubes.
"""

import math
from collections.abc import Sequence
from itertools import combinations
from typing import Literal

import torch
from torch import Generator, Tensor
from torch.nn.functional import affine_grid, conv2d, grid_sample, interpolate, pad

from shallow2deep.outputs import IGNORED
from shallow2deep.settings import AugmentSettings

Kind = Literal["map", "raw"]
"""What an input channel holds: a probability map, in 0..1, or standardised raw."""

_EPSILON = 1e-3
_GRID = 48  # pixels between the nodes of a deformation
_STRENGTH = 6.0  # of a deformation, pixels at most
_BOXES = 3
_GRAINS = (1, 2, 4, 8)  # of noise, pixels


def augment(
    inputs: Tensor,
    targets: Tensor,
    kinds: Sequence[Kind],
    settings: AugmentSettings,
    random: Generator,
    cubes: bool = False,
) -> tuple[Tensor, Tensor]:
    """A changed copy of each sample of a batch.

    Args:
        inputs: float32 `(n, C, *spatial)`.
        targets: `(n, K, *spatial)`; moved as the inputs are, by their nearest pixels.
        kinds: of the C channels; maps stay in 0..1.
        random: on the inputs' device; decides on everything.
        cubes: whether all axes are alike, so that samples may be turned in any plane.

    Returns:
        The same shapes and dtypes.
    """
    inputs, targets = change_geometry(inputs, targets, settings, random, cubes)
    draw = _Draws(inputs, random)
    channels = [c[:, None] for c in inputs.unbind(1)]
    raws = [c for c, kind in zip(channels, kinds, strict=True) if kind == "raw"]
    maps = [c for c, kind in zip(channels, kinds, strict=True) if kind == "map"]
    if raws:
        together = raws if settings.per_channel else [torch.cat(raws, 1)]
        changed = iter(torch.cat([_change_raw(raw, settings, draw) for raw in together], 1).unbind(1))
        channels = [next(changed)[:, None] if k == "raw" else c for c, k in zip(channels, kinds, strict=True)]
    if maps:
        changed = iter(_change_maps(torch.cat(maps, 1), settings, draw).unbind(1))
        channels = [next(changed)[:, None] if k == "map" else c for c, k in zip(channels, kinds, strict=True)]
    return torch.cat(channels, 1), targets


class _Draws:
    """Random numbers for a batch, one for each sample, shaped to be broadcast over it."""

    def __init__(self, batch: Tensor, random: Generator):
        self._shape = (len(batch), *(1,) * (batch.ndim - 1))
        self._random, self._device = random, batch.device

    def _uniform(self, shape: Sequence[int]) -> Tensor:
        return torch.rand(shape, generator=self._random, device=self._device)

    def _normal(self, shape: Sequence[int]) -> Tensor:
        return torch.randn(shape, generator=self._random, device=self._device)

    def uniform(self, low: float = 0.0, high: float = 1.0) -> Tensor:
        return low + (high - low) * self._uniform(self._shape)

    def normal(self, deviation: float) -> Tensor:
        return deviation * self._normal(self._shape)

    def chosen(self, share: float) -> Tensor:
        """1.0 for about that share of the samples, 0.0 for the others."""
        return (self.uniform() < share).float()

    def number(self, low: float, high: float) -> float:
        """One for the whole batch."""
        return float(low + (high - low) * self._uniform(()))

    def field(self, size: Sequence[int]) -> Tensor:
        """Normal values `(n, 1, *size)`."""
        return self._normal((self._shape[0], 1, *size))


def change_geometry(
    inputs: Tensor, targets: Tensor, settings: AugmentSettings, random: Generator, cubes: bool = False
) -> tuple[Tensor, Tensor]:
    """Flips and quarter turns for each sample; for some a smooth deformation with rotation and zoom.

    Inputs are sampled bilinearly, targets at their nearest pixels.
    """
    n, size = len(inputs), inputs.shape[-2:]
    draw = _Draws(inputs, random)
    for axis, name in enumerate("zyx"[5 - inputs.ndim :], 2):
        flipped = draw.chosen(0.5 if name in settings.flips else 0) > 0
        inputs, targets = (torch.where(flipped, x.flip(axis), x) for x in (inputs, targets))
    for plane in combinations(range(2, inputs.ndim), 2) if cubes else [(inputs.ndim - 2, inputs.ndim - 1)]:
        if inputs.shape[plane[0]] == inputs.shape[plane[1]]:
            turned = draw.chosen(0.5 if settings.turns else 0) > 0
            inputs, targets = (torch.where(turned, torch.rot90(x, 1, plane), x) for x in (inputs, targets))
    deformed = draw.chosen(settings.elastic) > 0
    if not bool(deformed.any()):
        return inputs, targets
    where = _deformation(n, size, settings, draw)
    beyond = (where.abs() > 1).any(-1)  # n, y, x
    if settings.border == "reject":
        deformed = deformed & ~beyond.flatten(1).any(1).view_as(deformed)
    padding = "zeros" if settings.border == "constant" else "reflection"
    moved = _sampled(inputs, where, "bilinear", padding), _sampled(targets, where, "nearest", padding)
    if settings.border == "constant" and targets.dtype == torch.uint8:  # others have weights, which are 0
        moved = moved[0], moved[1].masked_fill(beyond.view(n, *(1,) * (inputs.ndim - 3), *size), IGNORED)
    return tuple(torch.where(deformed, a, b) for a, b in zip(moved, (inputs, targets), strict=True))  # type: ignore[return-value]


def _deformation(n: int, size: Sequence[int], settings: AugmentSettings, draw: _Draws) -> Tensor:
    """Where each pixel comes from, `(n, y, x, 2)` as `grid_sample` takes it."""
    most = math.radians(settings.rotation)
    angle = draw.uniform(-most, most).view(n)
    factor = torch.exp(draw.uniform(*map(math.log, settings.zoom))).view(n)
    cos, sin, ratio = torch.cos(angle) / factor, torch.sin(angle) / factor, size[0] / size[1]
    zero = torch.zeros_like(cos)
    rows = [torch.stack(row, -1) for row in ((cos, -sin * ratio, zero), (sin / ratio, cos, zero))]
    grid = affine_grid(torch.stack(rows, 1), [n, 1, *size], align_corners=False)
    nodes = [max(2, round(s / _GRID)) for s in size]
    fields = torch.cat([draw.field(nodes), draw.field(nodes)], 1)  # x, y
    smooth = interpolate(fields, list(size), mode="bilinear", align_corners=False).movedim(1, -1)
    pixels = 2 / torch.tensor([size[1], size[0]], device=grid.device)
    return grid + smooth * draw.uniform(0, _STRENGTH).view(n, 1, 1, 1) * pixels


def _planes(x: Tensor) -> Tensor:
    """`(n, C, [z,] y, x)` as `(n, C [z], y, x)`."""
    return x.reshape(len(x), -1, *x.shape[-2:])


def _sampled(x: Tensor, where: Tensor, mode: str, padding: str) -> Tensor:
    found = grid_sample(_planes(x).float(), where, mode, padding_mode=padding, align_corners=False)
    return found.reshape(x.shape).to(x.dtype)


def _blurred(x: Tensor, sigma: float) -> Tensor:
    """A Gaussian in the plane, the same for the whole batch."""
    planes = _planes(x)
    radius = min(math.ceil(3 * sigma), min(planes.shape[-2:]) - 1)
    taps = torch.arange(-radius, radius + 1, device=x.device, dtype=torch.float32)
    taps = torch.exp(-(taps**2) / (2 * sigma**2))
    taps = taps / taps.sum()
    flat = planes.reshape(-1, 1, *planes.shape[-2:])
    flat = conv2d(pad(flat, (radius, radius, 0, 0), mode="reflect"), taps.view(1, 1, 1, -1))
    flat = conv2d(pad(flat, (0, 0, radius, radius), mode="reflect"), taps.view(1, 1, -1, 1))
    return flat.reshape(x.shape)


def _change_raw(raw: Tensor, settings: AugmentSettings, draw: _Draws) -> Tensor:
    """Contrast, brightness and the bend of the grey values; negatives, blur and noise."""
    changed = draw.chosen(settings.temperature)
    bend = draw.normal(0.25) * changed
    bend = torch.where(bend.abs() < 1e-3, 1e-3, bend)
    raw = torch.expm1(bend * raw.clamp(-4, 4)) / bend
    raw = raw * torch.exp(draw.normal(0.25) * changed) + draw.normal(0.25) * changed
    raw = raw * (1 - 2 * draw.chosen(settings.invert))
    raw = torch.where(draw.chosen(settings.blur) > 0, _blurred(raw, draw.number(0.4, 1.5)), raw)
    strength = draw.uniform(0.05, 0.3) * draw.chosen(settings.noise)
    noise = torch.cat([draw.field(raw.shape[2:]) for _ in range(raw.shape[1])], 1)
    return raw + noise * strength


def _change_maps(p: Tensor, settings: AugmentSettings, draw: _Draws) -> Tensor:
    """Surer or less sure, more or less foreground; blur, noise, and regions in which a forest failed."""
    changed = draw.chosen(settings.temperature)
    odds = torch.logit(p.clamp(_EPSILON, 1 - _EPSILON))
    surer = torch.sigmoid(odds * torch.exp(draw.normal(0.4) * changed) + draw.normal(0.6) * changed)
    p = torch.where(changed > 0, surer, p)
    p = torch.where(draw.chosen(settings.blur) > 0, _blurred(p, draw.number(0.4, 2.0)), p)
    grain = _GRAINS[int(draw.number(0, len(_GRAINS) - 1e-6))]
    coarse = [-(-s // grain) for s in p.shape[-2:]]
    noise = draw.field([*p.shape[2:-2], *coarse])
    noise = interpolate(_planes(noise), p.shape[-2:], mode="bilinear").reshape(len(p), 1, *p.shape[2:])
    p = p + noise * draw.uniform(0.03, 0.2) * draw.chosen(settings.noise)
    return _without_regions(p, draw.chosen(settings.dropout), draw).clamp(0, 1)


def _without_regions(p: Tensor, chosen: Tensor, draw: _Draws) -> Tensor:
    """The chosen samples with a few boxes of one value."""
    value = draw.uniform()
    for _ in range(_BOXES):
        inside = chosen > 0
        for axis, size in enumerate(p.shape[2:], 2):
            place = torch.arange(size, device=p.device).view([-1 if n == axis else 1 for n in range(p.ndim)])
            half, middle = draw.uniform(size / 48, size / 12), draw.uniform(0, size)
            inside = inside & ((place - middle).abs() <= half)
        p = torch.where(inside, value, p)
    return p
