"""What a package holds of a network: its weights in each format, its Python and a test."""

import importlib
import inspect
import io
import logging
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import product
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.jit import _recursive, _state

from shallow2deep.errors import InputError
from shallow2deep.exports.archive import repack
from shallow2deep.exports.tiling import Tiling
from shallow2deep.networks import unet
from shallow2deep.networks.model import ModelSpec
from shallow2deep.networks.own import sizes_of
from shallow2deep.networks.unet import UNet

FORMATS = ("pytorch_state_dict", "torchscript", "onnx")
INSTALL_ONNX = 'pip install "onnx>=1.18" "onnxscript>=0.5" "onnxruntime>=1.20"'
OPSET = 18


class PackagedUNet(UNet):
    """The U-Net from a package's input to probabilities: it normalises by constants and ends in a sigmoid.

    Its weights have the names of the U-Net's own.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        features: int,
        strides: Sequence[Sequence[int]],
        stem: Sequence[int],
        mean: float,
        deviation: float,
        **layers: Any,
    ):
        super().__init__(in_channels, out_channels, features, strides, stem, **layers)
        self.mean, self.deviation = mean, deviation

    def forward(self, x: Tensor) -> Tensor:
        """Probabilities `(batch, out_channels, *spatial)` of `x`, `(batch, in_channels, *spatial)`."""
        return torch.sigmoid(super().forward((x - self.mean) / self.deviation))


_OWN = '''class PackagedNetwork({name}):
    """{name} from a package's input to probabilities: it normalises by constants and ends in a sigmoid."""

    def __init__(self, in_channels, out_channels, features, strides, mean, deviation, **arguments):
        super().__init__(in_channels, out_channels, features, strides, **arguments)
        self.mean, self.deviation = mean, deviation

    def forward(self, x):
        return torch.sigmoid(super().forward((x - self.mean) / self.deviation))
'''


def packaged(network: nn.Module, spec: ModelSpec) -> nn.Module:
    """A copy of the network on the CPU, as the package has it."""
    model = _packaged_class(spec)(**arguments(spec))
    try:
        model.load_state_dict(network.state_dict())
    except RuntimeError:
        raise InputError("the network is not of the sizes that its description states; export both") from None
    return model.eval()


def arguments(spec: ModelSpec) -> dict[str, Any]:
    """Of the packaged network."""
    constants = spec.normalisation if spec.kind == "segmentor" else None
    mean, deviation = constants or (0.0, 1.0)
    own = spec.layers.own
    return {
        "in_channels": spec.in_channels,
        "out_channels": len(spec.outputs),
        "features": spec.features,
        "strides": [list(stride) for stride in spec.strides],
        **({} if own else {"stem": list(spec.stem)}),
        "mean": mean,
        "deviation": deviation,
        **(own.arguments if own else spec.layers.arguments),
    }


def architecture(spec: ModelSpec) -> str:
    """A Python file with the packaged network; it needs nothing but torch, or what one of its own needs."""
    if own := spec.layers.own:
        return f"{own.source.rstrip()}\n\n\nimport torch\n\n\n{_OWN.format(name=own.name)}"
    return f"{inspect.getsource(unet).rstrip()}\n\n\n{inspect.getsource(PackagedUNet)}"


def _packaged_class(spec: ModelSpec) -> Callable[..., nn.Module]:
    if spec.layers.own is None:
        return PackagedUNet
    made: Callable[..., nn.Module] = spec.layers.own.run(architecture(spec))["PackagedNetwork"]
    return made


def test_input(model: nn.Module, sample: np.ndarray) -> Tensor:
    """The part of the sample that varies most, `(1, C, *spatial)`, of the smallest valid size.

    A part where nothing is would give the same result everywhere, and test nothing.
    """
    size = Tiling.of(model).min
    sides = list(zip(sample.shape[1:], size, strict=True))
    corners = product(*({*range(0, max(n - side, 0), side // 2), max(n - side, 0)} for n, side in sides))
    parts = (
        sample[(slice(None), *(slice(a, a + side) for a, side in zip(corner, size, strict=True)))]
        for corner in sorted(corners)
    )
    part = max(parts, key=lambda part: float(part.std()))
    missing = [(0, side - n) for n, side in zip(part.shape[1:], size, strict=True)]
    return torch.from_numpy(np.pad(part, [(0, 0), *missing], mode="reflect"))[None]


def weight_files(model: nn.Module, example: Tensor, formats: Sequence[str]) -> dict[str, bytes]:
    """The test tensors and the weights."""
    with torch.inference_mode():
        result = model(example)
    files = {
        "test_input.npy": _npy(example),
        "test_output.npy": _npy(result),
        "weights.pt": _state_dict(model),
    }
    small = example
    for axis, n in enumerate(sizes_of(model)[0], 2):
        small = small.narrow(axis, 0, 4 * n)
    if "torchscript" in formats:
        files["torchscript.pt"] = _torchscript(model, small)
    if "onnx" in formats:
        files["model.onnx"] = _onnx(model, small)
    return files


def _npy(tensor: Tensor) -> bytes:
    out = io.BytesIO()
    np.save(out, tensor.numpy())
    return out.getvalue()


def _state_dict(model: nn.Module) -> bytes:
    out = io.BytesIO()
    torch.save({name: tensor.clone() for name, tensor in model.state_dict().items()}, out)
    return out.getvalue()


def _torchscript(model: nn.Module, example: Tensor) -> bytes:
    """Traced: the network computes nothing from sizes, so the trace holds for all of them."""
    out = io.BytesIO()
    with _new_names(), warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # it advises torch.export, which ilastik lacks
        warnings.filterwarnings("ignore", "Converting a tensor to a Python boolean")  # by group norm
        torch.jit.save(torch.jit.trace(model, example, check_trace=False), out)
    # debug files hold paths of this computer, and the id is a hash over them
    return repack(out.getvalue(), lambda name: not name.endswith((".debug_pkl", "/serialization_id")))


@contextmanager
def _new_names() -> Iterator[None]:
    """TorchScript numbers its classes through the life of a process; here from the start, for equal bytes."""
    kept = _state._python_cu, _recursive.concrete_type_store
    _state._python_cu, _recursive.concrete_type_store = (
        torch._C.CompilationUnit(),
        _recursive.ConcreteTypeStore(),
    )
    try:
        yield
    finally:
        _state._python_cu, _recursive.concrete_type_store = kept


def _onnx(model: nn.Module, example: Tensor) -> bytes:
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)  # it tells of packages that are not needed
    try:
        for name in ("onnx", "onnxscript", "onnxruntime"):
            importlib.import_module(name)
    except ImportError as error:
        raise InputError(f"the format onnx needs further packages ({error}); {INSTALL_ONNX}") from None
    sizes = {0: torch.export.Dim("batch", min=1)}
    sizes |= {axis: n * torch.export.Dim(f"n{axis}", min=2) for axis, n in enumerate(sizes_of(model)[0], 2)}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of torch about its own insides
        program = torch.onnx.export(
            model,
            (example.expand(2, *example.shape[1:]),),  # a batch of one would be taken for a constant
            dynamo=True,
            dynamic_shapes=(sizes,),
            external_data=False,
            input_names=["input"],
            output_names=["output"],
            opset_version=OPSET,
            verbose=False,
        )
    assert program is not None
    for part in (program.model.graph, *program.model.graph):
        part.metadata_props.clear()  # paths of this computer, and names that differ each time
    return program.model_proto.SerializeToString(deterministic=True)
