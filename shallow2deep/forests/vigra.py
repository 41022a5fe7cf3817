"""vigra's random forests, as ilastik keeps them in its project files: read, and written.

A tree is `topology` (int32) [features, classes, nodes …], its root at index 2, and `parameters` (float64).
An inner node is [0, p, left, right, column] and goes left if x < parameters[p + 1]; a leaf is [2^30, p] with
the votes at parameters[p + 1 : p + 1 + classes]. Children are indices into `topology`.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

import h5py
import numpy as np

from shallow2deep.errors import DamagedFileError, InputError
from shallow2deep.features import FeatureSpec
from shallow2deep.forests.forest import Forest
from shallow2deep.io.atomic import room_for
from shallow2deep.io.memory import require_memory
from shallow2deep.io.stored import reading

_ROOT = 2
_THRESHOLD_NODE, _LEAF_NODE = 0, 0x40000000
_Tree = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]


def read_forests(path: Path, group: str, spec: FeatureSpec, classes: Sequence[str]) -> Forest:
    """The forests of a project as one: the mean over all their trees, which is how ilastik predicts.

    Args:
        group: where the classifier is in the file, such as "PixelClassification/ClassifierForests".
        spec: the features of the project, in ilastik's order.
        classes: names of the labels 1, 2 …; a label that was not painted gets probability 0.

    Raises:
        InputError: no forest, or one that predicts otherwise.
        DamagedFileError: trees that lead nowhere.
    """
    with reading(path), h5py.File(path, "r") as file:
        stored = file.get(group)
        if stored is None or not any(name.startswith("Forest") for name in stored):
            raise InputError(
                f"{path} holds no trained forest; press Live Update in ilastik, save, and try again"
            )
        labels = stored["known_labels"][()].astype(int)
        if len(classes) < 2 or labels.min() < 1 or labels.max() > len(classes):
            raise InputError(
                f"{path}: a forest of the labels {labels.tolist()} with the names {list(classes)} came; at "
                "least two labels, each with a name, are needed"
            )
        trees = [
            _read_tree(tree, spec.n_features, labels - 1, len(classes))
            for name in sorted(stored)
            if name.startswith("Forest")
            for tree in _trees(path, stored[name])
        ]
    if not trees:
        raise InputError(
            f"{path} holds a forest without trees; press Live Update in ilastik, save, and try again"
        )
    features, thresholds, children, values = (np.concatenate(arrays) for arrays in zip(*trees, strict=True))
    sizes = np.array([len(tree[0]) for tree in trees], np.int32)
    record = {"made by": "ilastik", "project": path.name}
    return Forest(spec, tuple(classes), sizes, features, thresholds, children, values, record)


def _trees(path: Path, forest: h5py.Group) -> Iterator[h5py.Group]:
    if forest["_options/predict_weighted_"][()].any():
        raise InputError(
            f"{path}: a forest with weighted votes came; train it again with ilastik's own settings"
        )
    for name in sorted(forest):
        if name.startswith("Tree"):
            require_memory(16 * forest[name]["topology"].size, "a tree of the project's forest")
            yield forest[name]


def _read_tree(tree: h5py.Group, n_features: int, columns: np.ndarray, n_classes: int) -> _Tree:
    """The nodes of a tree, breadth first, as `Forest` holds them."""
    topology = tree["topology"][()].astype(np.int64)
    parameters = tree["parameters"][()].astype(np.float64)
    if topology[:2].tolist() != [n_features, len(columns)]:
        raise DamagedFileError(
            f"{tree.file.filename} holds a tree for {topology[0]} features and {topology[1]} labels, but "
            f"{n_features} and {len(columns)} came with these data; give data of as many dimensions and "
            "channels as the project's own, or train it in ilastik again"
        )
    levels = [np.array([_ROOT])]
    seen = 0
    while len(levels[-1]):
        seen += len(levels[-1])
        if seen > len(topology):
            raise ValueError("a tree that goes round in circles")
        inner = levels[-1][topology[levels[-1]] == _THRESHOLD_NODE]
        levels.append(np.stack([topology[inner + 2], topology[inner + 3]], 1).ravel())
    nodes = np.concatenate(levels)
    kinds = topology[nodes]
    leaf = kinds == _LEAF_NODE
    if not (leaf | (kinds == _THRESHOLD_NODE)).all():
        raise ValueError(f"nodes of the kinds {np.unique(kinds)}")
    places = topology[nodes + 1]
    thresholds = np.where(leaf, 0, _largest_below(parameters[places + 1])).astype(np.float32)
    features = np.where(leaf, -1, topology[np.where(leaf, 0, nodes + 4)]).astype(np.int16)
    before = np.cumsum(~leaf) - ~leaf
    children = np.where(leaf, 0, 2 * before + 1).astype(np.int32)
    votes = parameters[places[leaf][:, None] + 1 + np.arange(len(columns))]
    values = np.zeros((len(votes), n_classes), np.float32)
    values[:, columns] = votes / votes.sum(1, keepdims=True)
    return features, thresholds, children, values


def _largest_below(thresholds: np.ndarray) -> np.ndarray:
    """The largest float32 below each float64: `x < threshold` is `x <=` that, for every float32 x."""
    nearest = thresholds.astype(np.float32)
    return np.where(nearest >= thresholds, np.nextafter(nearest, np.float32(-np.inf)), nearest)


def write_forest(forest: Forest, project: Path, group: str) -> None:
    """Puts a forest into a project in place of its own; everything else in the project stays.

    Args:
        project: changed in place: give a copy.
        group: as for `read_forests`; its first forest lends its options.

    Raises:
        InputError: the project has no forest whose options could be kept.
    """
    # in memory: a write that fails, as on a full disk, leaves HDF5 unable to close a file, and it crashes
    with reading(project), h5py.File(project, "r+", driver="core", backing_store=False) as file:
        stored = file.get(group, {})
        names = sorted(name for name in stored if name.startswith("Forest"))
        if not names:
            raise InputError(
                f"{project} holds no trained forest to replace; press Live Update in ilastik and save"
            )
        for name in names[1:]:
            del stored[name]
        own = stored[names[0]]
        for name in [name for name in own if name.startswith("Tree")]:
            del own[name]
        present = np.any(forest.leaf_values > 0, axis=0)
        labels = np.flatnonzero(present) + 1
        _set(stored, "known_labels", labels.astype(np.uint32))
        for number, (topology, parameters) in enumerate(_written_trees(forest, present)):
            tree = own.create_group(f"Tree_{number:0{len(str(forest.n_trees - 1))}d}")
            tree["topology"], tree["parameters"] = topology, parameters
        _set(own["_options"], "tree_count_", np.array([forest.n_trees], float))
        _set(own["_ext_param"], "column_count_", np.array([forest.spec.n_features], float))
        _set(own["_ext_param"], "class_count_", np.array([len(labels)], float))
        _set(own["_ext_param"], "class_weights_", np.ones(len(labels)))
        _set(own["_ext_param"], "labels", labels.astype(np.uint32))
        file.flush()
        content = file.id.get_file_image()
    with room_for(project, len(content)):
        project.write_bytes(content)


def _set(group: h5py.Group, name: str, values: np.ndarray) -> None:
    """Replaces a data set, with its attributes."""
    attributes = dict(group[name].attrs) if name in group else {}
    if name in group:
        del group[name]
    group[name] = values
    group[name].attrs.update(attributes)


def _written_trees(forest: Forest, present: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """`topology` and `parameters` of each tree."""
    n_classes = int(present.sum())
    node_ends = np.cumsum(forest.tree_sizes)
    leaf_ends = np.cumsum(forest.features < 0)[node_ends - 1]
    for end, size, last_leaf in zip(node_ends, forest.tree_sizes, leaf_ends, strict=True):
        own = slice(end - size, end)
        features, thresholds, children = (
            array[own] for array in (forest.features, forest.thresholds, forest.children)
        )
        leaf = features < 0
        values = forest.leaf_values[last_leaf - leaf.sum() : last_leaf][:, present]
        lengths = np.where(leaf, 2, 5)
        places = _ROOT + np.cumsum(lengths) - lengths  # of the nodes in the topology
        widths = np.where(leaf, 1 + n_classes, 2)
        starts = np.cumsum(widths) - widths  # of the nodes' parameters
        topology = np.zeros(_ROOT + lengths.sum(), np.int32)
        topology[:_ROOT] = forest.spec.n_features, n_classes
        topology[places] = np.where(leaf, _LEAF_NODE, _THRESHOLD_NODE)
        topology[places + 1] = starts
        inner = ~leaf
        topology[places[inner] + 2] = places[children[inner]]
        topology[places[inner] + 3] = places[children[inner] + 1]
        topology[places[inner] + 4] = features[inner]
        parameters = np.ones(widths.sum())  # the first of a node is its weight
        above = np.nextafter(thresholds[inner], np.float32(np.inf))  # x <= t is x < the next float32
        parameters[starts[inner] + 1] = above
        parameters[starts[leaf][:, None] + 1 + np.arange(n_classes)] = values
        yield topology, parameters
