"""How objects are cut out of maps."""

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from shallow2deep.settings.base import FLAG, Fraction, NameOrNumber, Settings

SIZE = re.compile(r"([0-9.]+) ?(px|nm2|nm3|um2|um3)")


def _size(value: float | str) -> float | str:
    match = SIZE.fullmatch(value) if isinstance(value, str) else None
    try:
        number = float(match[1] if match else value)
    except ValueError:
        number = -1.0
    if not 0 <= number < float("inf"):
        raise ValueError('a number of pixels, such as 20, or a size such as "5 um2" or "30 um3" was expected')
    return value if match else number


Size = Annotated[float | str, AfterValidator(_size)]


class ObjectsSettings(Settings):
    """From a map to objects, each with a number and measurements."""

    kind: Literal["blobs", "cells"] = Field(
        "blobs",
        description="also cut the result into objects: blobs, where the foreground is the objects, or cells, "
        "where it is the membranes between them",
        json_schema_extra={**FLAG, "flag_name": "objects", "metavar": "blobs|cells"},
    )
    channel: NameOrNumber | None = Field(
        None, description="name of the class, or number of the channel, from 0; needed if there are several"
    )
    threshold: Fraction | Literal["auto"] = Field(
        "auto", description="of the foreground; auto: chosen on held-out strokes, or 0.5 without any"
    )
    split: float = Field(
        1.0,
        ge=0,
        description="touching objects are parted where the distance to their outlines falls by more than "
        "this on the way from one to the other, in pixels of the finest axis",
    )
    min_size: Size = Field(
        20.0, description='smaller objects, and holes, are left out: pixels, or such as "5 um2", "30 um3"'
    )
    max_size: Size | None = Field(None, description="larger objects are left out; none if not given")
    clear_border: bool = Field(False, description="objects that touch the border of the image are left out")
    by_planes: bool = Field(
        False, description="volumes are cut plane by plane, and objects linked where they overlap"
    )
    link: Fraction = Field(
        0.25, description="by_planes: least overlap of objects in neighbouring planes, as IoU"
    )
