"""Settings from YAML files and command lines, and back into YAML."""

import os
import re
from collections.abc import Callable, Iterable, Mapping
from functools import reduce
from pathlib import Path
from typing import Any

import yaml

from shallow2deep.errors import SettingsError, one_line
from shallow2deep.settings.base import C, Settings
from shallow2deep.settings.networks import EnhancerSettings

_MAX_BYTES = 2**20
_MAX_DEPTH, _MAX_VALUES = 20, 100_000
_TAGS = {
    f"tag:yaml.org,2002:{name}" for name in ("null", "bool", "int", "float", "str", "seq", "map", "merge")
}


class _Loader(yaml.SafeLoader):
    """Of plain values: what looks like a date is a string."""

    yaml_implicit_resolvers = {  # noqa: RUF012 - as in the class above
        first: [(tag, pattern) for tag, pattern in known if tag in _TAGS]
        for first, known in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }


def parsed(text: str) -> Any:
    """What YAML says in mappings, lists, strings, numbers, booleans and null.

    Raises:
        ValueError: it is no YAML, of other types, or nested or repeated beyond what settings need.
    """
    try:
        loader = _Loader(text)
        node = loader.get_single_node()
        if node is None:
            return None
        _count(node, 0, 0)
        return loader.construct_document(node)
    except RecursionError:
        raise ValueError(_TOO_DEEP) from None
    except (yaml.YAMLError, ArithmeticError, LookupError) as error:
        raise ValueError(one_line(error)) from None


_TOO_DEEP = f"it is nested deeper than {_MAX_DEPTH} levels, or in itself"


def _count(node: yaml.Node, depth: int, known: int) -> int:
    """How many values there are with those that are known; what aliases repeat counts each time."""
    if node.tag not in _TAGS:
        raise ValueError(f"{node.tag.rpartition(':')[2]} is no type of settings")
    if depth > _MAX_DEPTH:
        raise ValueError(_TOO_DEEP)
    if known > _MAX_VALUES:
        raise ValueError(f"it has more than {_MAX_VALUES} values")
    inner: list[yaml.Node] = []
    if isinstance(node, yaml.MappingNode):
        inner = [part for pair in node.value for part in pair]
    elif isinstance(node, yaml.SequenceNode):
        inner = node.value
    for part in inner:
        known = _count(part, depth + 1, known)
    return known + 1


def read_yaml(path: Path) -> dict[str, Any]:
    """The mapping in a YAML file, with the names of data made absolute: they are relative to the file.

    Raises:
        SettingsError: the file is missing, not YAML, or not a mapping.
    """
    try:
        if path.exists() and not path.is_file():
            raise ValueError("it is no file")
        if path.stat().st_size > _MAX_BYTES:
            raise ValueError(f"it is larger than the {_MAX_BYTES} bytes that settings can have")
        values = parsed(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise SettingsError(
            f"{path}: cannot be read as settings: {one_line(error)}; give a YAML file"
        ) from None
    if values is None:  # all lines are comments
        return {}
    if not isinstance(values, dict):
        raise SettingsError(f"{path}: a mapping of settings was expected, not {type(values).__name__}")
    return absolute_names(values, path.resolve().parent)


_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")  # of what lies elsewhere
_NAMES_OF_DATA = {
    "raw",
    "labels",
    "strokes",
    "file",
    "enhancer",
    "weights",
    "ilp",
    "probabilities",
    "previews",
}


def absolute_names(values: Any, folder: Path, key: str = "") -> Any:
    """`values` with every relative name of data resolved against `folder`; a model may be a mere name."""

    def absolute(key: str, name: str) -> str:
        if name.lower().startswith("file:") or _ADDRESS.match(name):
            return name
        path = folder / os.path.expanduser(name)  # noqa: PTH111 - leaves an unknown user's ~ as it is
        by_name = key in ("enhancer", "weights") and "/" not in name and not os.path.exists(path)  # noqa: PTH110 - of any name
        return name if by_name else str(path)

    return with_names(values, absolute, key)


def with_names(values: Any, change: Callable[[str, str], str | list[str]], key: str = "") -> Any:
    """`values` with every name of data as `change` gives it; one in a list may become several.

    Args:
        change: gets the key that a name is under, and the name.

    >>> with_names({"target": {"raw": ["a", "b"]}, "seed": 0}, lambda key, name: [name, f"{name} {key}"])
    {'target': {'raw': ['a', 'a raw', 'b', 'b raw']}, 'seed': 0}
    """
    if isinstance(values, dict):
        by_class = key == "enhancer" and not EnhancerSettings.model_fields.keys() & values.keys()
        return {k: with_names(v, change, key if by_class else str(k)) for k, v in values.items()}
    if isinstance(values, list | tuple):
        changed = [(v, with_names(v, change, key)) for v in values]
        several = [isinstance(v, str) and isinstance(found, list) for v, found in changed]
        return [
            one
            for (_, found), many in zip(changed, several, strict=True)
            for one in (found if many else [found])
        ]
    return change(key, values) if key in _NAMES_OF_DATA and isinstance(values, str) else values


def merged(lower: Mapping[str, Any], upper: Mapping[str, Any]) -> dict[str, Any]:
    """Both settings, where `upper` decides; sections are merged key by key, all else is taken as a whole.

    >>> merged({"enhancer": {"steps": 1, "patch": [8, 8]}}, {"enhancer": {"patch": [4, 4]}, "seed": 3})
    {'enhancer': {'steps': 1, 'patch': [4, 4]}, 'seed': 3}
    """
    sections = {
        key: merged(lower[key], value)
        for key, value in upper.items()
        if isinstance(value, Mapping) and isinstance(lower.get(key), Mapping)
    }
    return {**lower, **upper, **sections}


def with_overrides(values: Mapping[str, Any], overrides: Iterable[str]) -> dict[str, Any]:
    """`values` with each `section.key=value` of `overrides` put in; values are read as YAML.

    Raises:
        SettingsError: an override without `=`, or of what is no YAML.

    >>> with_overrides({"enhancer": {"steps": 1}}, ["enhancer.steps=5", "seed=3"])
    {'enhancer': {'steps': 5}, 'seed': 3}
    """
    return reduce(merged, map(_override, overrides), dict(values))


def _override(override: str) -> dict[str, Any]:
    """`section.key=value` as settings."""
    path, equals, text = override.partition("=")
    if not equals:
        raise SettingsError(f'"{override}" was given to --set; section.key=value was expected')
    *sections, key = path.split(".")
    if len(sections) > _MAX_DEPTH:
        raise SettingsError(f"--set {one_line(override)}: {_TOO_DEEP}; give section.key=value")
    try:
        value = parsed(text)
    except ValueError as error:
        raise SettingsError(
            f"--set {one_line(override)}: the value was not understood ({one_line(error)}); give one "
            "as in YAML"
        ) from None
    return nested(sections, key, absolute_names(value, Path.cwd(), key))


def nested(sections: Iterable[str], key: str, value: Any) -> dict[str, Any]:
    """Settings of a single value.

    >>> nested(["enhancer", "network"], "depth", 3)
    {'enhancer': {'network': {'depth': 3}}}
    """
    settings = {key: value}
    for section in reversed([*sections]):
        settings = {section: settings}
    return settings


def flow_yaml(value: Any) -> str:
    """A plain value as YAML in one line."""
    return (
        yaml.safe_dump(value, default_flow_style=True, width=10**9, allow_unicode=True, sort_keys=False)
        .removesuffix("...\n")
        .strip()
    )


def dump_yaml(settings: Settings) -> str:
    """The resolved settings as YAML, in the order of the models."""
    return yaml.safe_dump(settings.model_dump(mode="json"), sort_keys=False, allow_unicode=True)


def anchored(settings: C) -> C:
    """The same settings with absolute names of data: they are relative to where the program was called."""
    values = settings.model_dump(exclude_unset=True)  # what was not set stays so
    return type(settings).model_validate(absolute_names(values, Path.cwd()))
