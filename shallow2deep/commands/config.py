"""`s2d config`: what is set for a command, where it comes from, and what can be set."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel
from pydantic_core import PydanticUndefined, to_jsonable_python

from shallow2deep.commands.init import template
from shallow2deep.settings import Level, flow_yaml, model_of, parsed, resolved, sections_in, together

_DIALECT = "https://json-schema.org/draft/2020-12/schema"
_MARKS = ("decides", "flag", "flag_name", "metavar")  # of settings/base.py, which mean nothing to editors


@dataclass(frozen=True)
class Shown:
    """One setting.

    Attributes:
        setting: its name, behind those of its sections.
        value: JSON-able.
        level: "default", "user's file", "config file" or "command line"; "missing" if it must be given.
        file: of settings, where it stands.
    """

    setting: str
    value: Any
    level: str
    file: str | None = None

    @property
    def origin(self) -> str:
        return f"{self.level} {self.file}" if self.file else self.level

    @property
    def text(self) -> str:
        return "" if self.level == "missing" else flow_yaml(self.value)


def shown(command: str, levels: Sequence[Level]) -> list[Shown]:
    """Every setting of a command as it would be used, also where some are still missing or wrong."""
    return list(_settings(model_of(command), *together(levels)))


def check(command: str, levels: Sequence[Level]) -> None:
    """Raises SettingsError where the command would refuse settings; what is missing may still be given."""
    target = together(levels)[0].get("target")
    needed = parsed(template(command))
    if isinstance(target, Mapping) and "ilp" in target:
        del needed["target"]
    resolved(model_of(command), [Level("example", needed), *levels])


def _settings(
    model: type[BaseModel], values: Mapping[str, Any], origins: Mapping[str, Any], path: str = ""
) -> Iterator[Shown]:
    """The settings of a section in the order of its model, and then those that it does not know."""
    for name, field in model.model_fields.items():
        default = field.get_default(call_default_factory=True)
        section = next(iter(sections_in(field.annotation)), None)
        always = field.annotation is section  # a section that is there even if nothing of it is stated
        given = values.get(name, {} if always else default)
        where = f"{path}{name}"
        if section and isinstance(given, Mapping):
            yield from _settings(section, given, origins.get(name, {}), f"{where}.")
        elif name in values:
            yield from _given(where, given, origins[name])
        elif default is PydanticUndefined:
            yield Shown(where, None, "missing")
        else:
            yield Shown(where, to_jsonable_python(default), "default")
    for name in [name for name in values if name not in model.model_fields]:
        yield from _given(f"{path}{name}", values[name], origins[name])


def _given(where: str, value: Any, origin: Level | Mapping[str, Any]) -> Iterator[Shown]:
    """A value, or of a mapping each of its values, which can be of several levels."""
    if isinstance(origin, Level):
        file = str(origin.file) if origin.file else None
        yield Shown(where, to_jsonable_python(value), origin.kind, file)
        return
    for key, inner in origin.items():
        yield from _given(f"{where}.{key}", value[key], inner)


def schema(command: str) -> dict[str, Any]:
    """The JSON schema of a command's file of settings; whatever is not in it can come from elsewhere.

    Raises:
        InputError: the command takes no settings.
    """
    found = model_of(command).model_json_schema()
    for section in (found, *found.get("$defs", {}).values()):
        for field in section.get("properties", {}).values():
            for mark in _MARKS:
                field.pop(mark, None)
    found.pop("required", None)
    return {"$schema": _DIALECT, **found, "title": f"Settings of s2d {command}"}
