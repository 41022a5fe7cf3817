"""Reads bioimage.io packages, from us and from strangers.

A package is a zip file or a folder with an rdf.yaml that describes the files beside it. Nothing in it is
trusted: sizes, paths and checksums are checked, and no Python in it is run unless the caller says so.
"""

import hashlib
import importlib.util
import io
import math
import re
import stat
import tempfile
import warnings
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Literal

import torch
import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from torch import Tensor, nn

from shallow2deep.errors import DamagedFileError, InputError
from shallow2deep.io.memory import require_memory
from shallow2deep.networks.model import ModelSpec
from shallow2deep.networks.unet import UNet

TAG = "shallow2deep"
RDF_NAMES = ("rdf.yaml", "bioimageio.yaml", "model.yaml")
_MAX_YAML, _MAX_FILES, _MAX_BYTES = 2**20, 10_000, 8 * 2**30
_MAX_RATIO, _ANY_RATIO = 100, 64 * 2**20  # a file of up to so many bytes may be compressed at any ratio
_MAX_SIDE, _MAX_MARGIN, _MAX_CHANNELS = 2**16, 2**12, 1024
_KINDS = ("enhancer", "segmentor")
# TorchScript computes; of what it can call, these reach files or foreign libraries, or hide what is called
_UNSAFE_CODE = re.compile(
    rb"\bfrom_file\b|\bsave\b|__setstate__|\\[0-7xuUN\r\n]|\b(?:ops|torch)\b(?!\s*\.)"
    rb"|\bops\s*\.\s*(?!prim\b|aten\b)\w+"
)


class _Part(BaseModel):
    """A part of rdf.yaml, as far as it is used here."""

    model_config = ConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True)


Pixels = Annotated[int, Field(ge=1, le=_MAX_SIDE)]


class Sizes(_Part):
    """Valid sizes of an axis: `min + n * step`."""

    min: Pixels
    step: Pixels


class SizeReference(_Part):
    """A size that is that of another axis, and `offset` more."""

    tensor_id: str
    axis_id: str
    offset: int = 0


class Axis(_Part):
    """One axis of a tensor."""

    type: str
    id: str = ""
    channel_names: Annotated[tuple[str, ...], Field(max_length=_MAX_CHANNELS)] = ()
    size: int | Sizes | SizeReference | None = None
    scale: float = 1.0
    halo: Annotated[int, Field(ge=0, le=_MAX_SIDE)] = 0

    @property
    def name(self) -> str:
        return self.id or self.type


class Values(_Part):
    """Type and range of a tensor's values."""

    type: str = "float32"
    range: tuple[float | None, float | None] = (None, None)


class Processing(_Part):
    """A step that is applied before or after the network."""

    id: str
    arguments: Annotated[dict[str, Any], Field(alias="kwargs")] = {}


class File(_Part):
    """A file of the package."""

    source: str | None = None
    sha256: str | None = None


class Architecture(File):
    """What makes the network of a state dict."""

    callable: str
    arguments: Annotated[dict[str, Any], Field(alias="kwargs")] = {}


class Weights(File):
    """One weight format."""

    architecture: Architecture | None = None


class Tensors(_Part):
    """An input or output."""

    id: str = ""
    axes: Annotated[tuple[Axis, ...], Field(min_length=1, max_length=8)]
    data: Values | tuple[Values, ...] = Values()
    preprocessing: tuple[Processing, ...] = ()
    postprocessing: tuple[Processing, ...] = ()
    test_tensor: File | None = None

    @property
    def axis_names(self) -> list[str]:
        return [axis.name for axis in self.axes]

    @property
    def channel_names(self) -> tuple[str, ...]:
        """Of the channel axis; empty if there is none."""
        return next((axis.channel_names for axis in self.axes if axis.type == "channel"), ())

    @property
    def space(self) -> tuple[Axis, ...]:
        return tuple(axis for axis in self.axes if axis.type == "space")

    @property
    def values(self) -> tuple[Values, ...]:
        return self.data if isinstance(self.data, tuple) else (self.data,)


class Description(_Part):
    """The description of a model, format 0.5."""

    type: Literal["model"]
    format_version: str
    name: str
    description: str = ""
    license: Any = None
    tags: tuple[str, ...] = ()
    inputs: Annotated[tuple[Tensors, ...], Field(min_length=1)]
    outputs: Annotated[tuple[Tensors, ...], Field(min_length=1)]
    weights: dict[str, Weights | None]
    config: dict[str, Any] = {}

    @property
    def formats(self) -> tuple[str, ...]:
        """Names of the weight formats that are present."""
        return tuple(name for name, entry in self.weights.items() if entry is not None)


@dataclass(frozen=True)
class Package:
    """What a package says of itself.

    Attributes:
        licence: SPDX id, if it names one.
        tags: bioimage.io's; ilastik lists models tagged "shallow2deep".
        kind: "enhancer" or "segmentor"; "other" for another program's model that is not tagged as enhancer.
        outputs: names of the output channels.
        formats: weight formats, such as "torchscript".
        record: how it came to be, if this program wrote it.
        model: the network's description, if this program wrote it.
    """

    name: str
    description: str
    licence: str | None
    tags: tuple[str, ...]
    kind: str
    outputs: tuple[str, ...]
    formats: tuple[str, ...]
    record: Mapping[str, Any] = field(default_factory=dict)
    model: ModelSpec | None = None


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

    A package that this program wrote gives the `UNet` that went in, without running code from the package.
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
    _check_sums(path, description)
    if package.model is not None:
        return _our_network(path, description, package.model), package.model
    return _foreign_network(path, description, trust), ModelSpec(
        "enhancer", package.outputs, features=1, depth=0, stem=1, record={"package": package.name}
    )


def read_description(path: Path) -> Description:
    """The checked rdf.yaml of a package."""
    text = read_file(path, _rdf_name(path), _MAX_YAML)
    try:
        values = yaml.load(text, _SafeLoader)
    except Exception as error:  # a crafted text makes the parser raise anything
        raise DamagedFileError(
            f"{path}: its description is not readable YAML ({_one_line(error)}); get the package again"
        ) from None
    return describe(values, path)


def describe(values: Any, origin: str | Path) -> Description:
    """`values` of an rdf.yaml, checked.

    Raises:
        InputError: not a model in format 0.5.
        DamagedFileError: a part that is missing or of another type.
    """
    version = values.get("format_version") if isinstance(values, Mapping) else None
    if not re.fullmatch(r"0\.5\.\d{1,4}", str(version)):
        raise InputError(
            f"{origin}: a description of format {version!r:.40} came, but 0.5 was expected; convert it by "
            '"bioimageio update-format"'
        )
    try:
        return Description.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        where = _one_line(".".join(map(str, first["loc"])))
        raise DamagedFileError(
            f"{origin}: {where} in its description: {_one_line(first['msg'])}; get the package again"
        ) from None


def _package(description: Description, path: Path) -> Package:
    ours = description.config.get("shallow2deep")
    record = dict(ours) if isinstance(ours, Mapping) else {}
    values = record.pop("model", None)
    model = None if values is None else _model_spec(values, path)
    foreign = "enhancer" if TAG in description.tags else "other"
    return Package(
        name=description.name,
        description=description.description,
        licence=description.license if isinstance(description.license, str) else None,
        tags=description.tags,
        kind=model.kind if model else foreign,
        outputs=model.outputs if model else description.outputs[0].channel_names,
        formats=description.formats,
        record=record,
        model=model,
    )


def _model_spec(values: Any, path: Path) -> ModelSpec:
    try:
        spec = ModelSpec.from_dict(dict(values), path)
    except (TypeError, ValueError, OverflowError) as error:
        raise DamagedFileError(
            f"{path}: not a model's description ({_one_line(error)}); export it again"
        ) from None
    if spec.kind not in _KINDS:
        raise DamagedFileError(f"{path}: a model of kind {spec.kind!r:.40}; one of {_KINDS} was expected")
    return spec


def _one_line(text: object) -> str:
    """What others wrote, for one of our sentences."""
    return f"{' '.join(str(text).split()):.200}"


# files


class _SafeLoader(yaml.SafeLoader):
    """Refuses aliases, with which a small text stands for a huge value."""

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("aliases (*) are not allowed here")
        return super().compose_node(parent, index)


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Turns what a damaged or crafted archive raises into one sentence."""
    try:
        yield
    except (
        OSError, EOFError, ValueError, NotImplementedError, RuntimeError, zipfile.BadZipFile, zlib.error,
    ) as error:  # fmt: skip
        raise DamagedFileError(
            f"{path}: not a usable package ({_one_line(error)}); get or export it again"
        ) from None


def _rdf_name(path: Path) -> str:
    with _reading(path):
        if not path.exists():
            raise InputError(f"{path}: there is no such package; check the path")
        if path.is_dir():
            names = {file.name for file in path.iterdir()}
        else:
            with zipfile.ZipFile(path) as archive:
                names = set(archive.namelist())
    for name in RDF_NAMES:
        if name in names:
            return name
    raise InputError(f"{path}: no rdf.yaml in it; give the zip file or folder of a bioimage.io package")


def read_file(path: Path, source: str | None, limit: int = _MAX_BYTES) -> bytes:
    """The bytes of a file in the package.

    Raises:
        InputError: `source` is not a file of the package.
        DamagedFileError: the archive is damaged or crafted, or the file larger than `limit`.
    """
    if source is None or not _is_plain(source):
        raise InputError(
            f"{path}: {source!r:.80} is not a file in the package; get the package as one complete zip file"
        )
    name = PurePosixPath(source).as_posix()
    with _reading(path):
        return _read_from_folder(path, name, limit) if path.is_dir() else _read_from_zip(path, name, limit)


def _is_plain(name: str) -> bool:
    """Whether a name stays within its folder, on every system."""
    return bool(name) and not re.search(r"[\\:\0]|^/|(^|/)\.\.(/|$)", name)


def _read_from_folder(path: Path, name: str, limit: int) -> bytes:
    file = path / name
    if file.resolve() != path.resolve() / name:
        raise ValueError(f"{name} is a link")
    _check_size(name, file.stat().st_size, limit)
    return file.read_bytes()


def _read_from_zip(path: Path, name: str, limit: int) -> bytes:
    with zipfile.ZipFile(path) as archive:
        infos = _checked_entries(archive)
        if name not in infos:
            raise ValueError(f"{name} is missing")
        _check_size(name, infos[name].file_size, limit)
        return archive.read(infos[name])


def _check_size(name: str, size: int, limit: int) -> None:
    if size > limit:
        raise ValueError(f"{name} has {size} bytes, more than the {limit} expected")
    require_memory(size, f"reading {name}")


def _checked_entries(archive: zipfile.ZipFile) -> dict[str, zipfile.ZipInfo]:
    """The archive's entries by name.

    Raises:
        ValueError: for anything that a package has no use for: links, paths that lead out, bombs.
    """
    infos = archive.infolist()
    if len(infos) > _MAX_FILES:
        raise ValueError(f"{len(infos)} entries, more than {_MAX_FILES}")
    if len({info.filename for info in infos}) != len(infos):
        raise ValueError("two entries of one name")
    for info in infos:
        if not _is_plain(info.filename) or stat.S_ISLNK(info.external_attr >> 16):
            raise ValueError(f"an entry {info.filename!r:.80}, which is a link or leads out of the package")
        if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise ValueError(f"{info.filename} is compressed in a way that packages are not")
        if info.file_size > _ANY_RATIO + _MAX_RATIO * info.compress_size:
            raise ValueError(
                f"{info.filename} would grow from {info.compress_size} to {info.file_size} bytes"
            )
    total = sum(info.file_size for info in infos)
    if total > _MAX_BYTES:
        raise ValueError(f"{total} bytes when unpacked, more than {_MAX_BYTES}")
    require_memory(total, f"unpacking {len(infos)} files")
    return {info.filename: info for info in infos}


def _check_sums(path: Path, description: Description) -> None:
    weights = [entry for entry in description.weights.values() if entry is not None]
    tensors = [t.test_tensor for t in (*description.inputs, *description.outputs)]
    for file in [*weights, *(entry.architecture for entry in weights), *tensors]:
        if file is None or file.sha256 is None:
            continue
        found = hashlib.sha256(read_file(path, file.source)).hexdigest()
        if found != file.sha256.lower():
            raise DamagedFileError(
                f"{path}: {file.source} has the sha256 {found[:12]}… where {file.sha256[:12]!r}… was "
                "expected; get the package again"
            )


def _weights(path: Path, description: Description, name: str) -> bytes:
    """The file of a weight format, checked to be an archive without surprises, and repacked."""
    entry = description.weights.get(name)
    if entry is None:
        raise InputError(f"{path}: no {name} in it, only {_one_line(description.formats)}; export it again")
    data = read_file(path, entry.source)
    with _reading(path):
        return repack(data)


def repack(data: bytes, keep: Callable[[str], bool] = lambda name: True) -> bytes:
    """An archive of torch's with the same entries, uncompressed and without dates.

    torch reads archives by code of its own; what it gets from here is what was checked.
    """
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(out, "w") as new:
        for name, info in _checked_entries(old).items():
            if keep(name):
                new.writestr(zipfile.ZipInfo(name), old.read(info))
    return out.getvalue()


# networks


def _our_network(path: Path, description: Description, spec: ModelSpec) -> UNet:
    with torch.device("meta"):
        network = spec.build()
    expected = network.state_dict()
    require_memory(sum(t.numel() * t.element_size() for t in expected.values()), f"the network of {path}")
    tensors = state_dict(path, description)
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
            f"{path}: its weights do not load ({_one_line(error)}); get the package again"
        ) from None
    if not isinstance(tensors, dict) or not all(isinstance(t, Tensor) for t in tensors.values()):
        raise DamagedFileError(f"{path}: its weights are not a mapping of tensors; get the package again")
    return tensors


def torchscript_network(path: Path, description: Description) -> nn.Module:
    """The network of the format torchscript, a program that can compute but reach nothing else."""
    data = _weights(path, description, "torchscript")
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        found = [_UNSAFE_CODE.search(archive.read(n)) for n in archive.namelist() if n.endswith(".py")]
    unsafe = [match.group().decode() for match in found if match]
    if unsafe:
        raise InputError(f'{path}: its TorchScript calls "{unsafe[0]}", which a network has no need of')
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # it advises torch.export
            return torch.jit.load(io.BytesIO(data), map_location="cpu").eval()
    except Exception as error:  # a crafted file makes torch raise anything
        raise DamagedFileError(
            f"{path}: its TorchScript does not load ({_one_line(error)}); get the package again"
        ) from None


def architecture_network(path: Path, description: Description) -> nn.Module:
    """The network of the format pytorch_state_dict, made by the package's own Python: runs that."""
    tensors = state_dict(path, description)
    entry = description.weights["pytorch_state_dict"]
    assert entry is not None
    if entry.architecture is None or entry.architecture.source is None:
        raise InputError(f"{path}: its network comes from a library; get a package with torchscript")
    source = read_file(path, entry.architecture.source, _MAX_YAML)
    try:
        make = _imported(source, entry.architecture.callable)
        network = make(**entry.architecture.arguments)
        network.load_state_dict(tensors)
        return network.eval()
    except Exception as error:  # foreign code raises anything
        raise InputError(
            f"{path}: the Python of its network fails ({_one_line(error)}); get a package with torchscript"
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


def _foreign_network(path: Path, description: Description, trust: bool) -> nn.Module:
    problem = _why_not_an_enhancer(description)
    if problem:
        raise InputError(f"{path}: {problem}; give the package of an enhancer")
    step, halo = _step_and_halo(description, path)
    if "torchscript" in description.formats:
        network = torchscript_network(path, description)
    elif "pytorch_state_dict" not in description.formats:
        raise InputError(f"{path}: only {_one_line(description.formats)} in it; torchscript was expected")
    elif trust:
        network = architecture_network(path, description)
    else:
        raise InputError(
            f"{path}: this network needs Python code from the package, which could do anything; use --trust "
            "if you know its author, or get a package with torchscript"
        )
    outputs = len(description.outputs[0].channel_names)
    gives_logits = any(p.id == "sigmoid" for p in description.outputs[0].postprocessing)
    return _Foreign(network, description.name, outputs, step, halo, gives_logits).eval()


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
        if types != ["batch", "channel", "space", "space"] or tensor.axis_names[2:] != ["y", "x"]:
            return f"its axes are {_one_line(tensor.axis_names)}, not batch, channel, y, x"
    if len(given.channel_names) != 1 or not made.channel_names:
        return f"{len(given.channel_names)} input channels where the map of one class is used"
    for values in given.values:
        low, high = values.range
        if values.type != "float32" or low not in (None, 0) or high not in (None, 1):
            return f"input of type {_one_line(values.type)} in {low}..{high} where float32 in 0..1 is used"
    steps = [p.id for p in given.preprocessing if not _keeps_float32(p)]
    steps += [p.id for p in made.postprocessing if p.id != "sigmoid" and not _keeps_float32(p)]
    return f"the steps {_one_line(steps)} around the network, which are not applied here" if steps else None


def _keeps_float32(processing: Processing) -> bool:
    return processing.id == "ensure_dtype" and processing.arguments.get("dtype") == "float32"


def _step_and_halo(description: Description, path: Path) -> tuple[int, int]:
    """A step and a halo for y and x with which `n * step + 2 * halo` is a valid size for each n >= 1."""
    given, made = description.inputs[0], description.outputs[0]
    sizes = [axis.size for axis in given.space if isinstance(axis.size, Sizes)]
    for axis, output in zip(given.space, made.space, strict=True):
        size = output.size
        same = isinstance(size, SizeReference) and (size.axis_id, size.offset) == (axis.name, 0)
        if len(sizes) != 2 or not same or output.scale != axis.scale:
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

    def __init__(self, network: nn.Module, name: str, outputs: int, step: int, halo: int, gives_logits: bool):
        super().__init__()
        self.network, self.name, self.outputs = network, name, outputs
        self.step, self.halo, self.gives_logits = step, halo, gives_logits

    def forward(self, x: Tensor) -> Tensor:
        """Logits `(batch, outputs, y, x)` of probabilities `(batch, 1, y, x)`.

        Raises:
            InputError: the network fails, or gives something else than its description says.
        """
        try:
            p = self.network(x)
        except (
            ArithmeticError, AssertionError, AttributeError, LookupError, RuntimeError, TypeError, ValueError,
        ) as error:  # fmt: skip
            raise self._error(f"failed on {tuple(x.shape)}: {_one_line(error)}") from None
        expected = (len(x), self.outputs, *x.shape[2:])
        if not isinstance(p, Tensor) or not p.is_floating_point():
            raise self._error(f"gave {type(p).__name__} that is no tensor of float32")
        if p.shape != expected:
            raise self._error(f"gave {tuple(p.shape)} where {expected} was expected")
        return p.float() if self.gives_logits else torch.logit(p.float(), eps=1e-6)

    def _error(self, what: str) -> InputError:
        return InputError(f"the network of {_one_line(self.name)} {what}; use another package")
