"""Our exceptions: each message is one sentence that says what came, what was expected and what to do."""


class Shallow2DeepError(Exception):
    """Anything this package raises on purpose; `exit_code` is what the command line ends with."""

    exit_code = 1


class InputError(Shallow2DeepError):
    """Data or settings that cannot be used, found before work starts."""

    exit_code = 2


class MissingDataError(InputError):
    """A file that is named but is not there."""


class SettingsError(InputError):
    """A setting that is unknown, missing or out of range."""


class TakenError(InputError):
    """A name that something else has already, which is not replaced."""


class TooLargeError(InputError):
    """More than is taken in at once."""


class OutdatedError(InputError):
    """What was asked for is no longer of use, as something newer was asked for."""


class DeniedError(InputError):
    """Something that a server does not do for the one who asks."""


class FeatureMismatchError(InputError):
    """A forest and features that do not belong together."""


class DamagedFileError(InputError):
    """A file that is truncated, altered or crafted."""


class TooLittleMemoryError(InputError):
    """Something that is whole but larger than the memory there is."""


class NotFiniteError(Shallow2DeepError):
    """Work that came to NaN or infinity; what was good before stays."""


class NoRoomError(Shallow2DeepError):
    """A disk that is full; what was written before stays, and the same command goes on when there is room."""


class LostWorkerError(Shallow2DeepError):
    """A process that prepared data for this one was killed; the same command goes on."""


class RunBusyError(Shallow2DeepError):
    """Another process works on the same run folder, or writes into the same one."""

    exit_code = 3


class Interrupted(Shallow2DeepError):
    """The work was stopped at a point from which it can go on."""

    def __init__(self, message: str, exit_code: int):
        super().__init__(message)
        self.exit_code = exit_code


class NotStartedError(Shallow2DeepError):
    """A process that was to work on a run ended before it began; it says what the command would have said."""

    def __init__(self, message: str, exit_code: int):
        super().__init__(message)
        self.exit_code = exit_code


class Aborted(Shallow2DeepError):
    """The work was given up on request."""

    exit_code = 4


def one_line(text: object) -> str:
    """What others wrote, for one of our sentences."""
    return f"{' '.join(str(text).split()):.200}"
