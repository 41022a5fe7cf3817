"""The compiled traversal of forests: tiles of 64 neighbouring pixels go down all trees together.

Neighbours in an image take almost the same way through a tree, so a node is visited once for a tile, not once
for a pixel: its threshold is compared with 64 values at once, and a bit mask of pixels goes on to each child.
The (node, mask) pairs wait in a queue. Nothing in its loop branches on the data, and the visits of different
trees follow one another, so the processor has many of them under way at the same time; what the next ones
need is asked for before their turn.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic

from shallow2deep.forests.forest import Forest

TILE = {1: (1, 1, 64), 2: (1, 8, 8), 3: (4, 4, 4)}  # pixels of a tile along z, y, x

NODE = np.dtype(  # 16 bytes: a line of the cache holds whole nodes
    [
        ("offset", np.int32),  # of the feature in a tile, bytes
        ("threshold", np.float32),  # NaN in a leaf
        ("child", np.int32),  # the left one; the right one is the next; -1 in a leaf
        ("leaf", np.int32),  # its number; -1 if it adds nothing
    ]
)

_LANES = 64
_GROUP = 50  # trees at a time: keeps the queue of a tile in the second-level cache
_TOTAL = 2**30  # at most, for the sum of a pixel: integers add up to the same in any order
_NO_CHILD = _NO_LEAF = -1

_options: dict[str, Any] = {"nogil": True, "error_model": "numpy"}
compiled: Callable[..., Any] = njit(cache=True, **_options)
_inner = _options | {"no_cpython_wrapper": True, "no_cfunc_wrapper": True}  # less to compile
part: Callable[..., Any] = njit(**_inner)
instruction: Callable[..., Any] = intrinsic

_FLOATS = ir.VectorType(ir.FloatType(), _LANES)
_INTS = ir.VectorType(ir.IntType(32), _LANES)
_BITS = ir.VectorType(ir.IntType(1), _LANES)


class Traversal:
    """A forest laid out for the kernel.

    Attributes:
        nodes: NODE `(nodes,)`.
        values: int32 `(leaves, C)`, probabilities, of which `whole` summed over all trees are 1; of two
            classes only the second is kept.
        roots: int64 `(trees + 1,)`, first node of each tree, and the number of nodes.
    """

    def __init__(self, forest: Forest):
        self.roots = np.concatenate([[0], np.cumsum(forest.tree_sizes, dtype=np.int64)])
        leaf = forest.features < 0
        first = np.repeat(self.roots[:-1], forest.tree_sizes)
        self.nodes = np.empty(len(leaf), NODE)
        self.nodes["offset"] = np.where(leaf, 0, forest.features * np.int32(4 * _LANES))
        self.nodes["threshold"] = np.where(leaf, np.float32(np.nan), forest.thresholds)
        self.nodes["child"] = np.where(leaf, _NO_CHILD, forest.children + first)
        self.n_classes = len(forest.classes)
        values = forest.leaf_values[:, 1:] if self.n_classes == 2 else forest.leaf_values
        steps = _TOTAL // forest.n_trees
        self.whole = float(steps * forest.n_trees)
        self.values = np.rint(values.astype(np.float64) * steps).astype(np.int32)
        counts = leaf.copy()
        counts[leaf] = self.values.any(1)
        self.nodes["leaf"] = np.where(counts, np.cumsum(leaf) - 1, _NO_LEAF)

    def predict(self, features: np.ndarray) -> np.ndarray:
        """Probabilities float32 `(classes, *spatial)` of features float32 `(F, *spatial)`."""
        shape = features.shape[1:]
        volume = features.reshape(len(features), *(1,) * (3 - len(shape)), *shape)
        out = np.empty((self.n_classes, *volume.shape[1:]), np.float32)
        _predict(volume, TILE[len(shape)], self.nodes, self.values, self.whole, self.roots, out)
        return out.reshape(-1, *shape)


@instruction
def _not_above(_, address, threshold):  # type: ignore[no-untyped-def]
    """Which of the 64 floats at an address are not above a threshold, as a mask; NaN gives an empty one."""

    def generate(context, builder, signature, args):  # type: ignore[no-untyped-def]
        values = builder.load(builder.inttoptr(args[0], _FLOATS.as_pointer()), align=4)
        thresholds = _repeated(builder, args[1], _FLOATS)
        return builder.bitcast(builder.fcmp_ordered("<=", values, thresholds), ir.IntType(64))

    return types.uint64(types.intp, types.float32), generate


@instruction
def _add_where(_, address, mask, value):  # type: ignore[no-untyped-def]
    """Adds a value to those of the 64 integers at an address whose bit is set."""

    def generate(context, builder, signature, args):  # type: ignore[no-untyped-def]
        place = builder.inttoptr(args[0], _INTS.as_pointer())
        zeros = ir.Constant(_INTS, [0] * _LANES)
        added = builder.select(builder.bitcast(args[1], _BITS), _repeated(builder, args[2], _INTS), zeros)
        builder.store(builder.add(builder.load(place, align=4), added), place, align=4)
        return context.get_dummy_value()

    return types.void(types.intp, types.uint64, types.int32), generate


@instruction
def _copy_four(_, target, source):  # type: ignore[no-untyped-def]
    """Copies four floats from one address to another."""

    def generate(context, builder, signature, args):  # type: ignore[no-untyped-def]
        pointer = ir.VectorType(ir.FloatType(), 4).as_pointer()
        four = builder.load(builder.inttoptr(args[1], pointer), align=4)
        builder.store(four, builder.inttoptr(args[0], pointer), align=4)
        return context.get_dummy_value()

    return types.void(types.intp, types.intp), generate


@instruction
def _prefetch(_, address):  # type: ignore[no-untyped-def]
    """Asks for the line of the cache at an address."""

    def generate(context, builder, signature, args):  # type: ignore[no-untyped-def]
        pointer, integer = ir.IntType(8).as_pointer(), ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), [pointer, integer, integer, integer])
        prefetch = builder.module.declare_intrinsic("llvm.prefetch", [pointer], kind)
        to_read, keep, data = (ir.Constant(integer, n) for n in (0, 3, 1))
        builder.call(prefetch, [builder.inttoptr(args[0], pointer), to_read, keep, data])
        return context.get_dummy_value()

    return types.void(types.intp), generate


def _repeated(builder: ir.IRBuilder, value: ir.Value, vector: ir.VectorType) -> ir.Value:
    undefined = ir.Constant(vector, ir.Undefined)
    first = builder.insert_element(undefined, value, ir.Constant(ir.IntType(32), 0))
    return builder.shuffle_vector(first, undefined, ir.Constant(_INTS, [0] * _LANES))


@compiled
def _predict(volume, tile, nodes, values, whole, roots, out):  # type: ignore[no-untyped-def]
    """Mean, for each pixel, of the values of the leaves that it reaches.

    Args:
        volume: float32 `(F, z, y, x)`.
        tile: pixels of a tile along z, y, x; 64 together.
        out: float32 `(classes, z, y, x)`, written.
    """
    n_features, depth, height, width = volume.shape
    most = 0
    for first in range(0, len(roots) - 1, _GROUP):
        most = max(most, roots[min(first + _GROUP, len(roots) - 1)] - roots[first])
    queue, masks = np.empty(most + 2, np.int32), np.empty(most + 2, np.uint64)  # both children are written
    leaves = np.empty(most + 2, np.uint32)
    pixels = _aligned(n_features).view(np.float32)
    totals = _aligned(values.shape[1])
    for z in range(0, depth, tile[0]):
        for y in range(0, height, tile[1]):
            for x in range(0, width, tile[2]):
                _read_tile(volume, tile, z, y, x, pixels)
                totals[:] = 0
                base = totals.ctypes.data
                for first in range(0, len(roots) - 1, _GROUP):
                    group = roots[first : min(first + _GROUP, len(roots) - 1)]
                    n = _visit(pixels, nodes, values, group, queue, masks, leaves)
                    for i in range(n):
                        entry = np.uint64(leaves[i])
                        leaf = np.uint64(nodes[np.uint64(queue[entry])].leaf)
                        for c in range(values.shape[1]):
                            _add_where(base + 4 * _LANES * c, masks[entry], values[leaf, c])
                _write_tile(totals, whole, tile, z, y, x, out)


@part
def _aligned(n):  # type: ignore[no-untyped-def]
    """Memory for int32 `(n, 64)` that starts where a line of the cache does, so that none is read twice."""
    memory = np.empty((n + 1) * _LANES, np.int32)
    start = -memory.ctypes.data % 64 // memory.itemsize
    return memory[start : start + n * _LANES].reshape(n, _LANES)


@part
def _visit(pixels, nodes, values, roots, queue, masks, leaves):  # type: ignore[no-untyped-def]
    """Visits the nodes that pixels of a tile reach in some trees.

    Args:
        pixels: float32 `(F, 64)`.
        queue, masks: the nodes visited and which pixels reach them are left there.
        leaves: the places in the queue of leaves that add something are left there.

    Returns:
        the number of those leaves.
    """
    base = pixels.ctypes.data
    first_node, bytes_per_node = nodes.ctypes.data, nodes.itemsize
    first_value, bytes_per_leaf = values.ctypes.data, values.itemsize * values.shape[1]
    everyone = ~np.uint64(0)
    one, sign = np.uint64(1), np.uint64(63)
    head, tail, n_leaves = np.uint64(0), np.uint64(0), np.uint64(0)
    for root in roots:
        queue[tail] = root
        masks[tail] = everyone
        tail += one
    while head < tail:
        node = nodes[np.uint64(queue[head])]
        child = np.int64(node.child)
        leaves[n_leaves] = head
        n_leaves += np.uint64(node.leaf >= 0)
        _prefetch(first_value + np.int64(node.leaf) * bytes_per_leaf)
        here = masks[head]
        not_above = _not_above(base + np.int64(node.offset), node.threshold)
        left, right = here & not_above, here & ~not_above
        queue[tail] = child
        masks[tail] = left
        tail += np.uint64(left != 0)
        queue[tail] = child + 1
        masks[tail] = right
        is_leaf = np.uint64(child) >> sign
        tail += np.uint64(right != 0) - is_leaf  # all that is in a leaf is to the right of its NaN
        _prefetch(first_node + child * bytes_per_node)
        head += one
    return n_leaves


@part
def _read_tile(volume, tile, z, y, x, pixels):  # type: ignore[no-untyped-def]
    """Copies the features of a tile; beyond the volume, those of the pixels at its edge."""
    n_features, depth, height, width = volume.shape
    for f in range(n_features):
        first, lane = pixels[f].ctypes.data, 0
        for k in range(z, z + tile[0]):
            for j in range(y, y + tile[1]):
                line = volume[f, min(k, depth - 1), min(j, height - 1)]
                if x + tile[2] <= width and line.itemsize == line.strides[0]:
                    for i in range(0, tile[2], 4):
                        _copy_four(first + 4 * (lane + i), line.ctypes.data + 4 * (x + i))
                else:
                    for i in range(tile[2]):
                        pixels[f, lane + i] = line[min(x + i, width - 1)]
                lane += tile[2]


@part
def _write_tile(totals, whole, tile, z, y, x, out):  # type: ignore[no-untyped-def]
    n_classes, depth, height, width = out.shape
    for k in range(z, min(z + tile[0], depth)):
        for j in range(y, min(y + tile[1], height)):
            lane = ((k - z) * tile[1] + (j - y)) * tile[2]
            for i in range(min(tile[2], width - x)):
                if len(totals) == 1:
                    p = totals[0, lane + i] / whole
                    out[0, k, j, x + i], out[1, k, j, x + i] = 1 - p, p
                else:
                    for c in range(n_classes):
                        out[c, k, j, x + i] = totals[c, lane + i] / whole
