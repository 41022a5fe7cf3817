"""Forest prediction as torch operations, for a GPU: all trees at once, a level at a time."""

import numpy as np
import torch
from torch import Tensor

from shallow2deep.forests.forest import Forest

_PIXELS_TIMES_TREES = 2**24  # at the same time: bounds the memory


class TorchForest:
    """A forest on a device."""

    def __init__(self, forest: Forest, device: torch.device):
        starts = np.concatenate([[0], np.cumsum(forest.tree_sizes)])[:-1]
        first = np.repeat(starts, forest.tree_sizes)  # of each node's tree
        leaf = forest.features < 0
        children = np.where(leaf, np.arange(len(leaf)), forest.children + first)  # leaves lead to themselves
        values = np.zeros((len(leaf), len(forest.classes)), np.float32)
        values[leaf] = forest.leaf_values
        self.n_trees, self.depth = forest.n_trees, _depth(children, starts)
        self.roots = torch.from_numpy(starts).to(device)
        self.features = torch.from_numpy(np.where(leaf, 0, forest.features).astype(np.int64)).to(device)
        self.thresholds = torch.from_numpy(np.where(leaf, np.float32(np.inf), forest.thresholds)).to(device)
        self.children = torch.from_numpy(children).to(device)
        self.values = torch.from_numpy(values).to(device)

    def predict(self, features: Tensor) -> Tensor:
        """Probabilities float32 `(classes, *spatial)` of features `(F, *spatial)` on the same device."""
        flat = features.reshape(len(features), -1)
        parts = flat.split(max(1, _PIXELS_TIMES_TREES // self.n_trees), 1)
        return torch.cat([self._mean_of_leaves(part) for part in parts], 1).reshape(-1, *features.shape[1:])

    def _mean_of_leaves(self, columns: Tensor) -> Tensor:
        pixels = torch.arange(columns.shape[1], device=columns.device)
        node = self.roots[:, None].expand(-1, len(pixels))
        for _ in range(self.depth):
            right = columns[self.features[node], pixels] > self.thresholds[node]
            node = self.children[node] + right
        return self.values[node].mean(0).T


def _depth(children: np.ndarray, starts: np.ndarray) -> int:
    """Steps from a root to the deepest leaf."""
    level, depth = starts, 0
    while len(level := level[children[level] != level]):
        level = np.unique([children[level], children[level] + 1])
        depth += 1
    return depth
