"""The page itself: files that a browser gets as they are, and what it shows of jobs."""

import tempfile
import zipfile
from importlib.resources import files
from pathlib import Path
from typing import Any

from fastapi import APIRouter, FastAPI
from fastapi.responses import FileResponse, RedirectResponse
from starlette.background import BackgroundTask
from starlette.responses import Response
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

from shallow2deep.commands.config import schema, shown
from shallow2deep.errors import MissingDataError, one_line
from shallow2deep.io.atomic import read_json
from shallow2deep.service.job_routes import is_own_file
from shallow2deep.service.jobs import Jobs
from shallow2deep.service.painting_views import Summary
from shallow2deep.service.places import INCOMING
from shallow2deep.settings import levels_of

PAGE = "/page"
_POLICY = (
    "default-src 'self'; img-src 'self' blob:; object-src 'none'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
)
_HEADERS = {
    "content-security-policy": _POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cache-control": "no-cache",
}


class _Static(StaticFiles):
    """Files of the page, which may load nothing from elsewhere and run nothing that is not in a file."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        response = await super().get_response(path, scope)
        response.headers.update(_HEADERS)
        return response


def add_page(app: FastAPI, jobs: Jobs) -> None:
    """Adds the page, at the address that the server is called by."""

    @app.get("/", include_in_schema=False)
    def to_page() -> RedirectResponse:
        return RedirectResponse(f"{PAGE}/")

    app.include_router(_routes(jobs))
    app.mount(PAGE, _Static(directory=str(files("shallow2deep.service") / "static"), html=True))


def _routes(jobs: Jobs) -> APIRouter:
    router = APIRouter()

    @router.get("/schema/{command}", tags=["jobs"])
    def settings_schema(command: str) -> dict[str, Any]:
        """The JSON schema of a command's settings, as `s2d config schema` prints it."""
        return schema(command)

    @router.get("/jobs/{id}/summary", tags=["jobs"])
    def summary(id: str) -> Summary:
        """All settings of a job, and what was found out about its results."""
        job = jobs.get(id)
        values = shown(job.command, levels_of(job.command, job.settings, (), {}))
        choice = job.run / "prediction" / "choice.json"
        return Summary(
            settings={one.setting: one.value for one in values},
            choice=read_json(choice) if choice.is_file() else None,
        )

    @router.get("/jobs/{id}/archive/{folder}", tags=["jobs"], response_class=FileResponse)
    def archive(id: str, folder: str) -> FileResponse:
        """A folder of a job's run as a zip file: its maps, or its objects."""
        run = jobs.get(id).run
        found = [path for path in sorted((run / folder).glob("*")) if is_own_file(run, path)]
        if not found:
            raise MissingDataError(
                f"{one_line(folder)}: the job has no files there; list its files to see which it has"
            )
        number, name = tempfile.mkstemp(".zip", dir=jobs.places.root / INCOMING)
        with open(number, "wb") as file, zipfile.ZipFile(file, "w") as packed:  # noqa: PTH123 - a descriptor
            for path in found:
                packed.write(path, path.name)
        remove = BackgroundTask(Path(name).unlink, missing_ok=True)
        return FileResponse(name, filename=f"{folder}.zip", background=remove)

    return router
