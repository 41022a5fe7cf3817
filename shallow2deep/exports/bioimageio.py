"""Writes an enhancer or segmentor as a bioimage.io package, which ilastik and other programs open.

The description is written without bioimageio.spec, in a form that the versions inside today's ilastik read:
documentation and covers are plain strings, which newer versions of the library do not write any more.
"""

import hashlib
import importlib
import inspect
import io
import json
import keyword
import logging
import re
import warnings
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import imageio.v3 as iio
import numpy as np
import torch
import yaml
from torch import Tensor
from torch.jit import _recursive, _state

from shallow2deep.config import AuthorSettings, CitationSettings
from shallow2deep.errors import InputError, Shallow2DeepError
from shallow2deep.exports.packages import (
    RDF_NAMES,
    TAG,
    Description,
    architecture_network,
    read_description,
    read_file,
    repack,
    torchscript_network,
)
from shallow2deep.exports.tiling import FORMAT_VERSION, Tiling, predict_tiled
from shallow2deep.exports.tiling import problems_for_ilastik as problems_for_ilastik
from shallow2deep.inference.network import predict_with_network
from shallow2deep.io.atomic import atomic_path
from shallow2deep.io.memory import require_memory
from shallow2deep.networks import unet
from shallow2deep.networks.model import FORMAT, ModelSpec
from shallow2deep.networks.unet import UNet

FORMATS = ("pytorch_state_dict", "torchscript", "onnx")
# known to every version of the specification since 0.5.4; other terms are written out in the documentation
LICENCES = (
    "AGPL-3.0-or-later", "Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "CC-BY-3.0", "CC-BY-4.0",
    "CC-BY-NC-4.0", "CC-BY-NC-ND-4.0", "CC-BY-NC-SA-4.0", "CC-BY-ND-4.0", "CC-BY-SA-4.0", "CC0-1.0",
    "CDLA-Permissive-2.0", "GPL-2.0-only", "GPL-2.0-or-later", "GPL-3.0-only", "GPL-3.0-or-later", "ISC",
    "LGPL-3.0-or-later", "MIT", "MIT-0", "MPL-2.0", "ODC-By-1.0", "ODbL-1.0", "PDDL-1.0", "Unlicense",
)  # fmt: skip
_INSTALL_CHECK = 'pip install "bioimageio.core>=0.11,<0.12"'
_INSTALL_ONNX = 'pip install "onnx>=1.18" "onnxscript>=0.5" "onnxruntime>=1.20"'
_OPSET = 18
_TOLERANCE = 1e-4


@dataclass(frozen=True)
class PackageInfo:
    """What a package says of its model, apart from what follows from the network.

    Attributes:
        name: 5 to 128 letters, digits, blanks and any of `_+-()`.
        description: one sentence or two, at most 1024 characters.
        licence: an SPDX id, or the terms in words. Words become a section of the documentation and the
            package states no licence, with which ilastik 1.4.1 cannot open it; 1.4.2 can.
        documentation: Markdown; it should have a section "Validation".
        record: how the model came to be: free JSON, kept as config.shallow2deep.
    """

    name: str
    description: str
    authors: tuple[AuthorSettings, ...]
    licence: str
    cite: tuple[CitationSettings, ...]
    tags: tuple[str, ...]
    documentation: str
    git_repo: str | None = None
    record: Mapping[str, Any] = field(default_factory=dict)


class PackagedUNet(UNet):
    """The U-Net from a package's input to probabilities: it normalises by constants and ends in a sigmoid.

    Its weights have the names of the U-Net's own.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        features: int,
        depth: int,
        stem: int,
        mean: float,
        deviation: float,
    ):
        super().__init__(in_channels, out_channels, features, depth, stem)
        self.mean, self.deviation = mean, deviation

    def forward(self, x: Tensor) -> Tensor:
        """Probabilities `(batch, out_channels, y, x)` of `x`, `(batch, in_channels, y, x)`."""
        return torch.sigmoid(super().forward((x - self.mean) / self.deviation))


def write_package(
    path: str | Path,
    network: UNet,
    spec: ModelSpec,
    info: PackageInfo,
    sample: np.ndarray,
    cover: bytes | np.ndarray,
    formats: Sequence[str] = ("pytorch_state_dict", "torchscript"),
    check: Callable[[Path], None] | None = None,
) -> Path:
    """Writes a package, after the networks in it gave for `sample` what `network` gives.

    An enhancer takes float32 probabilities in 0..1, a segmentor raw as float32; both give float32
    probabilities. Equal arguments give equal bytes.

    Args:
        path: ends in .zip, or is a folder to be made; only a package takes the place of what is there.
        network: it is not changed.
        spec: its description.
        sample: what the network is applied to in the end, `(C, y, x)`: probabilities for an enhancer, raw for
            a segmentor. A part of it becomes the package's test.
        cover: a PNG file's bytes, or uint8 `(y, x)` or `(y, x, 3)`.
        formats: any of `FORMATS`; the state dict is always written.
        check: of the package before it gets its name, such as `check_package`.

    Returns:
        `path`.

    Raises:
        InputError: a network that cannot be applied tile by tile, or arguments that bioimage.io refuses.
        Shallow2DeepError: a network in the package differs; nothing is left at `path`.
    """
    path = Path(path)
    _check_arguments(path, spec, info, formats)
    sample = _checked_sample(sample, spec)
    side = Tiling.of(network).tile // spec.stem
    require_memory(16 * spec.features * side**2, f"{path}: a tile of ilastik's through the network")
    model = _packaged(network, spec)
    files = {
        "README.md": _documentation(info).encode(),
        "cover.png": _png(cover),
        "architecture.py": _architecture().encode(),
        **_files(model, _test_input(model, sample), formats),
    }
    rdf = _plain(_rdf(model, spec, info, files))
    files["rdf.yaml"] = yaml.safe_dump(rdf, sort_keys=False, allow_unicode=True).encode()
    with atomic_path(path) as temporary:
        _write_files(temporary, files)
        problems = problems_for_ilastik(rdf) if spec.kind == "enhancer" else []
        if problems:
            raise Shallow2DeepError(f"{path}: ilastik would not take this package: {'; '.join(problems)}")
        _require_equal(path, _largest_difference(temporary, network, spec, sample))
        if check is not None:
            check(temporary)
    return path


def compare_with(path: str | Path, network: UNet, spec: ModelSpec, image: np.ndarray) -> float:
    """The largest difference between a package's networks and the one it was made from.

    Each weight format is applied to the whole image, and in tiles as ilastik does. This runs the package's
    Python: for packages that this program wrote.

    Args:
        path: zip file or folder.
        network, spec: what was exported.
        image: `(C, y, x)`, as `sample` of `write_package`.

    Raises:
        Shallow2DeepError: the difference is above 1e-4.
        InputError: no package at `path`, or an image that the network does not take.
    """
    difference = _largest_difference(Path(path), network, spec, _checked_sample(image, spec))
    return _require_equal(path, difference)


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


# what goes in


def _check_arguments(path: Path, spec: ModelSpec, info: PackageInfo, formats: Sequence[str]) -> None:
    if path.suffix and path.suffix.lower() != ".zip":
        raise InputError(f"{path}: packages end in .zip, or are folders without an ending; give such a name")
    if (
        path.exists()
        and not any((path / name).is_file() for name in RDF_NAMES)
        and not zipfile.is_zipfile(path)
    ):
        raise InputError(f"{path} is there already, and no package; give another name")
    if spec.kind == "source_net":
        raise InputError(
            f"{path}: a source net normalises each image by its own mean, which tiles do not share; export "
            "an enhancer or a segmentor"
        )
    if spec.kind not in ("enhancer", "segmentor"):
        raise InputError(f"{path}: a network of kind {spec.kind} came; export an enhancer or a segmentor")
    if spec.kind == "enhancer" and spec.in_channels != 1:
        raise InputError(f"{path}: an enhancer of {spec.in_channels} channels came, but ilastik gives it one")
    if spec.kind == "segmentor" and spec.normalisation is None:
        raise InputError(f"{path}: this segmentor has no mean and deviation to normalise by; train it again")
    unknown = set(formats) - set(FORMATS)
    if unknown:
        raise InputError(f"{path}: unknown weight formats {sorted(unknown)}; give some of {list(FORMATS)}")
    problem = _problem_of_info(info)
    if problem:
        raise InputError(f"{path}: {problem}")


def _checked_sample(sample: np.ndarray, spec: ModelSpec) -> np.ndarray:
    """`sample` as float32."""
    if sample.ndim != 3 or len(sample) != spec.in_channels or not sample.size:
        raise InputError(
            f"a sample of shape {sample.shape} came; give one of {spec.in_channels} channels, y and x"
        )
    low, high = float(sample.min()), float(sample.max())
    if not np.isfinite([low, high]).all() or (spec.kind == "enhancer" and not -1e-6 < low <= high < 1 + 1e-6):
        expected = "probabilities in 0..1" if spec.kind == "enhancer" else "finite values"
        raise InputError(f"a sample of values from {low:g} to {high:g} came; give {expected}")
    return sample.astype(np.float32)


def _problem_of_info(info: PackageInfo) -> str | None:
    """What bioimage.io would not accept."""
    if not re.fullmatch(r"[A-Za-z0-9_+\- ()]{5,128}", info.name):
        return f"the name {info.name!r} is not 5 to 128 letters, digits, blanks and _+-(); give another one"
    if len(info.description) > 1024:
        return f"a description of {len(info.description)} characters came; give at most 1024"
    if not info.authors or not info.cite:
        return "at least one author and one citation are needed; give them"
    for author in info.authors:
        if not author.name or re.search(r"[/\\]", author.name):
            return f"the author's name {author.name!r} is empty or has a slash; give another one"
        if author.orcid and not _is_orcid(author.orcid):
            return f"{author.orcid!r} is no ORCID iD; give one such as 0000-0002-1825-0097, or none"
    for citation in info.cite:
        if not citation.url and not re.match(r"10\.\d{4}.", citation.doi or ""):
            return f'the citation "{citation.text:.80}" needs a DOI such as 10.1234/abc, or a URL'
    return None


def _is_orcid(text: str) -> bool:
    """Whether the last digit is the checksum of the others (ISO 7064, mod 11-2)."""
    if not re.fullmatch(r"(\d{4}-){3}\d{3}[\dX]", text):
        return False
    total = 0
    for digit in text.replace("-", "")[:-1]:
        total = (total + int(digit)) * 2
    return text[-1] == "0123456789X"[(12 - total % 11) % 11]


def _arguments(spec: ModelSpec) -> dict[str, Any]:
    """Of `PackagedUNet`."""
    constants = spec.normalisation if spec.kind == "segmentor" else None
    mean, deviation = constants or (0.0, 1.0)
    return {
        "in_channels": spec.in_channels,
        "out_channels": len(spec.outputs),
        "features": spec.features,
        "depth": spec.depth,
        "stem": spec.stem,
        "mean": mean,
        "deviation": deviation,
    }


def _packaged(network: UNet, spec: ModelSpec) -> PackagedUNet:
    """A copy of the network on the CPU, as the package has it."""
    model = PackagedUNet(**_arguments(spec))
    try:
        model.load_state_dict(network.state_dict())
    except RuntimeError:
        raise InputError("the network is not of the sizes that its description states; export both") from None
    return model.eval()


def _documentation(info: PackageInfo) -> str:
    text = info.documentation.rstrip() + "\n"
    return text if info.licence in LICENCES else f"{text}\n## Terms of use\n\n{info.licence}\n"


def _png(cover: bytes | np.ndarray) -> bytes:
    if isinstance(cover, bytes):
        if not cover.startswith(b"\x89PNG\r\n\x1a\n"):
            raise InputError("the cover is not a PNG file; give one, or an array of uint8")
        return cover
    if cover.dtype != np.uint8 or cover.shape[2:] not in ((), (3,)):
        raise InputError(f"a cover of {cover.dtype} {cover.shape} came; give uint8 (y, x) or (y, x, 3)")
    return iio.imwrite("<bytes>", cover, extension=".png")


def _architecture() -> str:
    """A Python file with the packaged network, which needs nothing but torch."""
    return f"{inspect.getsource(unet).rstrip()}\n\n\n{inspect.getsource(PackagedUNet)}"


def _test_input(model: PackagedUNet, sample: np.ndarray) -> Tensor:
    """A corner of the sample, `(1, C, y, x)`, of the smallest valid size."""
    size = Tiling.of(model).min
    corner = sample[:, :size, :size]
    missing = [(0, size - n) for n in corner.shape[1:]]
    return torch.from_numpy(np.pad(corner, [(0, 0), *missing], mode="reflect"))[None]


def _files(model: PackagedUNet, example: Tensor, formats: Sequence[str]) -> dict[str, bytes]:
    """The test tensors and the weights."""
    with torch.inference_mode():
        result = model(example)
    files = {
        "test_input.npy": _npy(example),
        "test_output.npy": _npy(result),
        "weights.pt": _state_dict(model),
    }
    small = example[..., : 4 * model.step, : 4 * model.step]
    if "torchscript" in formats:
        files["torchscript.pt"] = _torchscript(model, small)
    if "onnx" in formats:
        files["model.onnx"] = _onnx(model, small)
    return files


def _npy(tensor: Tensor) -> bytes:
    out = io.BytesIO()
    np.save(out, tensor.numpy())
    return out.getvalue()


def _state_dict(model: PackagedUNet) -> bytes:
    out = io.BytesIO()
    torch.save({name: tensor.clone() for name, tensor in model.state_dict().items()}, out)
    return out.getvalue()


def _torchscript(model: PackagedUNet, example: Tensor) -> bytes:
    """Traced: the network computes nothing from sizes, so the trace holds for all of them."""
    out = io.BytesIO()
    with _new_names(), warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # it advises torch.export, which ilastik lacks
        torch.jit.save(torch.jit.trace(model, example, check_trace=False), out)
    # debug files hold paths of this computer, and the id is a hash over them
    return repack(out.getvalue(), lambda name: not name.endswith((".debug_pkl", "/serialization_id")))


@contextmanager
def _new_names() -> Iterator[None]:
    """TorchScript numbers its classes through the life of a process; here from the start, for equal bytes."""
    kept = _state._python_cu, _recursive.concrete_type_store
    _state._python_cu, _recursive.concrete_type_store = (
        torch._C.CompilationUnit(),
        _recursive.ConcreteTypeStore(),
    )
    try:
        yield
    finally:
        _state._python_cu, _recursive.concrete_type_store = kept


def _onnx(model: PackagedUNet, example: Tensor) -> bytes:
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)  # it tells of packages that are not needed
    try:
        for name in ("onnx", "onnxscript", "onnxruntime"):
            importlib.import_module(name)
    except ImportError as error:
        raise InputError(f"the format onnx needs further packages ({error}); {_INSTALL_ONNX}") from None
    sizes = {0: torch.export.Dim("batch", min=1)}
    sizes |= {axis: model.step * torch.export.Dim(f"n{axis}", min=2) for axis in (2, 3)}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of torch about its own insides
        program = torch.onnx.export(
            model,
            (example.expand(2, -1, -1, -1),),  # a batch of one would be taken for a constant
            dynamo=True,
            dynamic_shapes=(sizes,),
            external_data=False,
            input_names=["input"],
            output_names=["output"],
            opset_version=_OPSET,
            verbose=False,
        )
    assert program is not None
    for part in (program.model.graph, *program.model.graph):
        part.metadata_props.clear()  # paths of this computer, and names that differ each time
    return program.model_proto.SerializeToString(deterministic=True)


# the description


def _rdf(model: PackagedUNet, spec: ModelSpec, info: PackageInfo, files: Mapping[str, bytes]) -> dict:
    def file(name: str) -> dict[str, str]:
        return {"source": name, "sha256": hashlib.sha256(files[name]).hexdigest()}

    tags = (TAG, *info.tags) if spec.kind == "enhancer" else info.tags
    return {
        "type": "model",
        "format_version": FORMAT_VERSION,
        "name": info.name,
        "description": info.description,
        "authors": [author.model_dump(exclude_none=True) for author in info.authors],
        "cite": [citation.model_dump(exclude_none=True) for citation in info.cite],
        **({"license": info.licence} if info.licence in LICENCES else {}),
        **({"git_repo": info.git_repo} if info.git_repo else {}),
        "tags": list(dict.fromkeys(tags)),
        "documentation": "README.md",
        "covers": ["cover.png"],
        **_tensors(model, spec, file),
        "weights": _weights(spec, files, file),
        "config": {"shallow2deep": {**info.record, "model": {"format": FORMAT, **asdict(spec)}}},
    }


def _tensors(model: PackagedUNet, spec: ModelSpec, file: Callable[[str], dict[str, str]]) -> dict[str, list]:
    """The parts "inputs" and "outputs"."""
    tiling = Tiling.of(model)
    base = "probability" if spec.kind == "enhancer" else "raw"
    names = [base] if spec.in_channels == 1 else [f"{base}{i}" for i in range(spec.in_channels)]
    free = {"min": tiling.min, "step": tiling.step}
    probability = {"type": "float32", "range": [0.0, 1.0]}
    return {
        "inputs": [
            {
                "id": "input",
                "axes": _axes(names, lambda axis: {"size": free}),
                "data": probability if spec.kind == "enhancer" else {"type": "float32"},
                "test_tensor": file("test_input.npy"),
            }
        ],
        "outputs": [
            {
                "id": "output",
                "axes": _axes(
                    [_identifier(name) for name in spec.outputs],
                    lambda axis: {"halo": tiling.halo, "size": {"tensor_id": "input", "axis_id": axis}},
                ),
                "data": probability,
                "test_tensor": file("test_output.npy"),
            }
        ],
    }


def _axes(channels: list[str], size: Callable[[str], dict[str, Any]]) -> list[dict[str, Any]]:
    space = [{"type": "space", "id": axis, **size(axis)} for axis in ("y", "x")]
    return [{"type": "batch"}, {"type": "channel", "channel_names": channels}, *space]


def _identifier(name: str) -> str:
    """The nearest name that the specification accepts for a channel."""
    word = re.sub(r"\W", "_", name)
    return word if word.isidentifier() and not keyword.iskeyword(word) else f"_{word}"


def _weights(
    spec: ModelSpec, names: Iterable[str], file: Callable[[str], dict[str, str]]
) -> dict[str, dict[str, Any]]:
    version = {"pytorch_version": torch.__version__.partition("+")[0]}
    converted = {"parent": "pytorch_state_dict"}
    architecture = {
        **file("architecture.py"),
        "callable": PackagedUNet.__name__,
        "kwargs": _arguments(spec),
    }
    weights: dict[str, dict[str, Any]] = {
        "pytorch_state_dict": {**file("weights.pt"), **version, "architecture": architecture}
    }
    if "torchscript.pt" in names:
        weights["torchscript"] = {**file("torchscript.pt"), **version, **converted}
    if "model.onnx" in names:
        weights["onnx"] = {**file("model.onnx"), **converted, "opset_version": _OPSET}
    return weights


def _plain(rdf: dict[str, Any]) -> dict[str, Any]:
    """`rdf` of lists, mappings, texts and numbers only.

    Raises:
        InputError: a record that is not JSON.
    """
    try:
        return json.loads(json.dumps(rdf, allow_nan=False))
    except (TypeError, ValueError) as error:
        raise InputError(
            f"the record of the model is not plain JSON ({error}); leave that part out"
        ) from None


def _write_files(path: Path, files: Mapping[str, bytes]) -> None:
    """A zip file without dates, or a folder."""
    if path.suffix.lower() != ".zip":
        path.mkdir()
        for name, data in files.items():
            (path / name).write_bytes(data)
        return
    with zipfile.ZipFile(path, "w") as archive:
        for name in sorted(files):
            info = zipfile.ZipInfo(name)
            info.compress_type, info.create_system, info.external_attr = zipfile.ZIP_DEFLATED, 3, 0o644 << 16
            archive.writestr(info, files[name])


# what comes out


def _largest_difference(path: Path, network: UNet, spec: ModelSpec, image: np.ndarray) -> float:
    """Over all weight formats, whole and tiled; not a number if a network gives that."""
    halo, step = network.halo, network.step
    expected = _expected(network, spec, image)
    margins = [(halo, halo + -n % step) for n in image.shape[1:]]
    padded = np.pad(image, [(0, 0), *margins], mode="reflect")
    inner = (slice(None), *(slice(halo, halo + n) for n in image.shape[1:]))
    differences = []
    for exported in _exported(path):
        with torch.inference_mode():
            whole = exported(torch.from_numpy(padded)[None])[0].numpy()[inner]
        tiled = predict_tiled(exported, image, Tiling.of(network))
        differences += [np.abs(whole - expected).max(), np.abs(tiled - expected).max()]
    return float(np.max(differences))


def _expected(network: UNet, spec: ModelSpec, image: np.ndarray) -> np.ndarray:
    """What the trained network gives, without any of what the package adds."""
    if spec.kind == "segmentor":
        assert spec.normalisation is not None
        mean, deviation = spec.normalisation
        image = ((image.astype(np.float64) - mean) / deviation).astype(np.float32)
    copied = spec.build()
    copied.load_state_dict(network.state_dict())
    return predict_with_network(copied, image)


def _exported(path: Path) -> Iterator[Callable[[Tensor], Tensor]]:
    """The network of each weight format."""
    description = read_description(path)
    yield architecture_network(path, description)
    if "torchscript" in description.formats:
        yield torchscript_network(path, description)
    if "onnx" in description.formats:
        yield _onnx_network(path, description)


def _onnx_network(path: Path, description: Description) -> Callable[[Tensor], Tensor]:
    try:
        runtime = importlib.import_module("onnxruntime")
    except ImportError as error:
        raise InputError(f"{path}: its onnx needs onnxruntime ({error}); {_INSTALL_ONNX}") from None
    entry = description.weights["onnx"]
    assert entry is not None
    session = runtime.InferenceSession(read_file(path, entry.source), providers=["CPUExecutionProvider"])
    return lambda x: torch.from_numpy(session.run(None, {"input": x.numpy()})[0])


def _require_equal(path: str | Path, difference: float) -> float:
    if not difference <= _TOLERANCE:  # not a number is refused, too
        raise Shallow2DeepError(
            f"{path}: the networks in the package differ from the trained one by {difference:.2g}, more than "
            f"{_TOLERANCE}; try another version of torch"
        )
    return difference
