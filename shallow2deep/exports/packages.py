"""Reads bioimage.io packages, from us and from strangers.

A package is a zip file or a folder with an rdf.yaml that describes the files beside it. Nothing in it is
trusted: sizes, paths and checksums are checked, and no Python in it is run unless the caller says so.
"""

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from shallow2deep.errors import DamagedFileError, InputError, one_line
from shallow2deep.exports.archive import read_file
from shallow2deep.exports.description import (
    TAG,
    Description,
    Processing,
    SizeReference,
    Sizes,
    check_sums,
    read_description,
)
from shallow2deep.exports.packaged_networks import (
    architecture_network,
    companion_network,
    our_network,
    torchscript_network,
)
from shallow2deep.networks.model import WITH_RAW, ModelSpec
from shallow2deep.outputs import FOREGROUND, Output

_MAX_MARGIN = 2**12
_KINDS = ("enhancer", "segmentor")


@dataclass(frozen=True)
class Package:
    """What a package says of itself.

    Attributes:
        licence: SPDX id, if it names one.
        tags: bioimage.io's; ilastik lists models tagged "shallow2deep".
        kind: "enhancer" or "segmentor"; "other" for another program's model that is not tagged as enhancer.
        outputs: what each output channel tells.
        formats: weight formats, such as "torchscript".
        ndim: spatial axes of its input.
        record: how it came to be, if this program wrote it.
        model: the network's description, if this program wrote it.
    """

    name: str
    description: str
    licence: str | None
    tags: tuple[str, ...]
    kind: str
    outputs: tuple[Output, ...]
    formats: tuple[str, ...]
    ndim: int = 2
    record: Mapping[str, Any] = field(default_factory=dict)
    model: ModelSpec | None = None

    @property
    def spec(self) -> ModelSpec:
        """The network's description; of another program's, only kind, outputs, channels and axes count."""
        if self.model is not None:
            return self.model
        said = {"name": self.name, "data_licences": [self.licence] if self.licence else []}
        return ModelSpec(
            self.kind, self.outputs, features=1, strides=(), stem=(1,) * self.ndim, metadata=said
        )


def read_package(path: str | Path) -> Package:
    """A package's metadata; its weights are not read.

    Raises:
        InputError: no package at `path`, or one of a format that is not known here.
        DamagedFileError: a package that is truncated or crafted.
    """
    path = Path(path)
    return _package(read_description(path), path)


def load_package(path: str | Path, trust: bool = False) -> tuple[nn.Module, ModelSpec]:
    """A package's network, for `predict_with_network`: it gives logits and has `step` and `halo`.

    A package that this program wrote gives the network that went in, without running code from the package
    unless that is a network of a file of its own.
    Of another program's, enhancers are taken: their TorchScript, or with `trust` their Python.

    Args:
        path: zip file or folder.
        trust: whether Python files of the package may be run; they can do whatever the user can.

    Returns:
        The network, in evaluation mode on the CPU, and its description; of another program's, only `kind`,
        `outputs` and `in_channels` say something about the network.

    Raises:
        InputError: no package at `path`, or one that cannot be used here.
        DamagedFileError: a package that is truncated, altered or crafted.
    """
    path = Path(path)
    description = read_description(path)
    package = _package(description, path)
    check_sums(path, description)
    if package.model is not None:
        package.model.layers.allow(trust)
        return our_network(path, description, package.model), package.model
    return _foreign_network(path, description, trust), package.spec


def load_packaged_companion(path: Path) -> tuple[nn.Module, ModelSpec] | None:
    """The network for raw beside maps of an enhancer's package that this program wrote; None without one.

    Raises:
        InputError: no package at `path`.
        DamagedFileError: a companion that is truncated, altered or crafted.
    """
    description = read_description(path)
    ours = description.config.get("shallow2deep")
    said = ours.get(WITH_RAW) if isinstance(ours, Mapping) else None
    if said is None:
        return None
    if not isinstance(said, Mapping) or not isinstance(said.get("source"), str):
        raise DamagedFileError(f"{path}: its companion is not described; export it again")
    spec = _model_spec(said.get("model"), path)
    data = read_file(path, said["source"])
    if hashlib.sha256(data).hexdigest() != said.get("sha256"):
        raise DamagedFileError(f"{path}: {said['source']} differs from its checksum; get the package again")
    return companion_network(path, data, spec), spec


def _package(description: Description, path: Path) -> Package:
    ours = description.config.get("shallow2deep")
    record = dict(ours) if isinstance(ours, Mapping) else {}
    values = record.pop("model", None)
    record.pop(WITH_RAW, None)
    model = None if values is None else _model_spec(values, path)
    foreign = "enhancer" if TAG in description.tags else "other"
    return Package(
        name=description.name,
        description=description.description,
        licence=description.license if isinstance(description.license, str) else None,
        tags=description.tags,
        kind=model.kind if model else foreign,
        outputs=model.outputs if model else _foreign_outputs(description.outputs[0].channel_names),
        formats=description.formats,
        ndim=len(description.inputs[0].space),
        record=record,
        model=model,
    )


def _foreign_outputs(names: Sequence[str]) -> tuple[Output, ...]:
    """Other programs name channels as they like: the one called foreground, or else the first, is it."""
    first = names.index(FOREGROUND) if FOREGROUND in names else 0
    return tuple(Output(None, FOREGROUND if n == first else name) for n, name in enumerate(names))


def _model_spec(values: Any, path: Path) -> ModelSpec:
    try:
        spec = ModelSpec.from_dict(dict(values), path)
    except (TypeError, ValueError, OverflowError) as error:
        raise DamagedFileError(
            f"{path}: not a model's description ({one_line(error)}); export it again"
        ) from None
    if spec.kind not in _KINDS:
        raise DamagedFileError(f"{path}: a model of kind {spec.kind!r:.40}; one of {_KINDS} was expected")
    return spec


def _foreign_network(path: Path, description: Description, trust: bool) -> nn.Module:
    problem = _why_not_an_enhancer(description)
    if problem:
        raise InputError(f"{path}: {problem}; give the package of an enhancer")
    step, halo = _step_and_halo(description, path)
    if "torchscript" in description.formats:
        network = torchscript_network(path, description, trust)
    elif "pytorch_state_dict" not in description.formats:
        raise InputError(f"{path}: only {one_line(description.formats)} in it; torchscript was expected")
    elif trust:
        network = architecture_network(path, description)
    else:
        raise InputError(
            f"{path}: this network needs Python code from the package, which could do anything; use --trust "
            "if you know its author, or get a package with torchscript"
        )
    outputs = len(description.outputs[0].channel_names)
    gives_logits = any(p.id == "sigmoid" for p in description.outputs[0].postprocessing)
    ndim = len(description.inputs[0].space)
    return _Foreign(network, description.name, outputs, (step,) * ndim, (halo,) * ndim, gives_logits).eval()


def _why_not_an_enhancer(description: Description) -> str | None:
    """What keeps another program's model from being used as an enhancer, if anything."""
    if TAG not in description.tags:
        return f'it has no tag "{TAG}"'
    if len(description.inputs) != 1 or len(description.outputs) != 1:
        return (
            f"{len(description.inputs)} inputs and {len(description.outputs)} outputs where one each is used"
        )
    given, made = description.inputs[0], description.outputs[0]
    for tensor in (given, made):
        types = [axis.type for axis in tensor.axes]
        space = tensor.axis_names[2:]
        known = types[:2] == ["batch", "channel"] and set(types[2:]) == {"space"}
        if not known or space not in (["y", "x"], ["z", "y", "x"]) or len(space) != len(given.space):
            return f"its axes are {one_line(tensor.axis_names)}, not batch, channel, y, x, or with z before y"
    if len(given.channel_names) != 1 or not made.channel_names:
        return f"{len(given.channel_names)} input channels where the map of one class is used"
    for values in given.values:
        low, high = values.range
        if values.type != "float32" or low not in (None, 0) or high not in (None, 1):
            return f"input of type {one_line(values.type)} in {low}..{high} where float32 in 0..1 is used"
    steps = [p.id for p in given.preprocessing if not _keeps_float32(p)]
    steps += [p.id for p in made.postprocessing if p.id != "sigmoid" and not _keeps_float32(p)]
    return f"the steps {one_line(steps)} around the network, which are not applied here" if steps else None


def _keeps_float32(processing: Processing) -> bool:
    return processing.id == "ensure_dtype" and processing.arguments.get("dtype") == "float32"


def _step_and_halo(description: Description, path: Path) -> tuple[int, int]:
    """A step and a halo for each axis with which `n * step + 2 * halo` is a valid size for each n >= 1."""
    given, made = description.inputs[0], description.outputs[0]
    sizes = [axis.size for axis in given.space if isinstance(axis.size, Sizes)]
    for axis, output in zip(given.space, made.space, strict=True):
        size = output.size
        same = isinstance(size, SizeReference) and (size.axis_id, size.offset) == (axis.name, 0)
        if len(sizes) != len(given.space) or not same or output.scale != axis.scale:
            raise InputError(
                f"{path}: its {axis.name} is not of free size, the same for input and output; give the "
                "package of a network that takes images of many sizes"
            )
    step = math.lcm(*(size.step for size in sizes))
    stated = max(axis.halo for axis in made.space)
    least = max(1, stated, *(-(-(size.min - step) // 2) for size in sizes))
    halos = range(least, least + step) if least + step <= _MAX_MARGIN else range(0)
    # with the stated halo and whole steps more, pooling meets the same pixels as in other programs
    for halo in sorted(halos, key=lambda halo: (halo - stated) % step > 0):
        if all((2 * halo + step - size.min) % size.step == 0 for size in sizes):
            return step, halo
    raise InputError(
        f"{path}: no halo up to {_MAX_MARGIN} fits its sizes, {sizes}; give the package of another network"
    )


class _Foreign(nn.Module):
    """Another program's network as one that gives logits."""

    def __init__(
        self,
        network: nn.Module,
        name: str,
        outputs: int,
        step: tuple[int, ...],
        halo: tuple[int, ...],
        gives_logits: bool,
    ):
        super().__init__()
        self.network, self.name, self.outputs = network, name, outputs
        self.step, self.halo, self.gives_logits = step, halo, gives_logits

    def forward(self, x: Tensor) -> Tensor:
        """Logits `(batch, outputs, *spatial)` of probabilities `(batch, 1, *spatial)`.

        Raises:
            InputError: the network fails, or gives something else than its description says.
        """
        try:
            p = self.network(x)
        except (
            ArithmeticError, AssertionError, AttributeError, LookupError, RuntimeError, TypeError, ValueError,
            torch.jit.Error,
        ) as error:  # fmt: skip
            reason = (str(error).strip() or type(error).__name__).splitlines()[
                -1
            ]  # after TorchScript's traceback
            raise self._error(f"failed on {tuple(x.shape)}: {one_line(reason)}") from None
        expected = (len(x), self.outputs, *x.shape[2:])
        if not isinstance(p, Tensor) or not p.is_floating_point():
            raise self._error(f"gave {type(p).__name__} that is no tensor of float32")
        if p.shape != expected:
            raise self._error(f"gave {tuple(p.shape)} where {expected} was expected")
        return p.float() if self.gives_logits else torch.logit(p.float(), eps=1e-6)

    def _error(self, what: str) -> InputError:
        return InputError(f"the network of {one_line(self.name)} {what}; use another package")
