"""`s2d objects`: cuts maps into objects, numbers and measures them."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from shallow2deep.commands.predict import RECOMMENDED, candidate, chosen
from shallow2deep.commands.status import require_current
from shallow2deep.errors import InputError
from shallow2deep.inputs.channels import boundary_of, channel_number
from shallow2deep.inputs.images import new_name, refuse_overwriting, require_writable, select
from shallow2deep.inputs.maps import as_shares
from shallow2deep.inputs.names import in_order, owners, plain_name
from shallow2deep.io.atomic import atomic_path, one_writer, read_json, write_json
from shallow2deep.io.known import Known
from shallow2deep.io.label_files import FORMATS, create_labels, write_mask
from shallow2deep.io.map_files import read_outputs
from shallow2deep.io.memory import require_memory
from shallow2deep.io.object_files import join_tables, paths_of, save_objects
from shallow2deep.io.tables import write_csv
from shallow2deep.io.volumes import Volume, check_finite, open_volumes
from shallow2deep.progress import Bar, watched
from shallow2deep.runs.folder import command_of, known_of
from shallow2deep.segmentation.instances import instances
from shallow2deep.segmentation.measurements import measured
from shallow2deep.segmentation.size_limits import in_pixels
from shallow2deep.segmentation.stitching import stitched
from shallow2deep.settings import AdaptConfig, ObjectsSettings, RawData, read_yaml, validated
from shallow2deep.stages.objects import SUMMARY, threshold_of
from shallow2deep.stages.prediction import CHOICE, PREDICTION

log = logging.getLogger(__name__)

_CHUNKS = 2  # of labels along each axis that are in memory at a time
_PER_PIXEL = 64  # bytes of memory that distances, basins and labels take


@dataclass(frozen=True)
class FoundObjects:
    """What was found.

    Attributes:
        counts: how many objects, by image.
        threshold: of the foreground.
        threshold_is: where that comes from, in words.
        table: the CSV file with the objects of all images.
    """

    counts: Mapping[str, int]
    threshold: float
    threshold_is: str
    table: Path


@dataclass(frozen=True)
class _Map:
    """The map of one image, and raw if it is there."""

    name: str
    foreground: Volume
    boundary: Volume | None
    voxel_size: tuple[float, ...] | None
    raw: Volume | None


def find_objects(
    maps: str | Path | RawData,
    out: str | Path,
    settings: ObjectsSettings | None = None,
    raw: RawData | None = None,
    step: str = RECOMMENDED,
    masks: bool = False,
    format: str = "tif",
    trust: bool = False,
    in_blocks: bool = False,
) -> FoundObjects:
    """Writes labels and measurements of the objects in each map, and one table of all.

    Masks are made here and not by `predict`, as a threshold makes them, like the objects, of any map, also of
    those that a run or another program has made; so there is one threshold, chosen and told in one place.

    Args:
        maps: a run of `adapt`, whose maps of its own images are taken; or maps, by name.
        out: folder; gets `NAME_objects.tif`, `NAME_objects.csv` for each image, and `objects.csv`.
        settings: how objects are cut out; those of the run, or the defaults, if None.
        raw: images, matched by name, whose intensities are measured.
        step: of a run: "recommended", "forest", "enhanced", "segmentor", or the name of a result's folder.
        masks: whether the maps above the threshold are written, too: `NAME_mask.png`, of volumes `.tif`.
        format: of the labels: "tif", or "zarr" for OME-Zarr.
        trust: whether Python code in the enhancer's package may be run, if it needs that.
        in_blocks: whether a block of each map is in memory at a time: objects are then its connected parts
            above the threshold, see `stitched`.

    Raises:
        InputError: anything that cannot be used, before any work.
    """
    out = Path(out)
    if format not in FORMATS:
        raise InputError(f"labels are written as {' or '.join(FORMATS)}, not as {format}; give one of them")
    data = maps if isinstance(maps, RawData) else RawData(raw=(str(maps),))
    settings = settings or settings_of(data, {})
    if run := _run_of(data):
        data, threshold, why, settings = _of_run(run, data, step, settings, trust)
    elif step != RECOMMENDED:
        raise InputError(f"--step {step} came with maps; it chooses among the results of a run of adapt")
    else:
        threshold, why = threshold_of(settings, {}, "", "")
    if in_blocks:
        _require_for_blocks(settings, masks, format)
    found = _opened(data, settings, raw, in_blocks)
    inputs = [volume.file for one in found for volume in (one.foreground, one.raw) if volume is not None]
    targets = [path for one in found for path in (*paths_of(out, one.name, format), _mask_path(out, one))]
    refuse_overwriting(targets, inputs)
    require_writable(targets)
    with one_writer(out):
        counts = {
            one.name: _write_in_blocks(one, out, settings, threshold)
            if in_blocks
            else _write(one, out, settings, threshold, masks, format)
            for one in watched(found, len(found), "objects", Bar())
        }
        table = join_tables(out, list(counts))
        write_json(out / SUMMARY, {"threshold": threshold, "threshold_is": why, "objects": counts})
    return FoundObjects(counts, threshold, why, table)


def _run_of(maps: RawData) -> Path | None:
    """The run of `adapt` that is named in place of maps, if it is one."""
    path = Path(maps.raw[0])
    return path if len(maps.raw) == 1 and command_of(path) == "adapt" else None


def settings_of(maps: RawData, values: Mapping[str, Any], origin: str = "objects") -> ObjectsSettings:
    """Settings with those values, and for all others those of the run that is named, or the defaults.

    Raises:
        SettingsError: a value that cannot be used.
    """
    run = _run_of(maps)
    own = (_config_of(run).objects if run else None) or ObjectsSettings()
    return validated(ObjectsSettings, own.model_dump() | dict(values), origin)


def _config_of(run: Path) -> AdaptConfig:
    return validated(AdaptConfig, read_yaml(run / "settings.yaml"), str(run / "settings.yaml"))


def _of_run(
    run: Path, data: RawData, step: str, settings: ObjectsSettings, trust: bool
) -> tuple[RawData, float, str, ObjectsSettings]:
    """A result's maps, the threshold, where it comes from, and the settings with the class."""
    config, known = _config_of(run), known_of(run)
    if settings.channel is None and len(config.classes) == 2:
        settings = settings.model_copy(update={"channel": config.classes[1]})
    if settings.channel not in config.classes[1:]:
        raise InputError(f"objects are of one class; give as channel one of {', '.join(config.classes[1:])}")
    of_class = str(settings.channel)
    recommended = step == RECOMMENDED
    name = chosen(run, config, known, trust)[of_class] if recommended else candidate(run, step, config)
    require_current(run, [name, PREDICTION], known, trust)
    threshold, why = threshold_of(settings, read_json(run / PREDICTION / CHOICE), name, of_class)
    files = tuple(str(path) for path in sorted((run / name).glob("*.h5")))
    return data.model_copy(update={"raw": files}), threshold, why, settings


def _require_for_blocks(settings: ObjectsSettings, masks: bool, format_: str) -> None:
    if settings.kind != "blobs" or settings.by_planes or masks or format_ != "zarr":
        raise InputError(
            f"objects in blocks of kind {settings.kind}, as {format_}{', by planes' * settings.by_planes}"
            f"{', with masks' * masks} came; give blobs and --format zarr, and leave out the rest"
        )


def _opened(data: RawData, settings: ObjectsSettings, raw: RawData | None, in_blocks: bool) -> list[_Map]:
    """The maps, checked, with raw beside them."""
    volumes = select(open_volumes(data.raw, data.axes, data.voxel_size), data.manifest)
    raws = _raws(raw, volumes) if raw is not None else [None] * len(volumes)
    ours = [read_outputs(volume.file) is not None for volume in volumes]  # in 0..1
    others = iter(as_shares([v for v, own in zip(volumes, ours, strict=True) if not own], Known()))
    maps = [volume if own else next(others) for volume, own in zip(volumes, ours, strict=True)]
    names: set[str] = set()
    found = []
    for volume, beside in zip(maps, raws, strict=True):
        foreground, boundary = _channels(volume, settings)
        size = volume.voxel_size or (beside.voxel_size if beside is not None else None)
        for limit in (settings.min_size, settings.max_size):
            in_pixels(limit or 0.0, volume.ndim, size)
        if not in_blocks:
            require_memory(_PER_PIXEL * int(np.prod(volume.spatial_shape)), f"the objects of {volume.name}")
        name = new_name(volume.file.stem + volume.time_suffix, names)
        found.append(_Map(name, foreground, boundary, size, beside))
    if unknown := [one.name for one in found if one.voxel_size is None]:
        log.info(
            "the voxel size of %s%s is not known, so all is measured in pixels only; --voxel-size states it",
            unknown[0],
            f" and {len(unknown) - 1} more" if len(unknown) > 1 else "",
        )
    return found


def _channels(volume: Volume, settings: ObjectsSettings) -> tuple[Volume, Volume | None]:
    """The foreground and its boundary in a map."""
    if "c" not in volume.axes:
        return volume, None
    number = channel_number(volume, settings.channel)
    edge = boundary_of(read_outputs(volume.file) or (), number)
    return volume.channel(number), None if edge is None else volume.channel(edge)


def _raws(raw: RawData, maps: Sequence[Volume]) -> list[Volume | None]:
    """The raw images, in the order of the maps that they belong to."""
    volumes = select(open_volumes(raw.raw, raw.axes, raw.voxel_size), raw.manifest)
    names, keys = [plain_name(p) for p in maps], [plain_name(image) for image in volumes]
    if (places := owners(names, keys)) is not None:
        ordered = [volumes[n] for n in places]
    elif len(volumes) == len(maps):
        ordered = in_order(volumes, keys, names, "raw images")
    else:
        raise InputError(
            f"{len(maps)} maps and {len(volumes)} raw images came, and names do not tell which belong "
            "together; give one for each"
        )
    for image, p in zip(ordered, maps, strict=True):
        if image.spatial_shape != p.spatial_shape:
            raise InputError(
                f"{image.name} has shape {image.spatial_shape} but its map {p.name} {p.spatial_shape}; give "
                "the raw images of the maps"
            )
        check_finite(image)
    return [*ordered]


def _mask_path(out: Path, one: _Map) -> Path:
    return out / f"{one.name}_mask.{'png' if one.foreground.ndim == 2 else 'tif'}"


def _write(
    one: _Map, out: Path, settings: ObjectsSettings, threshold: float, masks: bool, format_: str
) -> int:
    """How many objects there are in an image, whose files are then there."""
    p = one.foreground.read()
    boundary = None if one.boundary is None else one.boundary.read()
    labels = instances(p, boundary, settings, one.voxel_size, threshold)
    intensities = {"map": p} if one.raw is None else {"raw": one.raw.read(), "map": p}
    save_objects(
        out, one.name, labels, measured(labels, one.voxel_size, intensities), one.voxel_size, format_
    )
    if masks:
        write_mask(_mask_path(out, one), p > threshold, one.voxel_size)
    return int(labels.max(initial=0))


def _write_in_blocks(one: _Map, out: Path, settings: ObjectsSettings, threshold: float) -> int:
    """The same with a block in memory at a time."""
    of_labels, of_table = paths_of(out, one.name, "zarr")
    shape, kind = one.foreground.shape, np.dtype(np.uint32)
    images = [("map", one.foreground)]
    if one.raw is not None:
        several = "c" in one.raw.axes
        channels = [(f"raw_c{n}", one.raw.channel(n)) for n in range(one.raw.shape[0])] if several else []
        images = [*(channels or [("raw", one.raw)]), *images]
    with atomic_path(of_labels) as temporary:
        array = create_labels(temporary, shape, kind, one.voxel_size, of_labels.stem)
        block = [chunk * _CHUNKS for chunk in array.chunks]
        table = stitched(one.foreground, array, settings, threshold, block, images, one.voxel_size)
    write_csv(of_table, table)
    return len(table["label"])
