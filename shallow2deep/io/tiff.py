"""TIFF stacks, with the axes and voxel sizes of ImageJ and OME."""

import math
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import tifffile

from shallow2deep.blocks import Window
from shallow2deep.io.stored import NANOMETRES, Stored, reading, size_in_bytes

AXES_KEY = "volume_axes"  # in ImageJ's description: which axes are meant where ImageJ does not store size 1


def open_tiff(path: Path) -> Stored:
    """The first series of a TIFF file, of which only the headers are read."""
    with reading(path), tifffile.TiffFile(path) as tif:
        series = tif.series[0]
        axes, shape = _layout(tif)
        # an axis that tifffile cannot name is the stack axis, if there is only one
        unnamed = [a for a in axes if a in "IQ"]
        known = axes.replace(unnamed[0], "Z") if len(unnamed) == 1 else axes
        return Stored(
            shape,
            np.dtype(series.dtype),
            partial(_read_tiff, path, shape),
            known.replace("S", "C").lower() if len(unnamed) < 2 else None,
            _voxel_size(tif),
            size_in_bytes(series.keyframe.shape, np.dtype(series.dtype)),
        )


def _layout(tif: tifffile.TiffFile) -> tuple[str, tuple[int, ...]]:
    """Axes and shape of the first series, with axes of size 1 only if the writer meant them."""
    series = tif.series[0]
    meant = (tif.imagej_metadata or {}).get(AXES_KEY)
    if not isinstance(meant, str):
        return series.axes, series.shape
    pairs = zip(series.get_axes(False), series.get_shape(False), strict=True)
    kept = [(a, n) for a, n in pairs if n > 1 or a.lower() in meant]
    return "".join(a for a, _ in kept), tuple(n for _, n in kept)


def _read_tiff(path: Path, shape: tuple[int, ...], window: Window) -> np.ndarray:
    with reading(path), tifffile.TiffFile(path) as tif:
        series = tif.series[0]
        if series.dataoffset is not None:
            dtype = np.dtype(series.dtype).newbyteorder(tif.byteorder)
            return np.array(np.memmap(path, dtype, "r", series.dataoffset, shape)[window])
        size = math.prod(series.keyframe.shape)
        lead = next(k for k in range(len(shape) + 1) if math.prod(shape[k:]) == size)
        indices = np.arange(math.prod(shape[:lead])).reshape(shape[:lead])[window[:lead]]
        planes = [_page(tif, series.pages[i]).reshape(shape[lead:])[window[lead:]] for i in indices.ravel()]
        if not planes:
            return np.empty([s.stop - s.start for s in window], series.dtype)
        return np.stack(planes).reshape(*indices.shape, *planes[0].shape)


def _page(tif: tifffile.TiffFile, page: Any) -> np.ndarray:
    if page is None:
        raise ValueError("a page is missing")
    # tifffile fills what is cut off with zeros
    ends = [a + b for a, b in zip(page.dataoffsets, page.databytecounts, strict=True)]
    if max(ends, default=0) > page.parent.filehandle.size:
        raise ValueError("a page is cut off")
    return page.asarray()


def _voxel_size(tif: tifffile.TiffFile) -> dict[str, float]:
    """nm by axis letter, as far as ImageJ or OME metadata state it."""
    if tif.is_ome and tif.ome_metadata:
        image = tifffile.xml2dict(tif.ome_metadata)["OME"]["Image"]
        pixels = (image[0] if isinstance(image, list) else image)["Pixels"]
        found = [
            (a, pixels.get(f"PhysicalSize{a.upper()}"), pixels.get(f"PhysicalSize{a.upper()}Unit", "µm"))
            for a in "zyx"
        ]
    elif tif.imagej_metadata:
        unit, tags = tif.imagej_metadata.get("unit"), tif.pages.first.tags
        found = [("z", tif.imagej_metadata.get("spacing"), unit)]
        for axis, tag in (("y", "YResolution"), ("x", "XResolution")):
            pixels, units = tags[tag].value if tag in tags else (0, 1)
            found.append((axis, units / pixels if pixels else None, unit))
    else:
        return {}
    return {
        a: float(v) * NANOMETRES[str(u).lower()] for a, v, u in found if v and str(u).lower() in NANOMETRES
    }
