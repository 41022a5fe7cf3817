"""`s2d --server URL adapt …`: the same command, with the work done by a server."""

import hashlib
import json
import logging
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from shallow2deep.errors import Aborted, InputError, MissingDataError, Shallow2DeepError
from shallow2deep.io.atomic import read_json, write_json
from shallow2deep.io.formats import split_name
from shallow2deep.io.volumes import members
from shallow2deep.runs.events import BarReader
from shallow2deep.runs.folder import require_free
from shallow2deep.service.client import Client, connect
from shallow2deep.settings import Settings, anchored, with_names

log = logging.getLogger(__name__)

_NOTE = ".server.json"  # in the run's folder: which job of which server it is
_NOT_BROUGHT = ("checkpoints", "control.json", "worker.json")
_OF_ENHANCERS = ("model.json", "weights.safetensors")
_OF_IMAGES = ("raw", "labels", "strokes", "probabilities")


def run_elsewhere(url: str, command: str, config: Settings, run: Path) -> None:
    """Sends data and settings to a server, follows the job there, and brings its run back.

    The same call goes on with the same job: it is not sent twice.

    Args:
        url: see `connect`.
        config: settings that were checked; names of data are those of this computer.
        run: folder that gets what is made.

    Raises:
        Shallow2DeepError: what was refused there, or why the job has ended.
    """
    require_free(run, command)
    client = connect(url)
    values = anchored(config).model_dump(mode="json", exclude_unset=True)
    job = _job_of(client, run, command, values)
    log.info(
        "job %s of %s; without this terminal it goes on there, and the same command follows it",
        job,
        client.url,
    )
    bar = BarReader()
    for event in client.follow(job):
        bar(event)
        if event["kind"] == "done":
            log.info("%s: done", event["stage"])
    bar({"kind": "end"})
    found = client.standing(job)
    client.results(job, run, _NOT_BROUGHT)
    if found["state"] == "aborted":
        raise Aborted(found["why"] or "given up on request; what is finished stays")
    if found["state"] != "finished":
        raise Shallow2DeepError(found["why"] or f"the job on {client.url} is {found['state']}")


def _job_of(client: Client, run: Path, command: str, values: Mapping[str, Any]) -> str:
    """The job that was sent before for this run with these settings, or a new one."""
    note, digest = run / _NOTE, hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()
    said = read_json(note) if note.is_file() else {}
    if said.get("settings") == digest and said.get("url") == client.url:
        try:
            if client.standing(said["job"])["state"] in ("paused", "aborted", "failed"):
                client.resume(said["job"])
            return str(said["job"])
        except MissingDataError:
            log.info("job %s is no longer on %s; it is sent again", said["job"], client.url)
    job = str(client.start(command, with_sent(client, values), run.resolve().name)["id"])
    run.mkdir(parents=True, exist_ok=True)
    write_json(note, {"url": client.url, "job": job, "settings": digest})
    return job


def with_sent(client: Client, values: Mapping[str, Any]) -> dict[str, Any]:
    """Settings whose names of data are those of the server, to which the files were sent."""
    renamed: dict[str, Any] = with_names(values, partial(_sent, client))
    return renamed


def _sent(client: Client, key: str, name: str) -> str | list[str]:
    if key == "enhancer":
        return _sent_enhancer(client, name)
    found = []
    for member in members(name) if key in _OF_IMAGES else [name]:
        path, inner = split_name(member)
        log.info("sending %s", path)
        there = client.upload(path)
        found.append(f"{there}:{inner}" if inner else there)
    return found if key in _OF_IMAGES else found[0]


def _sent_enhancer(client: Client, name: str) -> str:
    """A name that the server knows stays; of a run, its enhancer is sent."""
    if "/" not in name and name in [model["name"] for model in client.models()]:
        return name
    places = (Path(name), Path(name) / "enhancer")
    for place in places:
        if place.is_file() or (place / "model.json").is_file():
            log.info("sending %s", place)
            return client.upload(place, None if place.is_file() else _OF_ENHANCERS)
    raise InputError(
        f"{name}: no enhancer here, and none of that name on {client.url}; give a finished run of "
        "enhancer-train, a bioimage.io package, or the name of a model there"
    )
