"""What a TorchScript file may do: compute by the operators of U-Nets and their kin, and nothing else.

TorchScript runs no Python, but it reaches all operators of torch, of which some take files, foreign libraries
or unchecked indices. So what is called is looked at twice: in the file's sources, before torch reads them, as
loading may run some of it; and in the graphs that torch has made of them, where every operator is resolved.
Torch's reader of stored values crashes on some that are crafted, so another process reads them first.
"""

import ast
import io
import pickletools
import re
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from typing import Any

import torch
from torch import nn

_NETWORKS = """
    conv1d conv2d conv3d conv_transpose1d conv_transpose2d conv_transpose3d _convolution convolution
    linear matmul batch_norm instance_norm group_norm layer_norm
    relu relu6 leaky_relu prelu elu celu selu gelu silu mish sigmoid log_sigmoid tanh hardtanh hardsigmoid
    hardswish softplus threshold softmax log_softmax dropout feature_dropout
    max_pool1d max_pool2d max_pool3d avg_pool1d avg_pool2d avg_pool3d
    adaptive_avg_pool1d adaptive_avg_pool2d adaptive_avg_pool3d
    upsample_nearest1d upsample_nearest2d upsample_nearest3d upsample_linear1d upsample_bilinear2d
    upsample_bicubic2d upsample_trilinear3d _upsample_nearest_exact1d _upsample_nearest_exact2d
    _upsample_nearest_exact3d _upsample_bilinear2d_aa _upsample_bicubic2d_aa _upsample_lanczos2d_aa
    pixel_shuffle pixel_unshuffle pad constant_pad_nd reflection_pad1d reflection_pad2d reflection_pad3d
    replication_pad1d replication_pad2d replication_pad3d
"""
_SHAPES = """
    cat stack split split_with_sizes chunk unbind size dim numel len view reshape flatten unflatten permute
    transpose squeeze unsqueeze expand expand_as view_as contiguous slice select narrow flip movedim repeat
"""
_NUMBERS = """
    add sub rsub mul div floordiv neg abs sqrt rsqrt exp log pow square reciprocal floor ceil round
    clamp clamp_min clamp_max minimum maximum mean sum var std amax amin max min where
    eq ne lt le gt ge logical_and logical_or logical_not __and__ __or__ __not__ __is__ __isnot__
    __contains__ __getitem__ __derive_index __range_length append list format
    warn Int Float Bool ScalarImplicit IntImplicit FloatImplicit to type_as detach clone zeros_like ones_like
"""
_LANGUAGE = """
    Constant GetAttr If Loop ListConstruct ListUnpack TupleConstruct TupleUnpack TupleIndex NumToTensor
    RaiseException Uninitialized unchecked_cast dtype device is_cuda min max
"""
_KNOWN = {
    "aten": frozenset(f"{_NETWORKS} {_SHAPES} {_NUMBERS}".split()),
    "prim": frozenset(_LANGUAGE.split()),
}
_NO_OPERATORS = frozenset(("device", "dtype", "strided"))  # of what `torch.` stands before
_HOOKS = frozenset(("__forward_hooks__", "__forward_pre_hooks__", "__setstate__", "__getstate__"))
_TYPES = re.compile(
    r"collections OrderedDict|torch\._utils _rebuild_tensor_v2|torch \w+Storage"
    r"|torch\.jit\._pickle (build_\w+list|restore_type_tag)|__torch__(\.(?!classes\b)\w+)* \w+"
)
_NUMBERED = {  # what torch knows by numbers: real and whole types without bits, rows of numbers, their orders
    "dtype": frozenset((*range(8), 11, 15)),
    "layout": frozenset((0,)),
    "memory_format": frozenset(range(4)),
}
_MOST = 1000  # rounds of a loop that a file may state


def faults_of_archive(data: bytes) -> Iterator[str]:
    """What is wrong with a file's sources and values, before torch reads it."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        for name in archive.namelist():
            if name.endswith(".pkl"):
                yield from _faults_of_values(archive.read(name))
        sources = [archive.read(name) for name in archive.namelist() if name.endswith(".py")]
    try:
        trees = [ast.parse(source) for source in sources]
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        yield "a source that is not TorchScript"
        return
    defined = {node.name for tree in trees for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
    for name in sorted(defined):
        if not _is_known("aten", name) and torch._C._jit_get_schemas_for_operator(f"aten::{name}"):
            yield f'a method "{name}"'
    for tree in trees:
        yield from _faults_of_source(tree, defined)


def is_survived(data: bytes) -> bool:
    """Whether a process of its own lives that loads a file, and reads and copies all of its tensors."""
    with tempfile.NamedTemporaryFile(suffix=".pt") as file:
        file.write(data)
        file.flush()
        try:
            done = subprocess.run(
                [sys.executable, "-c", _PROBE, file.name], capture_output=True, timeout=_SECONDS
            )
        except subprocess.TimeoutExpired:
            return False
    return done.returncode >= 0  # what it raises is raised and told again here


_SECONDS = 120
_PROBE = """
import sys, torch
network = torch.jit.load(sys.argv[1], map_location="cpu").eval()
for tensor in network.state_dict().values():
    tensor.clone().double().sum()
for module in network.modules():
    for name in module._c._method_names():
        str(module._c._get_method(name).inlined_graph)
"""


def _faults_of_values(data: bytes) -> Iterator[str]:
    try:
        for opcode, argument, _ in pickletools.genops(data):
            if opcode.name in ("STACK_GLOBAL", "INST", "OBJ", "EXT1", "EXT2", "EXT4"):
                yield f"values made by {opcode.name}"
            elif opcode.name == "GLOBAL" and not _TYPES.fullmatch(str(argument)):
                yield f'values of the type "{argument}"'
    except Exception:  # crafted bytes make it raise anything
        yield "values that are no values"


def _faults_of_source(tree: ast.AST, defined: set[str]) -> Iterator[str]:
    """Calls of operators that are not among ours, and what could hide one."""
    qualified = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    for node in ast.walk(tree):
        match node:
            case ast.FunctionDef(name=name) | ast.Name(id=name) if name in (*_HOOKS, "fork", "awaitable"):
                yield f'a "{name}"'
            case ast.Name(id="torch" | "ops") if id(node) not in qualified:
                yield f'a hidden use of "{node.id}"'
            case ast.Attribute():
                yield from _faults_of_name(_dotted(node))
            case ast.Call(func=ast.Attribute(attr=name) as called):
                method = _dotted(called)[0] not in ("torch", "ops", "__torch__")
                if method and name not in defined and not _is_known("aten", name):
                    yield f'a call of "{name}"'


def _faults_of_name(parts: list[str]) -> Iterator[str]:
    match parts:
        case ["torch", name] if not _is_known("aten", name) and name not in _NO_OPERATORS:
            yield f'a call of "aten::{name}"'
        case ["ops", namespace, name] if not _is_known(namespace, name):
            yield f'a call of "{namespace}::{name}"'
        case ["__torch__", "torch", "classes", *_]:
            yield "a class of a foreign library"
        case [*_, name] if name in _HOOKS:
            yield f'a "{name}"'


def _dotted(node: ast.expr) -> list[str]:
    """`a.b.c` as its names; the first is empty where what comes before the first point is no name."""
    names: list[str] = []
    while isinstance(node, ast.Attribute):
        names.insert(0, node.attr)
        node = node.value
    return [node.id if isinstance(node, ast.Name) else "", *names]


def _is_known(namespace: str, name: str) -> bool:
    """Also operators that work in place, whose names end in one underscore."""
    plain = name if name.endswith("__") else name.removesuffix("_")
    return plain in _KNOWN.get(namespace, ())


def faults_of_network(network: nn.Module) -> Iterator[str]:
    """What is wrong with the graphs of a loaded network."""
    for module in network.modules():
        loaded: Any = module._c
        for name in loaded._method_names():
            for node in _nodes(loaded._get_method(name).inlined_graph):
                yield from _faults_of_node(node)
    forward: Any = network.forward
    for node in _nodes(forward.inlined_graph):
        if node.kind() == "prim::Loop" and not _ends(node):
            yield "a loop that may never end"


def _nodes(graph: Any) -> Iterator[Any]:
    for node in graph.nodes():
        yield node
        for block in node.blocks():
            yield from _nodes(block)


def _faults_of_node(node: Any) -> Iterator[str]:
    namespace, _, name = node.kind().partition("::")
    if not _is_known(namespace, name):
        yield f'a call of "{node.kind()}"'
    if name == "unchecked_cast" and not _narrows(node.input().type(), node.output().type()):
        yield f"a cast from {node.input().type()} to {node.output().type()}"
    if name.removesuffix("_") == "mul" and node.output().type().kind() == "ListType":
        yield "lists that grow without end"
    if name == "floordiv" and not _is_positive(
        list(node.inputs())[1]
    ):  # the lowest number by -1 ends the process
        yield "a division by a number that may be anything"
    if namespace == "aten":
        names = (argument.name for argument in torch._C.parse_schema(node.schema()).arguments)
        for argument, value in zip(names, node.inputs(), strict=False):  # `format` takes any number
            if argument in _NUMBERED and not _is_one_of(value, _NUMBERED[argument]):
                yield f'a {argument} of "{node.kind()}" that is none'


def _is_one_of(value: Any, numbers: frozenset[int]) -> bool:
    """Whether torch, which does not look, will find what a number stands for."""
    if value.node().kind() == "prim::unchecked_cast":
        return _is_one_of(value.node().input(), numbers)
    if value.node().kind() == "prim::Constant":
        return value.toIValue() is None or value.toIValue() in numbers
    return bool(value.node().kind() == "prim::dtype")


def _is_positive(value: Any) -> bool:
    return value.node().kind() == "prim::Constant" and value.toIValue() > 0


def _narrows(before: Any, after: Any) -> bool:
    """Whether a cast only says that something is not None; what is None is told when it is used."""
    optional = before.kind() == "OptionalType" and after == before.getElementType()
    return before == after or optional or before.kind() == "NoneType"


def _ends(loop: Any) -> bool:
    """Whether it goes through the numbers below a small one."""
    rounds, begins = list(loop.inputs())[:2]
    (body,) = loop.blocks()
    goes_on = next(iter(body.outputs()))
    return begins.toIValue() is True and goes_on.toIValue() is True and _is_small(rounds)


def _is_small(value: Any) -> bool:
    """Whether a number comes from counts of axes and the like."""
    node = value.node()
    if node.kind() == "prim::Constant":
        return abs(value.toIValue()) <= _MOST
    if node.kind() in ("aten::len", "aten::dim"):
        return True
    return node.kind() in ("aten::sub", "aten::__range_length") and all(map(_is_small, node.inputs()))
