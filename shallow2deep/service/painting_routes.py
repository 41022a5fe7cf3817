"""Routes of the project that is painted on: images in tiles, strokes, live maps, and runs."""

import asyncio
import json
from collections.abc import AsyncIterator
from functools import lru_cache
from typing import Annotated, Any

import numpy as np
from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import StreamingResponse

from shallow2deep.errors import InputError, one_line
from shallow2deep.inputs.models import models
from shallow2deep.io.volumes import Volume
from shallow2deep.service.jobs import Jobs
from shallow2deep.service.live import Live, Seen, View
from shallow2deep.service.painting import Painting
from shallow2deep.service.painting_views import (
    Painted,
    PaintedImage,
    PaintingView,
    Patch,
    ProjectChange,
    Range,
    RunRequest,
    ViewRequest,
)
from shallow2deep.service.tiles import View as Picture
from shallow2deep.service.views import JobView
from shallow2deep.settings import merged

_POLL = 0.1  # seconds between two looks for strokes of other windows
_SIGN = 15.0  # seconds after which a line shows that the connection is alive
_SAMPLE = 512  # pixels along y and x of the places that the contrast is found on
_MAX_LEVEL = 12
_RAW: dict[str, Any] = {"content": {"application/octet-stream": {}}}
_PNG: dict[str, Any] = {"content": {"image/png": {}}}
_FOREVER = {"cache-control": "private, max-age=3600"}
_NEVER = {"cache-control": "no-store"}

Plane = Annotated[int, Query(ge=0)]
Channel = Annotated[int, Query(ge=0)]


def painting_routes(live: Live, jobs: Jobs) -> APIRouter:
    """The routes below /painting."""
    router, painting = APIRouter(prefix="/painting", tags=["painting"]), live.painting

    @lru_cache(256)
    def range_of(image: int, z: int, channel: int) -> Range:
        return _range(_shown(painting.plane(image, z), channel))

    @router.get("")
    def project() -> PaintingView:
        """Images, classes and settings."""
        return _view(painting)

    @router.patch("")
    def change(request: ProjectChange) -> PaintingView:
        """Name or add classes, choose colours, the enhancer, and the channels to learn on."""
        values = request.model_dump(exclude_none=True, exclude={"colours"})
        if request.enhancer and request.enhancer not in [
            painting.config.enhancer,
            *(m.name for m in models()),
        ]:
            raise InputError(f"{one_line(request.enhancer)}: no such enhancer is listed; choose one of those")
        if "learn_on" in values:
            values["channels"] = values.pop("learn_on")
        painting.change(values, request.colours)
        return _view(painting)

    @router.get("/images/{image}/range")
    def contrast(image: int, z: Plane = 0, channel: Channel = 0) -> Range:
        """Which values are there, by a few places of a plane."""
        return range_of(image, z, channel)

    @router.get("/images/{image}/tiles/{level}/{y}/{x}", responses={200: _PNG}, response_class=Response)
    def tile(
        image: int, level: int, y: int, x: int, low: float, high: float, z: Plane = 0, channel: Channel = 0
    ) -> Response:
        """A tile as PNG, black at `low` and white at `high`; at each level half the pixels of that before."""
        _check_tile(level, y, x)
        picture = Picture(_shown(painting.plane(image, z), channel), low, high)
        return Response(picture.tile(level, y, x), media_type="image/png", headers=_FOREVER)

    @router.get("/images/{image}/strokes/{level}/{y}/{x}", responses={200: _RAW}, response_class=Response)
    def stroke_tile(image: int, level: int, y: int, x: int, z: Plane = 0) -> Response:
        """A tile of strokes: bytes, line by line, 0 or the number of a class."""
        _check_tile(level, y, x)
        values = painting.strokes(image).overview(z, level, y, x)
        return Response(values.tobytes(), media_type="application/octet-stream", headers=_NEVER)

    @router.post("/strokes")
    def paint(request: Patch) -> Painted:
        """Paint; it is on disk when this answers."""
        revision, before = painting.paint(request.image, request.z, request.spans, request.client, request.id)
        return Painted(revision=revision, before=before)

    @router.get("/events", response_class=StreamingResponse)
    def events(request: Request, since: Annotated[int, Query(ge=0)] = 0) -> StreamingResponse:
        """Strokes of all windows after a revision, as server-sent events; `reload` if some are not known."""
        told = _told(painting, since)
        return StreamingResponse(told, media_type="text/event-stream", headers=_NEVER)

    @router.post("/live/forest", responses={200: _RAW}, response_class=Response)
    def forest(request: ViewRequest) -> Response:
        """The forest's map of a view: bytes `(classes, y, x)`, 255 for 1; a newer turn ends older ones."""
        turn = live.turn(request.client, request.turn)
        return _answer(live.forest_map(_part(request), turn))

    @router.post("/live/enhanced", responses={200: _RAW}, response_class=Response)
    def enhanced(request: ViewRequest) -> Response:
        """The same enhanced, without the first class; then how far both differ, 255 for 0.5."""
        turn = live.turn(request.client, request.turn)
        seen = live.enhanced_map(_part(request), turn, request.scale, request.raw)
        seen.values[-1] *= 2
        return _answer(seen)

    @router.post("/runs", status_code=201)
    def start(request: RunRequest) -> JobView:
        """Adapt to what is painted now; painting on does not change the run."""
        with painting.settings() as values:
            job = jobs.submit("adapt", merged(values, request.settings), request.name, "the settings")
        return JobView.of(job, jobs.standing(job.id))

    return router


def _view(painting: Painting) -> PaintingView:
    config = painting.config
    return PaintingView(
        folder=str(painting.folder),
        epoch=painting.epoch,
        revision=painting.revision,
        classes=list(painting.classes),
        colours=painting.colours,
        enhancer=config.enhancer,
        learn_on=config.target.channels
        if isinstance(config.target.channels, str)
        else [*config.target.channels],
        images=[_image(painting, n) for n in range(len(painting.images))],
    )


def _image(painting: Painting, number: int) -> PaintedImage:
    volume = painting.images[number]
    height, width = volume.spatial_shape[-2:]
    count = volume.shape[0] if "c" in volume.axes else 1
    names = list(volume.channels) or [str(n) for n in range(count)]
    return PaintedImage(
        name=volume.file.name + volume.time_suffix,
        height=height,
        width=width,
        depth=volume.spatial_shape[0] if volume.ndim == 3 else 1,
        channels=names if count > 1 else [],
        dtype=str(volume.dtype),
        voxel_size=list(volume.voxel_size) if volume.voxel_size else None,
        series=str(volume.file),
        painted=painting.strokes(number).counts(len(painting.classes)),
    )


def _shown(plane: Volume, channel: int) -> Volume:
    """One channel of a plane."""
    if "c" not in plane.axes:
        return plane
    if channel >= plane.shape[0]:
        raise InputError(f"channel {channel} was asked for, but there are {plane.shape[0]}; take one, from 0")
    return plane.channel(channel)


def _range(plane: Volume) -> Range:
    """By the middle and four places around it, so that a large image opens at once."""
    height, width = plane.shape
    values = []
    for down, right in ((0.5, 0.5), (0.2, 0.2), (0.2, 0.8), (0.8, 0.2), (0.8, 0.8)):
        top, left = (max(0, int(n * at) - _SAMPLE // 2) for n, at in ((height, down), (width, right)))
        part = plane.read((slice(top, min(top + _SAMPLE, height)), slice(left, min(left + _SAMPLE, width))))
        values.append(part[np.isfinite(part)].astype(np.float64))
    found = np.concatenate(values)
    if not found.size:
        return Range(low=0, high=1, least=0, most=1)
    low, high = np.percentile(found, (0.5, 99.5))
    least, most = float(found.min()), float(found.max())
    return Range(
        low=low, high=high if high > low else low + 1, least=least, most=most if most > least else least + 1
    )


def _check_tile(level: int, y: int, x: int) -> None:
    if not (0 <= level <= _MAX_LEVEL and y >= 0 and x >= 0):
        raise InputError(
            f"tile {level}/{y}/{x} came; give a level from 0 to {_MAX_LEVEL}, and y and x from 0"
        )


def _part(request: ViewRequest) -> View:
    return View(request.image, request.z, slice(*request.y), slice(*request.x))


def _answer(seen: Seen) -> Response:
    facts = {
        "shape": seen.values.shape,
        "revision": seen.revision,
        "seconds": round(seen.seconds, 3),
        "places": seen.places,
    }
    body = (seen.values.clip(0, 1) * 255).round().astype(np.uint8).tobytes()
    headers = {**_NEVER, "x-facts": json.dumps(facts)}
    return Response(body, media_type="application/octet-stream", headers=headers)


async def _told(painting: Painting, since: int) -> AsyncIterator[str]:
    """Server-sent events; first which server speaks, as another one counts from 0 again."""
    yield f"event: hello\ndata: {json.dumps({'epoch': painting.epoch, 'revision': painting.revision})}\n\n"
    clock = asyncio.get_running_loop().time
    silent_since = clock()
    while True:
        news = painting.changes(since)
        if news is None:
            since = painting.revision
            yield f"event: reload\ndata: {since}\n\n"
        for change in news or ():
            since = change.revision
            yield f"id: {since}\ndata: {json.dumps(vars(change))}\n\n"
        if news:
            silent_since = clock()
        elif clock() - silent_since > _SIGN:
            silent_since = clock()
            yield ": still here\n\n"
        await asyncio.sleep(_POLL)
