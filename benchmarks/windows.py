"""Windows beside qlty's: the same results from the same windows, and what they cost.

    pip install '.[benchmarks]' && OMP_NUM_THREADS=1 NUMBA_NUM_THREADS=1 python benchmarks/windows.py

Every piece of work runs in a process of its own, so that memory is its own: the peak above what was there
before, with inputs. Times are of the processor, medians over rounds that run both in turn, without the first
call, which compiles qlty's kernels.
"""

import statistics
from collections.abc import Callable
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import qlty
import torch
from common import cpu_seconds, machine, median_ratio

from shallow2deep import Windows

ROUNDS = 3
LAYOUTS = {
    "2048x2048": Windows((2048, 2048), (256, 256), (192, 192), (32, 32), 0.1),
    # qlty's windows of volumes in memory do not step back at the far edge, so these must end there
    "104x384x384": Windows((104, 384, 384), (32, 96, 96), (24, 72, 72), (4, 12, 12), 0.1),
}
CHANNELS = 2
UNLABELLED = -1


def image_of(windows: Windows) -> np.ndarray:
    return np.random.default_rng(0).random((CHANNELS, *windows.shape), np.float32)


def strokes_of(windows: Windows) -> np.ndarray:
    """Few labels, in one corner."""
    labels = np.full(windows.shape, UNLABELLED, np.int64)
    labels[tuple(slice(n // 8, n // 6) for n in windows.shape)] = 1
    return labels


def quilt(windows: Windows) -> Any:
    """The same windows by qlty."""
    axes = dict(zip("ZYX"[-len(windows.shape) :], windows.shape, strict=True))
    kind = qlty.NCYXQuilt if len(axes) == 2 else qlty.NCZYXQuilt
    rest = {"border": windows.border, "border_weight": windows.border_weight}
    return kind(**axes, window=windows.size, step=windows.step, **rest)


def split_by_us(windows: Windows) -> Callable[[], np.ndarray]:
    image = image_of(windows)
    return lambda: windows.split(image)


def split_by_qlty(windows: Windows) -> Callable[[], np.ndarray]:
    image, by = torch.from_numpy(image_of(windows))[None], quilt(windows)
    return lambda: by.unstitch(image).numpy()


def stitch_by_us(windows: Windows) -> Callable[[], np.ndarray]:
    parts = windows.split(image_of(windows)) ** 2
    return lambda: windows.stitch(parts)


def stitch_by_qlty(windows: Windows) -> Callable[[], np.ndarray]:
    parts, by = torch.from_numpy(windows.split(image_of(windows)) ** 2), quilt(windows)
    return lambda: by.stitch(parts)[0][0].numpy()


def labelled_by_us(windows: Windows) -> Callable[[], np.ndarray]:
    image, labels = image_of(windows), strokes_of(windows)
    return lambda: windows.labelled(image, labels, UNLABELLED).images


def labelled_by_qlty(windows: Windows) -> Callable[[], np.ndarray]:
    image, labels = torch.from_numpy(image_of(windows))[None], torch.from_numpy(strokes_of(windows))[None]
    by, ndim = quilt(windows), len(windows.shape)
    clean = getattr(qlty, f"weed_sparse_classification_training_pairs_{ndim}D")

    def work() -> np.ndarray:
        images, truths = by.unstitch_data_pair(image, labels)
        truths[:, torch.as_tensor(by.border_tensor()) < 0.5] = UNLABELLED
        return clean(images, truths, UNLABELLED, by.border_tensor())[0].numpy()

    return work


def peak(connection: Any, prepare: Callable[[Windows], Callable[[], np.ndarray]], windows: Windows) -> None:
    """Sends the seconds of each round that is asked for; in the end megabytes, and the result."""
    torch.set_num_threads(1)
    work = prepare(windows)
    work()  # compiles
    Path("/proc/self/clear_refs").write_text("5")  # the peak so far is forgotten
    before, times = psutil.Process().memory_info().rss, []
    while connection.recv():
        times.append(cpu_seconds(work))
        connection.send(times[-1])
    lines = Path("/proc/self/status").read_text().splitlines()
    top = next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))
    connection.send(((top - before) / 2**20, np.asarray(work())))


def measured(windows: Windows, *makers: Callable[[Windows], Callable[[], np.ndarray]]) -> list[list[Any]]:
    """Of each maker: seconds of each round, megabytes, result."""
    context, ends, workers = get_context("spawn"), [], []
    for maker in makers:
        here, there = context.Pipe()
        workers.append(context.Process(target=peak, args=(there, maker, windows)))
        workers[-1].start()
        ends.append(here)
    times: list[list[float]] = [[] for _ in makers]
    for _ in range(ROUNDS):
        for own, end in zip(times, ends, strict=True):
            end.send(True)
            own.append(end.recv())
    found = []
    for own, end, worker in zip(times, ends, workers, strict=True):
        end.send(False)
        found.append([own, *end.recv()])
        worker.join()
    return found


def main() -> None:
    print(f"{machine()}, {ROUNDS} rounds, qlty {qlty.__version__}\n")
    print("| work | image | windows | ours, s | qlty, s | qlty:ours | ours, MB | qlty, MB | difference |")
    print("|---|---|---|---|---|---|---|---|---|")
    jobs = [(name, windows, *pair) for name, windows in LAYOUTS.items() for pair in PAIRS]
    for name, windows, what, by_us, by_qlty in jobs:
        (ours, our_peak, a), (theirs, their_peak, b) = measured(windows, by_us, by_qlty)
        cells = [what, name, str(len(windows))]
        cells += [f"{statistics.median(ours):.3f}", f"{statistics.median(theirs):.3f}"]
        cells += [f"{median_ratio(theirs, ours):.1f}", f"{our_peak:.0f}", f"{their_peak:.0f}"]
        print(f"| {' | '.join([*cells, f'{np.abs(a - b).max():.0e}'])} |", flush=True)


PAIRS = [
    ("split", split_by_us, split_by_qlty),
    ("stitch", stitch_by_us, stitch_by_qlty),
    ("windows with labels", labelled_by_us, labelled_by_qlty),
]


if __name__ == "__main__":
    main()
