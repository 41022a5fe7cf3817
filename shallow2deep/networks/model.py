"""A network with all that is needed to apply it: one folder with model.json and weights.safetensors."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Self

import safetensors
import safetensors.torch
import torch
from torch import nn

from shallow2deep.errors import DamagedFileError, InputError, MissingDataError
from shallow2deep.io.atomic import atomic_path, read_json, write_json
from shallow2deep.networks.layers import Layers
from shallow2deep.networks.own import sizes_of
from shallow2deep.networks.strides import strides_for
from shallow2deep.networks.unet import UNet
from shallow2deep.outputs import FOREGROUND, Output
from shallow2deep.settings import NetworkSettings

FORMAT = 2
_WITH_LAYERS = 3  # of networks that are no plain U-Nets, which older versions do not know
_SAID = ("name", "enhancer", "data_licences")  # metadata of models
WITH_RAW = "with_raw"  # an enhancer's companion: its folder in the enhancer's, its file in a package
METADATA = "metadata.json"  # beside model.json: what is said of the model without deciding it
_MAX_FEATURES, _MAX_DEPTH, _MAX_CHANNELS = 1024, 8, 1024


@dataclass(frozen=True)
class ModelSpec:
    """What a network takes and gives.

    Attributes:
        kind: "enhancer" takes the probability map of one class, its companion as a second channel raw, as a
            source net does; "source_net" takes raw, each image
            shifted and scaled to mean 0 and deviation 1; "segmentor" takes raw, normalised by constants.
        outputs: what each output channel tells.
        features, strides, stem: see `UNet`.
        voxel_size: nm per spatial axis of the training data, if known.
        normalisation: of a segmentor: it takes (raw - first) / second.
        record: how it came to be: free JSON.
        metadata: what is said of it: a name and the terms of the training data, among others.
        layers: of what it is made.
    """

    kind: str
    outputs: tuple[Output, ...]
    features: int
    strides: tuple[tuple[int, ...], ...]
    stem: tuple[int, ...]
    in_channels: int = 1
    voxel_size: tuple[float, ...] | None = None
    normalisation: tuple[float, float] | None = None
    record: dict[str, Any] = field(default_factory=dict)
    metadata: dict[str, Any] = field(default_factory=dict)
    layers: Layers = field(default_factory=Layers)

    @classmethod
    def of(
        cls,
        kind: str,
        outputs: tuple[Output, ...],
        network: NetworkSettings,
        ndim: int = 2,
        shape: tuple[float, ...] | None = None,
        **more: Any,
    ) -> Self:
        """Of a network as it is set.

        Args:
            shape: of a voxel, in any unit: in volumes, strides follow from it unless they are set; None for
                cubes.

        >>> spec = ModelSpec.of("enhancer", (Output(None),), NetworkSettings(features=8, depth=3, stem=2))
        >>> spec.step, spec.build().halo
        ((16, 16), (112, 112))
        """
        voxel = shape if shape is not None and ndim == 3 else (1.0,) * ndim
        strides = network.strides or strides_for(voxel, network.depth)
        layers, stem = Layers.of(network), (1 if network.file else network.stem,) * ndim
        return cls(kind, outputs, network.features, strides, stem, layers=layers, **more)

    @property
    def ndim(self) -> int:
        """Number of spatial axes."""
        return len(self.stem)

    @property
    def step(self) -> tuple[int, ...]:
        """Pixels per axis of which a patch must be a multiple."""
        if self.layers.own:
            return sizes_of(self.on_meta())[0]
        return tuple(n * math.prod(along) for n, *along in zip(self.stem, *self.strides, strict=True))

    @property
    def is_isotropic(self) -> bool:
        """Whether it treats all axes alike."""
        return all(len(set(stride)) == 1 for stride in self.strides)

    def with_record(self, record: dict[str, Any]) -> Self:
        """The same with how it came to be."""
        return replace(self, record=record)

    def normalised_by(self, mean: float, deviation: float) -> Self:
        """The same for raw that is normalised by constants."""
        return replace(self, normalisation=(mean, deviation))

    def build(self) -> nn.Module:
        """A network that gives logits and has `step` and `halo`.

        Raises:
            InputError: one of a file of its own that is not trusted, or fails.
        """
        sizes = (self.in_channels, max(len(self.outputs), 1), self.features, self.strides)
        own = self.layers.own
        return own.build(*sizes) if own else UNet(*sizes, self.stem, **self.layers.arguments)

    def on_meta(self) -> nn.Module:
        """The network without weights."""
        with torch.device("meta"):
            return self.build()

    def to_dict(self) -> dict[str, Any]:
        """JSON-able, with the format's number."""
        outputs = [output.to_dict() for output in self.outputs]
        values = {"format": FORMAT, "ndim": self.ndim, **asdict(self), "outputs": outputs}
        layers = values.pop("layers")
        return values if self.layers == Layers() else values | {"format": _WITH_LAYERS, "layers": layers}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], origin: Path) -> Self:
        """Checked before a network of that size is built; format 1 is read, too.

        Raises:
            DamagedFileError: a value that is missing, of another type, or out of range.
        """
        try:
            values = dict(values)
            number = values.pop("format")
            if number not in (1, FORMAT, _WITH_LAYERS):
                raise InputError(f"{origin}: this format of model is not known; use a newer shallow2deep")
            if number == 1:
                values = _from_format_1(values)
            ndim = values.pop("ndim")
            values["outputs"] = tuple(Output.from_dict(record) for record in values["outputs"])
            values["strides"] = tuple(tuple(stride) for stride in values["strides"])
            values["stem"] = tuple(values["stem"])
            values["layers"] = Layers.from_dict(values.get("layers", {}))
            if values["voxel_size"] is not None:
                size = values["voxel_size"] = tuple(float(v) for v in values["voxel_size"])
                if not (2 <= len(size) <= 3 and all(0 < v < math.inf for v in size)):
                    raise ValueError("a voxel size of two or three lengths was expected")
            if values.get("normalisation") is not None:
                mean, deviation = (float(v) for v in values["normalisation"])
                values["normalisation"] = (mean, deviation)
                if not (math.isfinite(mean) and 0 < deviation < math.inf):
                    raise ValueError("a finite mean and a positive deviation were expected")
            spec = cls(**values)
            axes = (spec.stem, *spec.strides)
            sizes = (spec.features, spec.in_channels, *(n for axis in axes for n in axis))
            if not all(type(size) is int for size in sizes) or not isinstance(spec.record, dict):
                raise ValueError("whole numbers and a record were expected")
            if not isinstance(spec.metadata, dict):
                raise ValueError("metadata by name were expected")
            in_range = (
                ndim == spec.ndim in (2, 3)
                and 1 <= spec.features <= _MAX_FEATURES
                and len(spec.strides) <= _MAX_DEPTH
                and spec.features * 2 ** len(spec.strides) <= 2**14
                and all(len(stride) == ndim and set(stride) <= {1, 2} for stride in spec.strides)
                and spec.stem in [(n,) * ndim for n in ((1, 2, 4) if ndim == 2 else (1,))]
                and 1 <= spec.in_channels <= _MAX_CHANNELS
                and 1 <= len(spec.outputs) <= _MAX_CHANNELS
            )
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
            raise DamagedFileError(
                f"{origin}: not a model's description ({error}); export it again"
            ) from None
        if not in_range:
            raise DamagedFileError(f"{origin}: sizes out of range; export the model again")
        return spec


def _from_format_1(values: dict[str, Any]) -> dict[str, Any]:
    """Outputs were names, networks were 2D, and metadata were part of the record."""
    depth, stem, record = values.pop("depth"), values.pop("stem"), dict(values.get("record", {}))
    if type(depth) is not int or not 0 <= depth <= _MAX_DEPTH:
        raise ValueError(f"a depth of {depth!r:.40}")
    of_roles = values["kind"] != "segmentor"
    return values | {
        "ndim": 2,
        "strides": ((2, 2),) * depth,
        "stem": (stem, stem),
        "outputs": [
            {"class": None if of_roles else str(name), "role": str(name) if of_roles else FOREGROUND}
            for name in values["outputs"]
        ],
        "record": {key: value for key, value in record.items() if key not in _SAID},
        "metadata": {key: record[key] for key in _SAID if key in record},
    }


def save_model(folder: Path, network: nn.Module, spec: ModelSpec) -> None:
    """Writes model.json, weights.safetensors and, if there are any, metadata, each whole or not at all."""
    tensors = {name: t.detach().cpu().contiguous() for name, t in network.state_dict().items()}
    with atomic_path(folder / "weights.safetensors") as path:
        safetensors.torch.save_file(tensors, path)
    values = spec.to_dict()
    metadata = values.pop("metadata")
    write_json(folder / "model.json", values)
    if metadata:
        write_json(folder / METADATA, metadata)


def load_spec(folder: Path) -> ModelSpec:
    """The description of the network in a folder.

    Raises:
        InputError: no model in `folder`.
        DamagedFileError: a description that is truncated or altered.
    """
    if not (folder / "model.json").is_file():
        raise MissingDataError(f"{folder}: no model.json here; give the folder of a trained model")
    values = read_json(folder / "model.json")
    spec = ModelSpec.from_dict(values if isinstance(values, dict) else {}, folder / "model.json")
    metadata = read_json(folder / METADATA) if (folder / METADATA).is_file() else {}
    known = {key: metadata[key] for key in _SAID if key in metadata} if isinstance(metadata, dict) else {}
    return replace(spec, metadata=spec.metadata | known)


def load_model(folder: Path) -> tuple[nn.Module, ModelSpec]:
    """The network, in evaluation mode on the CPU, and its description.

    Runs no code from the files, but that of a network of its own whose source is trusted.

    Raises:
        InputError: no model in `folder`, or one of Python code that is not trusted.
        DamagedFileError: files that are truncated, altered or do not fit each other.
    """
    spec = load_spec(folder)
    network = spec.on_meta()
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
