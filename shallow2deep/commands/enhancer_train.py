"""The run of `s2d enhancer-train`: forests -> probabilities -> enhancer (and source_net)."""

from pathlib import Path

from shallow2deep.settings import EnhancerTrainConfig
from shallow2deep.runs.engine import Stage
from shallow2deep.stages.enhancer import enhancer_stage, source_net_stage
from shallow2deep.stages.forests import forests_stage
from shallow2deep.stages.probabilities import probabilities_stage
from shallow2deep.runs.folder import execute
from shallow2deep.inputs.source import open_sources


def source_stages(config: EnhancerTrainConfig, run: Path) -> list[Stage]:
    """The stages, with all data opened and checked.

    Raises:
        InputError: data or settings that cannot be used.
    """
    source = open_sources(config)
    forests = forests_stage(config, source)
    probabilities = probabilities_stage(config, source, forests, run)
    stages = [forests, probabilities, enhancer_stage(config, source, probabilities, run)]
    if config.source_net is not None:
        stages.append(source_net_stage(config, source, probabilities, run))
    return stages


def enhancer_train(config: EnhancerTrainConfig, run: str | Path) -> Path:
    """Trains an enhancer on labelled source data; goes on where an earlier call stopped.

    Args:
        config: the settings.
        run: folder for everything that is made; its subfolder `enhancer` is what `adapt` takes.

    Returns:
        The folder of the enhancer.

    Raises:
        InputError: data or settings that cannot be used, before any work.
        RunBusyError: another process works on `run`.
        Interrupted: a signal came; the same call goes on.
    """
    run = Path(run)
    execute(run, "enhancer-train", config, source_stages(config, run))
    return run / "enhancer"
