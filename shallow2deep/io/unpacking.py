"""How much compressed bytes unpack to, found without unpacking more than is allowed."""

import bz2
import lzma
import zlib
from collections.abc import Callable
from typing import Any

from shallow2deep.io.stored import check_packed

_HARMLESS = 2**32  # bytes that may be unpacked unseen
_STEP = 2**20
# how to unpack in steps, and the largest ratio that the format allows
_CODECS: dict[str, tuple[Callable[[], Any], int]] = {
    "zlib": (zlib.decompressobj, 1032),
    "gzip": (lambda: zlib.decompressobj(zlib.MAX_WBITS | 16), 1032),
    "bz2": (bz2.BZ2Decompressor, 45_000),
    "lzma": (lzma.LZMADecompressor, 10_000),
}
WHOLE = tuple(_CODECS)  # those whose header does not tell how much they unpack to
CODECS = (*WHOLE, "blosc", "zstd", "lz4")


def check_unpacked(codec: str, data: bytes, unpacked: int, what: str) -> None:
    """Refuses packed bytes that claim one size and unpack to a larger one.

    Args:
        codec: one of `CODECS`; of any other only the packed size is checked.
        data: the packed bytes; a header of 32 will do for codecs that are not in `WHOLE`.
        unpacked: how many bytes they claim to unpack to.
        what: the beginning of the reason, such as "chunk 0.0".

    Raises:
        ValueError: for `reading` to put into words.
    """
    check_packed(len(data), unpacked, what)
    told = _told(codec, data)
    if told is not None and told > unpacked:
        raise ValueError(f"{what} of {unpacked} bytes unpacks to {told}")
    large = codec in _CODECS and len(data) * _CODECS[codec][1] > _HARMLESS
    if large and not _fits(codec, data, unpacked):
        raise ValueError(f"{what} unpacks to more than the {unpacked} bytes that it claims")


def _told(codec: str, data: bytes) -> int | None:
    """The size in the header, which the codec takes the memory for; None if there is none."""
    match codec:
        case "blosc":
            return int.from_bytes(data[4:8], "little")
        case "lz4":
            return int.from_bytes(data[:4], "little")
        case "zstd" if len(data) > 5:
            flags = data[4]
            size, single = flags >> 6, bool(flags & 0x20)
            width = {0: 1 if single else 0, 1: 2, 2: 4, 3: 8}[size]
            at = 5 + (not single) + (0, 1, 2, 4)[flags & 3]
            told = int.from_bytes(data[at : at + width], "little") + (256 if width == 2 else 0)
            return told if width else None
    return None


def _fits(codec: str, data: bytes, limit: int) -> bool:
    start, _ = _CODECS[codec]
    total, rest = 0, data
    try:
        while rest:
            stream = start()
            while not stream.eof:
                total += len(stream.decompress(rest, _STEP))
                if total > limit:
                    return False
                # zlib gives back what it did not take, the others keep it
                rest = getattr(stream, "unconsumed_tail", b"")
                if not rest and getattr(stream, "needs_input", True) and not stream.eof:
                    return True  # cut off
            # one stream may follow the other, but for zlib
            rest = b"" if codec == "zlib" else stream.unused_data
    except (zlib.error, OSError, lzma.LZMAError):
        return True  # damaged before it was too much; the reader will say so
    return True
