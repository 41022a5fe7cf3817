"""`s2d ilp`: what is in an ilastik project, and predicting with the forest that was trained in it."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from shallow2deep.commands.predict import writing
from shallow2deep.errors import InputError
from shallow2deep.features import FeatureSpec
from shallow2deep.forests import Forest
from shallow2deep.inference.forest_maps import forest_map_on_disk
from shallow2deep.inference.intensity import Intensities, compare_with_learned
from shallow2deep.inputs.facts import RawFacts
from shallow2deep.inputs.ilastik import learned_range, open_frames, plain_title, project_forest, spec_of
from shallow2deep.inputs.images import new_name, refuse_overwriting, require_writable
from shallow2deep.io.formats import ENDINGS, split_name
from shallow2deep.io.ilp import Project, lane_frames, open_project
from shallow2deep.io.known import Known
from shallow2deep.io.map_files import write_probabilities
from shallow2deep.io.volumes import Volume, members
from shallow2deep.networks.devices import choose_device
from shallow2deep.outputs import of_foreground
from shallow2deep.progress import Bar, watched
from shallow2deep.runs.parallel import threads_each


def describe(path: str | Path) -> Iterator[str]:
    """What is in a project, line by line."""
    project = open_project(path)
    yield f"{project.path}: {project.workflow}, saved by ilastik {project.version}"
    yield f"labels:   {', '.join(project.label_names) or 'none'}"
    flat = sorted({scale for _, scale, in_2d in project.selection if in_2d})
    filters: dict[str, list[str]] = {}
    for name, scale, _ in project.selection:
        filters.setdefault(name, []).append(f"{scale:g}")
    yield "features: " + (
        "; ".join(f"{name} {' '.join(scales)}" for name, scales in filters.items()) or "none"
    )
    if flat:
        yield f"          plane by plane at {' '.join(f'{scale:g}' for scale in flat)}"
    yield f"forest:   {'trained' if project.has_forest else 'none'}"
    for lane in project.lanes:
        if lane.label_problem:
            drawn = f"cannot be read ({lane.label_problem})"
        else:
            counts = project.label_counts(lane)
            drawn = ", ".join(f"{_label_name(project, n)} {counts[n]}" for n in sorted(counts))
        yield f"data:     {lane.nickname} ({lane.axes}): {lane.raw or lane.problem}"
        yield f"          labelled pixels: {drawn or 'none'}"


def _label_name(project: Project, number: int) -> str:
    known = dict(enumerate(project.label_names, 1))
    return known.get(number, f"label {number}")


def predict_project(
    path: str | Path,
    out: str | Path,
    raw: Sequence[str] = (),
    engine: str = "numba",
    device: str = "cpu",
    rescale: bool = False,
) -> list[Path]:
    """Predicts with the forest that was trained in ilastik, as ilastik does.

    Args:
        path: the project.
        out: a folder, which gets a .h5 file for each of the project's data sets and time points.
        raw: other data to predict, like those of the project, in place of its own.
        engine, device: what computes, and where; a GPU's values differ from ilastik's by rounding.
        rescale: whether data are shifted and scaled to the range of values of the project's painted images;
            otherwise those far outside are refused, if these images are found.

    Returns:
        The files written: float32 `(labels, [z,] y, x)` each.

    Raises:
        InputError: a project or data that cannot be used, before any work.
    """
    project, out, where = open_project(path), Path(out), str(choose_device(device))
    if out.suffix.lower() in ENDINGS or out.is_file():
        raise InputError(f"{out}: maps are written into a folder; give the name of one")
    if not project.has_forest:
        raise InputError(f"{path} holds no trained forest; press Live Update in ilastik, save, and try again")
    volumes, files = _volumes_to_predict(project, raw)
    targets = [out / f"{name}.h5" for name, _ in volumes]
    refuse_overwriting(targets, [project.path, *files])
    require_writable(targets)
    learned = learned_range(project, rescale)
    forests = _forests_for(project, [volume for _, volume in volumes], learned)
    found = [(volume.name, RawFacts.of(volume, Known()).intensities) for _, volume in volumes]
    if learned is not None and not rescale:
        compare_with_learned(found, learned, "the forest of the project")
    bar = Bar()
    with writing(targets):
        pairs = list(zip(targets, volumes, strict=True))
        for target, (_, volume) in watched(pairs, len(pairs), "predicting", bar):
            forest = forests[spec_of(project, volume)]
            values = volume.read()
            if rescale and learned is not None:
                values = Intensities.of(values, volume.ndim).brought_to(learned, values, volume.ndim)
            p = forest_map_on_disk(forest, values, where, engine, threads_each(-1), bar)
            write_probabilities(target, p, of_foreground(forest.classes), volume.voxel_size)
    return targets


def _forests_for(
    project: Project, volumes: Sequence[Volume], learned: Intensities | None
) -> dict[FeatureSpec, Forest]:
    """The project's forest for each kind of data among `volumes`."""
    forests: dict[FeatureSpec, Forest] = {}
    for volume in volumes:
        try:
            spec = spec_of(project, volume)
            if spec not in forests:
                forests[spec] = project_forest(project, spec, learned=learned)
        except InputError as error:
            read_as = f"{volume.name}, read as {volume.axes} of shape {volume.shape}"
            raise type(error)(f"{read_as}: {error}") from None
    return forests


def _volumes_to_predict(project: Project, raw: Sequence[str]) -> tuple[list[tuple[str, Volume]], list[Path]]:
    """Names and volumes, and the files that they are in."""
    if not raw:
        own = open_frames(project)
        return [(frame.name, frame.whole) for frame in own], [frame.file for frame in own]
    if not project.lanes:
        raise InputError(f"{project.path} has no data whose axes new data could be read by")
    found: list[tuple[str, Volume]] = []
    files: list[Path] = []
    names: set[str] = set()
    for name in (member for stated in raw for member in members(stated)):
        lane = replace(project.lanes[0], nickname=split_name(name)[0].stem)
        title = new_name(plain_title(lane.nickname), names)
        times = lane_frames(project, lane, name)
        found += [(title + volume.time_suffix, volume) for volume in times]
        files.append(times[0].file)
    return found, files
