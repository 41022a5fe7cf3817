"""`s2d init`: a commented file of settings, written from the models of the settings themselves."""

from collections.abc import Iterator
from pathlib import Path

from pydantic import BaseModel
from pydantic_core import to_jsonable_python

from shallow2deep.errors import InputError
from shallow2deep.io.atomic import write_text
from shallow2deep.settings import Settings, flow_yaml, model_of, sections_in

_HEAD = """\
# Settings of `s2d {command}`. What stands behind # is the default; remove the # of a line, and of the
# section that it is in, to change it.
# Names of data are relative to this file: file.h5:key, file.zarr:key, file.tif, file.npy, folder/*.png
# For networks in 3D set ndim to 3 and leave out what you do not know: other defaults hold (docs/volumes.md).
"""
_NEEDED = {
    "sources": """\
sources:  # any number of data sets with dense labels; images and labels are matched in order
- raw: images/*_raw.png
  labels: images/*_labels.png
  # axes: zyx               # of the raw files; inferred if not given
  # voxel_size: [50, 5, 5]  # nm per spatial axis, if the files do not say it
  # slices: "0:16"          # z planes of a volume to use
  label_values: instances   # every value > 0 is the foreground; or classes: 0, 1, 2 …
  licence: not stated       # goes with everything that is trained on the data
""",
    "images": """\
images:  # any number of sets of raw images, without labels
- raw: images/*.png
  # axes: zyx               # of the raw files; inferred if not given
  # slices: "0:16"          # z planes of a volume to use
  licence: not stated       # goes with everything that is trained on the data
""",
    "target": """\
target:  # images and strokes are matched by name; they can also be flags, as in --raw
  raw: images/*.png
  strokes: strokes/*.png    # 0 unlabelled, 1 background, 2 foreground …
  # ilp: project.ilp        # an ilastik project, in place of both
  # axes: zyx               # of the raw files; inferred if not given
  # slices: "0:16"          # z planes of a volume to use
""",
}


def write_template(path: Path | None = None, command: str = "enhancer-train") -> Path:
    """Writes a file of settings, with all defaults as comments.

    Args:
        path: adapt.yaml, enhancer.yaml, train.yaml or pretrain.yaml, here, if not given.

    Raises:
        InputError: the command takes no settings, or the file exists.
    """
    text = template(command)
    path = path or Path(f"{command.removesuffix('-train')}.yaml")
    if path.exists():
        raise InputError(f"{path} exists already; choose another name or remove it")
    write_text(path, text)
    return path


def template(command: str) -> str:
    """A file of settings: what must be given as an example, all else as comments.

    Raises:
        InputError: the command takes no settings.
    """
    return _HEAD.format(command=command) + "".join(_lines(model_of(command), ""))


def _lines(model: type[BaseModel], indent: str) -> Iterator[str]:
    """One line per setting: its default and its description."""
    for name, field in model.model_fields.items():
        default = field.get_default(call_default_factory=True)
        about = f"  # {field.description}" if field.description else ""
        if name in _NEEDED and field.is_required():
            yield _NEEDED[name]
        elif name == "enhancer" and field.is_required():
            yield f"enhancer: nuclei-2d{about}\n"
        elif isinstance(default, Settings) or (default is None and sections_in(field.annotation)):
            section = sections_in(field.annotation)[0]
            yield f"# {indent}{name}:{about or f'  # {section.__doc__}'}\n"
            yield from _lines(section, indent + "  ")
        else:
            yield f"# {indent}{name}: {flow_yaml(to_jsonable_python(default, exclude_none=True))}{about}\n"
