"""Changes of a training, made by hand while it goes on."""

from typing import Annotated, Any, Self

from pydantic import Field, model_validator

from shallow2deep.settings.base import Positive, Settings

CHANGEABLE = ("learning_rate", "steps", "batch", "patience", "validate_every")


class Change(Settings):
    """Other settings from a step of one network's training on, as `s2d set` has recorded them."""

    stage: str = Field(description="whose network it is")
    network: str = Field(".", description="with_raw for an enhancer's companion")
    step: int = Field(ge=0, description="the steps that were made before")
    learning_rate: float | None = Field(None, gt=0)
    steps: Positive | None = None
    batch: Positive | None = None
    patience: Positive | None = None
    validate_every: Positive | None = None

    @model_validator(mode="after")
    def _changes_something(self) -> Self:
        if not self.values:
            raise ValueError(f"one of {', '.join(CHANGEABLE)} was expected")
        if self.steps is not None and self.steps <= self.step:
            raise ValueError(f"{self.steps} steps were asked for when {self.step} were made; ask for more")
        return self

    @property
    def values(self) -> dict[str, Any]:
        """The settings that change."""
        return {name: value for name in CHANGEABLE if (value := getattr(self, name)) is not None}

    def __str__(self) -> str:
        place = self.stage if self.network == "." else f"{self.stage}/{self.network}"
        values = ", ".join(f"{name} {value:g}" for name, value in self.values.items())
        return f"{place}, step {self.step}: {values} by hand"


Changes = Annotated[
    tuple[Change, ...],
    Field(description="settings of a training from a step on, as s2d set has recorded them"),
]
