"""Stages *enhancer* and *source_model* of an adaptation: the run's own copies of the networks it was given.

They count as long as the same name is given, also when what bore the name is gone or was replaced.
"""

import logging
import shutil
from functools import partial
from pathlib import Path

from shallow2deep.errors import InputError
from shallow2deep.inputs.models import (
    COPY,
    ENHANCER,
    Given,
    OpenedEnhancer,
    find_enhancer,
    fingerprint_of,
    given_enhancers,
    is_package,
    load_companion,
)
from shallow2deep.inputs.results import SOURCE_MODEL
from shallow2deep.io.atomic import atomic_path, read_json
from shallow2deep.io.known import Known
from shallow2deep.networks.model import WITH_RAW, load_model, load_spec, save_model
from shallow2deep.runs.engine import METADATA, Stage, damaged_artifact, manifest_of
from shallow2deep.runs.job import Job
from shallow2deep.settings import AdaptConfig

log = logging.getLogger(__name__)

GIVEN = "given"  # in the metadata: the name by which a network was given


def kept_copy(run: Path, name: str, given: str, known: Known) -> Path | None:
    """The run's copy of what was given by a name, if there is a whole one."""
    said = run / name / METADATA
    if not said.is_file() or read_json(said).get(GIVEN) != given:
        return None
    return None if damaged_artifact(run / name, manifest_of(run / name), known) else run / name


def kept_enhancers(run: Path, config: AdaptConfig, known: Known) -> dict[str, Path]:
    """The run's whole copies of enhancers, by the stage that keeps each."""
    found = ((one.stage, kept_copy(run, one.stage, one.name, known)) for one in given_enhancers(config))
    return {stage: copy for stage, copy in found if copy is not None}


def came_as_package(run: Path) -> bool:
    """Whether a run's only enhancer was given as a package."""
    return bool(manifest_of(run / ENHANCER).get("settings", {}).get("package"))


def kept_enhancer_stage(run: Path, given: Given, enhancer: OpenedEnhancer, known: Known) -> Stage:
    """Copies the enhancer, unless the run's own copy is what was opened."""
    name, place = given.stage, run / given.stage
    if kept_copy(run, name, given.name, known) and enhancer.place.is_relative_to(place):
        _tell_if_replaced(given.name, manifest_of(place)["inputs"], known)
        return _as_it_stands(run, name)
    settings, inputs = {"package": is_package(enhancer.place)}, {"content": enhancer.fingerprint}
    said = {**enhancer.spec.metadata, GIVEN: given.name}
    return Stage(name, settings, inputs, partial(keep_enhancer, enhancer), said)


def keep_enhancer(enhancer: OpenedEnhancer, job: Job) -> None:
    """Networks that this program trained as model.json and weights; other programs' packages as they are."""
    if enhancer.is_ours:
        save_model(job.folder, enhancer.network, enhancer.spec)
        if companion := load_companion(enhancer.place):
            (job.folder / WITH_RAW).mkdir(exist_ok=True)
            save_model(job.folder / WITH_RAW, *companion)
        return
    place = enhancer.place
    with atomic_path(job.folder / (f"{COPY}.zip" if place.is_file() else COPY)) as copy:
        (shutil.copyfile if place.is_file() else shutil.copytree)(place, copy)


def kept_source_model_stage(run: Path, given: str, beside: Path, known: Known) -> Stage:
    """Copies the source's own network.

    Args:
        beside: where the source's run keeps it.

    Raises:
        InputError: it is not there, and the run has no copy.
    """
    if kept_copy(run, SOURCE_MODEL, given, known):
        return _as_it_stands(run, SOURCE_MODEL)
    if not (beside / "model.json").is_file():
        raise InputError(
            f"{beside}: no source net here; train it by s2d enhancer-train --with-source-net, or leave out "
            "compare.source_net"
        )
    inputs = {"content": fingerprint_of(beside, known)}
    said = {**load_spec(beside).metadata, GIVEN: given}
    return Stage(SOURCE_MODEL, {}, inputs, partial(keep_source_model, beside), said)


def keep_source_model(beside: Path, job: Job) -> None:
    save_model(job.folder, *load_model(beside))


def _as_it_stands(run: Path, name: str) -> Stage:
    """A stage that is finished, whatever it was made from."""
    manifest = manifest_of(run / name)
    return Stage(name, manifest["settings"], manifest["inputs"], nothing_to_do)


def nothing_to_do(job: Job) -> None:
    raise AssertionError(f"{job.folder} was whole a moment ago")


def _tell_if_replaced(given: str, inputs: dict[str, str], known: Known) -> None:
    try:
        now = fingerprint_of(find_enhancer(given), known)
    except InputError:
        return
    if now != inputs["content"]:
        log.warning(
            "%s has changed since this run began; the run's own copy counts: for the changed one give "
            "another --run", given,
        )  # fmt: skip
