"""`s2d` in the tests' own process, as a new one takes seconds to import torch."""

import io
import logging
import sys
from contextlib import redirect_stderr, redirect_stdout
from subprocess import CompletedProcess

import pytest

from shallow2deep import progress
from shallow2deep.cli import main


def s2d(*arguments: object) -> CompletedProcess[str]:
    """What the command says, and its exit code."""
    out, err = io.StringIO(), io.StringIO()
    handlers = logging.getLogger("shallow2deep").handlers
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
        patch.setattr(sys, "argv", ["s2d", *map(str, arguments)])
        patch.setattr(progress, "_hidden", progress._hidden)  # --quiet is for this call alone
        before = handlers[:]
        try:
            with pytest.raises(SystemExit) as ended:
                main()
        finally:
            handlers[:] = before
    return CompletedProcess(sys.argv, int(ended.value.code or 0), out.getvalue(), err.getvalue())
