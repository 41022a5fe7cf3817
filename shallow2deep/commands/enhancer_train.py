"""`s2d enhancer-train`: forests -> probabilities -> enhancer (and source_net)."""

import logging
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from shallow2deep.inputs.models import ENHANCER
from shallow2deep.inputs.results import SOURCE_NET
from shallow2deep.inputs.shapes import way_in_words
from shallow2deep.inputs.source import Source, fitted, open_sources
from shallow2deep.inputs.start_weights import require_elsewhere
from shallow2deep.io.known import Known
from shallow2deep.networks.devices import require_devices
from shallow2deep.networks.own import trust_files
from shallow2deep.runs.engine import Stage
from shallow2deep.runs.folder import execute, known_of
from shallow2deep.settings import EnhancerTrainConfig, anchored
from shallow2deep.stages.enhancer import enhancer_spec, enhancer_stage
from shallow2deep.stages.forests import forests_stage
from shallow2deep.stages.probabilities import probabilities_stage
from shallow2deep.stages.source_net import source_net_stage

log = logging.getLogger(__name__)


def source_stages(config: EnhancerTrainConfig, known: Known) -> list[Stage]:
    """The stages, with all data opened and checked.

    Raises:
        InputError: data or settings that cannot be used.
    """
    return _stages(config, open_sources(config, known), known)


def _stages(config: EnhancerTrainConfig, source: Source, known: Known) -> list[Stage]:
    forests = forests_stage(config, source)
    probabilities = probabilities_stage(config, source, forests)
    stages = [forests, probabilities, enhancer_stage(config, source, probabilities, known)]
    if config.source_net is not None:
        stages.append(source_net_stage(config, source, probabilities, known))
    return stages


def enhancer_train(config: EnhancerTrainConfig, run: str | Path, beside: Sequence[Path] = ()) -> Path:
    """Trains an enhancer on labelled source data; goes on where an earlier call stopped.

    Args:
        config: the settings.
        run: folder for everything that is made; its subfolder `enhancer` is what `adapt` takes.
        beside: other runs: what is finished there and is the same is taken over.

    Returns:
        The folder of the enhancer.

    Raises:
        InputError: data or settings that cannot be used, before any work.
        RunBusyError: another process works on `run`.
        Interrupted: it was stopped; the same call goes on.
    """
    config = anchored(config)
    trust_files(*config.networks)
    run, config = Path(run), fitted(config)
    require_devices([config.enhancer.device, *([config.source_net.device] if config.source_net else [])])
    networks = {ENHANCER: config.enhancer, SOURCE_NET: config.source_net}
    require_elsewhere(run, {stage: one.weights for stage, one in networks.items() if one})
    known = known_of(run)
    source = open_sources(config, known)
    if config.ndim == 3:
        log.info("volumes: %s", way_in_words(source.shape, source.spec, enhancer_spec(config, source)))
    execute(run, "enhancer-train", config, partial(_stages, source=source, known=known), known, beside)
    return run / ENHANCER
