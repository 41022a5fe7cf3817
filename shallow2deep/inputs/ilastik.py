"""ilastik projects as input: strokes, names, features and forests; and predicting with them as they are."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import zip_longest
from pathlib import Path

import numpy as np

from shallow2deep.settings import AdaptConfig, TargetData
from shallow2deep.errors import InputError
from shallow2deep.features import FeatureSpec
from shallow2deep.forests import Forest, predict_probabilities
from shallow2deep.forests.vigra import read_forests
from shallow2deep.io.formats import ENDINGS, split_name
from shallow2deep.io.ilp import Lane, Project, lane_frames, open_project, read_labels
from shallow2deep.io.volumes import Volume, check_finite, members
from shallow2deep.io.write import write_probabilities
from shallow2deep.progress import progress_bar
from shallow2deep.inputs.images import Image, image_of, refuse_overwriting
from shallow2deep.inputs.names import in_order
from shallow2deep.runs.parallel import threads_each


@dataclass(frozen=True)
class Frame:
    """One time point of one data set of a project.

    Attributes:
        whole: `([C,] [z,] y, x)`.
        labels: uint8 `([z,] y, x)`: 0 unlabelled, else the project's label.
    """

    name: str
    file: Path
    whole: Volume
    labels: np.ndarray


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
    stems, keys = [split_name(name)[0].stem for name in raw], [lane.stem for lane in project.lanes]
    raw = in_order(raw, stems, keys, "raw data")
    names: set[str] = set()
    frames: list[Frame] = []
    for lane, name in zip_longest(project.lanes, raw):
        volumes = lane_frames(project, lane, name)
        title = _new_name(lane, names)
        for volume, labels in zip(volumes, read_labels(project, lane, volumes), strict=True):
            frames.append(Frame(title + volume.time_suffix, volume.file, volume, labels))
    return frames


def _new_name(lane: Lane, names: set[str]) -> str:
    """For output files, different from those before."""
    plain = "".join(c if c.isalnum() or c in "-_." else "_" for c in lane.nickname) or "data"
    name, n = plain, 2
    while name in names:
        name, n = f"{plain}_{n}", n + 1
    names.add(name)
    return name


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


def project_forest(project: Project, spec: FeatureSpec, order: Sequence[int] | None = None) -> Forest:
    """The forest that was trained in ilastik.

    Args:
        order: the project's labels, counted from 0, in the order that the classes are wanted in.
    """
    forest = read_forests(project.path, f"{project.group}/ClassifierForests", spec, project.label_names)
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


def project_images(data: TargetData) -> tuple[list[Image], list[np.ndarray], FeatureSpec]:
    """Images of a project, 2D ones or the planes of volumes, their strokes, and the project's features.

    Returns:
        strokes: for each part of each image uint8 `(y, x)`: 0 or the number of a class, from 1.

    Raises:
        InputError: data that cannot be used.
    """
    assert data.ilp is not None
    project = open_project(data.ilp)
    frames = open_frames(project, data.raw)
    specs = {spec_of(project, frame.whole) for frame in frames}
    if len(specs) > 1:
        raise InputError(
            f"{data.ilp}: its data sets differ in dimensions or channels; give data that are alike"
        )
    numbers = np.zeros(256, np.uint8)
    for number, labels in enumerate(_labels_of_classes(project, data), 1):
        numbers[[label + 1 for label in labels]] = number
    images, strokes = [], []
    for frame in frames:
        stacked = frame.whole.ndim == 3
        whole = _without_single_channel(frame.whole)
        images.append(image_of(frame.name, frame.file, whole, whole.planes(), stacked))
        drawn = numbers[frame.labels]
        strokes += list(drawn) if stacked else [drawn]
    painted = {int(n) for drawn in strokes for n in np.unique(drawn) if n}
    if len(painted) < 2 and not data.probabilities:
        raise InputError(
            f"{data.ilp} holds strokes of {len(painted)} labels; paint some of each in ilastik, and save"
        )
    return images, strokes, specs.pop()


def _without_single_channel(volume: Volume) -> Volume:
    return volume.grey() if "c" in volume.axes and volume.shape[0] == 1 else volume


def describe(path: str | Path) -> Iterator[str]:
    """What is in a project, line by line."""
    project = open_project(path)
    yield f"{project.path}: {project.workflow}, saved by ilastik {project.version}"
    yield f"labels:   {', '.join(project.label_names) or 'none'}"
    flat = sorted({scale for _, scale, in_2d in project.selection if in_2d})
    filters: dict[str, list[str]] = {}
    for name, scale, _ in project.selection:
        filters.setdefault(name, []).append(f"{scale:g}")
    yield "features: " + (
        "; ".join(f"{name} {' '.join(scales)}" for name, scales in filters.items()) or "none"
    )
    if flat:
        yield f"          plane by plane at {' '.join(f'{scale:g}' for scale in flat)}"
    yield f"forest:   {'trained' if project.has_forest else 'none'}"
    for lane in project.lanes:
        counts = project.label_counts(lane)
        drawn = ", ".join(f"{_label_name(project, n)} {counts[n]}" for n in sorted(counts))
        yield f"data:     {lane.nickname} ({lane.axes}): {lane.raw or lane.problem}"
        yield f"          labelled pixels: {drawn or 'none'}"


def _label_name(project: Project, number: int) -> str:
    known = dict(enumerate(project.label_names, 1))
    return known.get(number, f"label {number}")


def predict_project(
    path: str | Path, out: str | Path, raw: Sequence[str] = (), engine: str = "numba"
) -> list[Path]:
    """Predicts with the forest that was trained in ilastik, as ilastik does.

    Args:
        path: the project.
        out: a folder, which gets a .h5 file for each of the project's data sets and time points.
        raw: other data to predict, like those of the project, in place of its own.

    Returns:
        The files written: float32 `(labels, [z,] y, x)` each.

    Raises:
        InputError: a project or data that cannot be used, before any work.
    """
    project, out = open_project(path), Path(out)
    if out.suffix.lower() in ENDINGS or out.is_file():
        raise InputError(f"{out}: maps are written into a folder; give the name of one")
    if not project.has_forest:
        raise InputError(f"{path} holds no trained forest; press Live Update in ilastik, save, and try again")
    volumes, files = _volumes_to_predict(project, raw)
    targets = [out / f"{name}.h5" for name, _ in volumes]
    refuse_overwriting(targets, [project.path, *files])
    forests = _forests_for(project, [volume for _, volume in volumes])
    for _, volume in volumes:
        check_finite(volume)
    for target, (_, volume) in zip(targets, progress_bar(volumes, desc="predicting"), strict=True):
        forest = forests[spec_of(project, volume)]
        p = predict_probabilities(forest, volume.read(), engine=engine, threads=threads_each(-1))
        write_probabilities(target, p, forest.classes, volume.voxel_size)
    return targets


def _forests_for(project: Project, volumes: Sequence[Volume]) -> dict[FeatureSpec, Forest]:
    """The project's forest for each kind of data among `volumes`."""
    forests: dict[FeatureSpec, Forest] = {}
    for volume in volumes:
        try:
            spec = spec_of(project, volume)
            if spec not in forests:
                forests[spec] = project_forest(project, spec)
        except InputError as error:
            read_as = f"{volume.name}, read as {volume.axes} of shape {volume.shape}"
            raise type(error)(f"{read_as}: {error}") from None
    return forests


def _volumes_to_predict(project: Project, raw: Sequence[str]) -> tuple[list[tuple[str, Volume]], list[Path]]:
    """Names and volumes, and the files that they are in."""
    if not raw:
        own = open_frames(project)
        return [(frame.name, frame.whole) for frame in own], [frame.file for frame in own]
    if not project.lanes:
        raise InputError(f"{project.path} has no data whose axes new data could be read by")
    found: list[tuple[str, Volume]] = []
    files: list[Path] = []
    names: set[str] = set()
    for name in (member for stated in raw for member in members(stated)):
        lane = replace(project.lanes[0], nickname=split_name(name)[0].stem)
        title = _new_name(lane, names)
        times = lane_frames(project, lane, name)
        found += [(title + volume.time_suffix, volume) for volume in times]
        files.append(times[0].file)
    return found, files
