"""`s2d pretrain`: one network trained on raw without labels, for others to start from."""

from functools import partial
from pathlib import Path

from shallow2deep.inputs.start_weights import PRETRAINED_NET, require_elsewhere
from shallow2deep.inputs.unlabelled_images import UnlabelledImages, open_unlabelled
from shallow2deep.io.known import Known
from shallow2deep.networks.devices import require_devices
from shallow2deep.networks.own import trust_files
from shallow2deep.runs.engine import Stage
from shallow2deep.runs.folder import execute, known_of
from shallow2deep.settings import PretrainConfig, anchored
from shallow2deep.stages.pretrained_net import pretrained_net_stage


def pretrain_stages(config: PretrainConfig, known: Known) -> list[Stage]:
    """The one stage, with all data opened and checked.

    Raises:
        InputError: data or settings that cannot be used.
    """
    return _stages(*open_unlabelled(config, known), known)


def _stages(config: PretrainConfig, images: UnlabelledImages, known: Known) -> list[Stage]:
    return [pretrained_net_stage(config, images, known)]


def pretrain(config: PretrainConfig, run: str | Path) -> Path:
    """Trains a network to restore raw images; goes on where an earlier call stopped.

    Args:
        config: the settings.
        run: folder for everything that is made; `weights` of other trainings take it.

    Returns:
        The folder of the network.

    Raises:
        InputError: data or settings that cannot be used, before any work.
        RunBusyError: another process works on `run`.
        Interrupted: it was stopped; the same call goes on.
    """
    config, run = anchored(config), Path(run)
    trust_files(config.pretrained_net.network)
    require_elsewhere(run, {PRETRAINED_NET: config.pretrained_net.weights})
    known = known_of(run)
    require_devices([config.pretrained_net.device])
    config, images = open_unlabelled(config, known)
    execute(run, "pretrain", config, partial(_stages, images=images, known=known), known)
    return run / PRETRAINED_NET
