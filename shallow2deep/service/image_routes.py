"""Routes of files: sent, listed, looked at; and strokes on images."""

from pathlib import Path
from typing import Annotated, Any

import numpy as np
from anyio import to_thread
from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import FileResponse

from shallow2deep.errors import InputError, MissingDataError, one_line
from shallow2deep.io.label_files import write_labels
from shallow2deep.io.volumes import open_volume
from shallow2deep.service.places import DATA, INCOMING, Places
from shallow2deep.service.tiles import TILE, View, png, view_of
from shallow2deep.service.uploads import Received, received, require_new
from shallow2deep.service.views import FileView, ImageFacts

_MAX_LISTED = 10_000
_PNG: dict[str, Any] = {"content": {"image/png": {}}}
_MAX_CLASS = 255

Name = Annotated[str, Query(max_length=4096, description="as in settings, such as data/a.h5:raw")]
Plane = Annotated[int | None, Query(ge=0, description="of a volume; the middle one if not given")]
Channel = Annotated[int | None, Query(ge=0, description="number; grey of colours if not given")]


def image_routes(places: Places) -> APIRouter:
    """The routes below /files, /images and /strokes."""
    router = APIRouter()

    def view(name: str, z: int | None, channel: int | None) -> View:
        path, key = places.image(name)
        return view_of(path, key, z, channel)

    @router.put("/files/{name:path}", status_code=201, tags=["images"], openapi_extra=_BODY)
    async def send(name: str, request: Request) -> FileView:
        """Send a file; settings then name it as data/NAME. None is replaced."""
        target = places.new_path(name, DATA)
        require_new(target)
        async with received(request, places.root / INCOMING, target.suffix) as file:
            await to_thread.run_sync(file.keep, target)
            return FileView(name=places.name_of(target), size=file.size, sha256=file.sha256)

    @router.head("/files/{name:path}", tags=["images"], include_in_schema=False)
    @router.get("/files/{name:path}", tags=["images"], response_class=FileResponse)
    def fetch(name: str) -> FileResponse:
        """A file that was sent."""
        return FileResponse(_existing(name))

    @router.delete("/files/{name:path}", status_code=204, tags=["images"])
    def remove(name: str) -> None:
        """Remove a file that was sent."""
        _existing(name).unlink()

    def _existing(name: str) -> Path:
        path = places.new_path(name, DATA)
        if not path.is_file():
            raise MissingDataError(
                f"{one_line(name)}: no such file was sent; list the images to see which were"
            )
        return path

    @router.get("/images", tags=["images"])
    def list_images(
        folder: Annotated[
            str, Query(max_length=4096, description="below the root, or one that the server may read")
        ] = DATA,
    ) -> list[FileView]:
        """Files below a folder that may be images."""
        place = places.readable_path(folder)
        found = places.images(place, _MAX_LISTED)
        return [FileView(name=places.name_of(path), size=path.stat().st_size) for path in found]

    @router.get("/images/facts", tags=["images"])
    def facts(name: Name) -> ImageFacts:
        """What the header of an image says."""
        path, key = places.image(name)
        volume = open_volume(f"{path}:{key}" if key else path)
        return ImageFacts(
            name=name,
            axes=volume.axes,
            shape=list(volume.shape),
            dtype=str(volume.dtype),
            voxel_size=list(volume.voxel_size) if volume.voxel_size else None,
            channels=list(volume.channels),
            tile=TILE,
        )

    @router.get("/images/thumbnail", tags=["images"], responses={200: _PNG}, response_class=Response)
    def thumbnail(
        name: Name,
        size: Annotated[int, Query(ge=16, le=2048)] = 256,
        z: Plane = None,
        channel: Channel = None,
    ) -> Response:
        """A small picture of an image."""
        return Response(view(name, z, channel).thumbnail(size), media_type="image/png")

    @router.get(
        "/images/tiles/{level}/{y}/{x}", tags=["images"], responses={200: _PNG}, response_class=Response
    )
    def tile(name: Name, level: int, y: int, x: int, z: Plane = None, channel: Channel = None) -> Response:
        """A tile: `level` 0 is the image as it is, and each further one halves the pixels along y and x."""
        if not (0 <= level <= _MAX_LEVEL and y >= 0 and x >= 0):
            raise InputError(
                f"tile {level}/{y}/{x} came; give a level from 0 to {_MAX_LEVEL}, and y and x from 0"
            )
        return Response(view(name, z, channel).tile(level, y, x), media_type="image/png")

    @router.put("/strokes/{name:path}", status_code=201, tags=["strokes"], openapi_extra=_BODY)
    async def save_strokes(name: str, image: Name, request: Request) -> FileView:
        """Save strokes on an image, a PNG or npy array of its size: 0 unlabelled, 1 background, 2 foreground.

        They are kept as data/NAME, which ends in .tif, and are what `target.strokes` takes. Strokes of that
        name are replaced.
        """
        target = places.new_path(name, DATA)
        if target.suffix != ".tif":
            raise InputError(f"{one_line(name)}: strokes are kept as .tif; give such a name")
        ending = ".npy" if request.headers.get("content-type") == "application/octet-stream" else ".png"
        async with received(request, places.root / INCOMING, ending) as file:
            await to_thread.run_sync(_keep_strokes, places, file, image, target)
        return FileView(name=places.name_of(target), size=target.stat().st_size)

    @router.get("/strokes/{name:path}", tags=["strokes"], responses={200: _PNG}, response_class=Response)
    def read_strokes(name: str, z: Plane = None) -> Response:
        """Strokes as PNG, 8 bits: the number of the class at each pixel; of a volume a plane."""
        path = _existing(name)
        planes = open_volume(path).planes()
        number = len(planes) // 2 if z is None else z
        if number >= len(planes):
            raise InputError(
                f"plane {number} was asked for, but there are {len(planes)}; take one of them, from 0"
            )
        values = planes[number].read()
        if values.max(initial=0) > _MAX_CLASS:
            raise InputError(f"{one_line(name)}: these are no strokes; give a file of strokes")
        return Response(png(values.astype(np.uint8)), media_type="image/png")

    return router


_MAX_LEVEL = 12
_BODY = {
    "requestBody": {
        "required": True,
        "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
    }
}


def _keep_strokes(places: Places, file: Received, image: str, target: Path) -> None:
    path, key = places.image(image)
    raw, strokes = open_volume(f"{path}:{key}" if key else path), open_volume(file.path)
    if strokes.shape != raw.spatial_shape:
        raise InputError(
            f"strokes of shape {strokes.shape} came for an image of {raw.spatial_shape}; send one size"
        )
    values = strokes.read()
    if values.dtype.kind not in "bui" or values.min(initial=0) < 0 or values.max(initial=0) > _MAX_CLASS:
        raise InputError(
            f"strokes are whole numbers from 0 to {_MAX_CLASS}, but others came; send such an array"
        )
    write_labels(target, values, raw.voxel_size)
