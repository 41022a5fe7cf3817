"""Our exceptions: each message is one sentence that says what came, what was expected and what to do."""


class Shallow2DeepError(Exception):
    """Anything this package raises on purpose; `exit_code` is what the command line ends with."""

    exit_code = 1


class InputError(Shallow2DeepError):
    """Data or settings that cannot be used, found before work starts."""

    exit_code = 2


class SettingsError(InputError):
    """A setting that is unknown, missing or out of range."""


class FeatureMismatchError(InputError):
    """A forest and features that do not belong together."""


class DamagedFileError(InputError):
    """A file that is truncated, altered or crafted."""


class RunBusyError(Shallow2DeepError):
    """Another process works on the same run folder."""

    exit_code = 3


class Interrupted(Shallow2DeepError):
    """A signal stopped the work at a point from which it can go on."""

    def __init__(self, message: str, signal_number: int):
        super().__init__(message)
        self.exit_code = 128 + signal_number


def one_line(text: object) -> str:
    """What others wrote, for one of our sentences."""
    return f"{' '.join(str(text).split()):.200}"
