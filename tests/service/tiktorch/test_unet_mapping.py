"""What pytorch-3dunet's YAML becomes: what it means, or a refusal by name."""

import copy
from functools import reduce
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from unet_yaml import training_2d, training_3d

from shallow2deep.errors import InputError, MissingDataError, SettingsError
from shallow2deep.service.places import Places
from shallow2deep.settings import TrainConfig, validated

pytest.importorskip("grpc", reason="the server needs grpcio, the extra serve")
from shallow2deep.service.tiktorch.session_settings import asked_for

RAW = "loaders.train.transformer.raw"  # Standardize, RandomFlip, RandomRotate90, ElasticDeformation …


def changed(values: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    """Other values at a place, such as "model.name"."""
    out = copy.deepcopy(values)
    *sections, key = [int(part) if part.isdecimal() else part for part in path.split(".")]
    reduce(lambda inner, part: inner[part], sections, out)[key] = value
    return out


def mapped(root: Path, values: dict[str, Any]) -> TrainConfig:
    asked = asked_for(yaml.safe_dump(values), Places(root))
    assert asked.command == "train"
    return validated(TrainConfig, asked.settings, "test")


def test_a_whole_file(root: Path) -> None:
    config = mapped(root, training_2d())
    net = config.labelled_net
    assert (config.ndim, config.outputs, config.classes) == (2, ("foreground",), ("background", "foreground"))
    assert config.sources[0].raw == tuple(str(root / "data" / f"plane{n}.h5:raw") for n in range(2))
    assert config.validation_sources[0].labels == (str(root / "data" / "plane2.h5:label"),)
    assert (net.network.features, net.network.strides, net.network.stem) == (4, ((2, 2),), 1)
    assert (net.network.kind, net.network.norm, net.network.activation) == ("unet", "batch", "relu")
    assert (net.patch, net.batch, net.workers, net.device) == ((32, 32), 2, 0, "cpu")
    assert (net.optimizer, net.learning_rate, net.weight_decay) == ("adam", 0.002, 1e-5)
    assert (net.schedule, net.plateau_factor, net.plateau_patience) == ("plateau", 0.5, 5)
    assert net.loss == {"bce": 1, "dice": 1}
    assert (net.validate_every, net.steps, net.patience) == (3, 100_000, 100_000)
    assert (net.augment.elastic, net.augment.zoom, net.augment.noise) == (0.1, (1.0, 1.0), 0)
    assert (net.augment.flips, net.augment.turns, net.augment.rotation) == ("zyx", True, 0)
    assert net.with_foreground == 0


def test_a_volume_with_channels_first(root: Path) -> None:
    import h5py

    with h5py.File(root / "data" / "channel.h5", "w") as file, h5py.File(root / "data/volume0.h5") as other:
        file["raw"], file["label"] = other["raw"][()][None], other["label"][()]
    config = mapped(root, changed(training_3d(), "loaders.train.file_paths", ["data/channel.h5"]))
    assert (config.sources[0].axes, config.sources[0].label_axes) == ("czyx", "zyx")


def test_a_folder_stands_for_its_files(root: Path) -> None:
    (root / "data" / "many").mkdir(exist_ok=True)
    for number in (1, 2):
        link = (root / "data" / "many" / f"{number}.h5").resolve()
        link.write_bytes((root / "data" / f"plane{number}.h5").read_bytes())
    config = mapped(root, changed(training_2d(), "loaders.train.file_paths", "data/many"))
    assert config.sources[0].raw == (str(root / "data" / "many" / "*.h5:raw"),)


@pytest.mark.parametrize(
    ("path", "value", "settings"),
    [
        ("model.name", "ResidualUNet2D", {"network.kind": "residual"}),
        ("model.layer_order", "gcr", {"network.norm": "group", "network.activation": "relu"}),
        ("model.layer_order", "cl", {"network.norm": "none", "network.activation": "leaky_relu"}),
        ("model.layer_order", "bced", {"network.activation": "elu", "network.dropout": (0.1,)}),
        ("model.f_maps", [8, 16, 32], {"network.features": 8, "network.strides": ((2, 2), (2, 2))}),
        ("loss", {"name": "DiceLoss"}, {"loss": "dice"}),
        ("loss", {"name": "BCEDiceLoss", "alpha": 0.5}, {"loss": {"bce": 0.5, "dice": 1.0}}),
        ("loss", {"name": "BCEWithLogitsLoss", "pos_weight": 3}, {"loss": "bce", "foreground_weight": 3.0}),
        ("optimizer", {"name": "SGD", "learning_rate": 0.1}, {"optimizer": "sgd", "momentum": 0.0}),
        ("lr_scheduler", None, {"schedule": "constant"}),
        ("lr_scheduler", {"name": "MultiStepLR", "milestones": [2, 3]}, {"rates": ((6, 2e-4), (9, 2e-5))}),
        ("lr_scheduler", {"name": "StepLR", "step_size": 2, "gamma": 0.5}, {"rates": ((6, 1e-3),)}),
        ("lr_scheduler", {"name": "ExponentialLR"}, {"rates": ((3, 2e-4), (6, 2e-5), (9, 2e-6))}),
        ("lr_scheduler", {"name": "CosineAnnealingLR", "T_max": 4}, {"schedule": "cosine", "warm_up": 0}),
        ("trainer.max_num_epochs", 1, {"steps": 9}),  # 2 images of 9 patches, 2 at a time
        (f"{RAW}.3.execution_probability", 0.7, {"augment.elastic": 0.7}),
        (f"{RAW}.2", {"name": "RandomRotate"}, {"augment.turns": False, "augment.rotation": 30}),
        (f"{RAW}.1", {"name": "AdditivePoissonNoise"}, {"augment.flips": "", "augment.noise": 0.1}),
    ],
)  # fmt: skip
def test_what_a_value_means(root: Path, path: str, value: Any, settings: dict[str, Any]) -> None:
    values = training_2d(max_num_iterations=12)
    net = mapped(root, changed(values, path, value)).labelled_net
    for name, expected in settings.items():
        found = reduce(getattr, name.split("."), net)
        if name == "rates":
            assert np.array(found) == pytest.approx(np.array(expected))
        else:
            assert found == expected, name


def test_outputs_follow_from_the_labels(root: Path) -> None:
    values = training_2d()
    ends = {"name": "ToTensor"}
    for makes, outputs in (
        ({"name": "BlobsToMask"}, ("foreground",)),
        ({"name": "StandardLabelToBoundary"}, ("boundary",)),
        ({"name": "StandardLabelToBoundary", "foreground": True}, ("foreground", "boundary")),
    ):
        for part in ("train", "val"):
            values = changed(values, f"loaders.{part}.transformer.label", [makes, ends])
        values = changed(values, "model.out_channels", len(outputs))
        config = mapped(root, values)
        assert config.outputs == outputs
        assert config.sources[0].label_values == "instances"
    with pytest.raises(SettingsError, match=r"out_channels is 1, but the label transforms make 2"):
        mapped(root, changed(values, "model.out_channels", 1))


@pytest.mark.parametrize(
    ("path", "value", "sentence"),
    [
        ("model.name", "Noise2Void", "model.name: .* got 'Noise2Void'"),
        ("model.in_channels", 2, "model.in_channels"),
        ("model.final_sigmoid", False, "model.final_sigmoid"),
        ("model.layer_order", "rr", 'layer_order is "rr"'),
        ("model.f_maps", [8, 12], "widths that double"),
        ("model.basic_module", "x", 'unknown setting "model.basic_module"'),
        ("loss", {"name": "CrossEntropyLoss"}, "loss.name: .* got 'CrossEntropyLoss'"),
        ("optimizer", {"name": "LBFGS"}, "optimizer.name: .* got 'LBFGS'"),
        ("eval_metric", {"name": "AdaptedRandError"}, "eval_metric.name: .* got 'AdaptedRandError'"),
        ("lr_scheduler", {"name": "OneCycleLR"}, "lr_scheduler.name: .* got 'OneCycleLR'"),
        ("lr_scheduler", {"name": "CosineAnnealingLR", "T_max": 5}, "T_max is 5"),
        ("lr_scheduler", {"name": "StepLR"}, "step_size is missing"),
        ("trainer.resume", "last.pytorch", "trainer.resume: .* got 'last.pytorch'"),
        ("trainer.eval_score_higher_is_better", False, "eval_score_higher_is_better"),
        ("loaders.dataset", "DSB2018Dataset", "loaders.dataset: .* got 'DSB2018Dataset'"),
        ("loaders.weight_internal_path", "weight", "loaders.weight_internal_path"),
        ("loaders.train.slice_builder.name", "FilterSliceBuilder", "got 'FilterSliceBuilder'"),
        ("loaders.train.slice_builder.patch_shape", [2, 32, 32], r"give \[1, y, x\]"),
        ("loaders.train.transformer.raw.0.name", "CropToFixed", "got 'CropToFixed'"),
        ("loaders.train.transformer.label.0", {"name": "LabelToAffinities"}, "'LabelToAffinities'"),
        ("loaders.val.transformer.label.0", {"name": "BlobsToMask"}, "other label transforms"),
        ("loaders.val.transformer.raw.0.name", "RandomFlip", "has RandomFlip, but validation"),
        ("device", "cuda:9", "Device cuda:9 doesn't exist"),
    ],
)  # fmt: skip
def test_what_cannot_be_had_is_refused_by_name(root: Path, path: str, value: Any, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence) as error:
        mapped(root, changed(training_2d(max_num_iterations=12), path, value))
    assert "\n" not in str(error.value)


def test_files_outside_of_the_servers_folders(root: Path, tmp_path: Path) -> None:
    (tmp_path / "own.h5").touch()
    for name in (str(tmp_path / "own.h5"), "../own.h5", "data/../../own.h5"):
        with pytest.raises(InputError, match="not in a folder"):
            mapped(root, changed(training_2d(), "loaders.val.file_paths", [name]))
    with pytest.raises(MissingDataError, match="no such file"):
        mapped(root, changed(training_2d(), "loaders.val.file_paths", ["data/none.h5"]))
