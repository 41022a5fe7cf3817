"""The run of `s2d adapt`: target_forest -> enhanced. The segmentor's stages will follow *enhanced*."""

from pathlib import Path

from shallow2deep.config import AdaptConfig
from shallow2deep.stages.engine import Stage
from shallow2deep.stages.enhanced import enhanced_stage
from shallow2deep.stages.runs import execute
from shallow2deep.stages.target import open_target
from shallow2deep.stages.target_forest import target_forest_stage


def target_stages(config: AdaptConfig, run: Path) -> list[Stage]:
    """The stages, with all data opened and checked.

    Raises:
        InputError: data or settings that cannot be used.
    """
    target = open_target(config)
    forest = target_forest_stage(config, target)
    return [forest, enhanced_stage(config, target, forest, run)]


def adapt(config: AdaptConfig, run: str | Path) -> Path:
    """Trains a forest on strokes and lets an enhancer correct its probability maps.

    Args:
        config: the settings.
        run: folder for everything that is made.

    Returns:
        The folder of the enhanced maps, one file per raw image.

    Raises:
        InputError: data or settings that cannot be used, before any work.
        RunBusyError: another process works on `run`.
        Interrupted: a signal came; the same call goes on.
    """
    run = Path(run)
    execute(run, "adapt", config, target_stages(config, run))
    return run / "enhanced"
