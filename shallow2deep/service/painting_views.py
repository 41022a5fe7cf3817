"""What the routes of the page take and give."""

from typing import Annotated, Any

from pydantic import BaseModel, Field

Number = Annotated[int, Field(ge=0, le=2**31)]
Part = Annotated[tuple[Number, Number], Field(description="first pixel, and the one behind the last")]
Client = Annotated[str, Field(min_length=1, max_length=64, description="a name that a window has made up")]
Colour = Annotated[str, Field(pattern="^#[0-9a-fA-F]{6}$")]
ClassName = Annotated[str, Field(min_length=1, max_length=80)]


class PaintedImage(BaseModel):
    """An image to paint on."""

    name: str
    height: int
    width: int
    depth: int
    channels: list[str] = Field(description="names or numbers; empty if there is one")
    dtype: str
    voxel_size: list[float] | None = Field(description="nm along each spatial axis")
    series: str = Field(description="the same for the time points of one file")
    painted: list[int] = Field(description="pixels of each class")


class PaintingView(BaseModel):
    """The project."""

    folder: str
    epoch: str = Field(description="of the server's process: another one has other revisions")
    revision: int
    classes: list[str]
    colours: list[str]
    enhancer: str | dict[str, str]
    learn_on: str | list[str | int] = Field(description="channels: grey, each, or names or numbers")
    images: list[PaintedImage]


class ProjectChange(BaseModel):
    """Settings of the project to change; what is not given stays."""

    classes: list[ClassName] | None = Field(None, min_length=2, max_length=32)
    colours: list[Colour] | None = Field(None, max_length=32)
    enhancer: str | None = Field(None, max_length=4096)
    learn_on: str | list[str | int] | None = None


class Patch(BaseModel):
    """Pixels to paint."""

    client: Client
    id: str = Field("", max_length=100, description="the same if it is sent again, as no answer came")
    image: Number
    z: Number = 0
    spans: list[tuple[Number, Number, Number, Annotated[int, Field(ge=0, le=255)]]] = Field(
        max_length=200_000, description="y, first x, x behind the last, class (0 erases)"
    )


class Painted(BaseModel):
    """What came of it."""

    revision: int
    before: list[tuple[int, int, int, int]] = Field(description="spans that undo it")


class Range(BaseModel):
    """What of an image's values is black and white, and what there is."""

    low: float
    high: float
    least: float
    most: float


class ViewRequest(BaseModel):
    """The part of a plane whose map is wanted."""

    client: Client
    turn: Number = Field(description="rises with each that a window asks for; ends those before")
    image: Number
    z: Number = 0
    y: Part
    x: Part
    scale: float = Field(1.0, ge=0.1, le=4, description="of the enhancer")
    raw: bool = Field(False, description="with the enhancer's companion")


class RunRequest(BaseModel):
    """A run of adapt on what is painted."""

    name: str = Field("", max_length=200)
    settings: dict[str, Any] = Field({}, description="beside those of the project, such as a segmentor")


class Summary(BaseModel):
    """A job to be compared with another."""

    settings: dict[str, Any] = Field(description="by name, with the names of sections before it")
    choice: dict[str, Any] | None = Field(description="of adapt: scores, and what is recommended")
