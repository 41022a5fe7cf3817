"""ilastik projects as input: data, strokes, names, features and forests."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np

from shallow2deep.errors import InputError
from shallow2deep.features import FeatureSpec
from shallow2deep.forests import Forest
from shallow2deep.forests.vigra import read_forests
from shallow2deep.inference.intensity import Intensities
from shallow2deep.inputs.facts import text_fingerprint
from shallow2deep.inputs.images import Image, image_of, images_of, new_name
from shallow2deep.inputs.names import in_order, plain_stem
from shallow2deep.inputs.strokes import Strokes
from shallow2deep.io.cache import ReadCache
from shallow2deep.io.formats import split_name
from shallow2deep.io.ilp import Lane, Project, lane_frames, open_project, read_labels
from shallow2deep.io.known import Known
from shallow2deep.io.volumes import Volume, members
from shallow2deep.settings import AdaptConfig, TargetData


@dataclass(frozen=True)
class _Painted:
    """What was painted on a lane of a project, read when it is asked for."""

    project: Project
    lane: Lane
    volumes: tuple[Volume, ...]

    @cached_property
    def labels(self) -> list[np.ndarray]:
        """Of each time point."""
        return read_labels(self.project, self.lane, list(self.volumes))

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "labels"}


@dataclass(frozen=True)
class Frame:
    """One time point of one data set of a project.

    Attributes:
        whole: `([C,] [z,] y, x)`.
    """

    name: str
    file: Path
    whole: Volume
    _painted: _Painted
    _time: int

    @property
    def labels(self) -> np.ndarray:
        """uint8 `([z,] y, x)`: 0 unlabelled, else the project's label."""
        return self._painted.labels[self._time]

    def plane_labels(self, z: int | None) -> np.ndarray:
        """Of a plane; of all if z is None."""
        return self.labels if z is None else self.labels[z]

    def label_facts(self, known: Known, stacked: bool) -> list[tuple[str, dict[int, int]]]:
        """A fingerprint and the number of pixels of each label, of all, or for each plane if `stacked`."""
        project = self._painted.project.path.resolve()
        name = f"painted {project} {self._painted.lane.nickname} {self._time} {self.whole.identity}"
        kind = " by plane" if stacked else ""
        found = known.fact(project, name + kind, partial(self._count, stacked))
        return [(digest, dict(counts)) for digest, counts in found]

    def _count(self, stacked: bool) -> list[tuple[str, list[tuple[int, int]]]]:
        planes = list(self.labels) if stacked else [self.labels]
        out = []
        for plane in planes:
            values, numbers = np.unique(plane[plane > 0], return_counts=True)
            counts = list(zip(values.tolist(), numbers.tolist(), strict=True))
            out.append((hashlib.sha256(np.ascontiguousarray(plane).data).hexdigest(), counts))
        return out


def open_frames(project: Project, raw: Sequence[str] = ()) -> list[Frame]:
    """All data of a project, with what was painted on them.

    Args:
        raw: names of the data to take in place of the project's own, one for each of its data sets.

    Raises:
        InputError: data that are not there or do not fit.
    """
    if not project.lanes:
        raise InputError(f"{project.path} has no data; add some in ilastik and save, or give another project")
    raw = [member for name in raw for member in members(name)]
    if raw and len(raw) != len(project.lanes):
        raise InputError(
            f"{len(raw)} raw data came for the {len(project.lanes)} data sets of {project.path}; give one "
            "for each"
        )
    stems = [plain_stem(split_name(name)[0].stem) for name in raw]
    keys = [plain_stem(lane.stem) for lane in project.lanes]
    raw = in_order(raw, stems, keys, "raw data")
    names: set[str] = set()
    frames: list[Frame] = []
    for lane, name in zip_longest(project.lanes, raw):
        volumes = lane_frames(project, lane, name)
        title, painted = new_name(plain_title(lane.nickname), names), _Painted(project, lane, tuple(volumes))
        for time, volume in enumerate(volumes):
            frames.append(Frame(title + volume.time_suffix, volume.file, volume, painted, time))
    return frames


def plain_title(nickname: str) -> str:
    """A lane's name as the beginning of a file's."""
    return "".join(c if c.isalnum() or c in "-_." else "_" for c in nickname) or "data"


def spec_of(project: Project, volume: Volume) -> FeatureSpec:
    """The project's features, for data like `volume`.

    Raises:
        InputError: no features were chosen.
    """
    if not project.selection:
        raise InputError(f"{project.path}: no features are chosen; choose some in ilastik, and save")
    channels = volume.shape[0] if "c" in volume.axes else 1
    depth = volume.spatial_shape[0] if volume.ndim == 3 else None
    return FeatureSpec.of_selection(project.selection, volume.ndim, depth, channels, project.filter_library)


def learned_range(project: Project, needed: bool = False) -> Intensities | None:
    """The range of raw that the project's forest has learned on: that of the images and planes with labels.

    ilastik does not store it, so it is None unless all of them are found and can be read.

    Raises:
        InputError: it is needed, for rescaling to it, and not known.
    """
    learned = _range_of_painted(project)
    if needed and learned is None:
        raise InputError(
            f"{project.path}: the images that were painted on are not all found, so the range of their "
            "values is not known; put them where the project expects them, or leave out rescale"
        )
    return learned


def _range_of_painted(project: Project) -> Intensities | None:
    if any(lane.label_problem for lane in project.lanes):
        return None
    found = []
    try:
        for lane in (lane for lane in project.lanes if lane.labels):
            volumes = lane_frames(project, lane)
            for volume, labels in zip(volumes, read_labels(project, lane, volumes), strict=True):
                planes = zip(volume.planes(), labels if volume.ndim == 3 else [labels], strict=True)
                found += [Intensities.of(plane.read(), 2) for plane, marks in planes if marks.any()]
    except InputError:
        return None
    return Intensities.together(found) if found else None


def project_forest(
    project: Project,
    spec: FeatureSpec,
    order: Sequence[int] | None = None,
    learned: Intensities | None = None,
) -> Forest:
    """The forest that was trained in ilastik.

    Args:
        order: the project's labels, counted from 0, in the order that the classes are wanted in.
        learned: see `learned_range`; goes into the forest's record.
    """
    forest = read_forests(project.path, f"{project.group}/ClassifierForests", spec, project.label_names)
    if learned is not None:
        forest = replace(forest, record={**forest.record, "raw": learned.to_dict()})
    if order is None:
        return forest
    columns = list(order)
    values = np.ascontiguousarray(forest.leaf_values[:, columns])
    return replace(forest, classes=tuple(forest.classes[n] for n in columns), leaf_values=values)


def class_order(project: Project, background: str | int | None) -> list[int]:
    """The project's labels, counted from 0, with the background first.

    Args:
        background: its name, or its number as ilastik counts, from 1.

    Raises:
        InputError: no such label, or fewer than two.
    """
    names = project.label_names
    if len(names) < 2 or len(set(names)) < len(names):
        raise InputError(
            f"{project.path} has the labels {list(names)}; two or more are needed, each with its own name"
        )
    if background is None:
        background = 1
    number = names.index(background) if background in names else background
    if isinstance(number, int) and background not in names:
        number -= 1
    if isinstance(number, str) or not 0 <= number < len(names):
        raise InputError(
            f'{project.path} has no label "{background}"; give one of {", ".join(names)}, or its number, '
            "from 1"
        )
    return [number, *(n for n in range(len(names)) if n != number)]


def _labels_of_classes(project: Project, data: TargetData) -> list[list[int]]:
    """For each class the project's labels, counted from 0, that belong to it; the background's come first.

    Every label is a class of its own; but where maps are given that hold several structures, the one that is
    chosen stands against all other labels.
    """
    order = class_order(project, data.background)
    if not data.probabilities or len(order) == 2:
        return [[n] for n in order]
    names, wanted = project.label_names, data.channel
    if wanted is None:
        raise InputError(
            f"{project.path} has the labels {', '.join(names)}, but one map is enhanced; choose it by channel"
        )
    label = names.index(wanted) if isinstance(wanted, str) and wanted in names else wanted
    if isinstance(label, str) or label not in order[1:]:
        raise InputError(
            f"channel {wanted} of the maps is no structure of {project.path}; give one of "
            f"{', '.join(f'{names[n]} ({n})' for n in order[1:])}"
        )
    return [[n for n in order if n != label], [label]]


def with_project(config: AdaptConfig) -> AdaptConfig:
    """The same settings with the classes of the ilastik project they name, if they name one.

    Raises:
        InputError: a project that cannot be used.
    """
    if config.target.ilp is None:
        return config
    project = open_project(config.target.ilp)
    labels = _labels_of_classes(project, config.target)
    classes = tuple(project.label_names[numbers[0]] for numbers in labels)
    target = config.target.model_copy(update={"channels": "each"})
    return config.model_copy(update={"classes": classes, "target": target})


def project_images(
    project: Project, data: TargetData, ndim: int = 2, known: Known | None = None
) -> tuple[list[Image], list[Strokes], FeatureSpec]:
    """Images of a project, their strokes, and the project's features.

    Args:
        ndim: 2 for 2D images and the planes of volumes, 3 for volumes.

    Returns:
        strokes: for each part of each image.

    Raises:
        InputError: data that cannot be used.
    """
    known, cache = known or Known(), ReadCache()
    frames = open_frames(project, data.raw)
    specs = {spec_of(project, frame.whole) for frame in frames}
    if len(specs) > 1:
        raise InputError(
            f"{project.path}: its data sets differ in dimensions or channels; give data that are alike"
        )
    numbers = np.zeros(256, np.uint8)
    for number, labels in enumerate(_labels_of_classes(project, data), 1):
        numbers[[label + 1 for label in labels]] = number
    images, strokes = [], []
    for frame in frames:
        whole = cache.keep(_without_single_channel(frame.whole))  # volumes have features in 3D
        parts, stacked = images_of(whole, ndim, None), whole.ndim > ndim
        images.append(image_of(frame.name, frame.file, whole, parts, stacked, known))
        strokes += _strokes(frame, stacked, numbers, known)
    painted = {number for one in strokes for number in one.counts}
    if painted and 1 not in painted and not data.probabilities:
        background = project.label_names[class_order(project, data.background)[0]]
        raise InputError(
            f'{project.path}: the label "{background}" is the background, but nothing of it is painted; '
            "paint some in ilastik, and save, or choose the label that is by background"
        )
    if len(painted) < 2 and not data.probabilities:
        raise InputError(
            f"{project.path} holds strokes of {len(painted)} labels; paint some of each in ilastik, and save"
        )
    return images, strokes, specs.pop()


def _strokes(frame: Frame, stacked: bool, numbers: np.ndarray, known: Known) -> list[Strokes]:
    """Of a frame, with the classes that the labels belong to.

    Args:
        stacked: of each of its planes.
        numbers: uint8 `(256,)`, the class of each label; 0 for none.
    """
    found = []
    for z, (digest, by_label) in enumerate(frame.label_facts(known, stacked)):
        counts: dict[int, int] = {}
        for label, count in by_label.items():
            if number := int(numbers[label]):
                counts[number] = counts.get(number, 0) + count
        read = partial(_read_strokes, frame, z if stacked else None, numbers)
        fingerprint = text_fingerprint(digest, numbers.tolist())
        shape = frame.whole.spatial_shape[1:] if stacked else frame.whole.spatial_shape
        found.append(Strokes(shape, counts, fingerprint, read))
    return found


def _read_strokes(frame: Frame, z: int | None, numbers: np.ndarray) -> np.ndarray:
    return numbers[frame.plane_labels(z)]


def _without_single_channel(volume: Volume) -> Volume:
    return volume.grey() if "c" in volume.axes and volume.shape[0] == 1 else volume
