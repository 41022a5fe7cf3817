"""Makes ilastik project files, with what the real ones hold of it that is read."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from tiny import disc_image

from shallow2deep.exports.forest_in_project import export_forest
from shallow2deep.features import FILTERS, FeatureSpec
from shallow2deep.forests import Forest, fit_forest
from shallow2deep.io.volumes import open_volume
from shallow2deep.settings import AdaptConfig, validated
from shallow2deep.training.from_strokes import train_forest

SELECTION = [
    (name, scale, False)
    for name in ("GaussianSmoothing", "HessianOfGaussianEigenvalues")
    for scale in (0.7, 1.6)
]
SPEC = FeatureSpec.of_selection(SELECTION, 2)
LABELS = ("Label 1", "Label 2")
FOREST_GROUP = "PixelClassification/ClassifierForests"


def axistags(axes: str) -> str:
    return json.dumps({"axes": [{"key": a, "typeFlags": 1 if a == "c" else 2} for a in axes]})


def write_project(
    path: Path,
    data: Sequence[tuple[str | np.ndarray, str, np.ndarray]],
    label_names: tuple[str, ...] = LABELS,
    workflow: str = "Pixel Classification",
    version: str = "1.4.1",
    scales: tuple[float, ...] = (0.7, 1.6),
    in_2d: tuple[bool, ...] | None = None,
    tagged: bool = True,
    label_axes: str | None = None,
    shapes: bool = False,
) -> Path:
    """A project whose features are the Gaussian and the Hessian's eigenvalues at all scales.

    Args:
        data: for each lane the path of raw, or raw itself to embed it; its axes; labels with the axes of raw,
            or `label_axes`, with a channel axis of size 1.
        tagged: whether label blocks state their axes, as they do from 1.4 on.
        shapes: whether the shape of raw is stored, as ilastik does from 1.3.3 on, also where raw is a path of
            a .npy file beside the project; that of embedded raw always is.
    """
    group_name = "TrainableDomainAdaptation" if workflow.startswith("Train") else "PixelClassification"
    with h5py.File(path, "w") as file:
        file["workflowName"], file["ilastikVersion"] = workflow, version
        group = file.create_group(group_name)
        group["LabelNames"] = np.array([name.encode() for name in label_names])
        for number, (raw, axes, labels) in enumerate(data):
            info = file.create_group(f"Input Data/infos/lane{number:04d}/Raw Data")
            info["nickname"], info["axistags"] = f"lane {number}", axistags(axes)
            if isinstance(raw, str):
                info["location"], info["filePath"] = "FileSystem", raw
                if shapes:
                    info["shape"] = np.load(path.parent / raw).shape
            else:
                info["location"], info["datasetId"] = "ProjectInternal", f"id-{number}"
                info["shape"] = raw.shape
                file[f"Input Data/local_data/id-{number}"] = raw
                file[f"Input Data/local_data/id-{number}"].attrs["axistags"] = axistags(axes)
            blocks = group.create_group(f"LabelSets/labels{number:03d}")
            _write_blocks(blocks, labels, label_axes or axes, tagged)
        selection = file.create_group("FeatureSelections")
        selection["FeatureIds"] = np.array([name.encode() for name in FILTERS])
        selection["Scales"] = np.array(scales)
        chosen = np.zeros((len(FILTERS), len(scales)), bool)
        chosen[[0, 5]] = True
        selection["SelectionMatrix"] = chosen
        if in_2d is not None:
            selection["ComputeIn2d"] = np.array(in_2d)
    return path


def _write_blocks(group: h5py.Group, labels: np.ndarray, axes: str, tagged: bool) -> None:
    """Two boxes: around the labels of the first and of the second half along the last but one axis."""
    middle = labels.shape[-2] // 2
    for number, half in enumerate((slice(0, middle), slice(middle, None))):
        part = labels[..., half, :]
        places = np.argwhere(part)
        if not len(places):
            continue
        low, high = places.min(0), places.max(0) + 1
        box = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
        low[-2], high[-2] = low[-2] + half.start, high[-2] + half.start
        node = group.create_dataset(f"block{number:04d}", data=part[box].astype(np.uint8))
        node.attrs["blockSlice"] = f"[{','.join(f'{a}:{b}' for a, b in zip(low, high, strict=True))}]"
        if tagged:
            node.attrs["axistags"] = axistags(axes)


def add_empty_forest(path: Path, n_features: int, group: str = "PixelClassification") -> None:
    """A classifier without trees, with the options that vigra writes."""
    with h5py.File(path, "r+") as file:
        forests = file.create_group(f"{group}/ClassifierForests")
        forests["known_labels"] = np.array([1, 2], np.uint32)
        forest = forests.create_group("Forest0000")
        options = {
            "min_split_node_size_": 1, "mtry_": 0, "mtry_func_": 0, "mtry_switch_": 6, "predict_weighted_": 0,
            "prepare_online_learning_": 0, "sample_with_replacement_": 1, "stratification_method_": 3,
            "training_set_calc_switch_": 1, "training_set_func_": 0, "training_set_proportion_": 1,
            "training_set_size_": 0, "tree_count_": 0,
        }  # fmt: skip
        outer = {
            "actual_msample_": 9, "actual_mtry_": 2, "class_count_": 2, "column_count_": n_features,
            "is_weighted_": 1, "precision_": 0, "problem_type_": 1, "response_size_": 1, "row_count_": 9,
            "used_": 1,
        }  # fmt: skip
        for name, values in (("_options", options), ("_ext_param", outer)):
            own = forest.create_group(name)
            for key, value in values.items():
                own[key] = np.array([value], float)
        forest["_ext_param/class_weights_"] = np.ones(2)
        forest["_ext_param/labels"] = np.array([1, 2], np.uint32)


def untrained_project(folder: Path, label_names: tuple[str, ...] = LABELS) -> Path:
    """A project without data to speak of, and a forest without trees."""
    raw = np.zeros((20, 20, 1), np.uint8)
    path = write_project(folder / "p.ilp", [(raw, "yxc", np.zeros_like(raw))], label_names)
    add_empty_forest(path, SPEC.n_features)
    return path


def grown(seed: int, n_trees: int = 7, classes: tuple[str, ...] = LABELS, **growth: Any) -> Forest:
    """A forest for such a project."""
    rng = np.random.default_rng(seed)
    x = rng.integers(0, 5, (200, SPEC.n_features)).astype(np.float32)  # whole numbers meet thresholds
    y = (x[:, 0] + x[:, 1] + rng.random(200) > 4.5).astype(np.int64)
    return fit_forest(x, y, SPEC, classes, n_trees=n_trees, seed=seed, **growth)


def painted(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Raw `(y, x)` and strokes: 1 on discs, 2 on the ground, as an ilastik user might have it."""
    raw, labels = disc_image(seed, 60)
    strokes = np.zeros_like(labels)
    for row in (20, 40, 60, 80):
        strokes[row : row + 2] = np.where(labels[row : row + 2] > 0, 1, 2)
    return raw, strokes


def trained_project(folder: Path) -> Path:
    """A trained 2D project of two lanes; the forest in it also as forest.npz."""
    lanes = [painted(seed) for seed in (200, 201)]
    path = write_project(
        folder / "flat.ilp", [(raw[..., None], "yxc", s[..., None]) for raw, s in lanes], ("disc", "ground")
    )
    add_empty_forest(path, SPEC.n_features)
    forest = train_forest([r for r, _ in lanes], [s for _, s in lanes], SPEC, 9, classes=("disc", "ground"))
    forest.save(folder / "forest.npz")
    return export_forest(forest, path, folder / "trained.ilp")


def adapt_config(enhancer: Path, target: dict, **changes: object) -> AdaptConfig:
    """Settings of a quick adaptation."""
    values = {
        "target": target,
        "enhancer": str(enhancer),
        "target_forest": {"n_trees": 5},
        "enhanced": {"device": "cpu", "scales": [0.7, 1.0]},
    }
    return validated(AdaptConfig, values | changes, "test")


def foreground(run: Path, name: str, stage: str = "target_forest") -> np.ndarray:
    """The last channel of a run's map."""
    return open_volume(run / stage / f"{name}.h5").read()[1]
