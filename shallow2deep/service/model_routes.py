"""Routes of models: listed, sent, fetched, made of jobs, and applied."""

import io
from asyncio import get_running_loop
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from anyio import to_thread
from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import FileResponse

from shallow2deep.commands.export import export
from shallow2deep.errors import InputError, MissingDataError, one_line
from shallow2deep.exports.packages import load_package
from shallow2deep.inputs.models import Model, models
from shallow2deep.service.jobs import Jobs
from shallow2deep.service.places import INCOMING, MODELS
from shallow2deep.service.predictions import Map, Predictions
from shallow2deep.service.tiles import png
from shallow2deep.service.uploads import Received, received, require_new
from shallow2deep.service.views import ExportRequest, FileView, ModelView, PredictRequest
from shallow2deep.settings import flow_yaml

_BINARY: dict[str, Any] = {"content": {"application/octet-stream": {}, "image/png": {}}}


def model_routes(jobs: Jobs) -> APIRouter:
    """The routes below /models, those of predictions, and of exports."""
    router, places = APIRouter(tags=["models"]), jobs.places
    predictions, alone = (
        Predictions(jobs),
        ThreadPoolExecutor(1),
    )  # one at a time, others wait without a thread

    @router.get("/models")
    def list_models() -> list[ModelView]:
        """Enhancers that settings can name: those that come along, and those that were sent or made here."""
        return [_view(model) for model in models()]

    @router.put("/models/{name}", status_code=201)
    async def send(name: str, request: Request) -> FileView:
        """Send a bioimage.io package of an enhancer as NAME.zip, which is checked and runs no code."""
        target = _new_package(name)
        async with received(request, places.root / INCOMING, ".zip") as file:
            await to_thread.run_sync(_keep_package, file, target)
            return FileView(name=target.name, size=file.size, sha256=file.sha256)

    @router.get("/models/{name}", response_class=FileResponse)
    def fetch(name: str) -> FileResponse:
        """A model's package."""
        path = next((m.path for m in models() if m.name == name.removesuffix(".zip")), None)
        path = path or places.new_path(name, MODELS)
        if not path.is_file():
            raise MissingDataError(
                f"{one_line(name)}: there is no such package; list the models to see which there are"
            )
        return FileResponse(path, filename=path.name)

    @router.delete("/models/{name}", status_code=204)
    def remove(name: str) -> None:
        """Remove a model that was sent or made here."""
        path = places.new_path(name if Path(name).suffix else f"{name}.zip", MODELS)
        if not path.is_file():
            raise MissingDataError(
                f"{one_line(name)}: no such model was sent or made here; only those can be removed"
            )
        path.unlink()

    @router.post("/jobs/{id}/export", status_code=201)
    async def export_model(id: str, request: ExportRequest) -> FileView:
        """Write a job's network as a package, tested before it gets its name, among the models."""
        target = _new_package(request.name, ".zip" if request.format == "bioimageio" else ".czann")
        package = [f"package.{key}={flow_yaml(value)}" for key, value in request.package.items()]
        run = jobs.get(id).run
        await get_running_loop().run_in_executor(
            alone, lambda: export(run, target, request.format, request.step, overrides=package)
        )
        return FileView(name=target.name, size=target.stat().st_size)

    def _new_package(name: str, ending: str = ".zip") -> Path:
        target = places.new_path(f"{name.removesuffix(ending)}{ending}", MODELS)
        require_new(target)
        return target

    @router.post("/predict", responses={200: _BINARY}, response_class=Response)
    async def predict(
        request: PredictRequest,
        format: Literal["npy", "png"] = "npy",
        channel: Annotated[int, Query(ge=0, description="of the picture; npy has all")] = 0,
    ) -> Response:
        """Apply what a finished job has made to part of an image: float32 probabilities as npy, or a PNG."""
        found = await get_running_loop().run_in_executor(alone, predictions.predict, request)
        if format == "npy":
            return Response(_npy(found.values), media_type="application/octet-stream", headers=_titles(found))
        return Response(_picture(found, channel), media_type="image/png", headers=_titles(found))

    return router


def _view(model: Model) -> ModelView:
    said = model.package
    size = model.path.stat().st_size if model.path.is_file() else None
    return ModelView(
        name=model.name, kind=said.kind, licence=said.licence, description=said.description, size=size
    )


def _keep_package(file: Received, target: Path) -> None:
    load_package(file.path)
    file.keep(target)


def _npy(values: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, values, allow_pickle=False)
    return buffer.getvalue()


def _picture(found: Map, channel: int) -> bytes:
    if channel >= len(found.values):
        raise InputError(
            f"channel {channel} was asked for, but there are {len(found.values)}; take one, from 0"
        )
    values = found.values[channel]
    plane = values[len(values) // 2] if values.ndim == 3 else values
    return png((plane.clip(0, 1) * 255).round().astype(np.uint8))


def _titles(found: Map) -> Mapping[str, Any]:
    return {"x-channels": ", ".join(found.titles).encode("ascii", "replace").decode()}
