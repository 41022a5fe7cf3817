"""Which pixels a source forest is trained on.

Every strategy turns dense labels into sparse ones, as strokes are, so that a source forest is trained by the
same function as a target forest. A staged strategy also looks at what the forest one stage earlier predicts
for the new patch; its pixels are added to those which that forest was trained on.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy import ndimage as ndi

from shallow2deep.errors import InputError, SettingsError
from shallow2deep.forests.simulation import draw_strokes
from shallow2deep.outputs import IGNORED
from shallow2deep.settings import ForestsSettings

_TILE = 25  # pixels; side of the tiles of worst_tiles


@dataclass(frozen=True)
class Patch:
    """What a strategy sees.

    Attributes:
        classes: uint8 `(*spatial)`, the number of each pixel's class from 0, or `IGNORED`, which becomes no
            stroke.
        probabilities: float32 `(C, *spatial)`, of the forest one stage earlier; only for staged strategies.
    """

    classes: np.ndarray
    n_classes: int
    probabilities: np.ndarray | None = None

    @property
    def known_probabilities(self) -> np.ndarray:
        if self.probabilities is None:
            raise InputError(
                "a staged strategy got no probabilities; give those of the forest one stage earlier"
            )
        return self.probabilities


Strategy = Callable[[Patch, ForestsSettings, np.random.Generator], np.ndarray]


def simulated_strokes(patch: Patch, settings: ForestsSettings, rng: np.random.Generator) -> np.ndarray:
    """Brush strokes of random count, length and width inside the objects and the background."""
    return draw_strokes(patch.classes, patch.n_classes, settings.strokes, rng)


def dense_patches(patch: Patch, settings: ForestsSettings, rng: np.random.Generator) -> np.ndarray:
    """All pixels of a random box whose sides are between 0.4 and 1 of the patch's, as in the publication."""
    out = np.zeros_like(patch.classes)
    size = [int(rng.integers(max(1, int(0.4 * n)), n + 1)) for n in patch.classes.shape]
    start = [int(rng.integers(0, n - s + 1)) for n, s in zip(patch.classes.shape, size, strict=True)]
    box = tuple(slice(a, a + s) for a, s in zip(start, size, strict=True))
    out[box] = _as_strokes(patch.classes[box])
    return out


def random_points(patch: Patch, settings: ForestsSettings, rng: np.random.Generator) -> np.ndarray:
    """Up to `points` random pixels of each class."""
    return _best_per_class(rng.random(patch.classes.shape), patch, settings.points)


def balanced_dense(patch: Patch, settings: ForestsSettings, rng: np.random.Generator) -> np.ndarray:
    """As many random pixels of every class as the patch's rarest one has."""
    counts = np.bincount(patch.classes.ravel(), minlength=patch.n_classes)
    rarest = int(counts[: patch.n_classes].min())
    return _best_per_class(rng.random(patch.classes.shape), patch, rarest)


def worst_points(patch: Patch, settings: ForestsSettings, rng: np.random.Generator) -> np.ndarray:
    """The pixels that are predicted worst: highest sum over classes of |truth - probability|."""
    return _best_per_class(_error(patch.classes, patch.known_probabilities), patch, _quota(patch, settings))


def uncertain_points(patch: Patch, settings: ForestsSettings, rng: np.random.Generator) -> np.ndarray:
    """The pixels with the smallest lead of the most probable class over the second."""
    score = _uncertainty(patch.known_probabilities)
    return _best_per_class(score, patch, _quota(patch, settings))


def uncertain_worst_points(patch: Patch, settings: ForestsSettings, rng: np.random.Generator) -> np.ndarray:
    """The pixels with the highest sum of error and uncertainty."""
    known = patch.known_probabilities
    score = _error(patch.classes, known) + _uncertainty(known)
    return _best_per_class(score, patch, _quota(patch, settings))


def worst_tiles(patch: Patch, settings: ForestsSettings, rng: np.random.Generator) -> np.ndarray:
    """All pixels of the tiles with the largest summed error, worst first, until the fraction is reached."""
    error = ndi.uniform_filter(_error(patch.classes, patch.known_probabilities), _TILE, mode="constant")
    out = np.zeros_like(patch.classes)
    while np.count_nonzero(out) < settings.fraction * np.count_nonzero(patch.classes != IGNORED):
        centre = np.unravel_index(int(error.argmax()), error.shape)
        tile = tuple(slice(max(c - _TILE // 2, 0), c + _TILE // 2 + 1) for c in centre)
        out[tile] = _as_strokes(patch.classes[tile])
        error[tile] = -1  # a tile's middle is not taken twice; tiles may overlap
    return out


STRATEGIES: dict[str, Strategy] = {
    f.__name__: f
    for f in (
        simulated_strokes,
        dense_patches,
        random_points,
        balanced_dense,
        worst_points,
        uncertain_points,
        uncertain_worst_points,
        worst_tiles,
    )
}
STAGED = frozenset(
    {"balanced_dense", "worst_points", "uncertain_points", "uncertain_worst_points", "worst_tiles"}
)


def plan_strategies(settings: ForestsSettings) -> list[str]:
    """The strategy of each slot of a stage, by the settings' shares (largest remainder).

    Raises:
        SettingsError: an unknown name, or shares that are negative or all zero.
    """
    shares = settings.strategies
    if unknown := sorted(shares.keys() - STRATEGIES.keys()):
        raise SettingsError(f'forests.strategies: unknown "{unknown[0]}"; known are {", ".join(STRATEGIES)}')
    if min(shares.values(), default=0) < 0 or sum(shares.values()) <= 0:
        raise SettingsError(
            f"forests.strategies: shares >= 0 with a positive sum were expected, got {shares}"
        )
    ideal = {name: share / sum(shares.values()) * settings.stage_size for name, share in shares.items()}
    counts = {name: int(value) for name, value in ideal.items()}
    for name in sorted(ideal, key=lambda n: counts[n] - ideal[n])[
        : settings.stage_size - sum(counts.values())
    ]:
        counts[name] += 1
    # evenly mixed, so that any few slots in a row have nearly the shares of all
    places = [((n + 0.5) / count, name) for name, count in counts.items() for n in range(count)]
    return [name for _, name in sorted(places)]


def _as_strokes(classes: np.ndarray) -> np.ndarray:
    """Class numbers from 1; 0, unlabelled, where they are `IGNORED`."""
    return np.where(classes == IGNORED, 0, classes + 1).astype(np.uint8)


def _quota(patch: Patch, settings: ForestsSettings) -> int:
    """Pixels per class that a staged strategy adds."""
    return max(1, int(settings.fraction * patch.classes.size / patch.n_classes))


def _error(classes: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """Sum over classes of |one-hot truth - probability|, `(*spatial)`; 0 where pixels do not count."""
    truth = np.arange(len(probabilities)).reshape(-1, *[1] * classes.ndim) == classes
    return np.where(classes == IGNORED, 0, np.abs(truth - probabilities).sum(0))


def _uncertainty(probabilities: np.ndarray) -> np.ndarray:
    """1 - (highest - second highest probability), `(*spatial)`."""
    top = np.partition(probabilities, -2, axis=0)[-2:]
    return 1 - (top[1] - top[0])


def _best_per_class(score: np.ndarray, patch: Patch, count: int) -> np.ndarray:
    """The `count` pixels of each class with the highest score, as strokes."""
    out = np.zeros(patch.classes.size, np.uint8)
    for number in range(patch.n_classes):
        members = np.flatnonzero(patch.classes == number)
        best = members[np.argsort(-score.ravel()[members], kind="stable")[:count]]
        out[best] = number + 1
    return out.reshape(patch.classes.shape)
