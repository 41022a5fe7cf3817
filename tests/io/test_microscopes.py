"""Files of microscopes: by bioio where it is installed, and by a stand-in that speaks as bioio does."""

import pickle
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest

from shallow2deep.errors import DamagedFileError, InputError
from shallow2deep.io import microscopes
from shallow2deep.io.volumes import open_volume, open_volumes

PIXELS = np.random.default_rng(0).integers(0, 60000, (2, 3, 4, 20, 30)).astype(np.uint16)  # t, c, z, y, x


class Lazy:
    """What is used of a dask array."""

    def __init__(self, values: np.ndarray):
        self.values, self.shape, self.dtype, self.ndim = values, values.shape, values.dtype, values.ndim
        self.chunksize = (1,) * (values.ndim - 2) + values.shape[-2:]
        self.computed: list[int] = []

    def __getitem__(self, window: tuple[slice | int, ...]) -> "Lazy":
        return Lazy(self.values[window])

    def compute(self, scheduler: str) -> np.ndarray:
        assert scheduler == "synchronous"  # no threads of its own
        READ.append(self.values.size)
        return self.values


READ: list[int] = []


class Unsupported(Exception):
    pass


class StandIn:
    """Two positions in a `.nd2`; colour in a `.lif`; tiles that are not joined in a `.czi`."""

    def __init__(self, path: Path):
        if not path.read_bytes():
            raise Unsupported
        self.kind, self.number = path.suffix, 0
        self.scenes = ("left", "right") if self.kind == ".nd2" else ("Image:0",)
        self.channel_names = (
            ["DAPI", "GFP", "488"] if self.kind != ".dv" else [f"Channel:0:{n}" for n in range(3)]
        )
        self.physical_pixel_sizes = (0.3, 0.1, 0.1) if self.kind == ".nd2" else (None, 0.1, 0.1)

    def set_scene(self, number: int) -> None:
        self.number = number

    @property
    def _values(self) -> np.ndarray:
        if self.kind == ".lif":
            return np.moveaxis(PIXELS[:1, :, :1], 1, -1)[:, None]
        return PIXELS + np.uint16(self.number) if self.kind == ".nd2" else PIXELS[:1, :, :1]

    @property
    def reader(self) -> SimpleNamespace:
        order, shape = "TCZYXS"[: self._values.ndim], self._values.shape
        if self.kind == ".czi":
            order, shape = f"M{order}", (2, *shape)
        return SimpleNamespace(dims=SimpleNamespace(order=order, shape=shape))

    @property
    def dims(self) -> SimpleNamespace:
        return SimpleNamespace(Y=self._values.shape[3], X=self._values.shape[4])

    def get_image_dask_data(self, order: str) -> Lazy:
        assert len(order) == self._values.ndim
        return Lazy(self._values)


@pytest.fixture
def bioio(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name, parts in {"bioio": {"BioImage": StandIn}, "bioio_base": {}}.items():
        module = ModuleType(name)
        vars(module).update(parts)
        monkeypatch.setitem(sys.modules, name, module)
    errors = ModuleType("bioio_base.exceptions")
    errors.UnsupportedFileFormatError = Unsupported  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "bioio_base.exceptions", errors)
    microscopes._opened.cache_clear()
    yield
    microscopes._opened.cache_clear()


def file(folder: Path, name: str) -> Path:
    (folder / name).write_bytes(b"bytes of a microscope")
    return folder / name


def test_time_points_are_images_of_their_own(bioio: None, tmp_path: Path) -> None:
    path = file(tmp_path, "a.nd2")
    first, second = open_volumes(f"{path}:0")
    assert (second.axes, second.shape, second.time, second.time_suffix) == ("czyx", (3, 4, 20, 30), 1, "_t1")
    assert second.channels == ("DAPI", "GFP", "488")
    assert np.allclose(second.voxel_size or (), (300, 100, 100))
    assert np.array_equal(second.read(), PIXELS[1])
    assert first.identity != second.identity


def test_windows_are_read_lazily_and_in_other_processes(bioio: None, tmp_path: Path) -> None:
    volume = pickle.loads(pickle.dumps(open_volumes(f"{file(tmp_path, 'a.nd2')}:left")[0].pick(["488"])))
    READ.clear()
    window = (slice(1, 3), slice(4, 9), slice(2, 30))
    assert np.array_equal(volume.read(window), PIXELS[0, 2, 1:3, 4:9, 2:])
    assert READ == [2 * 5 * 28]


def test_scenes_are_named_and_one_is_chosen(bioio: None, tmp_path: Path) -> None:
    path = file(tmp_path, "a.nd2")
    with pytest.raises(InputError, match=r"2 scenes came.* as a\.nd2:0, out of 0: left, 1: right"):
        open_volumes(path)
    for key in ("1", "right"):
        assert np.array_equal(open_volumes(f"{path}:{key}")[0].read(), PIXELS[0] + 1)
    with pytest.raises(InputError, match='no scene "2"'):
        open_volumes(f"{path}:2")


def test_colour_and_channels_without_names(bioio: None, tmp_path: Path) -> None:
    colour = open_volume(file(tmp_path, "a.lif"))
    assert (colour.axes, colour.shape, colour.channels) == ("cyx", (3, 20, 30), ())
    assert np.array_equal(colour.read(), PIXELS[0, :, 0])
    assert colour.voxel_size == (100, 100)
    assert open_volume(file(tmp_path, "a.dv")).channels == ()  # bioio makes names up


def test_tiles_that_are_not_joined_are_refused(bioio: None, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="of which M cannot be read"):
        open_volume(file(tmp_path, "a.czi"))


def test_what_changed_or_is_none_is_refused(bioio: None, tmp_path: Path) -> None:
    volume = open_volume(file(tmp_path, "a.lif"))
    volume.file.write_bytes(b"other bytes")
    with pytest.raises(DamagedFileError, match="has changed"):
        volume.read()
    (tmp_path / "a.vsi").write_bytes(b"")
    with pytest.raises(InputError, match=r"none of the installed plugins .*bioio-bioformats.* or convert it"):
        open_volume(tmp_path / "a.vsi")


@pytest.mark.parametrize(
    ("ending", "plugin"),
    [(".nd2", "vendors]', or"), (".czi", "bioio-czi, which is under the GPL"), (".oib", "Java")],
)
def test_missing_packages_are_named(
    ending: str, plugin: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "bioio", None)
    with pytest.raises(
        InputError, match=r"pip install 'shallow2deep\[vendors\]'.*convert it to OME-TIFF"
    ) as error:
        open_volumes(file(tmp_path, f"a{ending}").parent)  # a folder of such files
    assert plugin in str(error.value)


def test_a_czi_file_by_bioio(tmp_path: Path) -> None:
    czi = pytest.importorskip("pylibCZIrw.czi")
    pytest.importorskip("bioio_czi")
    with czi.create_czi(str(tmp_path / "a.czi")) as file:
        for t, c, z in np.ndindex(*PIXELS.shape[:3]):
            file.write(data=PIXELS[t, c, z][..., None], plane={"T": t, "C": c, "Z": z})
        names = {0: "DAPI", 1: "GFP", 2: "Cy5"}
        file.write_metadata("a", channel_names=names, scale_x=1e-7, scale_y=1e-7, scale_z=3e-7)
    first, second = open_volumes(tmp_path / "a.czi")
    assert (second.axes, second.channels) == ("czyx", ("DAPI", "GFP", "Cy5"))
    assert np.allclose(first.voxel_size or (), (300, 100, 100))
    assert np.array_equal(first.read(), PIXELS[0])
    assert np.array_equal(
        second.pick(["GFP"]).read((slice(1, 2), slice(3, 9), slice(30))), PIXELS[1, 1, 1:2, 3:9]
    )
    with pytest.raises(InputError, match="choose what to use by channels"):
        first.grey()
