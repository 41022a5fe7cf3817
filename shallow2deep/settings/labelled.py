"""All settings of `s2d train`."""

from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from shallow2deep.settings.base import Classes, different
from shallow2deep.settings.change import Changes
from shallow2deep.settings.data import SourceData
from shallow2deep.settings.in_3d import InTwoOrThree
from shallow2deep.settings.networks import TrainingSettings
from shallow2deep.settings.package import PackageSettings


class TrainConfig(InTwoOrThree):
    """All settings of `s2d train`."""

    seed: int = Field(0, ge=0)
    name: str = "network"
    ndim: Literal[2, 3] = Field(
        2, description="2: planes are images of their own; 3: the network sees volumes"
    )
    classes: Classes = ("background", "foreground")
    sources: tuple[SourceData, ...] = Field(min_length=1)
    validation_sources: tuple[SourceData, ...] = Field(
        (), description="further labelled images, to validate on; a part of the sources if none are given"
    )
    validation: Annotated[float, Field(gt=0, lt=1)] = Field(
        0.2, description="share of each source's images, the last ones, if there are no validation_sources"
    )
    outputs: Annotated[tuple[Literal["foreground", "boundary"], ...], AfterValidator(different)] = Field(
        ("foreground",),
        min_length=1,
        description="of each class but the first: its pixels, and the boundaries of its labelled instances",
    )
    labelled_net: TrainingSettings = TrainingSettings()
    package: PackageSettings = PackageSettings()
    changes: Changes = ()

    @model_validator(mode="after")
    def _fits(self) -> Self:
        net = self.labelled_net
        if "patch" in net.model_fields_set and len(net.patch) != self.ndim:
            raise ValueError(f"labelled_net.patch has {len(net.patch)} axes but ndim is {self.ndim}")
        if problem := net.network.problem("labelled_net.network", self.ndim):
            raise ValueError(problem)
        return self
