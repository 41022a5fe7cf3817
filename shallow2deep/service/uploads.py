"""What clients send, written to disk as it comes."""

import hashlib
import os
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from anyio import to_thread
from starlette.requests import ClientDisconnect, Request

from shallow2deep.errors import InputError, TakenError
from shallow2deep.io.atomic import atomic_path, room_for


@dataclass(frozen=True)
class Received:
    """A file that a client has sent.

    Attributes:
        path: where it is for the moment.
    """

    path: Path
    size: int
    sha256: str

    def keep(self, target: Path) -> None:
        """Gives it its name.

        Raises:
            TakenError: there is something of that name.
        """
        require_new(target)
        with atomic_path(target, self.size) as temporary:
            self.path.replace(temporary)


def require_new(target: Path) -> None:
    """Raises TakenError where something has a name."""
    if target.exists():
        raise TakenError(f"{target.name} is there already; choose another name, or delete that one first")


@asynccontextmanager
async def received(request: Request, folder: Path, ending: str) -> AsyncIterator[Received]:
    """The body of a request in a temporary file, which is there until the block ends.

    Raises:
        InputError: the client went away before all was there; NoRoomError: the disk is full.
    """
    number, name = tempfile.mkstemp(ending, dir=folder)
    path = Path(name)
    try:
        size, digest = 0, hashlib.sha256()
        with room_for(path), os.fdopen(number, "wb") as file:
            async for chunk in request.stream():
                size += len(chunk)
                digest.update(chunk)
                await to_thread.run_sync(file.write, chunk)
        yield Received(path, size, digest.hexdigest())
    except ClientDisconnect:
        raise InputError("the client went away before all was there; nothing was kept") from None
    finally:
        path.unlink(missing_ok=True)
