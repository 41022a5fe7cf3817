"""PNG and BMP: all that is in the file, or one sentence."""

import struct
import zlib
from pathlib import Path

import imageio.v3 as iio
import numpy as np
import pytest
from PIL import Image

from shallow2deep.errors import InputError
from shallow2deep.io.volumes import open_volume

GREY, COLOUR, GREY_ALPHA, COLOUR_ALPHA = 0, 2, 4, 6


def write_png(path: Path, rows: np.ndarray, width: int, depth: int, kind: int) -> Path:
    """A PNG of any kind, from the bytes of its rows."""

    def part(name: bytes, content: bytes) -> bytes:
        return (
            struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))
        )

    header = struct.pack(">IIBBBBB", width, len(rows), depth, kind, 0, 0, 0)
    packed = zlib.compress(b"".join(b"\0" + row.tobytes() for row in rows))
    content = part(b"IHDR", header) + part(b"IDAT", packed) + part(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + content)
    return path


@pytest.mark.parametrize(
    ("kind", "channels", "word"),
    [(COLOUR, 3, "colours"), (COLOUR_ALPHA, 4, "colours"), (GREY_ALPHA, 2, "grey and alpha")],
)
def test_colours_of_16_bits_are_not_cut_to_8(kind: int, channels: int, word: str, tmp_path: Path) -> None:
    values = np.arange(5 * 7 * channels).reshape(5, 7 * channels).astype(">u2")
    path = write_png(tmp_path / "a.png", values, 7, 16, kind)
    with pytest.raises(InputError, match=f"a PNG with {word} of 16 bits .* save it as TIFF"):
        open_volume(path)


def test_grey_of_16_bits_is_whole(tmp_path: Path) -> None:
    values = np.arange(0, 35000, 1000).reshape(5, 7).astype(">u2")
    volume = open_volume(write_png(tmp_path / "a.png", values, 7, 16, GREY))
    assert np.array_equal(volume.read(), values)


@pytest.mark.parametrize("ending", ["png", "bmp"])
def test_a_palette_gives_colours_and_their_numbers(ending: str, tmp_path: Path) -> None:
    numbers = np.random.default_rng(0).integers(0, 3, (20, 30)).astype(np.uint8)
    image = Image.fromarray(numbers)
    image.putpalette([0, 0, 0, 128, 0, 0, 0, 128, 0] + [0] * 759)
    image.save(tmp_path / f"a.{ending}")
    volume = open_volume(tmp_path / f"a.{ending}")
    assert (volume.axes, volume.read().max()) == ("cyx", 128)
    assert volume.indices is not None
    assert (volume.indices.axes, volume.indices.dtype) == ("yx", np.uint8)
    assert np.array_equal(volume.indices.read(), numbers)
    window = (slice(3, 9), slice(10, 30))
    assert np.array_equal(volume.indices.read(window), numbers[window])
    assert volume.crop(window).indices is None
    assert volume.grey().indices is None


@pytest.mark.parametrize("depth", [2, 4])
def test_grey_of_few_bits_has_its_numbers_as_labels(depth: int, tmp_path: Path) -> None:
    per_byte = 8 // depth
    numbers = np.random.default_rng(0).integers(0, 2**depth, (5, 8)).astype(np.uint8)
    bits = [numbers[:, n::per_byte] << (8 - depth * (n + 1)) for n in range(per_byte)]
    volume = open_volume(write_png(tmp_path / "a.png", sum(bits), 8, depth, GREY))
    assert volume.indices is not None
    assert np.array_equal(volume.indices.read(), numbers)
    assert np.array_equal(volume.read(), numbers * (255 // (2**depth - 1)))


@pytest.mark.parametrize("varies", [False, True])
def test_grey_with_alpha_is_grey(varies: bool, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    values = np.random.default_rng(0).integers(0, 200, (20, 30, 2)).astype(np.uint8)
    values[..., 1] = values[..., 1] if varies else 255
    Image.fromarray(values, "LA").save(tmp_path / "a.png")
    volume = open_volume(tmp_path / "a.png")
    assert volume.axes == "yx"
    for _ in range(2):
        assert np.array_equal(volume.read(), values[..., 0])
    assert len(caplog.records) == varies
    assert ("alpha) varies" in caplog.text) == varies


def test_a_moving_picture_is_refused(tmp_path: Path) -> None:
    frames = np.random.default_rng(0).integers(0, 200, (3, 20, 30)).astype(np.uint8)
    iio.imwrite(tmp_path / "a.png", frames, plugin="pillow", is_batch=True)
    with pytest.raises(InputError, match="several images"):
        open_volume(tmp_path / "a.png")
