"""What the YAML of a new session asks for: pytorch-3dunet's, or a file of settings of ours."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from shallow2deep.errors import SettingsError, one_line
from shallow2deep.service.places import Places
from shallow2deep.service.tiktorch.leases import full_name
from shallow2deep.service.tiktorch.unet_config import UNetConfig
from shallow2deep.service.tiktorch.unet_mapping import settings_of
from shallow2deep.settings import merged, model_of, parsed, validated

_ORIGIN = "yaml_content"
_MAX_LETTERS = 2**20
_ON_DEVICE: Mapping[str, tuple[tuple[str, ...], ...]] = {  # sections that have a device, and optional ones
    "train": (("labelled_net",), ()),
    "enhancer-train": (("enhancer",), ("source_net",)),
    "adapt": (("enhanced",), ("segmentor",)),
}


@dataclass(frozen=True)
class Asked:
    """A command of ours with its settings, all names of data within the server's folders."""

    command: str
    settings: dict[str, Any]
    device: str


def asked_for(text: str, places: Places) -> Asked:
    """Reads the YAML of a session.

    Raises:
        InputError: what it asks for cannot be had, or names files outside of the server's folders.
    """
    values = _read(text)
    if {"model", "loaders"} & values.keys():
        config = validated(UNetConfig, values, _ORIGIN)
        for part in (config.loaders.train, config.loaders.val):
            for name in part.file_paths:
                places.readable_path(name)
        command, settings, device = "train", settings_of(config, places.root), config.device
    else:
        command, device = values.pop("command", None), str(values.pop("device", "auto"))
        if command not in _ON_DEVICE:
            raise SettingsError(
                f"{_ORIGIN} has neither model and loaders as pytorch-3dunet's, nor a command of ours; give "
                f"command: {', '.join(_ON_DEVICE)}"
            )
        settings = values
    name = full_name(device)
    given, optional = _ON_DEVICE[command]
    sections = [*given, *(section for section in optional if settings.get(section) is not None)]
    settings = merged(settings, {section: {"device": name} for section in sections})
    checked = validated(model_of(command), settings, _ORIGIN)
    return Asked(command, places.anchored(checked.model_dump(mode="json", exclude_unset=True)), name)


def _read(text: str) -> dict[str, Any]:
    if len(text) > _MAX_LETTERS:
        raise SettingsError(f"{_ORIGIN} has {len(text)} letters; give at most {_MAX_LETTERS}")
    try:
        values = parsed(text)
    except ValueError as error:
        raise SettingsError(f"{_ORIGIN} cannot be read as YAML: {one_line(error)}") from None
    if not isinstance(values, dict):
        raise SettingsError(f"{_ORIGIN}: a mapping of settings was expected, not {type(values).__name__}")
    return values
