"""ilastik project files (.ilp) of Pixel Classification and Trainable Domain Adaptation: what the user did.

The files are HDF5. Their pickled entries are never touched.
"""

import json
import logging
import math
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

import h5py
import numpy as np

from shallow2deep.errors import DamagedFileError, InputError, MissingDataError
from shallow2deep.io.memory import require_memory
from shallow2deep.io.stored import reading
from shallow2deep.io.volumes import Volume, open_frames

log = logging.getLogger(__name__)

_WORKFLOWS = {
    "Pixel Classification": "PixelClassification",
    "Trainable Domain Adaptation": "TrainableDomainAdaptation",
}
_KNOWN = (
    "; give a project of Pixel Classification or Trainable Domain Adaptation, saved by ilastik 1.2 or newer"
)
_INNER_PATH = re.compile(r"(?i)(.+?\.(?:h5|hdf5|ilp|zarr))[/\\]+(.+)")
_SLICE = re.compile(r"(\d+):(\d+)")
_MAX_BLOCKS = 100_000


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
    """

    nickname: str
    stem: str
    raw: str | None
    problem: str
    axes: str
    labels: tuple[LabelBlock, ...]


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
        """By which ilastik of that version computes features."""
        return "vigra" if self.old else "fastfilters"

    def label_counts(self, lane: Lane) -> Counter[int]:
        """Painted pixels of each label."""
        counts: Counter[int] = Counter()
        with reading(self.path), h5py.File(self.path, "r") as file:
            for block in lane.labels:
                values, numbers = np.unique(_block(file, block), return_counts=True)
                counts.update(dict(zip(values.tolist(), numbers.tolist(), strict=True)))
        del counts[0]
        return counts


def open_project(path: str | Path) -> Project:
    """Reads all of a project but labels and forest.

    Raises:
        InputError: not a project, or one of another workflow or of a version before 1.0.
        DamagedFileError: a project whose parts do not fit each other.
    """
    path = Path(path).expanduser()
    if not path.is_file():
        raise MissingDataError(f"{path}: there is no such file; check the path of the ilastik project")
    if not h5py.is_hdf5(path):
        raise InputError(f"{path} is no ilastik project: it is not HDF5{_KNOWN}")
    with reading(path), h5py.File(path, "r") as file:
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
            tuple(_lanes(path, file, own, _is_old(version))),
            "ClassifierForests" in own and any(k.startswith("Forest") for k in own["ClassifierForests"]),
        )


def lane_frames(project: Project, lane: Lane, raw: str | None = None) -> list[Volume]:
    """The raw data of a lane, one volume for each time point, all lazy; a z axis of size 1 is left out.

    Args:
        raw: the name of the data to take in place of what the project names.

    Raises:
        InputError: the data are not there or cannot be used.
    """
    name = raw or lane.raw
    if name is None:
        raise MissingDataError(f"{project.path}: {lane.problem}; name the data by --raw")
    frames = open_frames(name, lane.axes, own_axes=raw is not None)
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
    with reading(project.path), h5py.File(project.path, "r") as file:
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


def _lanes(path: Path, file: h5py.File, own: h5py.Group, old: bool) -> Iterator[Lane]:
    infos = file.get("Input Data/infos", {})
    for number, name in enumerate(sorted(infos)):
        info = infos[name].get("Raw Data")
        if info is None or "nickname" not in info:  # a lane that was never filled
            continue
        axes = _axes(info)
        raw, problem = _raw(path, file, info)
        labels = own.get(f"LabelSets/labels{number:03d}", {})
        if len(labels) > _MAX_BLOCKS:
            raise ValueError(f"{len(labels)} blocks of labels")
        blocks = tuple(_label_block(labels[key], axes, old) for key in sorted(labels))
        stated = _text(info["filePath"] if "filePath" in info else info["nickname"])
        match = _INNER_PATH.fullmatch(stated)
        stem = PureWindowsPath(match[1] if match else stated).stem  # it knows both kinds of slashes
        yield Lane(_text(info["nickname"]), stem, raw, problem, axes, blocks)


def _axes(info: h5py.Group) -> str:
    if "axistags" in info:
        return _letters(_text(info["axistags"]))
    return _text(info["axisorder"]) if "axisorder" in info else ""


def _letters(axistags: str) -> str:
    return "".join(str(tag["key"]) for tag in json.loads(axistags)["axes"])


def _label_block(node: h5py.Dataset, axes: str, old: bool) -> LabelBlock:
    if "axistags" in node.attrs:
        axes = _letters(node.attrs["axistags"])
    else:
        axes = next((a for a in _axes_of_labels(axes, old) if _channel_of(a, node.shape) == 1), axes)
    text = node.attrs["blockSlice"]
    text = text.decode() if isinstance(text, bytes) else str(text)
    window = tuple(slice(int(a), int(b)) for a, b in _SLICE.findall(text))
    sizes = tuple(s.stop - s.start for s in window)
    if sizes != node.shape or len(axes) != len(window) or len(set(axes)) < len(axes):
        raise ValueError(f"labels of shape {node.shape} at {text[:60]} with axes {axes}")
    if dict(zip(axes, sizes, strict=True)).get("c", 1) != 1 or set(axes) - set("tczyx"):
        raise ValueError(f"labels with axes {axes} of shape {sizes}")
    return LabelBlock(node.name, axes, window)


def _axes_of_labels(axes: str, old: bool) -> list[str]:
    """The axes that labels without axes of their own may have: where the data have them, or channel last."""
    orders = [axes, axes.replace("c", "") + "c"]
    return orders[::-1] if old else orders


def _channel_of(axes: str, shape: tuple[int, ...]) -> int | None:
    """The size along the channel axis, or None if the axes do not fit."""
    return dict(zip(axes, shape, strict=True)).get("c") if len(axes) == len(shape) else None


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
        stored = f"Input Data/local_data/{_text(info['datasetId'])}" if "datasetId" in info else ""
        key = stored or _text(info["inner_path"]).strip("/")
        if key not in file:
            return None, f"the data of {nickname} should be in the project but are not"
        return f"{path}:{key}", ""
    stored = _text(info["filePath"]) if "filePath" in info else ""
    if not stored or "://" in stored or "*" in stored:
        kind = "a stack of files" if "*" in stored else f'"{stored}"'
        return None, f"the data of {nickname} are {kind}, which is not read from here"
    match = _INNER_PATH.fullmatch(stored)
    file_path, inner = match.groups() if match else (stored, None)
    if inner is None and "inner_path" in info:
        inner = _text(info["inner_path"])
    found = _find(path.parent, file_path)
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
