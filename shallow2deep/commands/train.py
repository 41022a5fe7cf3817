"""`s2d train`: one network for raw, trained on dense labels."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from torch import nn

from shallow2deep.inputs.labelled_images import LABELLED_NET, LabelledImages, open_labelled
from shallow2deep.inputs.start_weights import open_start, require_elsewhere
from shallow2deep.io.known import Known
from shallow2deep.networks.devices import require_devices
from shallow2deep.networks.model import ModelSpec, load_model
from shallow2deep.networks.own import trust_files
from shallow2deep.runs.engine import MANIFEST, Stage
from shallow2deep.runs.folder import execute, known_of
from shallow2deep.settings import TrainConfig, anchored
from shallow2deep.stages.labelled_net import labelled_net_stage
from shallow2deep.stages.network_training import built
from shallow2deep.training.checkpoints import load_checkpoint


def train_stages(config: TrainConfig, known: Known) -> list[Stage]:
    """The one stage, with all data opened and checked.

    Raises:
        InputError: data or settings that cannot be used.
    """
    return _stages(*open_labelled(config, known), known)


def _stages(config: TrainConfig, images: LabelledImages, known: Known) -> list[Stage]:
    return [labelled_net_stage(config, images, known)]


def train(config: TrainConfig, run: str | Path, beside: Sequence[Path] = ()) -> Path:
    """Trains a network on labelled raw images; goes on where an earlier call stopped.

    Args:
        config: the settings.
        run: folder for everything that is made.
        beside: other runs: what is finished there and is the same is taken over.

    Returns:
        The folder of the network, which `predict` takes.

    Raises:
        InputError: data or settings that cannot be used, before any work.
        RunBusyError: another process works on `run`.
        Interrupted: it was stopped; the same call goes on.
    """
    config, run = anchored(config), Path(run)
    trust_files(config.labelled_net.network)
    require_elsewhere(run, {LABELLED_NET: config.labelled_net.weights})
    known = known_of(run)
    require_devices([config.labelled_net.device])
    config, images = open_labelled(config, known)
    execute(run, "train", config, partial(_stages, images=images, known=known), known, beside)
    return run / LABELLED_NET


def network_now(run: Path, config: TrainConfig, images: LabelledImages) -> tuple[nn.Module, ModelSpec]:
    """The network of a training that does not go on meanwhile, in evaluation mode.

    If it is finished, with the weights of the best score; else with those of the last checkpoint, or those
    that it begins with.

    Args:
        run: its folder, which need not be there yet.
        images: those that it is trained on.
    """
    folder = run / LABELLED_NET
    if (folder / MANIFEST).is_file():
        return load_model(folder)
    spec = images.spec(config)
    network = built(spec, config.seed, LABELLED_NET)
    if state := load_checkpoint(folder / "checkpoints"):
        network.load_state_dict(state["network"])
    elif start := open_start(config.labelled_net, spec, LABELLED_NET):
        start.give(network)
    return network.eval(), spec
