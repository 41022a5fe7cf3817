"""Stage *source_net*: a baseline that knows the source alone, trained there and applied to the target."""

from functools import partial

from shallow2deep.errors import InputError, SettingsError
from shallow2deep.inputs.results import SOURCE_MODEL, SOURCE_NET
from shallow2deep.inputs.source import Source
from shallow2deep.inputs.target import Target
from shallow2deep.io.known import Known
from shallow2deep.networks.devices import choose_device
from shallow2deep.networks.model import ModelSpec, load_model
from shallow2deep.outputs import Output
from shallow2deep.runs.engine import Stage, after
from shallow2deep.runs.job import Job
from shallow2deep.settings import AdaptConfig, EnhancerTrainConfig
from shallow2deep.stages.network_training import pool_network_spec, pool_network_stage
from shallow2deep.stages.segmentor import predict_all


def source_net_stage(
    config: EnhancerTrainConfig, source: Source, probabilities: Stage, known: Known | None = None
) -> Stage:
    """The same network as the enhancer, trained on the same patches of raw."""
    if config.source_net is None:
        raise SettingsError("source_net is not set; give its settings, or {} for the defaults")
    if len(config.classes) > 2:
        raise SettingsError("source_net is for one foreground class; leave it out for more classes")
    roles = (Output(config.classes[1]),)
    spec = pool_network_spec(SOURCE_NET, roles, config.source_net, config, source)
    return pool_network_stage(spec, ("raw",), config.source_net, config, source, probabilities, known=known)


def applied_source_net_stage(config: AdaptConfig, target: Target, model: Stage, spec: ModelSpec) -> Stage:
    """The source's network, as it is, on the target's raw.

    Args:
        model: the stage that keeps the network, which `spec` describes.

    Raises:
        InputError: a network of other axes, classes or channels.
    """
    if spec.ndim != config.ndim:
        raise InputError(
            f"the source net is {spec.ndim}D but ndim is {config.ndim}; leave out compare.source_net"
        )
    if len(spec.outputs) != len(config.classes) - 1:
        raise InputError(
            f"the source net tells {len(spec.outputs)} class apart from background but there are "
            f"{len(config.classes) - 1}; leave out compare.source_net"
        )
    if target.spec.channels != spec.in_channels:
        raise InputError(
            f"the source net takes grey images but these have {target.spec.channels} channels; leave out "
            "compare.source_net"
        )
    work = partial(apply_source_net, config, target)
    return Stage(SOURCE_NET, {}, target.fingerprints | after(model), work)


def apply_source_net(config: AdaptConfig, target: Target, job: Job) -> None:
    """Its maps of all images."""
    network, spec = load_model(job.run / SOURCE_MODEL)
    predict_all(job, network, spec, config, target, choose_device(config.enhanced.device))
