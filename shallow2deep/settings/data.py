"""What names data: raw images, their labels or strokes, ilastik projects."""

from typing import Any, Literal, Self

from pydantic import Field, model_validator

from shallow2deep.settings.base import (
    FLAG,
    FLAGS,
    SWITCH,
    Channels,
    NameOrNumber,
    Names,
    NamesOrNone,
    Settings,
)


class ImageTable(Settings):
    """A CSV table that selects images: those whose file name starts with the `stem` of a row that fits."""

    file: str
    where: dict[str, str] = Field({}, description="column: value that a row must have")


class RawData(Settings):
    """Raw images, by name: `file.h5:key`, `file.zarr:key`, `file.tif`, `file.npy`, `folder/*.png`."""

    raw: Names
    axes: str | None = Field(
        None,
        description="axes of the raw files, e.g. zyx or yxc; inferred if not given",
        json_schema_extra=FLAG,
    )
    voxel_size: tuple[float, ...] | None = Field(None, description="nm per spatial axis, e.g. [50, 4.6, 4.6]")
    slices: str | tuple[int, ...] | None = Field(
        None,
        description='z planes to use, e.g. "0:16" or [0, 7, 14]; all if not given',
        json_schema_extra=FLAG,
    )
    manifest: ImageTable | None = None
    licence: str = Field("not stated", description="terms of the data; they go with everything trained on it")


class PredictData(RawData):
    """Raw images to predict."""

    channels: Channels | None = Field(None, description="those that were learned on if not given")


class SourceData(RawData):
    """Raw images with dense labels, matched in order."""

    labels: Names
    name: str | None = Field(None, description="what leave_out calls it")
    priority: float = Field(
        1.0, gt=0, description="how often networks learn from one of its patches, beside those of others"
    )
    label_axes: str | None = None
    ignore_label: int | None = Field(
        None, description="value of the labels' pixels that do not count, such as 255"
    )
    label_values: Literal["instances", "classes"] = Field(
        "instances", description="instances: every value > 0 is the one foreground class; classes: 0, 1, 2 …"
    )
    channels: Channels = Field(
        "grey", description="grey: colour as grey; or the name or number, from 0, of the one channel to use"
    )

    pixel_size: float | None = Field(
        None,
        gt=0,
        description="nm along y and x to which raw and labels are brought; none if not given",
    )

    @model_validator(mode="after")
    def _one_channel(self) -> Self:
        if self.channels == "each" or (self.channels != "grey" and len(self.channels) > 1):
            raise ValueError("an enhancer learns on one channel; give channels one name or number, or grey")
        return self


class TargetData(RawData):
    """Raw images with strokes, matched in order; or an ilastik project, which has both."""

    raw: NamesOrNone = Field(
        (), description="file.h5:key, file.tif, 'folder/*.png' …", json_schema_extra=FLAGS
    )
    strokes: NamesOrNone = Field(
        (), description="0 unlabelled, 1 background, 2 foreground …", json_schema_extra=FLAGS
    )
    stroke_axes: str | None = None
    labels: Names | None = Field(
        None,
        description="dense labels of the same images, only for scores and compare.supervised, an upper bound",
        json_schema_extra=FLAGS,
    )
    ignore_label: int | None = Field(
        None, description="value of the labels' pixels that do not count, such as 255", json_schema_extra=FLAG
    )
    stroke_classes: dict[int, int] | None = Field(
        None, description="value in the stroke files -> number of the class, from 1; default {1: 1, 2: 2, …}"
    )
    channels: Channels = Field(
        "grey",
        description="grey: colour as grey; each: the features of each channel, as in ilastik projects; or "
        "names or numbers, from 0, of the channels to use",
        json_schema_extra=FLAGS,
    )
    ilp: str | None = Field(
        None,
        description="ilastik project with strokes, label names, features and, unless given, raw",
        json_schema_extra=FLAG,
    )
    background: NameOrNumber | None = Field(
        None,
        description="name or number of the project's label that is background; the first if not given",
        json_schema_extra=FLAG,
    )
    rescale: bool = Field(
        False,
        description="bring images far outside the range of values that the forest learns on to that range; "
        "else they are refused",
        json_schema_extra=SWITCH,
    )
    probabilities: NamesOrNone = Field(
        (),
        description="maps, exported by ilastik for example, that take the place of the target forest's",
        json_schema_extra=FLAGS,
    )
    channel: NameOrNumber | None = Field(
        None,
        description="name or number, from 0, of the maps' channel with the foreground; needed if they have "
        "several",
        json_schema_extra=FLAG,
    )

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if self.ilp is None and not self.raw:
            raise ValueError("raw images are missing; give raw, or an ilastik project as ilp")
        if self.ilp is None and not self.strokes and not self.probabilities:
            raise ValueError("strokes are missing; give strokes, an ilastik project as ilp, or probabilities")
        if self.ilp is not None and self.strokes:
            raise ValueError("strokes and an ilastik project came, which has its own; give one of them")
        unused: dict[str, Any] = {
            "slices": self.slices,
            "axes": self.axes,
            "manifest": self.manifest,
            "voxel_size": self.voxel_size,
            "channels": None if self.channels in ("grey", "each") else self.channels,
        }
        unused |= {"stroke_classes": self.stroke_classes, "stroke_axes": self.stroke_axes}
        given = [name for name, value in unused.items() if value is not None]
        if self.ilp is not None and given:
            raise ValueError(f"{given[0]} has no meaning beside an ilastik project; leave it out")
        if self.ilp is None and self.background is not None:
            raise ValueError("background names a label of an ilastik project, but none came; give ilp")
        if self.rescale and self.probabilities:
            raise ValueError("rescale is for images that a forest sees, but maps came; leave out rescale")
        if self.channel is not None and not self.probabilities:
            raise ValueError("channel is that of probabilities, but none came; give probabilities")
        return self
