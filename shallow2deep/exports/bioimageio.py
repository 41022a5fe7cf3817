"""Writes an enhancer or segmentor as a bioimage.io package, which ilastik and other programs open."""

import hashlib
import zipfile
from collections.abc import Callable, Mapping, Sequence
from math import prod
from pathlib import Path

import imageio.v3 as iio
import numpy as np
import safetensors.torch
import yaml
from torch import nn

from shallow2deep.errors import InputError, Shallow2DeepError
from shallow2deep.exports.archive import RDF_NAMES
from shallow2deep.exports.rdf import PackageInfo, documentation, plain, problem_of_info, rdf_of
from shallow2deep.exports.tiling import Tiling, problems_for_ilastik
from shallow2deep.exports.verification import checked_sample, largest_difference, require_equal
from shallow2deep.exports.weights import FORMATS, architecture, packaged, test_input, weight_files
from shallow2deep.io.atomic import atomic_path
from shallow2deep.io.memory import require_memory
from shallow2deep.networks.model import WITH_RAW, ModelSpec


def write_package(
    path: str | Path,
    network: nn.Module,
    spec: ModelSpec,
    info: PackageInfo,
    sample: np.ndarray,
    cover: bytes | np.ndarray,
    formats: Sequence[str] = ("pytorch_state_dict", "torchscript"),
    check: Callable[[Path], None] | None = None,
    companion: tuple[nn.Module, ModelSpec] | None = None,
) -> Path:
    """Writes a package, after the networks in it gave for `sample` what `network` gives.

    An enhancer takes float32 probabilities in 0..1, a segmentor raw as float32; both give float32
    probabilities. Equal arguments give equal bytes.

    Args:
        path: ends in .zip, or is a folder to be made; only a package takes the place of what is there.
        network: it is not changed.
        spec: its description.
        sample: what the network is applied to in the end, `(C, *spatial)`: probabilities for an enhancer, raw
            for a segmentor. A part of it becomes the package's test.
        cover: a PNG file's bytes, or uint8 `(y, x)` or `(y, x, 3)`.
        formats: any of `FORMATS`; the state dict is always written.
        check: of the package before it gets its name, such as `check_package`.
        companion: an enhancer's network that sees raw beside maps, and its description; only this program
            uses it.

    Returns:
        `path`.

    Raises:
        InputError: a network that cannot be applied tile by tile, or arguments that bioimage.io refuses.
        Shallow2DeepError: a network in the package differs; nothing is left at `path`.
    """
    path = Path(path)
    _check_arguments(path, spec, info, formats)
    sample = checked_sample(sample, spec)
    pixels = prod(n // stem for n, stem in zip(Tiling.of(network).tile, spec.stem, strict=True))
    require_memory(16 * spec.features * pixels, f"{path}: a tile of ilastik's through the network")
    model = packaged(network, spec)
    files = {
        "README.md": documentation(info).encode(),
        "cover.png": _png(cover),
        "architecture.py": architecture(spec).encode(),
        **weight_files(model, test_input(model, sample), formats),
    }
    rdf = plain(rdf_of(model, spec, info, files))
    if companion is not None:
        name, data = f"{WITH_RAW}.safetensors", safetensors.torch.save(companion[0].state_dict())
        said = {"source": name, "sha256": hashlib.sha256(data).hexdigest(), "model": companion[1].to_dict()}
        rdf["config"]["shallow2deep"][WITH_RAW] = plain(said)
        files[name] = data
    files["rdf.yaml"] = yaml.safe_dump(rdf, sort_keys=False, allow_unicode=True).encode()
    with atomic_path(path) as temporary:
        _write_files(temporary, files)
        problems = problems_for_ilastik(rdf) if spec.kind == "enhancer" else []
        if problems:
            raise Shallow2DeepError(f"{path}: ilastik would not take this package: {'; '.join(problems)}")
        require_equal(path, largest_difference(temporary, network, spec, sample))
        if check is not None:
            check(temporary)
    return path


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
    problem = problem_of_info(info)
    if problem:
        raise InputError(f"{path}: {problem}")


def _png(cover: bytes | np.ndarray) -> bytes:
    if isinstance(cover, bytes):
        if not cover.startswith(b"\x89PNG\r\n\x1a\n"):
            raise InputError("the cover is not a PNG file; give one, or an array of uint8")
        return cover
    if cover.dtype != np.uint8 or cover.shape[2:] not in ((), (3,)):
        raise InputError(f"a cover of {cover.dtype} {cover.shape} came; give uint8 (y, x) or (y, x, 3)")
    return iio.imwrite("<bytes>", cover, extension=".png")


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
