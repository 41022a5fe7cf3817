"""Routes of jobs: started, steered, followed, and their results."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, Body, Header, Query, Response
from fastapi.responses import FileResponse, PlainTextResponse, StreamingResponse

from shallow2deep.errors import InputError, MissingDataError, SettingsError, one_line
from shallow2deep.runs.folder import CONSOLE
from shallow2deep.service.jobs import Jobs
from shallow2deep.service.views import (
    Assignments,
    Changed,
    Cleaned,
    FileView,
    JobRequest,
    JobView,
    ToldEvent,
)
from shallow2deep.settings import parsed

_POLL = 0.3  # seconds between two looks for events
_SIGN = 15.0  # seconds after which a line shows that the connection is alive
_MAX_LOG = 2**20
_MAX_WAIT = 60.0

Wait = Annotated[float, Query(ge=0, le=_MAX_WAIT, description="seconds to wait until it is done")]
Since = Annotated[int, Query(ge=0, le=2**62, description="position behind the last event that is known")]


def job_routes(jobs: Jobs) -> APIRouter:
    """The routes below /jobs."""
    router = APIRouter(prefix="/jobs", tags=["jobs"])

    def view(id_: str) -> JobView:
        return JobView.of(jobs.get(id_), jobs.standing(id_))

    def submitted(command: str, settings: dict, name: str, origin: str) -> JobView:
        try:
            return view(jobs.submit(command, settings, name, origin).id)
        except MissingDataError as error:  # the job's data, not what the address names
            raise InputError(str(error)) from None

    @router.get("")
    def list_jobs() -> list[JobView]:
        """All jobs, the oldest first."""
        return [JobView.of(job, jobs.standing(job.id)) for job in jobs.all()]

    @router.post("", status_code=201)
    def start(request: JobRequest) -> JobView:
        """Put a run into the queue; it begins when there is room."""
        return submitted(request.command, request.settings, request.name, "the settings")

    @router.post("/yaml", status_code=201)
    def start_from_yaml(
        command: str,
        text: Annotated[str, Body(media_type="application/yaml", description="a file of settings")],
        name: Annotated[str, Query(max_length=200)] = "",
    ) -> JobView:
        """Put a run into the queue, with a file of settings as it is."""
        try:
            values = parsed(text)
        except ValueError as error:
            raise SettingsError(
                f"the file of settings: not understood: {one_line(error)}; send YAML"
            ) from None
        if not isinstance(values, dict):
            raise SettingsError("the file of settings: a mapping of settings was expected; send one")
        return submitted(command, values, name, "the file of settings")

    @router.get("/{id}")
    def show(id: str) -> JobView:
        """Where a job stands."""
        return view(id)

    @router.post("/{id}/pause")
    def pause(id: str, wait_s: Wait = 30) -> JobView:
        """Let it save a checkpoint and wait, or stay in the queue."""
        return JobView.of(jobs.get(id), jobs.pause(id, wait_s))

    @router.post("/{id}/resume")
    def resume(id: str, wait_s: Wait = 30) -> JobView:
        """Let it go on, or put it into the queue again."""
        return JobView.of(jobs.get(id), jobs.resume(id, wait_s))

    @router.post("/{id}/abort")
    def abort(id: str, discard: bool = False, wait_s: Wait = 30) -> JobView:
        """Let it end at its next safe point; `discard`: without what is not finished."""
        return JobView.of(jobs.get(id), jobs.abort(id, discard, wait_s))

    @router.post("/{id}/set")
    def change(id: str, request: Assignments, wait_s: Wait = 30) -> Changed:
        """Change settings of its training at the next safe point."""
        made = jobs.change(id, request.assignments, wait_s)
        return Changed(change=made.model_dump(exclude_none=True) if made else None)

    @router.delete("/{id}")
    def clean(id: str) -> Cleaned:
        """Remove it with all that its run has made."""
        return Cleaned(others=[str(path.name) for path in jobs.clean(id)])

    @router.get("/{id}/history")
    def history(
        id: str, since: Since = 0, limit: Annotated[int, Query(ge=1, le=10_000)] = 1000
    ) -> list[ToldEvent]:
        """Events of its run after a position."""
        return [
            ToldEvent(position=position, event=dict(event))
            for position, event in jobs.events(id, since, limit)
        ]

    @router.get("/{id}/events", response_class=StreamingResponse)
    def events(
        id: str, since: Since = 0, last_event_id: Annotated[str | None, Header()] = None
    ) -> StreamingResponse:
        """Events as server-sent events: those after a position, and then each as it comes, until it ends.

        The id of each is its position: who was away goes on with `Last-Event-ID` or `since`, and misses none.
        The last one, called `end`, says where the job stands.
        """
        jobs.get(id)
        known = last_event_id or ""
        start = int(known) if known.isdecimal() and len(known) < 19 else since
        return StreamingResponse(_told(jobs, id, start), media_type="text/event-stream", headers=_LIVE)

    @router.get("/{id}/log", responses={200: {"content": {"text/plain": {}}}}, response_class=Response)
    def log(id: str, console: bool = False) -> PlainTextResponse:
        """The last of its log, or of what its process has said."""
        path = jobs.get(id).run / (CONSOLE if console else "log.txt")
        text = path.read_bytes()[-_MAX_LOG:].decode(errors="replace") if path.is_file() else ""
        return PlainTextResponse(text)

    @router.get("/{id}/files")
    def list_files(id: str) -> list[FileView]:
        """The files of its run: results, models, pictures, settings."""
        run = jobs.get(id).run
        return [FileView(name=str(path.relative_to(run)), size=path.stat().st_size) for path in _files(run)]

    @router.get("/{id}/files/{name:path}", response_class=FileResponse)
    def download(id: str, name: str) -> FileResponse:
        """One of them."""
        run = jobs.get(id).run
        path = run / name
        if not is_own_file(run, path):
            raise MissingDataError(
                f"{one_line(name)}: the job has no such file; list them to see which it has"
            )
        return FileResponse(path)

    @router.get("/{id}/pictures")
    def pictures(id: str) -> dict[str, str]:
        """The newest picture of each kind: what it shows, and its name among the files."""
        run = jobs.get(id).run
        shown = [event for _, event in jobs.events(id, limit=10**6) if event["kind"] == "picture"]
        paths = {event["what"]: Path(event["path"]) for event in shown}
        return {what: str(path.relative_to(run)) for what, path in paths.items() if is_own_file(run, path)}

    return router


_LIVE = {"cache-control": "no-store", "x-accel-buffering": "no"}  # proxies pass each line on at once


async def _told(jobs: Jobs, id_: str, since: int) -> AsyncIterator[str]:
    """Server-sent events; the text of an event has no line breaks."""
    clock = asyncio.get_running_loop().time
    silent_since = clock()
    while True:
        found = await asyncio.to_thread(jobs.standing, id_)  # first, so that the last events are not missed
        news = await asyncio.to_thread(jobs.events, id_, since)
        for since, event in news:
            yield f"id: {since}\ndata: {json.dumps(event)}\n\n"
        if news:
            silent_since = clock()
            continue
        if found.ended:
            end = JobView.of(await asyncio.to_thread(jobs.get, id_), found)
            yield f"event: end\ndata: {end.model_dump_json()}\n\n"
            return
        if clock() - silent_since > _SIGN:
            silent_since = clock()
            yield ": still here\n\n"
        await asyncio.sleep(_POLL)


def _files(run: Path) -> Iterator[Path]:
    return (path for path in sorted(run.rglob("*")) if is_own_file(run, path))


def is_own_file(run: Path, path: Path) -> bool:
    """Whether a path is a file within a run; none that is hidden, or a link."""
    inside = path.is_relative_to(run) and "\0" not in str(path)
    parts = path.relative_to(run).parts if inside else ("..",)
    if any(part.startswith(".") for part in parts):
        return False
    return path.resolve() == run.resolve().joinpath(*parts) and path.is_file()
