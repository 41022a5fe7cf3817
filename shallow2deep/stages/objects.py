"""Stage *objects*: the recommended maps cut into objects, each with a number and measurements."""

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np

from shallow2deep.inputs.channels import of_class
from shallow2deep.inputs.images import Image
from shallow2deep.inputs.results import map_path
from shallow2deep.inputs.target import Target
from shallow2deep.io.atomic import read_json, write_json
from shallow2deep.io.map_files import read_map
from shallow2deep.io.object_files import join_tables, paths_of, save_objects
from shallow2deep.progress import safely
from shallow2deep.runs.engine import Stage, after
from shallow2deep.runs.job import Job
from shallow2deep.segmentation.instances import instances
from shallow2deep.segmentation.measurements import measured
from shallow2deep.settings import AdaptConfig, ObjectsSettings
from shallow2deep.stages.prediction import CHOICE, PREDICTION

OBJECTS, SUMMARY = "objects", "objects.json"
_VERSION = 1  # of how objects are found and measured; raised with every change


def objects_stage(config: AdaptConfig, target: Target, prediction: Stage) -> Stage:
    assert config.objects is not None
    settings = config.objects.deciding() | {"version": _VERSION}
    return Stage(OBJECTS, settings, after(prediction), partial(find_objects, config, target))


def find_objects(config: AdaptConfig, target: Target, job: Job) -> None:
    """Labels and a table of each image that are missing, and one table of all."""
    assert config.objects is not None
    settings, choice = config.objects, read_json(job.run / PREDICTION / CHOICE)
    name = str(settings.channel or config.classes[1])
    number = config.classes[1:].index(name)
    threshold, why = threshold_of(settings, choice, choice["of_classes"][name]["recommended"], name)
    for image in safely(target.images, "objects", job):
        if not all(path.exists() for path in paths_of(job.folder, image.name)):
            p, boundary = of_class(*read_map(map_path(job.run / PREDICTION, image)), number)
            labels = instances(p, boundary, settings, image.voxel_size, threshold)
            table = measured(labels, image.voxel_size, {"raw": _raw_of(image), "map": p})
            save_objects(job.folder, image.name, labels, table, image.voxel_size)
    join_tables(job.folder, [image.name for image in target.images])
    write_json(job.folder / SUMMARY, {"class": name, "threshold": threshold, "threshold_is": why})


def threshold_of(
    settings: ObjectsSettings, choice: Mapping[str, Any], result: str, class_name: str
) -> tuple[float, str]:
    """The threshold of a result's map, and where it comes from, in words.

    Args:
        choice: what the stage *prediction* has found; empty if there is no run.
    """
    if settings.threshold != "auto":
        return settings.threshold, "as set"
    chosen = choice.get("thresholds", {}).get(result, {}).get(class_name)
    if chosen is None:
        return 0.5, "as no strokes were held out to choose it by"
    return float(chosen), "chosen on held-out strokes"


def _raw_of(image: Image) -> np.ndarray:
    """`([C,] [z,] y, x)`."""
    parts = [part.read() for part in image.parts]
    return np.stack(parts, -3) if image.stacked else parts[0]
