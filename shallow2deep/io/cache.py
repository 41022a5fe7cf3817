"""Arrays of volumes kept in memory after their first reading, as far as there is room."""

import threading
from collections import OrderedDict
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import psutil

from shallow2deep.blocks import Window
from shallow2deep.io.stored import size_in_bytes
from shallow2deep.io.volumes import Volume

_SHARE = 8  # of the available memory, one part in so many


class ReadCache:
    """Volumes that are read once, not once by each that asks; those used longest ago make room.

    In another process it starts empty.
    """

    def __init__(self) -> None:
        self._start()

    def _start(self) -> None:
        self._limit = psutil.virtual_memory().available // _SHARE
        self._used = 0
        self._arrays: OrderedDict[str, np.ndarray] = OrderedDict()
        self._lock = threading.RLock()

    def __getstate__(self) -> dict[str, Any]:
        return {}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self._start()

    def keep(self, volume: Volume) -> Volume:
        """The same volume, read whole when any of it is read first; as it is if there is no room for it."""
        if size_in_bytes(volume.shape, volume.dtype) > self._limit:
            return volume
        return replace(volume, _read=partial(_read_kept, self, volume))

    def get(self, volume: Volume) -> np.ndarray:
        """All of a volume; not to be written to."""
        with self._lock:
            found = self._arrays.get(volume.identity)
            if found is None:
                found = volume.read()
                found.flags.writeable = False
                self._arrays[volume.identity] = found
                self._used += found.nbytes
                while self._used > self._limit and len(self._arrays) > 1:
                    self._used -= self._arrays.popitem(last=False)[1].nbytes
            self._arrays.move_to_end(volume.identity)
            return found


def _read_kept(cache: ReadCache, volume: Volume, window: Window) -> np.ndarray:
    return cache.get(volume)[window].copy()
