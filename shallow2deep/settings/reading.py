"""Settings from YAML files and command lines, and back into YAML."""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml

from shallow2deep.errors import SettingsError
from shallow2deep.settings.base import C, Settings


def read_yaml(path: Path) -> dict[str, Any]:
    """The mapping in a YAML file, with the names of data made absolute: they are relative to the file.

    Raises:
        SettingsError: the file is missing, not YAML, or not a mapping.
    """
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())
        raise SettingsError(f"{path}: cannot be read as settings: {reason}; give a YAML file") from None
    if not isinstance(values, dict):
        raise SettingsError(f"{path}: a mapping of settings was expected, not {type(values).__name__}")
    return absolute_names(values, path.resolve().parent)


_NAMES_OF_DATA = {"raw", "labels", "strokes", "file", "enhancer", "weights", "ilp", "probabilities"}


def absolute_names(values: Any, folder: Path, key: str = "") -> Any:
    """`values` with every relative name of data resolved against `folder`; an enhancer may be a mere name."""
    if isinstance(values, dict):
        return {k: absolute_names(v, folder, str(k)) for k, v in values.items()}
    if isinstance(values, list | tuple):
        return [absolute_names(v, folder, key) for v in values]
    if key in _NAMES_OF_DATA and isinstance(values, str):
        path = folder / os.path.expanduser(values)  # noqa: PTH111 - leaves an unknown user's ~ as it is
        by_name = key == "enhancer" and "/" not in values and not path.exists()  # one that comes along
        return values if by_name else str(path)
    return values


def with_overrides(values: dict[str, Any], overrides: Iterable[str]) -> dict[str, Any]:
    """`values` with each `section.key=value` of `overrides` put in; values are read as YAML.

    Raises:
        SettingsError: an override without `=`, or into something that is no section.

    >>> with_overrides({"enhancer": {"steps": 1}}, ["enhancer.steps=5", "seed=3"])
    {'enhancer': {'steps': 5}, 'seed': 3}
    """
    for override in overrides:
        path, equals, text = override.partition("=")
        if not equals:
            raise SettingsError(f'"{override}" was given to --set; section.key=value was expected')
        *sections, key = path.split(".")
        place = values
        for section in sections:
            place = place.setdefault(section, {})
            if not isinstance(place, dict):
                raise SettingsError(f'--set {override}: "{section}" is not a section of the settings')
        try:
            value = yaml.safe_load(text)
        except yaml.YAMLError:
            raise SettingsError(f"--set {override}: {text} was not understood; give a YAML value") from None
        place[key] = absolute_names(value, Path.cwd(), key)
    return values


def dump_yaml(settings: Settings) -> str:
    """The resolved settings as YAML, in the order of the models."""
    return yaml.safe_dump(settings.model_dump(mode="json"), sort_keys=False, allow_unicode=True)


def anchored(settings: C) -> C:
    """The same settings with absolute names of data: they are relative to where the program was called."""
    return type(settings).model_validate(absolute_names(settings.model_dump(), Path.cwd()))
