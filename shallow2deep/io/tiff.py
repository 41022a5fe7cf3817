"""TIFF stacks, with the axes and voxel sizes of ImageJ and OME."""

import math
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import tifffile

from shallow2deep.blocks import Window
from shallow2deep.errors import InputError
from shallow2deep.io.stored import NANOMETRES, Stored, check_packed, reading, size_in_bytes
from shallow2deep.io.unpacking import check_unpacked

_FEW = 12  # series that are named
_CODECS = {**dict.fromkeys((8, 32946, 50013), "zlib"), 34925: "lzma", 34926: "zstd", 50000: "zstd"}
_UNSEEN = 2**17  # bytes; smaller parts cannot unpack to what fills the memory
AXES_KEY = "volume_axes"  # in ImageJ's description: which axes are meant where ImageJ does not store size 1


def open_tiff(path: Path, key: str | None = None) -> Stored:
    """One series of a TIFF file, such as a position or a stack of pages; only headers are read.

    Args:
        key: its number, from 0, or its name; not needed if there is one only.

    Raises:
        InputError: there are several, and none is chosen; DamagedFileError if it cannot be read.
    """
    with reading(path), tifffile.TiffFile(path) as tif:
        number = _number(tif, path, key)
        series = _all_series(tif)[number]
        axes, shape = _layout(tif, series)
        # an axis that tifffile cannot name is the stack axis, if there is only one
        unnamed = [a for a in axes if a in "IQ"]
        known = axes.replace(unnamed[0], "Z") if len(unnamed) == 1 else axes
        dtype, page = np.dtype(series.dtype), series.keyframe
        return Stored(
            shape,
            dtype,
            partial(_read_tiff, path, number, shape),
            known.replace("S", "C").lower() if len(unnamed) < 2 else None,
            _voxel_size(tif, series),
            max(size_in_bytes(page.shape, dtype), size_in_bytes(page.chunks, dtype)),
            channels=_channel_names(tif, series),
        )


def _all_series(tif: tifffile.TiffFile) -> list[Any]:
    """All but what a file holds beside its images: small copies and masks of them.

    Raises:
        InputError: it is one of several files, of which others are in another folder.
    """
    found = tif.series
    for member in tif._files.values():  # as OME metadata name them
        if member.filehandle.dirname != tif.filehandle.dirname:
            raise InputError(
                f"{tif.filename}: its metadata name a file in another folder, {member.filename}; put all "
                "files of a series into one"
            )
    return [s for s in found if not (s.keyframe.is_reduced or s.keyframe.is_mask)] or list(found)


def _number(tif: tifffile.TiffFile, path: Path, key: str | None) -> int:
    """Which series is meant.

    Raises:
        InputError: it is not there, none is chosen of several, or there are pages that belong to none.
    """
    series = _all_series(tif)
    names = [one.name or "" for one in series]
    if key is None and len(series) == 1:
        _check_pages(tif, path)
        return 0
    if key in names and names.count(key) == 1:
        return names.index(key)
    if key is not None and key.isdecimal() and int(key) < len(series):
        return int(key)
    came = f'no series "{key}"' if key else f"{len(series)} series (positions, or pages that differ)"
    known = ", ".join(
        " ".join([f"{n}:", *([name] if name else []), f"{one.axes.lower()} {one.shape} {one.dtype}"])
        for n, (name, one) in enumerate(zip(names[:_FEW], series, strict=False))
    )
    more = ", …" if len(series) > _FEW else ""
    raise InputError(
        f"{path}: {came} came, but one was expected; choose by number or name, as {path.name}:0, out of "
        f"{known}{more}"
    )


def _check_pages(tif: tifffile.TiffFile, path: Path) -> None:
    """Refuses a file whose metadata tell of fewer pages than there are."""
    if not tif.pages.is_multipage:
        return
    left = len(tif.pages) - sum(len(level) for series in tif.series for level in series.levels)
    if left > 0:
        raise InputError(
            f"{path}: {len(tif.pages)} pages came, but its metadata tell of {len(tif.pages) - left}; save it "
            "anew as one stack"
        )


def _layout(tif: tifffile.TiffFile, series: Any) -> tuple[str, tuple[int, ...]]:
    """Axes and shape of a series, with axes of size 1 only if the writer meant them."""
    meant = (tif.imagej_metadata or {}).get(AXES_KEY)
    if not isinstance(meant, str):
        return series.axes, series.shape
    pairs = zip(series.get_axes(False), series.get_shape(False), strict=True)
    kept = [(a, n) for a, n in pairs if n > 1 or a.lower() in meant]
    return "".join(a for a, _ in kept), tuple(n for _, n in kept)


def _read_tiff(path: Path, number: int, shape: tuple[int, ...], window: Window) -> np.ndarray:
    with reading(path), tifffile.TiffFile(path) as tif:
        series = _all_series(tif)[number]
        if series.dataoffset is not None:
            dtype = np.dtype(series.dtype).newbyteorder(tif.byteorder)
            return np.array(np.memmap(path, dtype, "r", series.dataoffset, shape)[window])
        size = math.prod(series.keyframe.shape)
        lead = next(k for k in range(len(shape) + 1) if math.prod(shape[k:]) == size)
        indices = np.arange(math.prod(shape[:lead])).reshape(shape[:lead])[window[:lead]]
        planes = [_page(series.pages[i]).reshape(shape[lead:])[window[lead:]] for i in indices.ravel()]
        if not planes:
            return np.empty([s.stop - s.start for s in window], series.dtype)
        return np.stack(planes).reshape(*indices.shape, *planes[0].shape)


def _page(page: Any) -> np.ndarray:
    if page is None:
        raise ValueError("a page is missing")
    # tifffile fills what is cut off with zeros
    file = page.parent.filehandle
    places = list(zip(page.dataoffsets, page.databytecounts, strict=True))
    if max((a + n for a, n in places), default=0) > file.size:
        raise ValueError("a page is cut off")
    if page.compression != 1:
        unpacked = size_in_bytes(page.chunks, np.dtype(page.dtype))
        for offset, packed in places:
            check_packed(packed, unpacked, "a part of a page")
            if page.compression in _CODECS and packed > _UNSEEN:
                file.seek(offset)
                codec = _CODECS[page.compression]
                check_unpacked(codec, file.read(packed), unpacked, "a part of a page")
    return page.asarray()


def _ome_pixels(tif: tifffile.TiffFile, series: Any) -> dict[str, Any]:
    """What OME metadata state of a series; empty if there are none."""
    if not (tif.is_ome and tif.ome_metadata):
        return {}
    images = _listed(tifffile.xml2dict(tif.ome_metadata)["OME"]["Image"])
    number = next(n for n, one in enumerate(tif.series) if one is series)
    pixels: dict[str, Any] = images[min(number, len(images) - 1)]["Pixels"]
    return pixels


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _channel_names(tif: tifffile.TiffFile, series: Any) -> tuple[str, ...]:
    """As OME metadata state them; none if any has no name."""
    channels = _listed(_ome_pixels(tif, series).get("Channel", []))
    names = [str(one["Name"]) for one in channels if isinstance(one, dict) and one.get("Name") is not None]
    return tuple(names) if len(names) == len(channels) else ()


def _voxel_size(tif: tifffile.TiffFile, series: Any) -> dict[str, float]:
    """nm by axis letter, as far as ImageJ or OME metadata state it."""
    if pixels := _ome_pixels(tif, series):
        found = [
            (a, pixels.get(f"PhysicalSize{a.upper()}"), pixels.get(f"PhysicalSize{a.upper()}Unit", "µm"))
            for a in "zyx"
        ]
    elif tif.imagej_metadata:
        unit, tags = tif.imagej_metadata.get("unit"), tif.pages.first.tags
        found = [("z", tif.imagej_metadata.get("spacing"), unit)]
        for axis, tag in (("y", "YResolution"), ("x", "XResolution")):
            count, units = tags[tag].value if tag in tags else (0, 1)
            found.append((axis, units / count if count else None, unit))
    else:
        return {}
    return {
        a: float(v) * NANOMETRES[str(u).lower()] for a, v, u in found if v and str(u).lower() in NANOMETRES
    }
