"""All settings of `s2d pretrain`."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from shallow2deep.settings.base import ASIDE, Channels, Names, NamesOrNone, Positive, Settings
from shallow2deep.settings.change import Changes
from shallow2deep.settings.data import RawData
from shallow2deep.settings.in_3d import InTwoOrThree
from shallow2deep.settings.networks import OptimisationSettings, TrainingSettings

Share = Annotated[float, Field(gt=0, lt=1)]


class UnlabelledData(RawData):
    """Raw images without labels."""

    raw: Names
    channels: Channels = Field(
        "grey", description="grey: colour as grey; or the name or number, from 0, of the one channel to use"
    )

    @model_validator(mode="after")
    def _one_channel(self) -> Self:
        if self.channels == "each" or (self.channels != "grey" and len(self.channels) > 1):
            raise ValueError("networks learn on one channel; give channels one name or number, or grey")
        return self


class HidingSettings(Settings):
    """What is done to images, so that a network learns to restore them."""

    task: Literal["masking", "denoise"] = Field(
        "masking",
        description="masking: cells of the images are hidden, and only they count; denoise: images are made "
        "coarse and noisy",
    )
    share: Share = Field(0.5, description="masking: of the cells that are hidden")
    cell: Positive = Field(
        16, description="masking: side of a cell, pixels; in volumes fewer along axes of longer voxels"
    )
    downsampling: Positive = Field(
        2,
        le=8,
        description="denoise: pixels along y and x that become one, at most; each sample draws its own",
    )
    noise: Annotated[float, Field(ge=0)] = Field(
        0.5, description="denoise: in deviations of raw, at most; each sample draws its own"
    )


class PretrainingSettings(OptimisationSettings):
    """The training of one network without labels."""

    validate_every: Positive = 250
    patience: Positive = Field(8, description="validations without a better score after which training ends")
    previews: NamesOrNone = Field((), description="none here: see checks", json_schema_extra=ASIDE)

    @property
    def as_training(self) -> TrainingSettings:
        """For the loop that all trainings share."""
        return TrainingSettings.model_validate(self.model_dump())

    @model_validator(mode="after")
    def _has_checks(self) -> Self:
        if self.previews:
            raise ValueError(
                "previews are of maps; the run's folder checks shows what is restored, so leave them out"
            )
        return self


class PretrainConfig(InTwoOrThree):
    """All settings of `s2d pretrain`."""

    seed: int = Field(0, ge=0)
    name: str = "pretrained"
    ndim: Literal[2, 3] = Field(
        2, description="2: planes are images of their own; 3: the network sees volumes"
    )
    images: tuple[UnlabelledData, ...] = Field(min_length=1)
    validation_images: tuple[UnlabelledData, ...] = Field(
        (), description="further images, to validate on; a part of the images if none are given"
    )
    validation: Share = Field(
        0.1, description="share of each set of images, the last ones, if there are no validation_images"
    )
    hiding: HidingSettings = HidingSettings()
    pretrained_net: PretrainingSettings = PretrainingSettings()
    changes: Changes = ()

    @model_validator(mode="after")
    def _fits(self) -> Self:
        net = self.pretrained_net
        if "patch" in net.model_fields_set and len(net.patch) != self.ndim:
            raise ValueError(f"pretrained_net.patch has {len(net.patch)} axes but ndim is {self.ndim}")
        if problem := net.network.problem("pretrained_net.network", self.ndim):
            raise ValueError(problem)
        return self
