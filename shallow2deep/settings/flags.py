"""Flags of the command line, made from the settings that are marked as such."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from shallow2deep.settings.base import Settings, mark_of
from shallow2deep.settings.reading import absolute_names
from shallow2deep.settings.target import AdaptConfig


@dataclass(frozen=True)
class Flag:
    """One flag.

    Attributes:
        path: where its setting is: sections, then the key.
        kind: "one" value, "several", or a "switch", which has none.
    """

    name: str
    path: tuple[str, ...]
    kind: str
    help: str
    metavar: str | None


def flags_of(model: type[Settings], sections: tuple[str, ...] = ()) -> Iterator[Flag]:
    """The flags of all fields that are marked `FLAG`, `FLAGS` or `SWITCH`, also in sections."""
    for name, field in model.model_fields.items():
        if kind := mark_of(field, "flag"):
            yield Flag(
                mark_of(field, "flag_name") or name,
                (*sections, name),
                kind,
                field.description or "",
                mark_of(field, "metavar"),
            )
        for section in _sections_in(field.annotation):
            yield from flags_of(section, (*sections, name))


def _sections_in(annotation: Any) -> list[type[Settings]]:
    if isinstance(annotation, type) and issubclass(annotation, Settings):
        return [annotation]
    return [section for part in get_args(annotation) for section in _sections_in(part)]


ADAPT = tuple(flags_of(AdaptConfig))


def with_flags(values: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """Settings of `adapt` with those flags put in that were given; names of data are relative to here."""
    values = dict(values)
    for flag in ADAPT:
        if not given.get(flag.name):
            continue
        *sections, key = flag.path
        place: Any = values
        for section in sections:
            if not isinstance(place.get(section) or {}, dict):
                break  # what stands there is refused when the settings are checked
            place[section] = dict(place.get(section) or {})
            place = place[section]
        else:
            place[key] = absolute_names(given[flag.name], Path.cwd(), key)
    return values
