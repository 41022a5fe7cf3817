"""Checks that the networks in a package give what the trained one gives, and that bioimage.io runs them."""

import importlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from shallow2deep.errors import InputError, Shallow2DeepError
from shallow2deep.exports.archive import read_file
from shallow2deep.exports.description import Description, read_description
from shallow2deep.exports.packaged_networks import architecture_network, torchscript_network
from shallow2deep.exports.tiling import Tiling, predict_tiled
from shallow2deep.exports.weights import INSTALL_ONNX
from shallow2deep.inference.network_maps import predict_with_network
from shallow2deep.networks.model import ModelSpec

_INSTALL_CHECK = 'pip install "bioimageio.core>=0.11,<0.12"'
_TOLERANCE = 1e-4


def compare_with(path: str | Path, network: nn.Module, spec: ModelSpec, image: np.ndarray) -> float:
    """The largest difference between a package's networks and the one it was made from.

    Each weight format is applied to the whole image, and in tiles as ilastik does. This runs the package's
    Python: for packages that this program wrote.

    Args:
        path: zip file or folder.
        network, spec: what was exported.
        image: `(C, *spatial)`, as `sample` of `write_package`.

    Raises:
        Shallow2DeepError: the difference is above 1e-4.
        InputError: no package at `path`, or an image that the network does not take.
    """
    difference = largest_difference(Path(path), network, spec, checked_sample(image, spec))
    return require_equal(path, difference)


def check_package(path: str | Path) -> None:
    """Runs bioimage.io's own test of each weight format. This runs the package's Python.

    Raises:
        InputError: bioimageio.core is missing.
        Shallow2DeepError: the first thing that failed.
    """
    core = require_bioimageio()
    for name in read_description(Path(path)).formats:
        summary = core.test_model(path, weight_format=name)
        if summary.status != "passed":
            reasons = [f"{d.name}: {e.msg}" for d in summary.details for e in d.errors]
            reason = " ".join((reasons or [summary.status])[0].split())
            raise Shallow2DeepError(f"{path}: bioimage.io's test of {name} failed: {reason:.400}")


def require_bioimageio() -> Any:
    """The library that tests packages.

    Raises:
        InputError: it is missing.
    """
    try:
        importlib.import_module("loguru").logger.disable("bioimageio")  # its log of the details
        return importlib.import_module("bioimageio.core")
    except ImportError as error:
        raise InputError(f"a check of packages needs bioimageio.core ({error}); {_INSTALL_CHECK}") from None


def checked_sample(sample: np.ndarray, spec: ModelSpec) -> np.ndarray:
    """`sample` as float32."""
    if sample.ndim != spec.ndim + 1 or len(sample) != spec.in_channels or not sample.size:
        axes = ("z, y" if spec.ndim == 3 else "y") + " and x"
        raise InputError(
            f"a sample of shape {sample.shape} came; give one of {spec.in_channels} channels, {axes}"
        )
    low, high = float(sample.min()), float(sample.max())
    if not np.isfinite([low, high]).all() or (spec.kind == "enhancer" and not -1e-6 < low <= high < 1 + 1e-6):
        expected = "probabilities in 0..1" if spec.kind == "enhancer" else "finite values"
        raise InputError(f"a sample of values from {low:g} to {high:g} came; give {expected}")
    return sample.astype(np.float32)


def largest_difference(path: Path, network: nn.Module, spec: ModelSpec, image: np.ndarray) -> float:
    """Over all weight formats, whole and tiled; not a number if a network gives that.

    Of a network whose results depend on all of a tile only the whole is compared.
    """
    expected, tiling = _expected(network, spec, image), Tiling.of(network)
    sizes = list(zip(image.shape[1:], tiling.halo, tiling.step, strict=True))
    padded = np.pad(image, [(0, 0), *((halo, halo + -n % step) for n, halo, step in sizes)], mode="reflect")
    inner = (slice(None), *(slice(halo, halo + n) for n, halo, _ in sizes))
    differences = []
    for exported in _exported(path, spec):
        with torch.inference_mode():
            whole = exported(torch.from_numpy(padded)[None])[0].numpy()[inner]
        differences.append(np.abs(whole - expected).max())
        if spec.layers.is_local:
            tiled = predict_tiled(exported, image, tiling)
            differences.append(np.abs(tiled - expected).max())
    return float(np.max(differences))


def _expected(network: nn.Module, spec: ModelSpec, image: np.ndarray) -> np.ndarray:
    """What the trained network gives, without any of what the package adds."""
    if spec.kind == "segmentor":
        assert spec.normalisation is not None
        mean, deviation = spec.normalisation
        image = ((image.astype(np.float64) - mean) / deviation).astype(np.float32)
    copied = spec.build()
    copied.load_state_dict(network.state_dict())
    return predict_with_network(copied, image)


def _exported(path: Path, spec: ModelSpec) -> Iterator[Callable[[Tensor], Tensor]]:
    """The network of each weight format."""
    description = read_description(path)
    yield architecture_network(path, description)
    if "torchscript" in description.formats:
        yield torchscript_network(path, description, trust=spec.layers.own is not None)
    if "onnx" in description.formats:
        yield _onnx_network(path, description)


def _onnx_network(path: Path, description: Description) -> Callable[[Tensor], Tensor]:
    try:
        runtime = importlib.import_module("onnxruntime")
    except ImportError as error:
        raise InputError(f"{path}: its onnx needs onnxruntime ({error}); {INSTALL_ONNX}") from None
    entry = description.weights["onnx"]
    assert entry is not None
    session = runtime.InferenceSession(read_file(path, entry.source), providers=["CPUExecutionProvider"])
    return lambda x: torch.from_numpy(session.run(None, {"input": x.numpy()})[0])


def require_equal(path: str | Path, difference: float) -> float:
    """`difference`, if it is small enough."""
    if not difference <= _TOLERANCE:  # not a number is refused, too
        raise Shallow2DeepError(
            f"{path}: the networks in the package differ from the trained one by {difference:.2g}, more than "
            f"{_TOLERANCE}; try another version of torch"
        )
    return difference
