"""The description of a package, rdf.yaml, checked as far as it is used here."""

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from shallow2deep.errors import DamagedFileError, InputError, one_line
from shallow2deep.exports.archive import MAX_YAML, rdf_name, read_file

TAG = "shallow2deep"
_MAX_SIDE, _MAX_CHANNELS = 2**16, 1024


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


def read_description(path: Path) -> Description:
    """The checked rdf.yaml of a package."""
    text = read_file(path, rdf_name(path), MAX_YAML)
    try:
        values = yaml.load(text, _SafeLoader)
    except Exception as error:  # a crafted text makes the parser raise anything
        raise DamagedFileError(
            f"{path}: its description is not readable YAML ({one_line(error)}); get the package again"
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
        where = one_line(".".join(map(str, first["loc"])))
        raise DamagedFileError(
            f"{origin}: {where} in its description: {one_line(first['msg'])}; get the package again"
        ) from None


class _SafeLoader(yaml.SafeLoader):
    """Refuses aliases, with which a small text stands for a huge value."""

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("aliases (*) are not allowed here")
        return super().compose_node(parent, index)


def check_sums(path: Path, description: Description) -> None:
    """Compares weights, Python and test tensors with the sha256 that the description states of them."""
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
