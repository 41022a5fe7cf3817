"""A network with all that is needed to apply it: one folder with model.json and weights.safetensors."""

import math
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import nn

from shallow2deep.errors import DamagedFileError, InputError
from shallow2deep.io.atomic import atomic_path, read_json, write_json
from shallow2deep.networks.unet import UNet

FORMAT = 1
_MAX_FEATURES, _MAX_DEPTH, _MAX_CHANNELS = 1024, 8, 1024


@dataclass(frozen=True)
class ModelSpec:
    """What a network takes and gives.

    Attributes:
        kind: "enhancer" takes the probability map of one class; "source_net" takes raw, each image
            shifted and scaled to mean 0 and deviation 1; "segmentor" takes raw, normalised by constants.
        outputs: names of the output channels.
        features, depth, stem: see `UNet`.
        voxel_size: nm per spatial axis of the training data, if known.
        normalisation: of a segmentor: it takes (raw - first) / second.
        record: how it came to be: free JSON.
    """

    kind: str
    outputs: tuple[str, ...]
    features: int
    depth: int
    stem: int
    in_channels: int = 1
    voxel_size: tuple[float, ...] | None = None
    normalisation: tuple[float, float] | None = None
    record: dict[str, Any] = field(default_factory=dict)

    def build(self) -> UNet:
        return UNet(self.in_channels, len(self.outputs), self.features, self.depth, self.stem)

    @classmethod
    def from_dict(cls, values: dict[str, Any], origin: Path) -> "ModelSpec":
        """Checked before a network of that size is built.

        Raises:
            DamagedFileError: a value that is missing, of another type, or out of range.
        """
        try:
            if values.pop("format") != FORMAT:
                raise InputError(f"{origin}: this format of model is not known; use a newer shallow2deep")
            values["outputs"] = tuple(str(name) for name in values["outputs"])
            if values["voxel_size"] is not None:
                values["voxel_size"] = tuple(float(v) for v in values["voxel_size"])
            if values.get("normalisation") is not None:
                mean, deviation = (float(v) for v in values["normalisation"])
                values["normalisation"] = (mean, deviation)
                if not (math.isfinite(mean) and 0 < deviation < math.inf):
                    raise ValueError("a finite mean and a positive deviation were expected")
            spec = cls(**values)
            sizes = (spec.features, spec.depth, spec.stem, spec.in_channels)
            if not all(type(size) is int for size in sizes) or not isinstance(spec.record, dict):
                raise ValueError("whole numbers and a record were expected")
            in_range = (
                1 <= spec.features <= _MAX_FEATURES
                and 0 <= spec.depth <= _MAX_DEPTH
                and spec.features * 2**spec.depth <= 2**14
                and spec.stem in (1, 2, 4)
                and 1 <= spec.in_channels <= _MAX_CHANNELS
                and 1 <= len(spec.outputs) <= _MAX_CHANNELS
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise DamagedFileError(
                f"{origin}: not a model's description ({error}); export it again"
            ) from None
        if not in_range:
            raise DamagedFileError(f"{origin}: sizes out of range; export the model again")
        return spec


def save_model(folder: Path, network: nn.Module, spec: ModelSpec) -> None:
    """Writes model.json and weights.safetensors into `folder`, each whole or not at all."""
    tensors = {name: t.detach().cpu().contiguous() for name, t in network.state_dict().items()}
    with atomic_path(folder / "weights.safetensors") as path:
        safetensors.torch.save_file(tensors, path)
    write_json(folder / "model.json", {"format": FORMAT, **asdict(spec)})


def load_model(folder: Path) -> tuple[UNet, ModelSpec]:
    """The network, in evaluation mode on the CPU, and its description. Runs no code from the files.

    Raises:
        InputError: no model in `folder`.
        DamagedFileError: files that are truncated, altered or do not fit each other.
    """
    if not (folder / "model.json").is_file():
        raise InputError(f"{folder}: no model.json here; give the folder of a trained model")
    values = read_json(folder / "model.json")
    spec = ModelSpec.from_dict(values if isinstance(values, dict) else {}, folder / "model.json")
    with torch.device("meta"):
        network = spec.build()
    path = folder / "weights.safetensors"
    try:
        tensors = safetensors.torch.load_file(path)
        network.load_state_dict(tensors, strict=True, assign=True)
    except (OSError, RuntimeError, safetensors.SafetensorError) as error:
        reason = str(error).splitlines()[0]
        raise DamagedFileError(
            f"{path}: the weights do not load ({reason}); export the model again"
        ) from None
    return network.eval(), spec
