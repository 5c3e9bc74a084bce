"""What other people's code may change in the process around it, as it was before: later cells must not depend on it."""

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import numpy as np
import torch

HANDLERS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def kept_as_they_are() -> Iterator[None]:
    """Puts back, when the block ends: folder, environment, streams, signal handlers, torch's and numpy's modes."""
    try:
        folder = os.getcwd()
    except OSError:  # somebody has removed it
        folder = None
    environ, streams = dict(os.environ), (sys.stdout, sys.stderr)
    ours = threading.current_thread() is threading.main_thread()
    handlers = {number: signal.getsignal(number) for number in HANDLERS} if ours else {}
    modes = (torch.get_num_threads(), torch.get_default_dtype(), torch.is_grad_enabled(), np.geterr())
    try:
        yield
    finally:
        if folder is not None:
            with suppress(OSError):
                os.chdir(folder)
        if dict(os.environ) != environ:
            os.environ.clear()
            os.environ.update(environ)
        sys.stdout, sys.stderr = streams
        for number, handler in handlers.items():
            if signal.getsignal(number) is not handler:
                signal.signal(number, signal.SIG_DFL if handler is None else handler)
        threads, dtype, grad, errors = modes
        if torch.get_num_threads() != threads:
            torch.set_num_threads(threads)
        torch.set_default_dtype(dtype)
        torch.set_grad_enabled(grad)
        np.seterr(**errors)
