"""TorchScript of strangers: what networks need is taken, and nothing else is ever loaded or run."""

import io
import pickle
import zipfile
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from shallow2deep.errors import InputError
from shallow2deep.exports import torchscript
from shallow2deep.exports.packages import _Foreign
from shallow2deep.exports.torchscript import faults_of_archive, faults_of_network, is_survived

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::torch.jit.TracerWarning")
PRETRAINED = Path(__file__).parents[2] / "pretrained"


class Network(nn.Module):
    """What networks of others are made of."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Sequential(
            nn.Conv2d(1, 4, 3, padding=1), nn.InstanceNorm2d(4, affine=True), nn.ReLU()
        )
        self.layers = nn.ModuleList(
            [
                nn.BatchNorm2d(4), nn.GroupNorm(2, 4), nn.ELU(), nn.LeakyReLU(inplace=True), nn.Dropout2d(),
                nn.GELU(), nn.SiLU(), nn.PReLU(4), nn.Softplus(), nn.Hardswish(), nn.AvgPool2d(1), nn.Mish(),
                nn.ReflectionPad2d(1), nn.ZeroPad2d(-1), nn.LayerNorm([16, 16]), nn.Tanh(), nn.Identity(),
                nn.Softmax(1), nn.Hardtanh(), nn.ReplicationPad2d(1), nn.ConstantPad2d(-1, 0.0),
            ]
        )  # fmt: skip
        self.up = nn.ConvTranspose2d(4, 4, 2, 2)
        self.last = nn.Sequential(nn.Conv2d(8, 4, 1), nn.PixelShuffle(2), nn.MaxPool2d(2), nn.Sigmoid())

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x[:, :, :16, :16])
        y = self.up(F.max_pool2d(x, 2))
        y = F.interpolate(F.avg_pool2d(y, 2), scale_factor=2.0, mode="nearest") * 0.5 + y
        for layer in self.layers:
            x = layer(x)
        height, width = x.shape[2:]
        y = F.interpolate(y, size=[height, width], mode="bilinear", align_corners=False)
        z = F.pad(torch.cat([x, y], 1), [1, 1, 1, 1])[:, :, 1:-1, 1:-1]
        z = z.view(z.shape[0], -1, height, width).permute(0, 1, 3, 2).transpose(2, 3)
        if z.shape[2] > height:
            z = z[:, :, :height]
        return self.last(z) - z.mean([2, 3], keepdim=True)[:, :1] * 0


def saved(network: nn.Module) -> bytes:
    out = io.BytesIO()
    torch.jit.save(network, out)
    return out.getvalue()


def faults(data: bytes) -> list[str]:
    """Of a file; it is loaded only if its sources are fine."""
    found = list(faults_of_archive(data))
    return found or list(faults_of_network(torch.jit.load(io.BytesIO(data)).eval()))


@pytest.mark.parametrize("how", ["traced", "scripted"])
@pytest.mark.parametrize("training", [False, True])
def test_networks_are_taken(how: str, training: bool) -> None:
    network = Network().train(training)
    example = torch.rand(1, 1, 16, 16)
    made = (
        torch.jit.script(network)
        if how == "scripted"
        else torch.jit.trace(network, example, check_trace=False)
    )
    assert faults(saved(made)) == []


@pytest.mark.parametrize("package", sorted(PRETRAINED.glob("*.zip")), ids=lambda path: path.stem)
def test_our_packages_are_taken(package: Path) -> None:
    with zipfile.ZipFile(package) as archive:
        assert faults(archive.read("torchscript.pt")) == []


class CtcLoss(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch._ctc_loss(x, torch.zeros(1, 1, dtype=torch.long), [1_000_000], [1_000_000])[0]


class EmbeddingBag(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        i = torch.full([4], 1_000_000_000, dtype=torch.long)
        return torch.ops.aten._embedding_bag_backward(x, i, i, i, i, i, 4, False, 0, False, None)


class SegmentReduce(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.segment_reduce(x, "sum", lengths=torch.full([4], 1_000_000_000), unsafe=True)


class FromFile(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x + torch.from_file("marker", shared=True, size=4).sum()


class Endless(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        while bool(x.sum() == x.sum()):
            x = x + 1
        return x


class Long(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        for _ in range(x.size(0) * 1_000_000_000_000_000):
            x = x + 1
        return x


class Deep(nn.Module):
    """Somewhere inside."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Sequential(nn.Conv2d(1, 1, 1), CtcLoss())

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(x) if bool(x.sum() > 1) else x


class Hidden(nn.Module):
    """In a method that forward does not call."""

    @torch.jit.export
    def __len__(self) -> int:
        return int(torch.from_file("marker", shared=True, size=4).sum())

    def forward(self, x: Tensor) -> Tensor:
        return x


class Typed(nn.Module):
    """By a number behind which is no type."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.softmax(x, 1, dtype=-2)


class Divided(nn.Module):
    """The lowest number by -1, which ends the process."""

    def forward(self, x: Tensor) -> Tensor:
        return x + (-9223372036854775807 - x.size(0)) // (x.size(0) - 2)


class Repeated(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x + len([1] * x.size(0) * 1_000_000_000)


class Empty(nn.Module):
    """Would tell what is in memory."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.empty([1, 1, 16, 16])


@pytest.mark.parametrize(
    ("network", "match"),
    [
        (CtcLoss, "aten::_ctc_loss"),
        (EmbeddingBag, "aten::_embedding_bag_backward"),
        (SegmentReduce, "aten::segment_reduce"),
        (FromFile, "aten::from_file"),
        (Empty, "aten::empty"),
        (Endless, "may never end"),
        (Long, "may never end"),
        (Divided, "division"),
        (Repeated, "grow"),
        (Typed, "dtype"),
        (Deep, "aten::_ctc_loss"),
        (Hidden, "aten::from_file"),
    ],
)
def test_what_no_network_needs_is_refused(network: type[nn.Module], match: str) -> None:
    assert any(match in fault for fault in faults(saved(torch.jit.script(network()))))


PLAIN = """class Plain(Module):
  __parameters__ = []
  __buffers__ = []
  training : bool
  def forward(self: __torch__.Plain, x: Tensor) -> Tensor:
    BODY
"""


def with_source(body: str, more: str = "") -> bytes:
    """A file whose source somebody has written by hand."""

    class Plain(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x

    out = io.BytesIO()
    with (
        zipfile.ZipFile(io.BytesIO(saved(torch.jit.script(Plain())))) as old,
        zipfile.ZipFile(out, "w") as new,
    ):
        for name in old.namelist():
            content = old.read(name)
            if name.endswith(".py"):
                text = content.decode()
                head = text.split("  def forward")[0]
                kind = text.split("self: ")[1].split(",")[0]
                text = f"{head}{more}  def forward(self: {kind},\n    x: Tensor) -> Tensor:\n    {body}\n"
                content = text.encode()
            new.writestr(name, content)
    return out.getvalue()


def test_sources_by_hand_are_read() -> None:
    assert faults(with_source("return torch.relu_(torch.add(x, 1.0))")) == []


@pytest.mark.parametrize(
    "body",
    [
        "return x.svd()[0]",
        "a = torch\n    return a.svd(x)",
        "return ops.aten.svd(x)[0]",
        "return ops.x.y(x)",
        'return getattr(torch, "from_file")("marker")',
        "return ops.aten._ctc_loss(x)",
        "return fork(self.f, x)",
        "a = __torch__.torch.classes.quantized.Conv2dPackedParamsBase\n    return x",
        "return x.\\\n  svd()[0]",
        "return unchecked_cast(List[Tensor], x)[0]",
        "a : Any = x\n    return unchecked_cast(List[Tensor], a)[0]",
        "return (x",
        "\x00",
        "return " + "(" * 500 + "x" + ")" * 500,
    ],
)
def test_sources_that_hide_what_they_call_are_refused(body: str) -> None:
    data = with_source(body)
    found = list(faults_of_archive(data))
    if not found:  # then loading it is harmless, and the rest is seen in its graph
        try:
            found = list(faults_of_network(torch.jit.load(io.BytesIO(data)).eval()))
        except RuntimeError:
            found = ["does not load"]
    assert found


@pytest.mark.parametrize(
    "more",
    [
        "  __forward_hooks__ = []\n", "  def __setstate__(self, x: Tensor) -> None:\n    pass\n",
        "  def svd(self, x: Tensor) -> Tensor:\n    return x\n",
    ],
)  # fmt: skip
def test_methods_that_are_called_unasked_are_refused(more: str) -> None:
    assert list(faults_of_archive(with_source("return x", more)))


class Crafted:
    def __init__(self, name: str):
        self.name = name

    def __reduce__(self) -> tuple:
        return print, (self.name,)


@pytest.mark.parametrize(
    "values",
    [
        b"c__torch__.torch.classes.quantized\nConv2dPackedParamsBase\n.", b"c__torch__.torch\nclasses.x.Y\n.",
        pickle.dumps(Crafted("x"), 0), pickle.dumps(Crafted("x"), 4), b"\xff\xff", b"",
    ],
)  # fmt: skip
def test_values_of_other_types_are_refused(values: bytes) -> None:
    data = io.BytesIO(with_source("return x"))
    with zipfile.ZipFile(data, "a") as archive:
        archive.writestr("archive/more.pkl", values)
    assert list(faults_of_archive(data.getvalue()))


class Asserting(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        assert x.shape[1] == 7, "seven channels"
        return x


def test_an_assertion_of_a_network_is_one_sentence() -> None:
    loaded = torch.jit.load(io.BytesIO(saved(torch.jit.script(Asserting()))))
    foreign = _Foreign(loaded, "asserting", 1, (1, 1), (0, 0), gives_logits=True)
    with pytest.raises(InputError, match=r"the network of asserting failed on .*seven channels") as failed:
        foreign(torch.zeros(1, 1, 8, 8))
    assert "\n" not in str(failed.value)


def test_a_file_that_ends_the_process_that_loads_it(monkeypatch: pytest.MonkeyPatch) -> None:
    data = saved(torch.jit.script(Asserting()))
    assert is_survived(data)
    assert is_survived(b"no archive")  # it raises, which is told
    monkeypatch.setattr(torchscript, "_PROBE", "import os; os.abort()")
    assert not is_survived(data)
