"""The forest of what is painted now, and the maps of the part of an image that is being looked at.

All is done by tiles whose features stay in memory, so that a stroke costs a small forest and its application,
and not the filters again.
"""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
from joblib import effective_n_jobs

from shallow2deep.errors import InputError, OutdatedError
from shallow2deep.evaluation.held_out import disagreement
from shallow2deep.evaluation.where_to_paint import places_to_paint
from shallow2deep.features import FeatureSpec, compute_features
from shallow2deep.forests import fit_forest
from shallow2deep.forests.kernel import Traversal
from shallow2deep.inference.enhancers import Enhancers
from shallow2deep.inputs.filters import feature_spec
from shallow2deep.inputs.images import in_channels
from shallow2deep.inputs.models import OpenedEnhancer, given_enhancers, open_enhancer
from shallow2deep.inputs.results import applied_enhancers
from shallow2deep.inputs.target import features_of
from shallow2deep.io.cache import ReadCache
from shallow2deep.io.stored import size_in_bytes
from shallow2deep.io.volumes import Volume
from shallow2deep.networks.devices import choose_device
from shallow2deep.outputs import foreground
from shallow2deep.service.painting import Painting
from shallow2deep.service.stroke_files import TILE
from shallow2deep.settings import AdaptConfig, FeatureSettings

LARGEST = 2**21  # pixels of a view
_FEATURES = 2**30  # bytes of features that are kept
_GROWTH: dict[str, Any] = {"n_trees": 24, "max_depth": 10, "min_samples_leaf": 3, "random_thresholds": True}
_MOST_SAMPLES = 20_000  # painted pixels that the forest learns from; more make it slow, and hardly better
_PLACES = 5
_SMALL = 2**26  # bytes of a plane that is read as a whole, as files such as PNG must be
_CLIENTS = 100  # windows that are remembered
_Key = tuple[int, int, int, int]  # image, plane, tile along y and x


@dataclass(frozen=True)
class View:
    """The part of a plane that is looked at.

    Attributes:
        rows, columns: within the plane.
    """

    image: int
    z: int
    rows: slice
    columns: slice

    def tiles(self) -> list[_Key]:
        """Those that it touches."""
        return [
            (self.image, self.z, y, x)
            for y in range(self.rows.start // TILE, -(-self.rows.stop // TILE))
            for x in range(self.columns.start // TILE, -(-self.columns.stop // TILE))
        ]


@dataclass(frozen=True)
class Seen:
    """Maps of a view.

    Attributes:
        values: float32 `(K, y, x)`: of the forest, all classes; enhanced, all but the first, and then how far
            both differ.
        revision: of the strokes.
        places: where to paint next, `(y, x)` in the image, the most useful first.
    """

    values: np.ndarray
    revision: int
    seconds: float
    places: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True)
class Turn:
    """What one window asks for; outdated as soon as it has asked for something newer."""

    live: "Live"
    client: str
    number: int

    def check(self, *_: object) -> None:
        """Raises OutdatedError."""
        if self.live.newest.get(self.client, 0) > self.number:
            raise OutdatedError("something newer was asked for meanwhile")


class Live:
    """Maps of views; one is computed at a time."""

    def __init__(self, painting: Painting):
        self.painting = painting
        self.newest: OrderedDict[str, int] = OrderedDict()
        self._lock, self._reads = threading.Lock(), ReadCache()
        self._threads = effective_n_jobs(-1)
        self._features: OrderedDict[tuple[_Key, FeatureSpec], np.ndarray] = OrderedDict()
        self._samples: dict[tuple[_Key, FeatureSpec], tuple[int, np.ndarray, np.ndarray]] = {}
        self._forest: tuple[tuple[Any, ...], Traversal] | None = None
        self._maps: dict[_Key, np.ndarray] = {}  # by the forest

    def turn(self, client: str, number: int) -> Turn:
        """Begins what a window asks for; what it has asked for with smaller numbers ends."""
        self.newest[client] = max(number, self.newest.pop(client, 0))
        while len(self.newest) > _CLIENTS:
            self.newest.popitem(last=False)
        return Turn(self, client, number)

    def warm_up(self) -> None:
        """Loads what the first stroke would wait for: compiled kernels, libraries, and the enhancer."""
        with self._lock, suppress(InputError):
            spec = feature_spec(FeatureSettings(), 2)
            features = compute_features(np.zeros((64, 64), np.uint8), spec)
            samples, classes = features[:, :1, :2].reshape(spec.n_features, 2).T, np.arange(2)
            forest = fit_forest(samples, classes, spec, ("one", "other"), n_trees=1)
            p = Traversal(forest).predict(features)
            if len(self.painting.classes) == 2:
                self._enhancers(1.0, raw=False).enhance(p)

    def forest_map(self, view: View, turn: Turn) -> Seen:
        """The map of a forest on all that is painted now.

        Raises:
            InputError: strokes of less than two classes, or a view outside of the image; OutdatedError.
        """
        self._check(view)
        with self._lock:
            started = time.perf_counter()
            p, revision = self._predicted(view, turn)
            return Seen(p, revision, time.perf_counter() - started)

    def enhanced_map(self, view: View, turn: Turn, scale: float = 1.0, raw: bool = False) -> Seen:
        """That map enhanced by the project's enhancer.

        Args:
            scale: by which it is resized for the enhancer.
            raw: whether the enhancer's companion is used, which takes as long again.

        Raises:
            InputError: see `forest_map`; an enhancer that does not fit; OutdatedError.
        """
        self._check(view)
        with self._lock:
            started = time.perf_counter()
            p, revision = self._predicted(view, turn)
            turn.check()
            volume = self._raw(view.image, view.z)
            part = volume.read((*_channels(volume), view.rows, view.columns)) if raw else None
            enhancers = self._enhancers(scale, raw)
            with _cancellable(enhancers, turn):
                found = enhancers.enhance(p, part)
            enhanced = foreground(found, enhancers.outputs(self.painting.classes))
            turn.check()
            differing = disagreement([p[1:], enhanced])
            strokes = self.painting.strokes(view.image).window(view.z, view.rows, view.columns)
            places = places_to_paint([p[1:], enhanced], differing, strokes, _PLACES)
            values = np.concatenate([enhanced, differing[None]])
            at = tuple((y + view.rows.start, x + view.columns.start) for (y, x), _ in places)
            return Seen(values, revision, time.perf_counter() - started, at)

    def _check(self, view: View) -> None:
        height, width = self.painting.plane(view.image, view.z).spatial_shape
        rows, columns = view.rows, view.columns
        inside = 0 <= rows.start < rows.stop <= height and 0 <= columns.start < columns.stop <= width
        if not inside or (rows.stop - rows.start) * (columns.stop - columns.start) > LARGEST:
            raise InputError(
                f"lines {rows.start} to {rows.stop} and columns {columns.start} to {columns.stop} were asked "
                f"for, of {height} and {width}; give a part with at most {LARGEST} pixels"
            )

    def _predicted(self, view: View, turn: Turn) -> tuple[np.ndarray, int]:
        turn.check()
        revision = self.painting.revision
        spec = self._spec(view.image)
        traversal = self._trained(spec, revision, turn)
        missing = [key for key in view.tiles() if key not in self._maps]

        def predict(key: _Key) -> np.ndarray:
            turn.check()
            return traversal.predict(self._features_of(key, spec))

        self._maps |= zip(missing, self._in_threads(predict, missing), strict=True)
        return self._joined(view), revision

    def _joined(self, view: View) -> np.ndarray:
        size = (view.rows.stop - view.rows.start, view.columns.stop - view.columns.start)
        out = np.empty((len(self.painting.classes), *size), np.float32)
        for key in view.tiles():
            top, left = key[2] * TILE, key[3] * TILE
            rows = slice(max(top, view.rows.start), min(top + TILE, view.rows.stop))
            columns = slice(max(left, view.columns.start), min(left + TILE, view.columns.stop))
            part = self._maps[key][:, _moved(rows, -top), _moved(columns, -left)]
            out[:, _moved(rows, -view.rows.start), _moved(columns, -view.columns.start)] = part
        return out

    def _trained(self, spec: FeatureSpec, revision: int, turn: Turn) -> Traversal:
        """The forest of all strokes, grown anew if there are others."""
        key = (spec, revision, self.painting.classes)
        if self._forest is None or self._forest[0] != key:
            x, y = self._all_samples(spec, turn)
            turn.check()
            forest = fit_forest(x, y, spec, self.painting.classes, n_jobs=1, **_GROWTH)
            self._forest, self._maps = (key, Traversal(forest)), {}
        return self._forest[1]

    def _all_samples(self, spec: FeatureSpec, turn: Turn) -> tuple[np.ndarray, np.ndarray]:
        """Features and classes of painted pixels; only tiles that were painted on since are looked at."""
        found: list[tuple[np.ndarray, np.ndarray]] = []
        for number, file in self.painting.all_strokes():
            own = replace(self._spec(number), channels=spec.channels)
            for place, tile in list(file.painted()):
                turn.check()
                key, edits = (number, *place), file.edits.get(place, 0)
                kept = self._samples.get((key, own))
                if kept is None or kept[0] != edits:
                    features = self._features_of(key, own)
                    kept = edits, features[:, tile > 0].T, tile[tile > 0].astype(np.int64) - 1
                    self._samples[key, own] = kept
                found.append(kept[1:])
        if not found:
            raise InputError("nothing is painted yet; paint a stroke of two classes or more")
        x, y = (np.concatenate(parts) for parts in zip(*found, strict=True))
        step = -(-len(y) // _MOST_SAMPLES)
        return x[::step], y[::step]

    def _features_of(self, key: _Key, spec: FeatureSpec) -> np.ndarray:
        """Float32 `(F, y, x)` of a tile."""
        kept = self._features.get((key, spec))
        if kept is not None:
            self._features.move_to_end((key, spec))
            return kept
        volume = self._raw(*key[:2])
        inner, outer = [], []
        for number, n, halo in zip(key[2:], volume.spatial_shape, spec.halo, strict=True):
            start, stop = number * TILE, min((number + 1) * TILE, n)
            outer.append(slice(max(0, start - halo), min(n, stop + halo)))
            inner.append(slice(start - outer[-1].start, stop - outer[-1].start))
        raw = volume.read((*_channels(volume), *outer))
        found = np.ascontiguousarray(compute_features(raw, spec, inner=tuple(inner)))
        self._features[key, spec] = found
        while len(self._features) * found.nbytes > _FEATURES:
            self._features.popitem(last=False)
        return found

    def _raw(self, image: int, z: int) -> Volume:
        plane, channels = self.painting.plane(image, z), self.painting.config.target.channels
        used = in_channels(plane, channels)
        is_small = size_in_bytes(used.shape, used.dtype) <= _SMALL
        return self._reads.keep(used) if is_small else used

    def _spec(self, image: int) -> FeatureSpec:
        """Those that a run of `adapt` would use."""
        config, volume = self.painting.config, self._raw(image, 0)
        own = features_of(config, open_enhancers(config)[0].spec, None)
        spec = own or feature_spec(FeatureSettings(), 2)
        return replace(spec, channels=volume.shape[0] if "c" in volume.axes else 1)

    def _enhancers(self, scale: float, raw: bool) -> Enhancers:
        config = self.painting.config
        settings = config.enhanced.model_copy(update={"scales": (scale,), "raw": raw, "pixel_size": None})
        config = config.model_copy(update={"enhanced": settings})
        return applied_enhancers(config, open_enhancers(config), None, choose_device("auto"))

    def _in_threads(self, work: Callable[[_Key], np.ndarray], keys: Sequence[_Key]) -> list[np.ndarray]:
        with ThreadPoolExecutor(self._threads) as pool:
            return list(pool.map(work, keys))


def open_enhancers(config: AdaptConfig) -> tuple[OpenedEnhancer, ...]:
    """The enhancers of a configuration, which stay loaded."""
    return tuple(_opened(one.name) for one in given_enhancers(config))


@lru_cache(4)
def _opened(name: str) -> OpenedEnhancer:
    return open_enhancer(name)


@contextmanager
def _cancellable(enhancers: Enhancers, turn: Turn) -> Iterator[None]:
    """Lets networks end between two of their layers when the turn is outdated."""
    networks = [
        network for one in enhancers.each for network in (one.network, one.companion) if network is not None
    ]
    modules = [module for network in networks for module in network.modules()]

    def check(*layer: object) -> None:  # a function, as copies of the networks keep it
        turn.check(*layer)

    hooks = [module.register_forward_pre_hook(check) for module in modules]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _channels(volume: Volume) -> tuple[slice, ...]:
    return (slice(0, volume.shape[0]),) if "c" in volume.axes else ()


def _moved(part: slice, by: int) -> slice:
    return slice(part.start + by, part.stop + by)
