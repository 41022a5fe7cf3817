"""Maps of parts of images by finished jobs: one at a time, with models that stay loaded."""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Lock

import numpy as np

from shallow2deep.commands.predict import predictor_of
from shallow2deep.errors import InputError, TooLargeError
from shallow2deep.inputs.images import in_channels
from shallow2deep.inputs.results import ImagePredictor
from shallow2deep.io.volumes import Volume, open_volume
from shallow2deep.service.jobs import Jobs
from shallow2deep.service.views import PredictRequest

_LOADED = 4  # predictors that are kept
_MOST = 2**24  # pixels of a part, with its margin
_Channels = str | Sequence[str | int]


@dataclass(frozen=True)
class Map:
    """A predicted part.

    Attributes:
        values: float32 `(K, y, x)`, or `(K, z, y, x)` of a part of a volume by a model in 3D.
        titles: what the K channels tell.
    """

    values: np.ndarray
    titles: tuple[str, ...]


class Predictions:
    """Predicts parts of images."""

    def __init__(self, jobs: Jobs):
        self._jobs, self._lock = jobs, Lock()
        self._loaded: OrderedDict[tuple, tuple[ImagePredictor, _Channels]] = OrderedDict()

    def predict(self, request: PredictRequest) -> Map:
        """The map of a part of an image.

        The part is seen with a margin of the image around it, so that it is nearly what the whole gives.

        Raises:
            InputError: a job that is not finished, or an image that does not fit; TooLargeError.
        """
        run = self._jobs.get(request.job).run
        path, key = self._jobs.places.image(request.image)
        with self._lock:
            how, channels = self._predictor(run, request.step)
            volume = in_channels(open_volume(f"{path}:{key}" if key else path), channels)
            part, inner = _cut(volume, how.ndim, request)
            values = np.asarray(how.apply(part.read()))
        return Map(values[(..., *inner)], tuple(output.title for output in how.outputs))

    def _predictor(self, run: Path, step: str) -> tuple[ImagePredictor, _Channels]:
        made = run / "events.jsonl"  # which grows whenever something in the run is made anew
        key = (run, step, made.stat().st_size if made.exists() else 0)
        if key not in self._loaded:
            self._loaded[key] = predictor_of(run, step)
        self._loaded.move_to_end(key)
        while len(self._loaded) > _LOADED:
            self._loaded.popitem(last=False)
        return self._loaded[key]


def _cut(volume: Volume, ndim: int, request: PredictRequest) -> tuple[Volume, tuple[slice, slice]]:
    """The part with its margin, and where within that the part is along y and x."""
    if ndim == 2 and "z" in volume.axes:
        planes = volume.planes()
        number = len(planes) // 2 if request.z is None else request.z
        if not 0 <= number < len(planes):
            raise InputError(
                f"plane {number} was asked for, but there are {len(planes)}; take one of them, from 0"
            )
        volume = planes[number]
    elif ndim == 3 and "z" not in volume.axes:
        raise InputError(f"{request.image} is no volume, but the model sees volumes; give a volume")
    outer, inner = [], []
    for axis, n, asked in zip("yx", volume.spatial_shape[-2:], (request.y, request.x), strict=True):
        start, stop = asked or (0, n)
        if not 0 <= start < stop <= n:
            raise InputError(
                f"{axis} from {start} to {stop} was asked for, of {n} pixels; give a part of them"
            )
        low, high = max(0, start - request.margin), min(n, stop + request.margin)
        outer.append(slice(low, high))
        inner.append(slice(start - low, stop - low))
    depth = [slice(0, n) for n in volume.spatial_shape[:-2]]
    part = volume.crop((*depth, *outer))
    if (size := int(np.prod(part.spatial_shape))) > _MOST:
        raise TooLargeError(
            f"{size} pixels with the margin were asked for, but at most {_MOST} are taken; ask for less"
        )
    return part, (inner[0], inner[1])
