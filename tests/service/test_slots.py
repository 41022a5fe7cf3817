"""How many jobs work at the same time, and with what."""

import pytest

from shallow2deep.service import slots
from shallow2deep.service.slots import slots_of


def test_a_job_for_each_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slots, "gpu_numbers", lambda: ["0", "1"])
    assert [slot["CUDA_VISIBLE_DEVICES"] for slot in slots_of()] == ["0", "1"]
    assert [slot["CUDA_VISIBLE_DEVICES"] for slot in slots_of(3)] == ["0", "1", "0"]


def test_without_a_gpu_cores_are_shared_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slots, "gpu_numbers", lambda: [])
    monkeypatch.setattr(slots, "effective_n_jobs", lambda jobs: 16)
    assert slots_of() == ({},)
    assert [slot["OMP_NUM_THREADS"] for slot in slots_of(cores=6)] == ["6", "6"]
    assert [slot["LOKY_MAX_CPU_COUNT"] for slot in slots_of(3, 2)] == ["2", "2", "2"]
    assert len(slots_of(cores=99)) == 1
