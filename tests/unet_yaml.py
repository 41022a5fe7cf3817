"""Trainings as pytorch-3dunet's YAML asks for them, on made-up data below a server's data root."""

from pathlib import Path
from typing import Any

import h5py
import numpy as np
from balls import ball_volume
from tiny import disc_image


def write_planes(folder: Path, count: int = 3) -> None:
    """Files of raw `(1, y, x)` float32, and of labels 0 and 1."""
    for number in range(count):
        raw, labels = disc_image(number, 50)
        _write(folder / f"plane{number}.h5", raw[None], labels[None] > 0)


def write_volumes(folder: Path, count: int = 2) -> None:
    """Files of raw `(z, y, x)` float32, and of labels 0 and 1."""
    for number in range(count):
        raw, labels = ball_volume(number, 60)
        _write(folder / f"volume{number}.h5", raw, labels > 0)


def _write(path: Path, raw: np.ndarray, labels: np.ndarray) -> None:
    with h5py.File(path, "w") as file:
        file["raw"], file["label"] = raw.astype(np.float32), labels.astype(np.int64)


def training_2d(**trainer: Any) -> dict[str, Any]:
    """Of `plane*.h5` in `data`; more than a test waits for, unless `trainer` says less."""
    return _training("UNet2D", [1, 32, 32], "plane", 2, {"max_num_iterations": 100_000} | trainer)


def training_3d(**trainer: Any) -> dict[str, Any]:
    """Of `volume*.h5` in `data`; a few steps."""
    return _training("UNet3D", [8, 16, 16], "volume", 1, {"max_num_iterations": 6} | trainer)


def _training(name: str, patch: list[int], files: str, count: int, trainer: dict[str, Any]) -> dict[str, Any]:
    builder = {"name": "SliceBuilder", "patch_shape": patch, "stride_shape": patch, "skip_shape_check": True}
    moved = [{"name": "RandomFlip"}, {"name": "RandomRotate90", "axes": [[2, 1]], "mode": "reflect"}]
    ends = {"name": "ToTensor", "expand_dims": True}
    return {
        "device": "cpu",
        "model": {
            "name": name,
            "in_channels": 1,
            "out_channels": 1,
            "layer_order": "bcr",
            "f_maps": 4,
            "num_levels": 2,
            "num_groups": 8,
            "final_sigmoid": True,
            "is_segmentation": True,
        },
        "trainer": {
            "checkpoint_dir": "checkpoints",
            "validate_after_iters": 3,
            "log_after_iters": 2,
            "max_num_epochs": 100_000,
            "eval_score_higher_is_better": True,
            "resume": None,
            "pre_trained": None,
            **trainer,
        },
        "optimizer": {"learning_rate": 0.002, "weight_decay": 0.00001},
        "loss": {"name": "BCEDiceLoss"},
        "eval_metric": {"name": "MeanIoU"},
        "lr_scheduler": {"name": "ReduceLROnPlateau", "mode": "max", "factor": 0.5, "patience": 5},
        "loaders": {
            "dataset": "StandardHDF5Dataset",
            "batch_size": 2,
            "num_workers": 0,
            "raw_internal_path": "raw",
            "label_internal_path": "label",
            "weight_internal_path": None,
            "train": {
                "file_paths": [f"data/{files}{n}.h5" for n in range(count)],
                "slice_builder": builder,
                "transformer": {
                    "raw": [{"name": "Standardize"}, *moved, {"name": "ElasticDeformation"}, ends],
                    "label": [*moved, {"name": "ElasticDeformation"}, ends],
                },
            },
            "val": {
                "file_paths": [f"data/{files}{count}.h5"],
                "slice_builder": builder,
                "transformer": {"raw": [{"name": "Standardize"}, ends], "label": [ends]},
            },
        },
    }
