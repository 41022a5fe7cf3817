"""A tiny labelled volume and one with strokes, made up: bright balls on a noisy ground."""

from pathlib import Path

import h5py
import numpy as np
from scipy import ndimage as ndi

SHAPE = (16, 40, 48)
VOXEL = (20.0, 10.0, 10.0)  # nm
NETWORK = {"network": {"features": 4, "depth": 2}, "batch": 2, "workers": 0, "device": "cpu"}


def ball_volume(seed: int, contrast: float) -> tuple[np.ndarray, np.ndarray]:
    """Raw uint8 and instance labels uint8, both of `SHAPE`; balls are round in nm."""
    rng = np.random.default_rng(seed)
    labels = np.zeros(SHAPE, np.uint8)
    sizes = np.array(VOXEL)[:, None, None, None] / VOXEL[-1]
    for number in range(1, 9):
        centre = rng.uniform(0, SHAPE, 3)[:, None, None, None]
        distance = (((np.indices(SHAPE) - centre) * sizes) ** 2).sum(0)
        labels[(distance < rng.integers(4, 9) ** 2) & (labels == 0)] = number
    noise = ndi.gaussian_filter(rng.normal(size=SHAPE), 1)
    return (100 + contrast * (labels > 0) + 60 * noise).clip(0, 255).astype(np.uint8), labels


def save_volumes(folder: Path) -> Path:
    """Writes `source{0,1}.h5` and `target.h5`, each with raw and labels, the target with strokes."""
    for name, seed, contrast in (("source0", 0, 60), ("source1", 1, 60), ("target", 2, 45)):
        raw, labels = ball_volume(seed, contrast)
        with h5py.File(folder / f"{name}.h5", "w") as file:
            file["raw"], file["labels"] = raw, labels
            strokes = np.zeros_like(labels)
            for z in (4, 7, 10, 12):
                strokes[z, 6:36:8] = np.where(labels[z, 6:36:8] > 0, 2, 1)
            file["strokes"] = strokes
    return folder


def source_values(folder: Path) -> dict:
    """Settings of enhancer-train, but for patches."""
    return {
        "ndim": 3,
        "classes": ["background", "ball"],
        "sources": [
            {
                "raw": f"{folder}/source{n}.h5:raw",
                "labels": f"{folder}/source{n}.h5:labels",
                "voxel_size": VOXEL,
            }
            for n in (0, 1)
        ],
        "features": {"scales": [0.7, 1.6]},
        "forests": {"count": 4, "validation_count": 2, "stage_size": 2, "trees": [3, 6]},
        "probabilities": {"patches": 4, "validation_patches": 2, "forests_per_patch": 2},
        "enhancer": NETWORK | {"steps": 8, "validate_every": 4, "checkpoint_every": 4},
        "source_net": NETWORK | {"steps": 2, "validate_every": 2},
    }


def target_values(folder: Path, enhancer: str | Path) -> dict:
    """Settings of adapt with a segmentor."""
    target = {name: f"{folder}/target.h5:{name}" for name in ("raw", "strokes", "labels")}
    return {
        "ndim": 3,
        "classes": ["background", "ball"],
        "target": target | {"voxel_size": VOXEL},
        "enhancer": str(enhancer),
        "target_forest": {"n_trees": 5},
        "enhanced": {"device": "cpu", "scales": [1.0]},
        "segmentor": NETWORK
        | {"steps": 4, "checkpoint_every": 2, "patch": [8, 16, 16], "confidence": {"use": "none"}},
        "compare": {"source_net": True},
    }
