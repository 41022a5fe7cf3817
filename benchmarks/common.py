"""What all benchmarks share."""

import argparse
import os
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import psutil


def machine() -> str:
    """The processor, by the name that it gives itself."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    memory = psutil.virtual_memory().total / 2**30
    return f"{names[0] if names else os.uname().machine}, {os.cpu_count()} cores, {memory:.0f} GB"


def cpu_seconds(work: Callable[[], object]) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start


def seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def median_ratio(slow: Sequence[float], fast: Sequence[float]) -> float:
    """The median over rounds of how many times longer the first took."""
    return statistics.median(a / b for a, b in zip(slow, fast, strict=True))


def run_and_data(description: str | None) -> argparse.Namespace:
    """From the command line: `run`, of enhancer-train, and `data`, the folder of data sets."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    return parser.parse_args()
