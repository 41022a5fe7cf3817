"""Files that claim little and unpack to much are refused before they fill the memory."""

import bz2
import gzip
import json
import lzma
import zlib
from pathlib import Path

import h5py
import numpy as np
import pytest
import tifffile
import zarr
from numcodecs import LZ4, Blosc, GZip, Zlib, Zstd

from shallow2deep.errors import DamagedFileError, InputError
from shallow2deep.io.unpacking import check_unpacked
from shallow2deep.io.volumes import open_volume

LARGE = 100 * 2**20
ZEROS = bytes(LARGE)


def packed(codec: str) -> bytes:
    match codec:
        case "zlib":
            return zlib.compress(ZEROS)
        case "gzip":
            return gzip.compress(b"") + gzip.compress(ZEROS)
        case "bz2":
            return bz2.compress(ZEROS)
        case "lzma":
            return lzma.compress(ZEROS, preset=0)
        case "blosc":
            return Blosc().encode(ZEROS)
        case "zstd":
            return Zstd().encode(ZEROS)
    return LZ4().encode(ZEROS)


@pytest.mark.parametrize("codec", ["zlib", "gzip", "bz2", "lzma", "blosc", "zstd", "lz4"])
def test_packed_bytes_that_unpack_to_more_than_they_claim(
    codec: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shallow2deep.io.unpacking._HARMLESS", 2**20)
    data = packed(codec)
    check_unpacked(codec, data, LARGE, "a chunk")
    with pytest.raises(ValueError, match=r"unpacks to|takes"):
        check_unpacked(codec, data, LARGE // 2, "a chunk")


@pytest.mark.parametrize("codec", ["zlib", "gzip", "bz2", "lzma", "blosc", "zstd", "lz4"])
def test_small_chunks_of_zarr_that_are_large(codec: str, tmp_path: Path) -> None:
    meta = {
        "zarr_format": 2, "shape": [64, 64], "chunks": [64, 64], "dtype": "|u1", "order": "C",
        "fill_value": 0, "filters": None, "compressor": {"id": codec},
    }  # fmt: skip
    (tmp_path / "a.zarr").mkdir()
    (tmp_path / "a.zarr" / ".zarray").write_text(json.dumps(meta))
    (tmp_path / "a.zarr" / "0.0").write_bytes(packed(codec) if codec not in ("bz2", "lzma") else bytes(99999))
    with pytest.raises(DamagedFileError, match=r"unpacks to|takes"):
        open_volume(tmp_path / "a.zarr").read()


def test_chunks_of_zarr_that_are_packed_twice(tmp_path: Path) -> None:
    zarr.create_array(
        tmp_path / "a.zarr", shape=(64, 64), chunks=(64, 64), dtype="u1", zarr_format=2,
        compressors=Zlib(), filters=[GZip()],
    )[:] = 1  # fmt: skip
    with pytest.raises(DamagedFileError, match="compressed twice"):
        open_volume(tmp_path / "a.zarr").read()


def test_small_chunks_of_hdf5_that_are_large(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        data = file.create_dataset("raw", (64, 64), np.uint8, chunks=(64, 64), compression="gzip")
        data.id.write_direct_chunk((0, 0), zlib.compress(ZEROS))
    with pytest.raises(InputError, match="a chunk of 4096 bytes takes"):
        open_volume(tmp_path / "a.h5")


def test_large_chunks_of_hdf5_that_are_larger(tmp_path: Path) -> None:
    side = 2000
    noise = np.random.default_rng(0).integers(0, 255, 5 * 2**20).astype(np.uint8).tobytes()
    with h5py.File(tmp_path / "a.h5", "w") as file:
        data = file.create_dataset("raw", (side, side), np.uint8, chunks=(side, side), compression="gzip")
        data.id.write_direct_chunk((0, 0), zlib.compress(noise + ZEROS))
    with pytest.raises(DamagedFileError, match="unpacks to more than"):
        open_volume(tmp_path / "a.h5").read()


def test_parts_of_tiff_that_are_large(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, np.zeros((64, 64), np.uint8), compression="zlib")
    with tifffile.TiffFile(path, mode="r+") as tif:
        page, end, content = tif.pages.first, path.stat().st_size, packed("zlib")
        page.tags["StripOffsets"].overwrite(end)
        page.tags["StripByteCounts"].overwrite(len(content))
    with path.open("ab") as file:
        file.write(content)
    with pytest.raises(DamagedFileError, match="a part of a page of 4096 bytes takes"):
        open_volume(path).read()


@pytest.mark.parametrize("kind", ["zarr", "hdf5", "tiff"])
def test_pieces_larger_than_all(kind: str, tmp_path: Path) -> None:
    name = tmp_path / f"a.{kind}"
    if kind == "zarr":
        zarr.create_array(name, shape=(64, 64), chunks=(40000, 40000), dtype="u4")
    elif kind == "hdf5":
        with h5py.File(name, "w") as file:
            file.create_dataset("raw", (64, 64), "u2", chunks=(40000, 40000), maxshape=(None, None))
    else:
        name = tmp_path / "a.tif"
        tifffile.imwrite(name, np.zeros((64, 64), np.uint8), tile=(64, 64), compression="zlib")
        with tifffile.TiffFile(name, mode="r+") as tif:
            for tag in ("TileWidth", "TileLength"):
                tif.pages.first.tags[tag].overwrite(40000)
    with pytest.raises(InputError, match=r"pieces of [136]\.\d GB, more than all of it"):
        open_volume(name)


def test_shapes_of_many_planes(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("raw", (10**9, 4, 4), "u1", chunks=(1, 4, 4))
    with pytest.raises(InputError, match="1000000000 planes"):
        open_volume(tmp_path / "a.h5")
