"""How many jobs work at the same time, and with what: one for each GPU, or for each few cores."""

import subprocess
from collections.abc import Mapping

from joblib import effective_n_jobs

Slot = Mapping[str, str]  # variables of a process's environment
_LIST_GPUS = ("nvidia-smi", "--query-gpu=index", "--format=csv,noheader")


def slots_of(count: int | None = None, cores: int | None = None) -> tuple[Slot, ...]:
    """The places for jobs on this computer.

    Args:
        count: how many; if not given, one for each GPU, or one if there is none, or as many as `cores` allow.
        cores: of the processor, that each job uses; all if not given.
    """
    gpus = gpu_numbers()
    if count is None:
        count = len(gpus) or (max(1, effective_n_jobs(-1) // cores) if cores else 1)
    of_cores = dict.fromkeys(_COUNTS_OF_CORES, str(cores)) if cores else {}
    of_gpu = [{"CUDA_VISIBLE_DEVICES": gpus[n % len(gpus)]} if gpus else {} for n in range(count)]
    return tuple(of_cores | one for one in of_gpu)


def gpu_of(slot: Slot) -> str | None:
    """The GPU of a place, as torch calls it where it sees all, such as "cuda:0"."""
    number = slot.get("CUDA_VISIBLE_DEVICES")
    return f"cuda:{number}" if number else None


_COUNTS_OF_CORES = ("OMP_NUM_THREADS", "NUMBA_NUM_THREADS", "LOKY_MAX_CPU_COUNT")


def gpu_numbers() -> list[str]:
    """Of the GPUs that there are, as their driver counts them; torch, which knows them, too, loads slowly."""
    try:
        told = subprocess.run(_LIST_GPUS, capture_output=True, text=True, timeout=30, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return []
    return told.split()
