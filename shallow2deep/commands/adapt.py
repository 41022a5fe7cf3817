"""`s2d adapt`: target_forest, enhanced (pseudo_labels, segmentor), prediction (objects), report."""

import logging
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from shallow2deep.inputs.ilastik import with_project
from shallow2deep.inputs.models import find_enhancer, given_enhancers
from shallow2deep.inputs.results import (
    SOURCE_MODEL,
    SOURCE_NET,
    STROKES_NET,
    SUPERVISED,
    candidate_names,
    segmentor_name,
)
from shallow2deep.inputs.start_weights import require_elsewhere
from shallow2deep.inputs.target import Target, fitted_segmentor, open_target, with_pixel_size
from shallow2deep.io.known import Known
from shallow2deep.networks.devices import require_devices
from shallow2deep.networks.model import load_spec
from shallow2deep.networks.own import trust_files
from shallow2deep.runs.engine import Stage
from shallow2deep.runs.folder import execute, known_of
from shallow2deep.settings import AdaptConfig, Variant, anchored
from shallow2deep.stages.enhanced import enhanced_stage
from shallow2deep.stages.kept import (
    kept_copy,
    kept_enhancer_stage,
    kept_enhancers,
    kept_source_model_stage,
)
from shallow2deep.stages.objects import objects_stage
from shallow2deep.stages.pools import labels_pool_stage, strokes_pool_stage
from shallow2deep.stages.prediction import PREDICTION, prediction_stage
from shallow2deep.stages.pseudo_labels import next_pseudo_labels_stage, pseudo_labels_stage
from shallow2deep.stages.report import report_stage
from shallow2deep.stages.segmentor import network_stage
from shallow2deep.stages.source_net import applied_source_net_stage
from shallow2deep.stages.target_forest import target_forest_stage

log = logging.getLogger(__name__)


def opened(config: AdaptConfig, run: Path, known: Known, trust: bool = False) -> Target:
    """All data opened and checked; of the enhancer, the run's own copy if it has one.

    Raises:
        InputError: data or settings that cannot be used.
    """
    return open_target(config, trust, known, kept_enhancers(run, config, known))


def target_stages(config: AdaptConfig, target: Target, run: Path, known: Known) -> list[Stage]:
    """The stages of an adaptation.

    Raises:
        InputError: settings that cannot be used.
    """
    forest = target_forest_stage(config, target)
    pairs = zip(given_enhancers(config), target.enhancers, strict=True)
    kept = [kept_enhancer_stage(run, given, enhancer, known) for given, enhancer in pairs]
    enhanced = enhanced_stage(config, target, forest, kept)
    stages, candidates = [*kept, forest, enhanced], [forest, enhanced]
    if config.segmentor is not None:
        pseudo_labels = pseudo_labels_stage(config, target, enhanced)
        stages.append(pseudo_labels)
        for variant in config.segmentor.variants:
            rounds = _rounds(variant, pseudo_labels, enhanced, config, target, known)
            stages += rounds
            candidates += [stage for stage in rounds if stage.name.startswith("segmentor")]
    if config.compare.source_net:
        pair = _source_net(config, target, run, known)
        stages += pair
        candidates.append(pair[-1])
    pools = []
    if config.compare.strokes_net:
        pools.append((STROKES_NET, strokes_pool_stage(config, target)))
    if config.compare.supervised:
        pools.append((SUPERVISED, labels_pool_stage(config, target)))
    for name, pool in pools:
        candidates.append(network_stage(name, config, target, pool, known))
        stages += [pool, candidates[-1]]
    results = [prediction_stage(config, target, candidates)]
    if config.objects is not None:
        results.append(objects_stage(config, target, results[0]))
    return [*stages, *results, report_stage(config, target, candidates, results)]


def _rounds(
    variant: Variant, pool: Stage, enhanced: Stage, config: AdaptConfig, target: Target, known: Known
) -> list[Stage]:
    """Segmentors of one variant, each learning from the one before, and the pools in between."""
    assert config.segmentor is not None
    segmentor = network_stage(segmentor_name(variant), config, target, pool, known, variant)
    found, before = [segmentor], enhanced
    for number in range(2, config.segmentor.rounds + 1):
        pool_name = f"pseudo_labels-{variant}-{number}"
        pool = next_pseudo_labels_stage(pool_name, before, segmentor, config, target)
        following = network_stage(segmentor_name(variant, number), config, target, pool, known, variant)
        before, segmentor = segmentor, following
        found += [pool, following]
    return found


def _source_net(config: AdaptConfig, target: Target, run: Path, known: Known) -> list[Stage]:
    """The run's own copy of the source net, and its maps."""
    (enhancer,) = given_enhancers(config)
    kept = kept_copy(run, SOURCE_MODEL, enhancer.name, known)
    beside = kept or find_enhancer(enhancer.name).parent / SOURCE_NET
    model = kept_source_model_stage(run, enhancer.name, beside, known)
    return [model, applied_source_net_stage(config, target, model, load_spec(beside))]


def adapt(config: AdaptConfig, run: str | Path, trust: bool = False, beside: Sequence[Path] = ()) -> Path:
    """Trains a forest on strokes, lets an enhancer correct its maps, and trains a segmentor on those.

    What is trained beyond the forest depends on the settings. All results are judged by strokes that were
    held out, and the recommended one is taken over as `prediction`; `report.html` tells about all of it.

    Args:
        config: the settings.
        run: folder for everything that is made.
        trust: whether Python code of the enhancer may be run, if it needs that.
        beside: other runs: what is finished there and is the same is taken over.

    Returns:
        The folder of the recommended maps, one file per raw image.

    Raises:
        InputError: data or settings that cannot be used, before any work.
        RunBusyError: another process works on `run`.
        Interrupted: it was stopped; the same call goes on.
    """
    config = anchored(config)
    trust_files(config.target_network.network)
    run, config = Path(run), fitted_segmentor(with_project(config))
    require_devices([config.enhanced.device, *([config.segmentor.device] if config.segmentor else [])])
    if config.segmentor is not None:
        require_elsewhere(run, dict.fromkeys(candidate_names(config), config.segmentor.weights))
    known = known_of(run)
    target = opened(config, run, known, trust)
    config = with_pixel_size(config, target)
    log.info("pixel size: %s", target.pixel_sizes)
    log.info("painted: %s", target.painted(config.classes))
    if config.ndim == 3:
        log.info("volumes: %s", target.way(config))
    execute(run, "adapt", config, partial(target_stages, target=target, run=run, known=known), known, beside)
    return run / PREDICTION
