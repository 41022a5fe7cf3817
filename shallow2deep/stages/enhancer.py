"""Stage *enhancer*: the network that corrects probability maps, trained from the pool."""

from shallow2deep.inputs.models import ENHANCER
from shallow2deep.inputs.source import Source
from shallow2deep.io.known import Known
from shallow2deep.networks.model import ModelSpec
from shallow2deep.outputs import BOUNDARY, Output
from shallow2deep.runs.engine import Stage
from shallow2deep.settings import EnhancerTrainConfig
from shallow2deep.stages.network_training import pool_network_spec, pool_network_stage


def enhancer_stage(
    config: EnhancerTrainConfig, source: Source, probabilities: Stage, known: Known | None = None
) -> Stage:
    """It tells of the class whose map it is given, whichever that is."""
    spec, settings = enhancer_spec(config, source), config.enhancer
    return pool_network_stage(spec, ("map",), settings, config, source, probabilities, settings.raw, known)


def enhancer_spec(config: EnhancerTrainConfig, source: Source) -> ModelSpec:
    """The network, without its companion."""
    roles = (Output(None), Output(None, BOUNDARY)) if config.enhancer.boundary else (Output(None),)
    return pool_network_spec(ENHANCER, roles, config.enhancer, config, source)
