"""Pixels that do not count: nothing learns from them, and nothing is judged by them."""

from pathlib import Path

import imageio.v3 as iio
import numpy as np
import pytest
import torch
import zarr
from scipy import ndimage as ndi
from tiny import SIZE, Data
from torch import nn

from shallow2deep import adapt, enhancer_train
from shallow2deep.commands.evaluate import evaluate
from shallow2deep.errors import InputError
from shallow2deep.forests.sampling import STRATEGIES, Patch
from shallow2deep.inputs.source import open_source
from shallow2deep.io.atomic import read_json
from shallow2deep.networks.losses import loss_of
from shallow2deep.outputs import IGNORED
from shallow2deep.settings import (
    AdaptConfig,
    EnhancerTrainConfig,
    ForestsSettings,
    RawData,
    SourceData,
    TrainingSettings,
    validated,
)
from shallow2deep.training.objectives import Supervised

RNG = np.random.default_rng
UNKNOWN = (slice(None), slice(0, 40))  # of each image


@pytest.fixture
def masked(data: Data, tmp_path: Path) -> Data:
    """The tiny data, where 200 says that nobody looked."""
    for path in data.folder.glob("*.png"):
        image = iio.imread(path)
        if "labels" in path.name:
            image[UNKNOWN] = 200
        iio.imwrite(tmp_path / path.name, image)
    return Data(tmp_path)


@pytest.mark.parametrize(("value", "dtype"), [(255, np.uint8), (-1, np.int32), (2**32 - 1, np.uint32)])
def test_any_value_of_labels_can_be_the_one(value: int, dtype: type, tmp_path: Path) -> None:
    labels = RNG(0).integers(0, 9, (20, 30)).astype(dtype)
    labels[:, :5] = value
    np.save(tmp_path / "labels.npy", labels)
    np.save(tmp_path / "raw.npy", RNG(0).random((20, 30)))
    names = {"raw": str(tmp_path / "raw.npy"), "labels": str(tmp_path / "labels.npy")}
    (pair,) = open_source(SourceData.model_validate(names | {"ignore_label": value}), 2, 2)
    classes = pair.classes()
    assert (classes[:, :5] == IGNORED).all()
    assert np.array_equal(classes[:, 5:], labels[:, 5:] > 0)
    multi = SourceData.model_validate(names | {"ignore_label": value, "label_values": "classes"})
    assert np.array_equal(open_source(multi, 2, 9)[0].classes()[:, 5:], labels[:, 5:])
    with pytest.raises(InputError, match="ignore_label"):
        open_source(multi, 2, 8)
    labels[:, 5:] = 0
    np.save(tmp_path / "labels.npy", labels)
    with pytest.raises(InputError, match="one class only"):
        open_source(SourceData.model_validate(names | {"ignore_label": value}), 2, 2)


@pytest.mark.parametrize("name", STRATEGIES)
def test_no_forest_learns_from_them(name: str) -> None:
    classes = (ndi.gaussian_filter(RNG(0).random((90, 110)), 6) > 0.5).astype(np.uint8)
    classes[:, 30:] = IGNORED
    p = RNG(1).random((2, 90, 110)).astype(np.float32)
    strokes = STRATEGIES[name](Patch(classes, 2, p / p.sum(0)), ForestsSettings(fraction=0.9), RNG(5))
    assert set(np.unique(strokes[:, :30])) >= {1, 2}
    assert not strokes[:, 30:].any()


@pytest.mark.parametrize("name", ["dice", "bce", "dice+bce", "focal", "tversky"])
def test_they_have_no_loss_and_no_gradient(name: str) -> None:
    targets = torch.randint(0, 2, (2, 1, 8, 8), dtype=torch.uint8)
    targets[..., :3] = IGNORED
    logits = torch.randn(2, 1, 8, 8, requires_grad=True)
    other = logits.detach().clone()
    other[..., :3] = torch.randn(2, 1, 8, 3) * 20

    objective = Supervised(loss_of(TrainingSettings.model_validate({"loss": name})))

    def loss(values: torch.Tensor) -> torch.Tensor:
        return objective.loss(nn.Identity(), lambda network, x: network(x), values, targets)

    assert float(loss(logits)) == float(loss(other)) > 0
    (gradient,) = torch.autograd.grad(loss(logits), logits)
    assert not gradient[..., :3].any()
    assert gradient[..., 3:].all()


def test_an_enhancer_learns_around_them(masked: Data, tmp_path: Path) -> None:
    values = masked.source_values()
    values["sources"][0]["ignore_label"] = 200
    values["enhancer"] |= {"boundary": True, "steps": 4}
    enhancer_train(validated(EnhancerTrainConfig, values, "test"), tmp_path / "run")
    pool = zarr.open_group(tmp_path / "run" / "probabilities" / "pool.zarr", mode="r")["training"]
    classes, boundaries = pool["classes"][:], pool["boundaries"][:, 0]
    assert set(np.unique(classes)) == {0, 1, IGNORED}
    near = np.stack([ndi.maximum_filter(one == IGNORED, 3) for one in classes])
    assert np.array_equal(boundaries == IGNORED, near)
    assert set(np.unique(boundaries[~near])) == {0, 1}
    values["sources"][0]["ignore_label"] = None
    values["sources"][0]["label_values"] = "classes"
    with pytest.raises(InputError, match="values 0 to 200 came"):
        enhancer_train(validated(EnhancerTrainConfig, values, "test"), tmp_path / "other")


def test_results_are_not_judged_by_them(masked: Data, data: Data, source_run: Path, tmp_path: Path) -> None:
    values = masked.target_values(source_run)
    values["target"] |= {"labels": f"{masked.folder}/target*_labels.png", "ignore_label": 200}
    adapt(validated(AdaptConfig, values, "test"), tmp_path / "run")
    dice = read_json(tmp_path / "run" / "prediction" / "choice.json")["dice_on_labels"]
    for n in range(4):
        counted = np.ones((SIZE, SIZE), np.uint8)
        counted[UNKNOWN] = 0
        iio.imwrite(tmp_path / f"target{n}_valid.png", counted)

    def scores(labels: Data, **more: object) -> dict[str, float]:
        maps = RawData(raw=(f"{tmp_path}/run/target_forest/*.h5",))
        return evaluate(maps, RawData(raw=(f"{labels.folder}/target*_labels.png",)), **more)["all"]  # type: ignore[arg-type]

    whole = scores(data, valid=RawData(raw=(f"{tmp_path}/target*_valid.png",)))
    assert scores(masked, ignore_label=200) == whole
    assert dice["target_forest"] == pytest.approx(whole["dice"], abs=1e-6)
    assert scores(masked)["dice"] != whole["dice"]
