"""`s2d init`: a commented configuration, written from the models of the settings themselves."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from shallow2deep.errors import InputError
from shallow2deep.io.atomic import write_text
from shallow2deep.settings import EnhancerTrainConfig

_HEAD = """\
# Settings of `s2d enhancer-train`. Only sources must be changed; what you leave out keeps its default.
# Names of data are relative to this file: file.h5:key, file.zarr:key, file.tif, file.npy, folder/*.png
# For networks in 3D set ndim to 3 and leave out what you do not know: other defaults hold (docs/volumes.md).
"""
_SOURCES = """\
sources:  # any number of data sets with dense labels; images and labels are matched in order
- raw: images/*_raw.png
  labels: images/*_labels.png
  # axes: zyx               # of the raw files; inferred if not given
  # voxel_size: [50, 5, 5]  # nm per spatial axis, if the files do not say it
  # slices: "0:16"          # z planes of a volume to use
  label_values: instances   # every value > 0 is the foreground; or classes: 0, 1, 2 …
  licence: not stated       # goes with everything that is trained on the data
"""


def write_template(path: Path) -> Path:
    """Writes the configuration with all defaults.

    Raises:
        InputError: the file exists.
    """
    if path.exists():
        raise InputError(f"{path} exists already; choose another name or remove it")
    write_text(path, _HEAD + "".join(_lines(EnhancerTrainConfig, "")))
    return path


def _lines(model: type[BaseModel], indent: str) -> Iterator[str]:
    """One line per setting: its default and its description."""
    for name, field in model.model_fields.items():
        if name == "sources":
            yield _SOURCES
            continue
        default: Any = field.get_default(call_default_factory=True)
        assert default is not PydanticUndefined, f"{name} has no default to show"
        if isinstance(default, BaseModel):
            yield f"{indent}{name}:  # {type(default).__doc__ or ''}\n"
            yield from _lines(type(default), indent + "  ")
            continue
        plain = [_plain(value) for value in default] if isinstance(default, tuple) else default
        value = yaml.safe_dump(plain, default_flow_style=True, width=1000).removesuffix("...\n").strip()
        comment = f"  # {field.description}" if field.description else ""
        yield f"{indent}{name}: {value}{comment}\n"


def _plain(value: Any) -> Any:
    return value.model_dump(exclude_none=True) if isinstance(value, BaseModel) else value
