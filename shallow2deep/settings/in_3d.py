"""What stands for settings that are not given where images are volumes.

Patches are not here: they follow from the shape of the voxels, see `inputs.shapes`.
"""

from collections.abc import Mapping
from typing import Any

from pydantic import model_validator

from shallow2deep.settings.base import Settings

_NETWORK = {"network": {"features": 16, "depth": 3, "stem": 1}, "batch": 2}
IN_3D: dict[str, Any] = {
    "forests": {"strokes": {"view": 128}},
    "probabilities": {"patches": 48, "validation_patches": 8},
    "enhancer": _NETWORK,
    "source_net": _NETWORK,
    "labelled_net": _NETWORK,
    "pretrained_net": _NETWORK,
    "segmentor": _NETWORK,
    "enhanced": {"block": (96, 96, 96), "scales": (0.7, 1.0, 1.4)},
}
DEFAULT_SEGMENTOR: dict[int, dict[str, Any]] = {2: {}, 3: _NETWORK | {"patch": (64, 64, 64)}}
_OPTIONAL = ("source_net", "segmentor")


class InTwoOrThree(Settings):
    """Settings with an `ndim`; if it is 3, other defaults hold."""

    @model_validator(mode="before")
    @classmethod
    def _with_defaults_in_3d(cls, values: Any) -> Any:
        if not isinstance(values, Mapping) or values.get("ndim") not in (3, "3"):
            return values
        known = {name: default for name, default in IN_3D.items() if name in cls.model_fields}
        wanted = {n: one for n, one in known.items() if n not in _OPTIONAL or values.get(n) is not None}
        return _filled(values, wanted)


def _filled(values: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    out = dict(values)
    for name, default in defaults.items():
        given = out.get(name, {})
        if isinstance(given, Settings):
            given = given.model_dump(exclude_unset=True)
        if not isinstance(default, Mapping):
            out.setdefault(name, default)
        elif isinstance(given, Mapping):  # what else stands there is refused when the settings are checked
            out[name] = _filled(given, default)
    return out
