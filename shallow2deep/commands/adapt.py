"""The run of `s2d adapt`: target_forest -> enhanced -> pseudo_labels -> segmentor -> prediction."""

from pathlib import Path

from shallow2deep.settings import AdaptConfig, Variant
from shallow2deep.inputs.results import STROKES_NET, SUPERVISED, segmentor_name
from shallow2deep.stages.prediction import PREDICTION, prediction_stage
from shallow2deep.runs.engine import Stage
from shallow2deep.stages.enhanced import enhanced_stage
from shallow2deep.inputs.ilastik import with_project
from shallow2deep.stages.pseudo_labels import (
    labels_pool_stage,
    next_pseudo_labels_stage,
    pseudo_labels_stage,
    strokes_pool_stage,
)
from shallow2deep.stages.report import write_report
from shallow2deep.runs.folder import execute
from shallow2deep.stages.segmentor import network_stage, source_net_stage
from shallow2deep.inputs.target import Target, open_target
from shallow2deep.stages.target_forest import target_forest_stage


def target_stages(config: AdaptConfig, run: Path, trust: bool = False) -> list[Stage]:
    """The stages, with all data opened and checked.

    Raises:
        InputError: data or settings that cannot be used.
    """
    target = open_target(config, trust)
    forest = target_forest_stage(config, target)
    enhanced = enhanced_stage(config, target, forest, run)
    stages, candidates = [forest, enhanced], [forest, enhanced]
    if config.segmentor is not None:
        stages.append(pseudo_labels_stage(config, target, enhanced, run))
        for variant in config.segmentor.variants:
            rounds = _rounds(variant, stages[2], enhanced, config, target, run)
            stages += rounds
            candidates += [stage for stage in rounds if stage.name.startswith("segmentor")]
    if config.compare.source_net:
        candidates.append(source_net_stage(config, target))
        stages.append(candidates[-1])
    pools = []
    if config.compare.strokes_net:
        pools.append((STROKES_NET, strokes_pool_stage(config, target)))
    if config.compare.supervised:
        pools.append((SUPERVISED, labels_pool_stage(config, target)))
    for name, pool in pools:
        candidates.append(network_stage(name, config, target, pool, run))
        stages += [pool, candidates[-1]]
    return [*stages, prediction_stage(config, target, candidates, run)]


def _rounds(
    variant: Variant, pool: Stage, enhanced: Stage, config: AdaptConfig, target: Target, run: Path
) -> list[Stage]:
    """Segmentors of one variant, each learning from the one before, and the pools in between."""
    assert config.segmentor is not None
    segmentor = network_stage(segmentor_name(variant), config, target, pool, run, variant)
    found, before = [segmentor], enhanced
    for number in range(2, config.segmentor.rounds + 1):
        name = segmentor_name(variant, number)
        pool_name = f"pseudo_labels-{variant}-{number}"
        pool = next_pseudo_labels_stage(pool_name, before, segmentor, config, target, run)
        following = network_stage(name, config, target, pool, run, variant)
        before, segmentor = segmentor, following
        found += [pool, following]
    return found


def adapt(config: AdaptConfig, run: str | Path, trust: bool = False) -> Path:
    """Trains a forest on strokes, lets an enhancer correct its maps, and trains a segmentor on those.

    What is trained beyond the forest depends on the settings. All results are judged by strokes that were
    held out, and the recommended one is taken over as `prediction`; `report.html` tells about all of it.

    Args:
        config: the settings.
        run: folder for everything that is made.
        trust: whether Python code in the enhancer's package may be run, if it needs that.

    Returns:
        The folder of the recommended maps, one file per raw image.

    Raises:
        InputError: data or settings that cannot be used, before any work.
        RunBusyError: another process works on `run`.
        Interrupted: a signal came; the same call goes on.
    """
    run, config = Path(run), with_project(config)
    stages = target_stages(config, run, trust)
    execute(run, "adapt", config, stages)
    write_report(run, config, trust)
    return run / PREDICTION
