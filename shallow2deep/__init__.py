"""A few brush strokes to a good segmentation of a new microscopy data set."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from shallow2deep.version import VERSION

__version__ = VERSION

_HOMES = {
    "AdaptConfig": "settings",
    "EnhancerTrainConfig": "settings",
    "PredictData": "settings",
    "PretrainConfig": "settings",
    "RawData": "settings",
    "SourceData": "settings",
    "TargetData": "settings",
    "TrainConfig": "settings",
    "FeatureSpec": "features",
    "compute_features": "features",
    "Forest": "forests",
    "Output": "outputs",
    "Volume": "io.volumes",
    "open_volume": "io.volumes",
    "ArraySink": "inference.predictor",
    "ArraySource": "inference.predictor",
    "Bar": "progress",
    "BlockSink": "inference.predictor",
    "BlockSource": "inference.predictor",
    "Enhancer": "inference.enhance",
    "ForestPredictor": "inference.forest_maps",
    "ModelSpec": "networks.model",
    "NetworkPredictor": "inference.network_maps",
    "RunStatus": "commands.status",
    "Threads": "inference.block_loop",
    "Watch": "progress",
    "Moments": "inference.moments",
    "Predictor": "inference.predictor",
    "LabelledWindows": "inference.windows",
    "Overlap": "inference.windows",
    "Windows": "inference.windows",
    "predict_blocks": "inference.block_loop",
    "predict_windows": "inference.block_loop",
    "show": "evaluation.pictures",
    "Picture": "evaluation.pictures",
    "predict_probabilities": "inference.forest_maps",
    "train_forest": "training.from_strokes",
    "load_enhancer": "inputs.models",
    "adapt": "commands.adapt",
    "enhancer_train": "commands.enhancer_train",
    "evaluate": "commands.evaluate",
    "export": "commands.export",
    "predict": "commands.predict",
    "pretrain": "commands.pretrain",
    "find_objects": "commands.find_objects",
    "FoundObjects": "commands.find_objects",
    "ObjectsSettings": "settings",
    "instances": "segmentation.instances",
    "measured": "segmentation.measurements",
    "status": "commands.status",
    "train": "commands.train",
    "connect": "service.client",
    "Client": "service.client",
    "Aborted": "errors",
    "DamagedFileError": "errors",
    "DeniedError": "errors",
    "FeatureMismatchError": "errors",
    "InputError": "errors",
    "Interrupted": "errors",
    "LostWorkerError": "errors",
    "MissingDataError": "errors",
    "NoRoomError": "errors",
    "NotFiniteError": "errors",
    "RunBusyError": "errors",
    "SettingsError": "errors",
    "Shallow2DeepError": "errors",
    "TakenError": "errors",
    "TooLargeError": "errors",
    "TooLittleMemoryError": "errors",
}
__all__ = sorted(_HOMES)

if TYPE_CHECKING:
    from shallow2deep.commands.adapt import adapt as adapt
    from shallow2deep.commands.enhancer_train import enhancer_train as enhancer_train
    from shallow2deep.commands.evaluate import evaluate as evaluate
    from shallow2deep.commands.export import export as export
    from shallow2deep.commands.find_objects import FoundObjects as FoundObjects
    from shallow2deep.commands.find_objects import find_objects as find_objects
    from shallow2deep.commands.predict import predict as predict
    from shallow2deep.commands.pretrain import pretrain as pretrain
    from shallow2deep.commands.status import RunStatus as RunStatus
    from shallow2deep.commands.status import status as status
    from shallow2deep.commands.train import train as train
    from shallow2deep.errors import Aborted as Aborted
    from shallow2deep.errors import DamagedFileError as DamagedFileError
    from shallow2deep.errors import DeniedError as DeniedError
    from shallow2deep.errors import FeatureMismatchError as FeatureMismatchError
    from shallow2deep.errors import InputError as InputError
    from shallow2deep.errors import Interrupted as Interrupted
    from shallow2deep.errors import LostWorkerError as LostWorkerError
    from shallow2deep.errors import MissingDataError as MissingDataError
    from shallow2deep.errors import NoRoomError as NoRoomError
    from shallow2deep.errors import NotFiniteError as NotFiniteError
    from shallow2deep.errors import RunBusyError as RunBusyError
    from shallow2deep.errors import SettingsError as SettingsError
    from shallow2deep.errors import Shallow2DeepError as Shallow2DeepError
    from shallow2deep.errors import TakenError as TakenError
    from shallow2deep.errors import TooLargeError as TooLargeError
    from shallow2deep.errors import TooLittleMemoryError as TooLittleMemoryError
    from shallow2deep.evaluation.pictures import Picture as Picture
    from shallow2deep.evaluation.pictures import show as show
    from shallow2deep.features import FeatureSpec as FeatureSpec
    from shallow2deep.features import compute_features as compute_features
    from shallow2deep.forests import Forest as Forest
    from shallow2deep.inference.block_loop import Threads as Threads
    from shallow2deep.inference.block_loop import predict_blocks as predict_blocks
    from shallow2deep.inference.block_loop import predict_windows as predict_windows
    from shallow2deep.inference.enhance import Enhancer as Enhancer
    from shallow2deep.inference.forest_maps import ForestPredictor as ForestPredictor
    from shallow2deep.inference.forest_maps import predict_probabilities as predict_probabilities
    from shallow2deep.inference.moments import Moments as Moments
    from shallow2deep.inference.network_maps import NetworkPredictor as NetworkPredictor
    from shallow2deep.inference.predictor import ArraySink as ArraySink
    from shallow2deep.inference.predictor import ArraySource as ArraySource
    from shallow2deep.inference.predictor import BlockSink as BlockSink
    from shallow2deep.inference.predictor import BlockSource as BlockSource
    from shallow2deep.inference.predictor import Predictor as Predictor
    from shallow2deep.inference.windows import LabelledWindows as LabelledWindows
    from shallow2deep.inference.windows import Overlap as Overlap
    from shallow2deep.inference.windows import Windows as Windows
    from shallow2deep.inputs.models import load_enhancer as load_enhancer
    from shallow2deep.io.volumes import Volume as Volume
    from shallow2deep.io.volumes import open_volume as open_volume
    from shallow2deep.networks.model import ModelSpec as ModelSpec
    from shallow2deep.outputs import Output as Output
    from shallow2deep.progress import Bar as Bar
    from shallow2deep.progress import Watch as Watch
    from shallow2deep.segmentation.instances import instances as instances
    from shallow2deep.segmentation.measurements import measured as measured
    from shallow2deep.service.client import Client as Client
    from shallow2deep.service.client import connect as connect
    from shallow2deep.settings import AdaptConfig as AdaptConfig
    from shallow2deep.settings import EnhancerTrainConfig as EnhancerTrainConfig
    from shallow2deep.settings import ObjectsSettings as ObjectsSettings
    from shallow2deep.settings import PredictData as PredictData
    from shallow2deep.settings import PretrainConfig as PretrainConfig
    from shallow2deep.settings import RawData as RawData
    from shallow2deep.settings import SourceData as SourceData
    from shallow2deep.settings import TargetData as TargetData
    from shallow2deep.settings import TrainConfig as TrainConfig
    from shallow2deep.training.from_strokes import train_forest as train_forest


def __getattr__(name: str) -> Any:
    """Imports a public name when it is first used: torch and numba take seconds to load."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
