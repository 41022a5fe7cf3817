"""ilastik project files (.ilp) of Pixel Classification and Trainable Domain Adaptation: what the user did.

The files are HDF5. Their pickled entries are never touched.
"""

import json
import logging
import math
import re
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

import h5py
import numpy as np

from shallow2deep.errors import DamagedFileError, InputError, MissingDataError, one_line
from shallow2deep.io import hdf5
from shallow2deep.io.formats import open_stored, split_name
from shallow2deep.io.memory import require_memory
from shallow2deep.io.stored import require_file
from shallow2deep.io.volumes import Volume, open_frames

log = logging.getLogger(__name__)

_WORKFLOWS = {
    "Pixel Classification": "PixelClassification",
    "Trainable Domain Adaptation": "TrainableDomainAdaptation",
}
_KNOWN = (
    "; give a project of Pixel Classification or Trainable Domain Adaptation, saved by ilastik 1.2 or newer"
)
_SLICE = re.compile(r"(\d+):(\d+)")
_DATA = "Input Data/local_data"
_MAX_BLOCKS = 100_000
_RELEASE = re.compile(r"(\d+)\.(\d+)(?:\.(\d+))?(?:(a|b|rc|post)(\d*))?")
_STAGES = {"a": -3, "b": -2, "rc": -1, None: 0, "post": 1}
_Release = tuple[int, int, int, int, int]
# labels without axes of their own: in these releases in one order, or in that of the data's file
_FIXED_ORDER = "txyzc"
_FIXED: tuple[_Release, _Release] = ((1, 3, 3, 0, 0), (1, 3, 3, 1, 1))
_AS_FILE: tuple[_Release, _Release] = ((1, 3, 3, 1, 2), (1, 4, 0, -2, 7))


@dataclass(frozen=True)
class LabelBlock:
    """A box of labels in the project file; `window` is where it lies, in the order of `axes`."""

    key: str
    axes: str
    window: tuple[slice, ...]


@dataclass(frozen=True)
class Lane:
    """One of the data sets of a project.

    Attributes:
        stem: the name of its file without ending, wherever that is; the nickname if it has none.
        raw: its name, as `open_volume` takes it; None if only `problem` can be said.
        axes: of the data as ilastik saw it, such as "tzyxc".
        labels: what was painted.
        label_problem: why that cannot be told; empty if it can.
        shape: of the data as ilastik saw it; None in projects that do not state it.
    """

    nickname: str
    stem: str
    raw: str | None
    problem: str
    axes: str
    labels: tuple[LabelBlock, ...]
    label_problem: str = ""
    shape: tuple[int, ...] | None = None

    @property
    def sizes(self) -> dict[str, int]:
        """Of the data along each axis, as far as the project states them."""
        return dict(zip(self.axes, self.shape or (), strict=False))


@dataclass(frozen=True)
class Project:
    """An ilastik project.

    Attributes:
        group: where the workflow's own data are in the file.
        label_names: of the labels 1, 2 …
        selection: the chosen filters in the order of their features: name, scale, whether plane by plane.
        has_forest: whether it was trained, and saved so.
    """

    path: Path
    workflow: str
    version: str
    group: str
    label_names: tuple[str, ...]
    selection: tuple[tuple[str, float, bool], ...]
    lanes: tuple[Lane, ...]
    has_forest: bool

    @property
    def old(self) -> bool:
        """Saved by ilastik 1.2 or before: labels have their channel last."""
        return _is_old(self.version)

    @property
    def filter_library(self) -> str:
        """By which, and how, ilastik of that version computes features: see `FeatureSpec`."""
        return "vigra" if self.old else "fastfilters float32"

    def label_counts(self, lane: Lane) -> Counter[int]:
        """Painted pixels of each label.

        Raises:
            DamagedFileError: the labels cannot be read.
        """
        counts: Counter[int] = Counter()
        with self.labels_of(lane) as file:
            for block in lane.labels:
                values, numbers = np.unique(_block(file, block), return_counts=True)
                counts.update(dict(zip(values.tolist(), numbers.tolist(), strict=True)))
        del counts[0]
        return counts

    @contextmanager
    def labels_of(self, lane: Lane) -> Iterator[h5py.File]:
        """The file, to read a lane's labels from.

        Raises:
            DamagedFileError: they cannot be read.
        """
        if lane.label_problem:
            raise DamagedFileError(
                f"{self.path}: the labels of {lane.nickname} cannot be read ({lane.label_problem}); open and "
                "save the project by a newer ilastik"
            )
        with hdf5.opened(self.path) as file:
            yield file


def open_project(path: str | Path) -> Project:
    """Reads all of a project but labels and forest.

    Raises:
        InputError: not a project, or one of another workflow or of a version before 1.0.
        DamagedFileError: a project whose parts do not fit each other.
    """
    path = Path(path).expanduser()
    if not path.exists():
        raise MissingDataError(f"{path}: there is no such file; check the path of the ilastik project")
    require_file(path)
    if not h5py.is_hdf5(path):
        raise InputError(f"{path} is no ilastik project: it is not HDF5{_KNOWN}")
    with hdf5.opened(path) as file:
        _check_contents(path)
        if "workflowName" not in file:
            kind = "was saved by ilastik 0.5" if "DataSets" in file else "is no ilastik project"
            raise InputError(f"{path} {kind}{_KNOWN}")
        workflow = _text(file["workflowName"])
        groups = [group for name, group in _WORKFLOWS.items() if workflow.startswith(name)]
        if not groups or groups[0] not in file:
            raise InputError(f'{path} is a project of the workflow "{workflow}"{_KNOWN}')
        own = file[groups[0]]
        version = _text(file["ilastikVersion"]) if "ilastikVersion" in file else "1.0"
        return Project(
            path,
            workflow,
            version,
            groups[0],
            _label_names(own),
            tuple(_selection(file.get("FeatureSelections", {}))),
            tuple(_lanes(path, file, own, version)),
            "ClassifierForests" in own and any(k.startswith("Forest") for k in own["ClassifierForests"]),
        )


def lane_frames(project: Project, lane: Lane, raw: str | None = None) -> list[Volume]:
    """The raw data of a lane, one volume for each time point, all lazy; a z axis of size 1 is left out.

    Args:
        raw: the name of the data to take in place of what the project names.

    Raises:
        InputError: the data are not there or cannot be used, or are not those that the project was made with.
    """
    name = raw or lane.raw
    if name is None:
        raise MissingDataError(f"{project.path}: {lane.problem}; name the data by --raw")
    frames = open_frames(name, lane.axes, own_axes=raw is not None)
    found = dict(zip(frames[0].axes, frames[0].shape, strict=True)) | {"t": len(frames)}
    if raw is None and lane.shape and any(found.get(a, 1) != lane.sizes.get(a, 1) for a in "tczyx"):
        raise _other_shape(project, lane, frames)
    flat = all("z" in frame.axes and frame.spatial_shape[0] == 1 for frame in frames)
    return [frame.planes()[0] for frame in frames] if flat else frames


def read_labels(project: Project, lane: Lane, frames: list[Volume]) -> list[np.ndarray]:
    """What was painted in each time point of a lane, uint8 `(*spatial)`: 0 unlabelled, else the label.

    Args:
        frames: the lane's raw data, as `lane_frames` gives them.

    Raises:
        InputError: labels that do not lie in the data.
    """
    shape, axes = frames[0].spatial_shape, frames[0].spatial_axes
    require_memory(len(frames) * math.prod(shape), f"the labels of {lane.nickname}")
    out = [np.zeros(shape, np.uint8) for _ in frames]
    if lane.labels and any(n != lane.sizes.get(a, n) for a, n in zip(axes, shape, strict=True)):
        raise _other_shape(project, lane, frames)
    with project.labels_of(lane) as file:
        for block in lane.labels:
            if missing := [a for a in axes if a not in block.axes]:
                raise InputError(
                    f"{project.path}: labels of {lane.nickname} ({block.axes}) have no axis {missing[0]}, "
                    f"but {frames[0].name} ({frames[0].axes}) has; give the data that were painted on"
                )
            # what the data lack has one point: labels elsewhere along it were painted on other data
            sizes = dict(zip(axes, shape, strict=True)) | {"t": len(frames)}
            if any(s.stop > sizes.get(a, 1) for a, s in zip(block.axes, block.window, strict=True)):
                raise InputError(
                    f"{project.path}: labels of {lane.nickname} lie outside of {frames[0].name}, which has "
                    f"shape {shape} and {len(frames)} time points; give the data that were painted on"
                )
            times, box, values = _placed(block, _block(file, block), axes)
            for time, drawn in zip(range(times.start, times.stop), values, strict=True):
                place = out[time][box]
                place[drawn > 0] = drawn[drawn > 0]
    return out


def _other_shape(project: Project, lane: Lane, frames: list[Volume]) -> InputError:
    count = f", {len(frames)} times" if len(frames) > 1 else ""
    return InputError(
        f"{project.path}: the data of {lane.nickname} had shape {lane.shape} ({lane.axes}), but "
        f"{frames[0].name} has {frames[0].shape} ({frames[0].axes}){count}; name the data that were painted "
        "on by --raw, such as the right level of an image pyramid"
    )


def _placed(block: LabelBlock, values: np.ndarray, axes: str) -> tuple[slice, tuple[slice, ...], np.ndarray]:
    """Time, box over `axes`, and the values in this order; other axes of size 1 are left out."""
    window = dict(zip(block.axes, block.window, strict=True))
    order = [a for a in "t" + axes if a in window]
    rest = [a for a in block.axes if a not in order]
    moved = values.transpose([block.axes.index(a) for a in (*rest, *order)])
    moved = moved.reshape(moved.shape[len(rest) :])
    times = window.get("t", slice(0, 1))
    if "t" not in window:
        moved = moved[None]
    return times, tuple(window[a] for a in axes), moved


def _is_old(version: str) -> bool:
    return version.startswith(("1.0", "1.1", "1.2"))


def _release(version: str) -> _Release:
    match = _RELEASE.match(version)
    major, minor, patch, stage, number = match.groups() if match else ("1", "0", None, None, None)
    return int(major), int(minor), int(patch or 0), _STAGES[stage], int(number or 0)


def _check_contents(path: Path) -> None:
    """Refuses projects with what ilastik does not write, and what fills the memory."""
    known = hdf5.contents(path)
    if known.outside:
        raise InputError(
            f"{path}: {known.outside[0]} leads into another file, which is not followed; give a project as "
            "ilastik saves it"
        )
    if large := [name for name in known.sparse if not name.startswith(f"{_DATA}/")]:
        raise DamagedFileError(
            f"{path}: {large[0]} claims far more values than it holds; give a project as ilastik saves it"
        )


def _text(node: Any) -> str:
    value = node[()]
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)


def _label_names(own: h5py.Group) -> tuple[str, ...]:
    """Of a project without labels, what is stored is no text."""
    stored = own["LabelNames"][()] if "LabelNames" in own else np.empty(0)
    if stored.dtype.kind not in "SO":
        return ()
    return tuple(name.decode(errors="replace") if isinstance(name, bytes) else str(name) for name in stored)


def _selection(stored: Any) -> Iterator[tuple[str, float, bool]]:
    if "SelectionMatrix" not in stored:
        return
    matrix, scales = stored["SelectionMatrix"][()], stored["Scales"][()]
    names = [name.decode() for name in stored["FeatureIds"][()]]
    in_2d = stored["ComputeIn2d"][()] if "ComputeIn2d" in stored else np.zeros(len(scales), bool)
    if matrix.shape != (len(names), len(scales)) or len(in_2d) != len(scales):
        raise ValueError("the selection of features does not fit its scales")
    for number, name in enumerate(names):
        for chosen, scale, flat in zip(matrix[number], scales, in_2d, strict=True):
            if chosen:
                yield name, float(scale), bool(flat)


def _lanes(path: Path, file: h5py.File, own: h5py.Group, version: str) -> Iterator[Lane]:
    infos = file.get("Input Data/infos", {})
    for number, name in enumerate(sorted(infos)):
        info = infos[name].get("Raw Data")
        if info is None or "nickname" not in info:  # a lane that was never filled
            continue
        axes = _axes(info)
        raw, problem = _raw(path, file, info)
        stated = _text(info["filePath"] if "filePath" in info else info["nickname"])
        stem = PureWindowsPath(split_name(stated)[0]).stem  # it knows both kinds of slashes
        shape = tuple(map(int, info["shape"][()])) if "shape" in info else None
        lane = Lane(_text(info["nickname"]), stem, raw, problem, axes, (), "", shape)
        try:
            blocks = tuple(_label_blocks(own.get(f"LabelSets/labels{number:03d}", {}), lane, version))
            yield replace(lane, labels=blocks)
        except Exception as error:  # h5py raises anything; a forest may be there all the same
            yield replace(lane, label_problem=one_line(error))


def _axes(info: h5py.Group) -> str:
    if "axistags" in info:
        return _letters(_text(info["axistags"]))
    return _text(info["axisorder"]) if "axisorder" in info else ""


def _letters(axistags: str) -> str:
    return "".join(str(tag["key"]) for tag in json.loads(axistags)["axes"])


def _label_blocks(nodes: Any, lane: Lane, version: str) -> Iterator[LabelBlock]:
    if len(nodes) > _MAX_BLOCKS:
        raise ValueError(f"{len(nodes)} blocks of labels")
    found = [(nodes[key], _window(nodes[key])) for key in sorted(nodes)]
    untagged = [window for node, window in found if "axistags" not in node.attrs]
    common = _common_order(untagged, lane, version) if untagged else ""
    for node, window in found:
        axes = _letters(node.attrs["axistags"]) if "axistags" in node.attrs else common
        if len(axes) != len(window) or len(set(axes)) < len(axes) or set(axes) - set("tczyx"):
            raise ValueError(f"labels of shape {node.shape} with axes {axes}")
        if not _has_one_channel(axes, window):
            raise ValueError(f"labels with axes {axes} of shape {node.shape}")
        yield LabelBlock(node.name, axes, window)


def _window(node: h5py.Dataset) -> tuple[slice, ...]:
    text = node.attrs["blockSlice"]
    text = text.decode() if isinstance(text, bytes) else str(text)
    window = tuple(slice(int(a), int(b)) for a, b in _SLICE.findall(text))
    if tuple(s.stop - s.start for s in window) != node.shape:
        raise ValueError(f"labels of shape {node.shape} at {text[:60]}")
    return window


def _common_order(windows: list[tuple[slice, ...]], lane: Lane, version: str) -> str:
    """The first order that all labels without axes of their own can have, within the data if one does."""
    orders = _orders_of_labels(lane, version)
    found = [axes for axes in orders if all(_has_one_channel(axes, window) for window in windows)]
    inside = [axes for axes in found if all(_is_inside(axes, window, lane) for window in windows)]
    return next(iter(inside + found), lane.axes)


def _is_inside(axes: str, window: tuple[slice, ...], lane: Lane) -> bool:
    sizes = lane.sizes
    return not sizes or all(s.stop <= sizes.get(a, 1) for a, s in zip(axes, window, strict=True) if a != "c")


def _has_one_channel(axes: str, window: tuple[slice, ...]) -> bool:
    """Whether axes fit a window in number, and have it in one channel."""
    fits = len(axes) == len(window)
    return fits and all(s.stop - s.start == 1 for a, s in zip(axes, window, strict=True) if a == "c")


def _orders_of_labels(lane: Lane, version: str) -> list[str]:
    """The axes that labels without axes of their own may have, the likeliest first.

    They are those of the data, where axes of size 1 may be missing, with a channel there or last.
    """
    release = _release(version)
    bases = [lane.axes]
    if _AS_FILE[0] <= release <= _AS_FILE[1] and (original := _axes_of_file(lane)):
        bases.insert(0, original)
    orders = [order for base in bases for order in (base, base.replace("c", "") + "c")]
    if _is_old(version):
        orders.reverse()
    single = [a for a, n in lane.sizes.items() if n == 1 and a != "c"]
    dropped = [gone for count in range(len(single) + 1) for gone in combinations(single, count)]
    found = ["".join(a for a in order if a not in gone) for gone in dropped for order in orders]
    return [*found, _FIXED_ORDER] if _FIXED[0] <= release <= _FIXED[1] else found


def _axes_of_file(lane: Lane) -> str | None:
    """As the file of the data states them, whatever the project says."""
    try:
        return open_stored(lane.raw).axes if lane.raw else None
    except InputError:
        return None


def _block(file: h5py.File, block: LabelBlock) -> np.ndarray:
    node = file[block.key]
    require_memory(math.prod(node.shape) * node.dtype.itemsize, "a block of labels")
    values = node[()]
    if values.dtype.kind not in "ui" or values.min(initial=0) < 0 or values.max(initial=0) > 255:
        raise DamagedFileError(f"{file.filename}: the labels in {block.key} are no small whole numbers")
    return values.astype(np.uint8)


def _raw(path: Path, file: h5py.File, info: h5py.Group) -> tuple[str | None, str]:
    """The name of a lane's data, or why there is none."""
    nickname = _text(info["nickname"])
    kinds = [_text(info[key]) for key in ("location", "__class__") if key in info]
    if any(kind.startswith("ProjectInternal") for kind in kinds):
        stored = f"{_DATA}/{_text(info['datasetId'])}" if "datasetId" in info else ""
        key = stored or _text(info["inner_path"]).strip("/")
        if key not in file:
            return None, f"the data of {nickname} should be in the project but are not"
        return f"{path}:{key}", ""
    stored = _text(info["filePath"]) if "filePath" in info else ""
    address = "://" in stored and not stored.lower().startswith("file:")
    if not stored or address or "*" in stored:
        kind = "a stack of files" if "*" in stored else f'"{stored}"'
        return None, f"the data of {nickname} are {kind}, which is not read from here"
    file_path, inner = split_name(stored)
    if inner is None and "inner_path" in info:
        inner = _text(info["inner_path"])
    found = _find(path.parent, str(file_path))
    if found is None:
        return None, f"the data of {nickname} are neither at {file_path} nor beside the project"
    return f"{found}:{inner}" if inner else str(found), ""


def _find(folder: Path, stored: str) -> Path | None:
    """A file by its path from the project, by its absolute path, or by its name beside the project."""
    plain = stored.replace("\\", "/") if "\\" in stored else stored
    if (folder / plain).exists():  # an absolute path stays what it is
        return folder / plain
    name = PureWindowsPath(stored).name if "\\" in stored else PurePosixPath(stored).name
    beside = folder / name
    if beside.exists():
        log.warning("%s is not there; %s is taken in its place", stored, beside)
        return beside
    return None
