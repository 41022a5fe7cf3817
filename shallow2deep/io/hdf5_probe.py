"""Looks through HDF5 files whose names come as JSON on stdin, and tells as JSON on stdout what is in each.

A program of its own, see `hdf5.py`: it imports nothing but h5py, and may crash.
"""

import json
import math
import sys
from typing import Any

import h5py

_MEMORY = 4 * 2**30
_SMALL = 2**20  # bytes; arrays up to this are read whole, as what is said in passing is not checked otherwise
_MANY = 1_000_000  # objects and links
_SAME_SIZE = (h5py.h5z.FILTER_SHUFFLE, h5py.h5z.FILTER_FLETCHER32)
_SPARSE = 64 * 2**20, 200  # an array that claims more bytes, and so many times what it takes in the file


def _limit_memory() -> None:
    try:
        import resource
    except ImportError:  # Windows
        return
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def look(path: str) -> dict[str, Any]:
    """What is in a file, or what is wrong with it."""
    try:
        with h5py.File(path, "r") as file:
            return _Walk(file).found
    except Exception as error:  # on damaged bytes h5py raises anything
        return {"error": " ".join(str(error).split())[:200] or type(error).__name__}


class _Walk:
    def __init__(self, file: h5py.File) -> None:
        self.file, self.links = file, 0
        self.found: dict[str, Any] = {"arrays": [], "names": [], "refused": {}, "outside": [], "sparse": []}
        _touch_attributes(file)
        # each array once, as a list of what can be chosen; then all the names that lead to it
        file.visititems(self._array)
        file.visititems_links(self._link)

    def _array(self, name: str, node: Any) -> None:
        if isinstance(node, h5py.Dataset):
            self.found["arrays"].append(name)

    def _link(self, name: str, link: Any) -> None:
        self.links += 1
        if self.links > _MANY:
            raise ValueError(f"more than {_MANY} entries")
        if isinstance(link, h5py.ExternalLink):
            self.found["outside"].append(name)
        if not isinstance(link, h5py.HardLink):
            return
        node = self.file[name]
        _touch_attributes(node)
        if isinstance(node, h5py.Dataset):
            problem = _elsewhere(self.file, node)
            if problem:
                self.found["outside"].append(name)
            problem = problem or _bomb(node)
            if problem:
                self.found["refused"][name] = problem
                return
            self.found["names"].append(name)
            if node.nbytes > max(_SPARSE[0], _SPARSE[1] * node.id.get_storage_size()):
                self.found["sparse"].append(name)
            _touch(node)


def _elsewhere(file: h5py.File, node: h5py.Dataset) -> str:
    """Why an array's values are not simply in the file; empty if they are."""
    if node.id.get_create_plist().get_external_count():
        return "its values are kept in other files"
    if not node.is_virtual:
        return ""
    for source in node.virtual_sources():
        if source.file_name != "." or "%" in source.dset_name:
            return "it is a virtual array, put together from other files"
        link = file.get(source.dset_name, getlink=True)
        found = file.get(source.dset_name) if isinstance(link, h5py.HardLink) else None
        if not isinstance(found, h5py.Dataset) or found.is_virtual or _elsewhere(file, found):
            return "it is a virtual array of virtual arrays"
    return ""


def _bomb(node: h5py.Dataset) -> str:
    """Why an array's chunks are more than they claim; empty if they are not."""
    if node.chunks is None:
        return ""
    plan = node.id.get_create_plist()
    codes = [plan.get_filter(n)[0] for n in range(plan.get_nfilters())]
    if sum(code not in _SAME_SIZE for code in codes) > 1:
        return "it is compressed twice"
    size, largest = _chunk_bytes(node), 0

    def see(chunk: Any) -> None:
        nonlocal largest
        largest = max(largest, chunk.size)

    if hasattr(node.id, "chunk_iter"):  # by an HDF5 library from 1.14 on
        node.id.chunk_iter(see)
    # the rule of `check_packed`, which this program does not import
    return f"a chunk of {size} bytes takes {largest} in the file" if largest > 2 * size + 4096 else ""


def _touch_attributes(node: Any) -> None:
    for name in node.attrs:
        try:
            node.attrs[name]
        except Exception:  # of a type that h5py does not know
            continue


def _touch(node: h5py.Dataset) -> None:
    """Reads a little of an array, so that what would crash the reader crashes here."""
    try:
        if node.nbytes <= _SMALL:
            node[()]
        elif node.chunks is None or _chunk_bytes(node) <= 64 * _SMALL:
            node[tuple(slice(n - 1, n) for n in node.shape)]
    except Exception:  # the reader will say it in its own words
        return


def _chunk_bytes(node: h5py.Dataset) -> int:
    return math.prod(map(int, node.chunks)) * node.dtype.itemsize


if __name__ == "__main__":
    _limit_memory()
    for line in sys.stdin:
        sys.stdout.write(json.dumps(look(json.loads(line))) + "\n")
        sys.stdout.flush()
