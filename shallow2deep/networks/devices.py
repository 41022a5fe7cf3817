"""Where and in which precision to compute."""

from collections.abc import Iterable

import torch

from shallow2deep.errors import SettingsError


def choose_device(name: str) -> torch.device:
    """The torch device for `auto`, `cpu`, `cuda`, `cuda:1`, `mps`.

    Raises:
        SettingsError: no such device on this machine.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError):
        raise SettingsError(f'device "{name}" is not there; set device to auto, cpu or cuda') from None
    return device


def require_devices(names: Iterable[str]) -> None:
    """Whether this machine has all of these devices.

    Raises:
        SettingsError: naming the first that it has not.
    """
    for name in names:
        choose_device(name)


def use_bfloat16(precision: str, device: torch.device) -> bool:
    """Whether to compute in bfloat16: on `auto` where the processor has instructions for it."""
    if precision != "auto":
        return precision == "bfloat16"
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return device.type == "cpu" and torch.cpu._is_avx512_bf16_supported()
