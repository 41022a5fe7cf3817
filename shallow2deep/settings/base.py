"""What all settings share: frozen models that are strict about names, and the kinds of values in them."""

import difflib
import math
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    WithJsonSchema,
)
from pydantic.fields import FieldInfo

from shallow2deep.errors import SettingsError

_LISTED = 5  # problems that are told at once

ASIDE: Any = {"decides": False}
"""Marks a field (`json_schema_extra=ASIDE`) that does not change what the stage with these settings makes."""

IF_SET: Any = {"decides": "if set"}
"""Marks a field that decides only where it is other than by default: so settings can be added, and results
that were made before them stay valid."""

FLAG: Any = {"flag": "one"}
FLAGS: Any = {"flag": "several"}
SWITCH: Any = {"flag": "switch"}
"""Mark a field that is also a flag of the command line, given once, more than once, or without a value."""


class Settings(BaseModel):
    """Base of all settings: frozen, and strict about names."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    def deciding(self) -> dict[str, Any]:
        """The JSON-able values of all fields but those marked `ASIDE`: what a stage's result depends on.

        Those marked `IF_SET` are left out at their defaults.
        """
        aside = {
            name
            for name, field in type(self).model_fields.items()
            if (decides := mark_of(field, "decides")) is False
            or (decides == "if set" and getattr(self, name) == field.default)
        }
        plain = self.model_dump(mode="json", exclude=aside)
        nested = {n: value.deciding() for n, value in self if isinstance(value, Settings) and n in plain}
        return plain | nested


def mark_of(field: FieldInfo, name: str) -> Any:
    """The value of a mark that a field of a model bears in its `json_schema_extra`; None if it bears none."""
    marks = field.json_schema_extra
    return marks.get(name) if isinstance(marks, dict) else None


def several(value: Any) -> Any:
    return (value,) if isinstance(value, str | Path) else value


def one_or_by_class(value: Any) -> Any:
    """`["a=x", "b=y"]`, as flags come, as `{"a": "x", "b": "y"}`; a list of one plain name as that name."""
    if not isinstance(value, list | tuple) or not all(isinstance(one, str) for one in value):
        return value
    if len(value) == 1 and ("=" not in value[0] or Path(value[0]).exists()):
        return value[0]
    named = dict(one.partition("=")[::2] for one in value)
    if len(named) < len(value) or not all(named.values()):
        raise SettingsError(
            f"enhancers were given as {', '.join(value)}; give one, or CLASS=NAME once for each class"
        )
    return named


def number_if_digits(value: Any) -> Any:
    return int(value) if isinstance(value, str) and value.isdecimal() else value


def word_or_several(value: Any) -> Any:
    """`grey` and `each`, which also come in a list of one as flags do; else a list."""
    if isinstance(value, list | tuple) and len(value) == 1 and value[0] in ("grey", "each"):
        return value[0]
    return value if value in ("grey", "each") or isinstance(value, list | tuple) else (value,)


def rising(value: tuple[Any, Any]) -> tuple[Any, Any]:
    if not 0 < value[0] <= value[1] < math.inf:
        raise ValueError("two numbers above 0 were expected, the smaller one first")
    return value


def different(value: tuple[str, ...]) -> tuple[str, ...]:
    if len(set(value)) < len(value):
        raise ValueError("each name may come once only")
    return value


def not_zero(value: int) -> int:
    if value == 0:
        raise ValueError("a number of jobs, or -1 for one per core, was expected")
    return value


def _what_came(value: object) -> str:
    """The end of a sentence; of sections and lists, which would be cut off, nothing."""
    if isinstance(value, int) and value.bit_length() > 64:
        return "; got a number of that many digits"
    return f"; got {value!r:.80}" if isinstance(value, str | int | float | None) else ""


C = TypeVar("C", bound=Settings)
_one_or_several = WithJsonSchema(
    {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}
)
Names = Annotated[tuple[str, ...], BeforeValidator(several), Field(min_length=1), _one_or_several]
NamesOrNone = Annotated[tuple[str, ...], BeforeValidator(several), _one_or_several]
Range = Annotated[tuple[int, int], AfterValidator(rising)]
NameOrNumber = Annotated[str | int, BeforeValidator(number_if_digits)]
Channels = Annotated[
    Literal["grey", "each"] | Annotated[tuple[NameOrNumber, ...], Field(min_length=1)],
    BeforeValidator(word_or_several),
]
Classes = Annotated[tuple[str, ...], Field(min_length=2, max_length=255), AfterValidator(different)]
Engine = Literal["numba", "fastfilters"]
Jobs = Annotated[int, AfterValidator(not_zero)]
Positive = Annotated[int, Field(ge=1)]
Fraction = Annotated[float, Field(ge=0, le=1)]


def _nearest(model: type[BaseModel], location: tuple[int | str, ...]) -> str:
    """The known key nearest to the unknown one at `location`, as half a sentence."""
    known: Iterable[str] = model.model_fields
    for part in location[:-1]:
        if isinstance(part, str) and part in model.model_fields:
            nested = _models_in(model.model_fields[part].annotation)
            if nested:
                model, known = nested[0], nested[0].model_fields
    close = difflib.get_close_matches(str(location[-1]), known, 1, 0.5)
    return f'did you mean "{close[0]}"?' if close else f"known here: {', '.join(known)}"


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [m for a in getattr(annotation, "__args__", ()) for m in _models_in(a)]


def validated(
    model: type[C], values: Mapping[str, Any], origin: str | Callable[[tuple[int | str, ...]], str]
) -> C:
    """`values` as settings.

    Args:
        origin: where they come from; or what tells that for the location of a value.

    Raises:
        SettingsError: naming each wrong key, what came, and what to do.
    """
    try:
        return model.model_validate(values)
    except ValidationError as error:
        found, told = error.errors(), dict[str, list[str]]()
        for one in found[:_LISTED]:
            place = origin if isinstance(origin, str) else origin(one["loc"])
            told.setdefault(place, []).append(_problem(model, one))
        rest = f"; and {len(found) - _LISTED} more" if len(found) > _LISTED else ""
        sentences = [f"{place}: {'; '.join(problems)}" for place, problems in told.items()]
        raise SettingsError("; ".join(sentences) + rest) from None


def _problem(model: type[BaseModel], error: Mapping[str, Any]) -> str:
    where = ".".join(map(str, error["loc"])) or "the settings"
    if error["type"] == "extra_forbidden":
        return f'unknown setting "{where}"; {_nearest(model, error["loc"])}'
    if error["type"] == "missing":
        return f'the setting "{where}" is missing; state it'
    return f"{where}: {error['msg'].removeprefix('Value error, ')}{_what_came(error['input'])}"
