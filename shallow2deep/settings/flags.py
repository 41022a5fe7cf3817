"""Flags of the command line, made from the settings that are marked as such."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import reduce
from pathlib import Path
from typing import Any, get_args

from shallow2deep.settings.base import Settings, mark_of, one_or_by_class
from shallow2deep.settings.reading import absolute_names, merged, nested
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
        for section in sections_in(field.annotation):
            yield from flags_of(section, (*sections, name))


def sections_in(annotation: Any) -> list[type[Settings]]:
    """The models of settings in a type."""
    if isinstance(annotation, type) and issubclass(annotation, Settings):
        return [annotation]
    return [section for part in get_args(annotation) for section in sections_in(part)]


ADAPT = tuple(flags_of(AdaptConfig))


def with_flags(values: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """Settings of `adapt` with those flags put in that were given; names of data are relative to here."""
    own = []
    for flag in ADAPT:
        *sections, key = flag.path
        if value := given.get(flag.name):
            value = one_or_by_class(value) if key == "enhancer" else value
            own.append(nested(sections, key, absolute_names(value, Path.cwd(), key)))
    return reduce(merged, own, dict(values))
