"""The space of settings that a search looks through."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import Field, model_validator

from shallow2deep.settings.base import Settings, validated
from shallow2deep.settings.reading import absolute_names, merged, nested, read_yaml


class Span(Settings):
    """Numbers from `low` to `high`."""

    low: int | float
    high: int | float
    log: bool = Field(False, description="as many between 0.001 and 0.01 as between 0.01 and 0.1")
    step: int | float | None = Field(None, gt=0, description="only each so many")

    @property
    def is_whole(self) -> bool:
        """Whether only whole numbers are meant."""
        return all(isinstance(n, int) for n in (self.low, self.high, self.step or 1))

    @property
    def ends(self) -> list[int | float]:
        return [self.low, self.high]

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if not self.low < self.high:
            raise ValueError("low is not below high; give a lower one")
        if self.log and self.low <= 0:
            raise ValueError("log needs numbers above 0; raise low")
        if self.log and self.step is not None:
            raise ValueError("log and step exclude each other; leave out one")
        return self


class _Space(Settings):
    settings: dict[str, Annotated[list[Any], Field(min_length=1)] | Span] = Field(min_length=1)


Space = Mapping[str, list[Any] | Span]
"""By the name of a setting, such as `enhancer.learning_rate`: a list of values, or a span of numbers."""


def read_space(path: Path) -> dict[str, list[Any] | Span]:
    """The space in a YAML file.

    Raises:
        SettingsError: no such file, or something else in it.
    """
    found = validated(_Space, {"settings": read_yaml(path)}, str(path)).settings
    return {name: _with_absolute_names(name, values, path.resolve().parent) for name, values in found.items()}


def _with_absolute_names(name: str, values: list[Any] | Span, folder: Path) -> list[Any] | Span:
    key = name.rpartition(".")[2]
    return values if isinstance(values, Span) else [absolute_names(value, folder, key) for value in values]


def with_values(settings: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """Settings with some set by their names.

    >>> with_values({"seed": 1, "enhancer": {"steps": 5}}, {"enhancer.network.depth": 3})
    {'seed': 1, 'enhancer': {'steps': 5, 'network': {'depth': 3}}}
    """
    found = dict(settings)
    for name, value in values.items():
        *sections, key = name.split(".")
        found = merged(found, nested(sections, key, value))
    return found
