"""The HTTP interface: routes put together, errors as JSON."""

import logging

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.middleware.cors import CORSMiddleware
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from shallow2deep.errors import (
    DeniedError,
    InputError,
    MissingDataError,
    NoRoomError,
    OutdatedError,
    RunBusyError,
    Shallow2DeepError,
    TakenError,
    TooLargeError,
    TooLittleMemoryError,
    one_line,
)
from shallow2deep.service.guards import Guard, Rules
from shallow2deep.service.image_routes import image_routes
from shallow2deep.service.job_routes import job_routes
from shallow2deep.service.jobs import Jobs
from shallow2deep.service.live import Live
from shallow2deep.service.model_routes import model_routes
from shallow2deep.service.page_routes import add_page
from shallow2deep.service.painting_routes import painting_routes
from shallow2deep.service.views import About, Problem
from shallow2deep.version import VERSION

log = logging.getLogger(__name__)

_STATUSES: tuple[tuple[type[Exception], int], ...] = (  # the first that fits
    (MissingDataError, 404),
    (TakenError, 409),
    (OutdatedError, 409),
    (RunBusyError, 409),
    (TooLargeError, 413),
    (DeniedError, 403),
    (TooLittleMemoryError, 507),
    (NoRoomError, 507),
    (InputError, 400),
)
_ABOUT = """
Trainings in a queue, followed and steered; images, strokes and models; predictions.

What is refused is answered by a `Problem`: the sentence that the command line would have said, with status
400 (unusable), 401 (no token), 403 (not from there), 404 (not there), 409 (taken, or in use), 413 (too large)
or 507 (no room).
"""
_PROBLEMS = {status: {"model": Problem} for status in (400, 401, 403, 404, 409, 413, 422, 500, 507)}


def create_app(jobs: Jobs, rules: Rules, live: Live | None = None) -> FastAPI:
    """The whole interface.

    Args:
        rules: who may ask for what.
        live: a project to paint on.
    """
    app = FastAPI(title="shallow2deep", version=VERSION, description=_ABOUT, responses=_PROBLEMS)  # type: ignore[arg-type]

    @app.get("/about", tags=["server"])
    def about() -> About:
        """What this server is."""
        return About(version=VERSION, max_upload=rules.max_upload, slots=len(jobs.slots))

    for routes in (job_routes(jobs), image_routes(jobs.places), model_routes(jobs)):
        app.include_router(routes)
    if live is not None:
        app.include_router(painting_routes(live, jobs))
    add_page(app, jobs)
    app.add_exception_handler(Shallow2DeepError, _ours)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(OSError, _of_system)
    app.add_exception_handler(Exception, _unforeseen)
    if rules.origins:
        app.add_middleware(
            CORSMiddleware, allow_origins=rules.origins, allow_methods=["*"], allow_headers=["*"]
        )
    app.add_middleware(Guard, rules=rules)
    return app


def status_of(error: Exception) -> int:
    """The HTTP status of one of our errors."""
    return next((status for kind, status in _STATUSES if isinstance(error, kind)), 500)


def _answer(status: int, sentence: str, kind: str, exit_code: int = 2) -> JSONResponse:
    return JSONResponse(Problem(error=sentence, kind=kind, exit_code=exit_code).model_dump(), status)


def _ours(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, Shallow2DeepError)
    return _answer(status_of(error), str(error), type(error).__name__, error.exit_code)


def _invalid(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    where = ".".join(map(str, first["loc"]))
    return _answer(422, f"{one_line(where)}: {one_line(first['msg'])}; see /docs", "InputError")


def _http(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    return _answer(error.status_code, f"{one_line(error.detail)}; see /docs", "InputError")


def _of_system(request: Request, error: Exception) -> JSONResponse:
    return _answer(500, one_line(error), "Shallow2DeepError", 1)


def _unforeseen(request: Request, error: Exception) -> JSONResponse:
    log.error("%s %s failed", request.method, request.url.path, exc_info=error)
    return _answer(500, "the server failed on this; its log says why", "Shallow2DeepError", 1)
