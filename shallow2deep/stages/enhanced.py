"""Stage *enhanced*: the forest's probability maps, corrected by the enhancer."""

from collections.abc import Sequence
from functools import partial

from shallow2deep.inputs.results import ENHANCED, FOREST, applied_enhancers, map_path, save_map
from shallow2deep.inputs.target import Target
from shallow2deep.io.map_files import read_map
from shallow2deep.networks.devices import choose_device
from shallow2deep.progress import safely
from shallow2deep.runs.engine import Stage, after
from shallow2deep.runs.job import Job
from shallow2deep.settings import AdaptConfig


def enhanced_stage(config: AdaptConfig, target: Target, forest: Stage, kept: Sequence[Stage]) -> Stage:
    work = partial(enhance_maps, config, target)
    return Stage(ENHANCED, config.enhanced.deciding(), after(*kept, forest), work)


def enhance_maps(config: AdaptConfig, target: Target, job: Job) -> None:
    """The enhanced maps that are missing."""
    device = choose_device(config.enhanced.device)
    enhancers = applied_enhancers(config, target.enhancers, target.voxel_size, device, job)
    for image in safely(target.images, "enhanced maps", job):
        if not map_path(job.folder, image).exists():
            maps, _ = read_map(map_path(job.run / FOREST, image))
            raws = (part.read() if enhancers.need_raw else None for part in image.parts)
            pairs = zip(image.split(maps), raws, strict=True)
            parts = (enhancers.enhance(p, raw) for p, raw in pairs)
            outputs = enhancers.outputs(config.classes)
            save_map(job.folder, image, image.join(parts), outputs, config.classes[0])
