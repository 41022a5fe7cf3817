"""Writes a segmentor as a .czann, the format of networks in ZEN and arivis.

ZEN cuts an image into overlapping tiles and gives each as float32 in 0..1, channel last. So all that
surrounds a network is part of the exported one: the values' range, the normalisation, and the background.
"""

import copy
import hashlib
import importlib
import math
import tempfile
import uuid
import warnings
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch
from torch import Tensor, nn

from shallow2deep.errors import InputError, Shallow2DeepError
from shallow2deep.io.atomic import atomic_path
from shallow2deep.io.memory import require_memory
from shallow2deep.networks.model import ModelSpec
from shallow2deep.networks.own import sizes_of

_INSTALL = 'pip install "czmodel>=6.2,<7" "onnxruntime>=1.20"'
_TOLERANCE = 1e-4
_REFUSED = {
    "enhancer": "needs a forest's map, which ZEN cannot give",
    "source_net": "needs the mean and deviation of a whole image, and ZEN gives tiles",
}


def write_czann(
    path: Path,
    network: nn.Module,
    spec: ModelSpec,
    classes: Sequence[str],
    tile: int = 512,
    overlap: int | None = None,
    name: str = "shallow2deep segmentor",
    licence_text: str | None = None,
    *,
    value_range: float,
    depth: int | None = None,
) -> Path:
    """Writes a .czann for ZEN 3.13 or later, after a tile through it gave what the network gives.

    It takes float32 `(batch, [depth,] tile, tile, 1)` in 0..1 and gives float32 of as many classes: the
    background's probability is 1 - that of the strongest other class, and all are divided by their sum. So
    the strongest class wins where it has more than 0.5, and the background elsewhere.

    With twice the halo as overlap, tiles that start at multiples of the network's step join to what the whole
    image gives, but for the image's own border, which is ZEN's matter. At other places pooling meets other
    pixels, and a smaller overlap leaves seams. The time per pixel grows with `(tile / (tile - overlap))**2`.

    Args:
        path: ends in .czann; replaced if it exists.
        network: of a segmentor; it is not changed.
        spec: its description.
        classes: names of the background and of each output, in this order.
        tile: pixels per side of ZEN's tiles: a multiple of the network's step, larger than the overlap.
        overlap: pixels that neighbouring tiles share: even. None: twice the network's halo.
        name: shown in ZEN.
        licence_text: goes along as license.txt.
        value_range: the raw value that ZEN gives as 1, see `value_range_of`.
        depth: planes of a 3D tile, which a network in 3D needs; one in 2D is applied to each plane alone.
            None: 2D tiles.

    Returns:
        `path`.

    Raises:
        InputError: a network that ZEN cannot use, settings that do not fit it, or a missing package.
        Shallow2DeepError: the written file gives other values than the network; what was at `path` stays.
    """
    path = Path(path)
    _check(path, spec, classes, value_range, depth)
    planes = () if depth is None else (depth,)
    shared = _overlaps(network, (*planes, tile, tile), overlap)
    maps = 4 * spec.features * (tile // spec.stem[-1]) ** 2 * math.prod(planes)  # alive at the first level
    require_memory(maps * 4, f"{path}: a tile of {tile} pixels through the network")
    czmodel, converter, onnxruntime = _packages()

    wrapped = _ForZen(copy.deepcopy(network), spec, value_range, (*planes, tile, tile)).cpu().eval()
    metadata = czmodel.ModelMetadata(
        model_type=czmodel.ModelType.SINGLE_CLASS_SEMANTIC_SEGMENTATION,
        input_shape=[*planes, tile, tile, 1],
        output_shape=[*planes, tile, tile, len(classes)],
        classes=list(classes),
        min_overlap=list(shared),
        model_name=name,
        model_id=_identity(wrapped, tuple(classes), shared[-1], name),
    )
    with atomic_path(path) as temporary, tempfile.TemporaryDirectory() as scratch:
        converted = _convert(converter, wrapped, metadata, licence_text, Path(scratch))
        _with_fixed_dates(converted, temporary)
        unpacked = Path(scratch) / "unpacked"
        found, model = converter.DefaultConverter().unpack_model(str(temporary), unpacked)
        fault = _fault_of_metadata(found, metadata) or _fault_of_network(onnxruntime, model, wrapped)
        if fault:
            raise Shallow2DeepError(
                f"{path}: {fault}, so it was not kept; try other versions of torch, czmodel and onnxruntime"
            )
    return path


def value_range_of(dtype: np.dtype | type) -> float:
    """The raw value that ZEN gives as 1: it divides integers by their type's maximum.

    Raises:
        InputError: for a type that images in ZEN cannot have.
    """
    dtype = np.dtype(dtype)
    if dtype in (np.uint8, np.uint16):
        return float(np.iinfo(dtype).max)
    if dtype == np.float32:
        return 1.0
    raise InputError(f"ZEN has no images of type {dtype}; train the segmentor on uint8, uint16 or float32")


class _ForZen(nn.Module):
    """From ZEN's values to the classes' probabilities, channel first: czmodel puts the channels last."""

    def __init__(self, network: nn.Module, spec: ModelSpec, value_range: float, size: tuple[int, ...]):
        super().__init__()
        assert spec.normalisation is not None
        self.network, self.size, self.value_range = network, size, value_range
        self.mean, self.deviation = spec.normalisation
        self.n_classes = 1 + len(spec.outputs)

    def forward(self, x: Tensor) -> Tensor:
        """float32 `(batch, classes, *size)`, sums to 1, of `(batch, 1, *size)` in 0..1."""
        if len(self.size) == len(sizes_of(self.network)[1]):
            return self._classes(x)
        # sizes are constants, so that only the batch stays free in the exported network
        depth, *plane = self.size
        p = self._classes(x.reshape(-1, 1, *plane))
        return p.reshape(-1, depth, self.n_classes, *plane).transpose(1, 2)

    def _classes(self, x: Tensor) -> Tensor:
        p = torch.sigmoid(self.network((x * self.value_range - self.mean) / self.deviation))
        p = torch.cat([1 - p.amax(1, keepdim=True), p], 1)
        return p / p.sum(1, keepdim=True)  # the sum is never below 1


def _check(
    path: Path, spec: ModelSpec, classes: Sequence[str], value_range: float, depth: int | None
) -> None:
    if path.suffix != ".czann":
        raise InputError(f"{path}: ZEN takes only files that end in .czann; give such a name")
    if spec.kind != "segmentor":
        reason = _REFUSED.get(spec.kind, "is not known here")
        raise InputError(f"{path}: the model is of the kind {spec.kind}, which {reason}; export a segmentor")
    if spec.ndim == 3 and depth is None:
        raise InputError(
            f"{path}: this network sees volumes; state by depth how many planes ZEN's tiles have"
        )
    if spec.normalisation is None or spec.in_channels != 1:
        raise InputError(
            f"{path}: this segmentor has {spec.in_channels} channels and the normalisation "
            f"{spec.normalisation}, but one channel and a constant mean and deviation were expected; train "
            "it again on grey images"
        )
    n = len(spec.outputs) + 1
    if len(classes) != n or len(set(classes)) != n or not all(classes):
        raise InputError(
            f"{path}: the classes {list(classes)} came, but {n} different names were expected: the "
            f"background's and those of {[output.title for output in spec.outputs]}"
        )
    if not 0 <= spec.normalisation[0] <= value_range < math.inf or value_range == 0:
        raise InputError(
            f"{path}: the training data's mean {spec.normalisation[0]:g} is not within 0 and the value range "
            f"{value_range:g}; give 255 for a segmentor of uint8 raw, 65535 for uint16, 1 for float in 0..1"
        )
    if depth is not None and depth < 1:
        raise InputError(f"{path}: a depth of {depth} planes came; give at least 1, or None for 2D")


def _overlaps(network: nn.Module, tile: tuple[int, ...], overlap: int | None) -> tuple[int, ...]:
    """The overlap of tiles per axis, checked together with their size; none along z for a network in 2D."""
    steps, halos = sizes_of(network)
    flat = (0,) * (len(tile) - len(halos))
    axes = "zyx"[-len(halos) :]
    found = [
        _overlap(axis, n, step, 2 * halo if overlap is None else overlap)
        for axis, n, step, halo in zip(axes, tile[len(flat) :], steps, halos, strict=True)
    ]
    return (*flat, *found)


def _overlap(axis: str, tile: int, step: int, pixels: int) -> int:
    if pixels < 0 or pixels % 2:
        raise InputError(
            f"an overlap of {pixels} pixels came; give an even one, such as {max(pixels + 1, 0)}"
        )
    if tile % step or tile <= pixels:
        above = max(tile - 1, pixels)
        raise InputError(
            f"tiles of {tile} pixels along {axis} do not fit: it takes a multiple of {step} that is "
            f"larger than the overlap of {pixels}; give {above // step * step + step}"
        )
    return pixels


def _packages() -> tuple[Any, Any, Any]:
    """The modules czmodel, czmodel.pytorch and onnxruntime."""
    try:
        czmodel, converter, onnxruntime = (
            importlib.import_module(name) for name in ("czmodel", "czmodel.pytorch", "onnxruntime")
        )
    except ImportError as error:
        raise InputError(f"a .czann needs further packages ({error}); {_INSTALL}") from None
    return czmodel, converter, onnxruntime


def _identity(wrapped: _ForZen, *settings: object) -> str:
    """An id that is the same for the same weights and settings, and so are the file's bytes."""
    digest = hashlib.sha256(safetensors.torch.save(wrapped.state_dict()))
    constants = (wrapped.mean, wrapped.deviation, wrapped.value_range, wrapped.size)
    digest.update(repr((constants, settings)).encode())
    return str(uuid.uuid5(uuid.NAMESPACE_OID, digest.hexdigest()))


def _convert(
    converter: Any, wrapped: _ForZen, metadata: Any, licence_text: str | None, scratch: Path
) -> Path:
    """The path of czmodel's own file, in `scratch`."""
    licence = scratch / "license.txt"
    if licence_text is not None:
        licence.write_text(licence_text, encoding="utf-8", newline="\n")
    model_spec = converter.ModelSpec(wrapped, metadata, str(licence) if licence_text is not None else None)
    with torch.no_grad(), warnings.catch_warnings():
        # czmodel takes torch's older exporter on purpose: the newer one puts the weights into a second file
        warnings.simplefilter("ignore", DeprecationWarning)
        converter.DefaultConverter().convert_from_model_spec(
            model_spec=model_spec,
            output_path=str(scratch),
            output_name="converted",
            input_shape=(1, *wrapped.size),
        )
    return scratch / "converted.czann"


def _with_fixed_dates(source: Path, target: Path) -> None:
    """Copies a zip file with all dates 1980, so that equal content is equal bytes."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new:
        for name in old.namelist():
            new.writestr(zipfile.ZipInfo(name), old.read(name))


def _fault_of_metadata(found: Any, expected: Any) -> str | None:
    return None if found == expected else f"the description reads back as {found}, not as {expected}"


def _fault_of_network(onnxruntime: Any, model: Path, wrapped: _ForZen) -> str | None:
    """Compares the exported network with the trained one on a tile of noise, as bright as its data."""
    raw = np.random.default_rng(0).normal(wrapped.mean, wrapped.deviation, (1, *wrapped.size, 1))
    x = (raw / wrapped.value_range).clip(0, 1).astype(np.float32)
    with torch.inference_mode():
        expected = wrapped(torch.from_numpy(x).movedim(-1, 1)).movedim(1, -1).numpy()
    try:
        session = onnxruntime.InferenceSession(str(model), providers=["CPUExecutionProvider"])
        found = session.run(None, {"input": x})[0]
    except Exception as error:  # its errors have no class of their own
        reason, *_ = str(error).split("\n")
        return f"the exported network does not run ({reason})"
    if found.shape != expected.shape:
        return f"the exported network gives {found.shape}, not {expected.shape}"
    difference = float(np.abs(found - expected).max())
    if difference <= _TOLERANCE:
        return None
    return f"the exported network differs from the trained one by {difference:.2g}, more than {_TOLERANCE:g}"
