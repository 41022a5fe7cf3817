"""Who uses which device: each belongs to one session at a time, as in tiktorch."""

import threading
from collections.abc import Callable, Iterable
from contextlib import suppress

import torch

from shallow2deep.errors import InputError, RunBusyError
from shallow2deep.networks.devices import choose_device
from shallow2deep.service.tiktorch.protocol import utils_pb2 as messages


class Leases:
    """The devices of this computer, and the sessions that use them.

    Args:
        of_jobs: tells the GPUs that the jobs of the same server train on.
    """

    def __init__(self, of_jobs: Callable[[], set[str]] = set) -> None:
        self._lock, self._of_jobs = threading.Lock(), of_jobs
        self._users: dict[str, str] = {}  # by device

    def lease(self, names: Iterable[str], session: str) -> list[str]:
        """Gives devices to a session; all of them, or none.

        Returns:
            Their full names.

        Raises:
            InputError: there is no such device; RunBusyError: another session, or a job, uses one.
        """
        found = [full_name(name) for name in names]
        if busy := self._of_jobs() & set(found):
            raise RunBusyError(
                f"Device {min(busy)} is already in use, by a job; wait for its end, or abort it"
            )
        with self._lock:
            if taken := [name for name in found if self._users.get(name, session) != session]:
                raise RunBusyError(f"Device {taken[0]} is already in use; close the session that uses it")
            self._users.update(dict.fromkeys(found, session))
        return found

    def free(self, session: str) -> None:
        """Takes all devices from a session."""
        with self._lock:
            self._users = {name: user for name, user in self._users.items() if user != session}

    def gpus(self) -> set[str]:
        """Those that sessions use."""
        with self._lock:
            return {name for name in self._users if name != "cpu"}

    def told(self) -> messages.Devices:
        """All devices, the processor first."""
        names = ["cpu", *(f"cuda:{n}" for n in range(torch.cuda.device_count()))]
        with self._lock:
            used = {*self._users, *self._of_jobs()}
        states = messages.Device.Status
        return messages.Devices(
            devices=[
                messages.Device(id=name, status=states.IN_USE if name in used else states.AVAILABLE)
                for name in names
            ]
        )


def full_name(name: str) -> str:
    """As `ListDevices` has it.

    >>> full_name("cpu")
    'cpu'
    """
    device = None
    with suppress(InputError):
        device = choose_device(name)
    if device is None:
        raise InputError(f"Device {name:.40} doesn't exist; ListDevices tells which there are")
    if device.type == "cpu":
        return "cpu"
    return f"{device.type}:{device.index or 0}"
