"""Batches as a network sees them, and what decides which samples they hold."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import imageio.v3 as iio
import numpy as np
import pytest
import torch
import yaml
from tiny import Data

from shallow2deep import enhancer_train, train
from shallow2deep.commands import inspect_batch as command
from shallow2deep.commands.inspect_batch import inspect_batch
from shallow2deep.errors import InputError
from shallow2deep.outputs import Output
from shallow2deep.settings import TrainConfig, validated
from shallow2deep.stages import labelled_net, network_training
from shallow2deep.stages.labelled_net import LabelledSamples
from shallow2deep.stages.network_training import foreground_weights, priorities
from shallow2deep.training.samples import TrainingSamples


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """The batches that were drawn."""
    found: list[tuple[torch.Tensor, torch.Tensor]] = []
    draw: Callable[..., None] = command._draw

    def noting(out: Path, images: torch.Tensor, targets: torch.Tensor, *rest: object) -> None:
        found.append((images, targets))
        draw(out, images, targets, *rest)

    monkeypatch.setattr(command, "_draw", noting)
    return found


def test_the_picture_is_of_the_very_samples_of_training(
    data: Data,
    source_run: Path,
    tmp_path: Path,
    drawn: list[tuple[torch.Tensor, torch.Tensor]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path = inspect_batch(source_run, tmp_path / "batch.png", step=3)
    assert iio.imread(path).std() > 10
    seen = []

    def looking(network: object, samples: TrainingSamples, *rest: object) -> None:
        change, settings = rest[6], rest[1]
        parts = zip(*(samples[i] for i in range(3 * settings.batch, 4 * settings.batch)), strict=True)  # type: ignore[attr-defined]
        seen.append(change(*(torch.stack(part) for part in parts), 3))  # type: ignore[operator]
        raise KeyboardInterrupt

    monkeypatch.setattr(network_training, "train", looking)
    with pytest.raises(KeyboardInterrupt):
        enhancer_train(data.source(), tmp_path / "run")
    assert all(torch.equal(a, b) for a, b in zip(seen[0], drawn[0], strict=True))


def test_settings_of_train_are_enough(
    data: Data,
    tmp_path: Path,
    drawn: list[tuple[torch.Tensor, torch.Tensor]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Before anything is trained: the very batch that training gets."""
    net = data.source_values()["enhancer"]
    values = {"sources": data.source_values()["sources"], "labelled_net": net}
    (tmp_path / "train.yaml").write_text(yaml.safe_dump(values))
    assert iio.imread(inspect_batch(tmp_path / "train.yaml", tmp_path / "batch.png", step=2)).std() > 10
    seen: list = []

    def looking(network: object, samples: LabelledSamples, *rest: Any) -> None:
        parts = zip(*(samples[i] for i in range(2 * net["batch"], 3 * net["batch"])), strict=True)
        seen.append(rest[6](*(torch.stack(part) for part in parts), 2))
        raise KeyboardInterrupt

    monkeypatch.setattr(labelled_net, "train", looking)
    with pytest.raises(KeyboardInterrupt):
        train(validated(TrainConfig, values, "test"), tmp_path / "run")
    assert all(torch.equal(a, b) for a, b in zip(seen[0], drawn[0], strict=True))


def test_source_nets_see_raw(source_run: Path, tmp_path: Path, drawn: list) -> None:
    inspect_batch(source_run, tmp_path / "raw.png", network="source_net")
    assert drawn[0][0].min() < -0.5  # standardised


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"out": "batch.jpg"}, "is a PNG"),
        ({"step": 10**6}, "give a smaller one"),
        ({"network": "with_raw"}, "trains no with_raw"),
        ({"run": "nowhere"}, "no run of enhancer-train or train here"),
    ],
)
def test_what_cannot_be_drawn(source_run: Path, tmp_path: Path, changes: dict, problem: str) -> None:
    given = {"run": source_run, "out": tmp_path / "batch.png"} | changes
    with pytest.raises(InputError, match=problem):
        inspect_batch(**given)


@pytest.fixture
def samples(source_run: Path) -> TrainingSamples:
    pool = source_run / "probabilities" / "pool.zarr"
    return TrainingSamples(pool, "training", (Output(None),), ("map",), range(6), (16, 16), 200, 0, "test")


def test_foreground_is_found_as_often_as_is_asked(samples: TrainingSamples) -> None:
    def share(of: TrainingSamples) -> float:
        return float(np.mean([bool((of[i][1] == 1).any()) for i in range(100)]))

    plain, half, all_of_it = (share(replace(samples, foreground=f)) for f in (0.0, 0.5, 1.0))
    assert plain < half < all_of_it == 1


def test_patches_are_chosen_by_their_shares(samples: TrainingSamples) -> None:
    one = replace(samples, shares=(0, 0, 1, 0, 0, 0))
    alone = replace(samples, patches=[2])
    values = np.concatenate([one[i][0].flatten().unique().numpy() for i in range(5)])
    arrays = alone.arrays["maps"][2]
    assert np.isin(np.round(values * 255), np.unique(arrays)).all()
    assert not np.array_equal(one[1][0], samples[1][0])


def test_priorities_count_where_they_differ(data: Data) -> None:
    (source,) = data.source_values()["sources"]
    alike = data.source(sources=[source | {"priority": 2}] * 2)
    other = data.source(sources=[source | {"priority": 2}, source])
    assert (priorities(alike), priorities(other)) == ({}, {"priorities": [2.0, 1.0]})


def test_weights_by_frequency_are_background_over_foreground(data: Data, samples: TrainingSamples) -> None:
    settings = data.source().enhancer
    targets = torch.stack([samples[i][1] for i in range(200)])
    (weight,) = foreground_weights(settings.model_copy(update={"foreground_weight": "frequency"}), samples, 1)  # type: ignore[misc]
    assert weight == pytest.approx(float((targets == 0).sum() / (targets == 1).sum()))
    assert foreground_weights(settings, samples, 1) is None
    with pytest.raises(InputError, match="2 numbers, but there are 1 outputs"):
        foreground_weights(settings.model_copy(update={"foreground_weight": (1.0, 2.0)}), samples, 1)
