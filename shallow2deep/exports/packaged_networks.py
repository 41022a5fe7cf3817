"""The networks of a package's weight formats.

What a file can do when it is loaded is checked first; only `architecture_network` runs Python of a package.
"""

import hashlib
import importlib.util
import io
import tempfile
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from shallow2deep.errors import DamagedFileError, InputError, one_line
from shallow2deep.exports.archive import MAX_YAML, read_file, reading, repack
from shallow2deep.exports.description import Description
from shallow2deep.exports.torchscript import faults_of_archive, faults_of_network, is_survived
from shallow2deep.io.memory import require_memory
from shallow2deep.networks.model import ModelSpec


def our_network(path: Path, description: Description, spec: ModelSpec) -> nn.Module:
    """The network that `spec` describes, with the tensors of the format pytorch_state_dict."""
    return _network_of(path, spec, lambda: state_dict(path, description))


def companion_network(path: Path, data: bytes, spec: ModelSpec) -> nn.Module:
    """The network that `spec` describes, with the tensors of a safetensors file's bytes."""

    def tensors() -> dict[str, Tensor]:
        try:
            return safetensors.torch.load(data)
        except (ValueError, safetensors.SafetensorError) as error:
            raise DamagedFileError(
                f"{path}: the weights of its companion do not load ({one_line(error)}); get the package again"
            ) from None

    return _network_of(path, spec, tensors)


def _network_of(path: Path, spec: ModelSpec, read: Callable[[], dict[str, Tensor]]) -> nn.Module:
    """The network that `spec` describes; tensors are read when there is room, and must be those of it."""
    network = spec.on_meta()
    expected = network.state_dict()
    require_memory(sum(t.numel() * t.element_size() for t in expected.values()), f"the network of {path}")
    tensors = read()
    fits = tensors.keys() == expected.keys() and all(
        (t.shape, t.dtype, t.layout) == (e.shape, e.dtype, e.layout) and t.device.type == "cpu"
        for e, t in ((expected[name], t) for name, t in tensors.items())
    )
    if not fits:
        raise DamagedFileError(f"{path}: its weights are not those of its network; export the model again")
    network.load_state_dict({name: t.contiguous() for name, t in tensors.items()}, assign=True)
    return network.eval()


def state_dict(path: Path, description: Description) -> dict[str, Tensor]:
    """The tensors of the format pytorch_state_dict; runs no code from the file."""
    data = _weights(path, description, "pytorch_state_dict")
    try:
        tensors = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except Exception as error:  # a crafted file makes torch raise anything
        raise DamagedFileError(
            f"{path}: its weights do not load ({one_line(error)}); get the package again"
        ) from None
    if not isinstance(tensors, dict) or not all(isinstance(t, Tensor) for t in tensors.values()):
        raise DamagedFileError(f"{path}: its weights are not a mapping of tensors; get the package again")
    return tensors


def torchscript_network(path: Path, description: Description, trust: bool = False) -> nn.Module:
    """The network of the format torchscript: a program of operators that networks need and no others.

    Args:
        trust: whether it may call whatever TorchScript can.
    """
    data = _weights(path, description, "torchscript")
    faults: Iterator[str] = iter(()) if trust else faults_of_archive(data)
    _require_none(path, faults)
    if not trust and not is_survived(data):
        raise DamagedFileError(
            f"{path}: its TorchScript ends the process that loads it; get the package again"
        )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # it advises torch.export
            network = torch.jit.load(io.BytesIO(data), map_location="cpu").eval()
    except Exception as error:  # a crafted file makes torch raise anything
        raise DamagedFileError(
            f"{path}: its TorchScript does not load ({one_line(error)}); get the package again"
        ) from None
    _require_none(path, iter(()) if trust else faults_of_network(network))
    return network


def _require_none(path: Path, faults: Iterator[str]) -> None:
    if fault := next(faults, None):
        raise InputError(
            f"{path}: its TorchScript has {one_line(fault)}, which a network has no need of; use --trust if "
            "you know its author"
        )


def architecture_network(path: Path, description: Description) -> nn.Module:
    """The network of the format pytorch_state_dict, made by the package's own Python: runs that."""
    tensors = state_dict(path, description)
    entry = description.weights["pytorch_state_dict"]
    assert entry is not None
    if entry.architecture is None or entry.architecture.source is None:
        raise InputError(f"{path}: its network comes from a library; get a package with torchscript")
    source = read_file(path, entry.architecture.source, MAX_YAML)
    try:
        make = _imported(source, entry.architecture.callable)
        network = make(**entry.architecture.arguments)
        network.load_state_dict(tensors)
        return network.eval()
    except Exception as error:  # foreign code raises anything
        raise InputError(
            f"{path}: the Python of its network fails ({one_line(error)}); get a package with torchscript"
        ) from None


def _imported(source: bytes, name: str) -> Any:
    """The object `name` of a Python file's bytes."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "architecture.py"
        file.write_bytes(source)
        spec = importlib.util.spec_from_file_location(f"package_{hashlib.sha256(source).hexdigest()}", file)
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    return getattr(module, name)


def _weights(path: Path, description: Description, name: str) -> bytes:
    """The file of a weight format, checked to be an archive without surprises, and repacked."""
    entry = description.weights.get(name)
    if entry is None:
        raise InputError(f"{path}: no {name} in it, only {one_line(description.formats)}; export it again")
    data = read_file(path, entry.source)
    with reading(path):
        return repack(data)
