"""What a session's training has made, at any time: its network, its predictions, its package."""

from pathlib import Path
from typing import Protocol

import numpy as np
from torch import nn

from shallow2deep.commands.adapt import opened
from shallow2deep.commands.enhancer_train import source_stages
from shallow2deep.commands.export import export, export_labelled
from shallow2deep.commands.train import network_now
from shallow2deep.errors import InputError
from shallow2deep.inference.network_maps import predict_raw, predict_with_network
from shallow2deep.inputs.labelled_images import open_labelled
from shallow2deep.inputs.models import ENHANCER
from shallow2deep.inputs.results import candidate_names
from shallow2deep.io.known import Known
from shallow2deep.networks.model import ModelSpec, load_model
from shallow2deep.runs.engine import MANIFEST
from shallow2deep.settings import (
    AdaptConfig,
    AuthorSettings,
    EnhancerTrainConfig,
    PackageSettings,
    TrainConfig,
    flow_yaml,
    read_yaml,
    validated,
)

_NOT_STATED = PackageSettings(authors=(AuthorSettings(name="not stated"),), licence="not stated")


class Trained(Protocol):
    """Of one session."""

    def network(self) -> tuple[nn.Module, ModelSpec]:
        """As it is now, in evaluation mode; its training does not go on meanwhile."""
        ...

    def export(self, network: nn.Module, spec: ModelSpec, out: Path) -> None:
        """Writes it as a package of bioimage.io."""
        ...


def trained_of(command: str, settings: Path, run: Path, known: Known) -> Trained:
    """Of a command's run; settings and data are opened and checked.

    Raises:
        InputError: settings or data that cannot be used.
    """
    values = read_yaml(settings)
    if command == "train":
        return _Labelled(validated(TrainConfig, values, "yaml_content"), run, known)
    if command == "enhancer-train":
        source = validated(EnhancerTrainConfig, values, "yaml_content")
        source_stages(source, known)
        return _Finished(run, ENHANCER, source.package)
    config = validated(AdaptConfig, values, "yaml_content")
    opened(config, run, known)
    return _Finished(run, _segmentor(config), config.package)


class _Labelled:
    """Of `train`: also while it goes on."""

    def __init__(self, config: TrainConfig, run: Path, known: Known):
        self._run = run
        self._config, self._images = open_labelled(config, known)

    def network(self) -> tuple[nn.Module, ModelSpec]:
        return network_now(self._run, self._config, self._images)

    def export(self, network: nn.Module, spec: ModelSpec, out: Path) -> None:
        config = self._config.model_copy(update={"package": _stated(self._config.package)})
        export_labelled(network, spec, config, self._images, out)


class _Finished:
    """Of commands with several stages: when the one that makes the network is finished."""

    def __init__(self, run: Path, stage: str | None, package: PackageSettings):
        self._run, self._stage, self._package = run, stage, package

    def network(self) -> tuple[nn.Module, ModelSpec]:
        if self._stage is None:
            raise InputError("this adaptation trains no network; give it a segmentor, or use s2d predict")
        if not (self._run / self._stage / MANIFEST).is_file():
            raise InputError(f"{self._stage} is not trained yet; wait until this session has finished")
        return load_model(self._run / self._stage)

    def export(self, network: nn.Module, spec: ModelSpec, out: Path) -> None:
        stated = _stated(self._package).model_dump(mode="json", exclude_none=True)
        step = None if spec.kind == ENHANCER else self._stage
        export(self._run, out, step=step, overrides=[f"package={flow_yaml(stated)}"])


def _segmentor(config: AdaptConfig) -> str | None:
    return next((name for name in candidate_names(config) if name.startswith("segmentor")), None)


def _stated(package: PackageSettings) -> PackageSettings:
    """With what bioimage.io needs and the settings do not say."""
    missing = {
        name: getattr(_NOT_STATED, name) for name in ("authors", "licence") if not getattr(package, name)
    }
    return package.model_copy(update=missing)


def predicted(network: nn.Module, spec: ModelSpec, image: np.ndarray, device: str) -> np.ndarray:
    """Probabilities of an image of any size.

    Args:
        image: `(C, z, y, x)`, with one z where the network sees planes: raw, or of an enhancer the
            probabilities that it improves.

    Returns:
        float32 `(K, z, y, x)`.

    Raises:
        InputError: another number of channels or planes than the network takes.
    """
    if len(image) != spec.in_channels:
        raise InputError(f"{len(image)} channels came, but this network takes {spec.in_channels}; give such")
    if spec.ndim == 2 and image.shape[1] != 1:
        raise InputError(f"{image.shape[1]} planes came, but this network is 2D; give one: z of size 1")
    values = image if spec.ndim == 3 else image[:, 0]
    if spec.kind == ENHANCER:
        p = predict_with_network(network, values.astype(np.float32), device=device)
    else:
        p = predict_raw(network, spec, values, device)
    return p if spec.ndim == 3 else p[:, None]
