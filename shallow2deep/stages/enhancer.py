"""Stage *enhancer*: the network that corrects probability maps, trained from the pool."""

from shallow2deep.inputs.models import ENHANCER
from shallow2deep.inputs.source import Source
from shallow2deep.outputs import BOUNDARY, Output
from shallow2deep.runs.engine import Stage
from shallow2deep.settings import EnhancerTrainConfig
from shallow2deep.stages.network_training import pool_network_stage


def enhancer_stage(config: EnhancerTrainConfig, source: Source, probabilities: Stage) -> Stage:
    """It tells of the class whose map it is given, whichever that is."""
    roles = (Output(None), Output(None, BOUNDARY)) if config.enhancer.boundary else (Output(None),)
    settings = config.enhancer
    return pool_network_stage(
        ENHANCER, ("map",), roles, settings, config, source, probabilities, companion=settings.raw
    )
