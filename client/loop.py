"""Running a worker: pass after pass, waiting where there is nothing to do and where the outside fails for a while."""

from __future__ import annotations

import time
from collections.abc import Callable

from client.policy import RoundRefused
from client.trainer import TrainingFailed, TrainingStopped
from client.worker import ClientWorker, NoFallback
from protocol.errors import (
    ArtifactRefused,
    BlockCorrupt,
    BlockMissing,
    ChainUnavailable,
    LogsIncomplete,
    StoreUnavailable,
)

_PASSING = (ChainUnavailable, LogsIncomplete, StoreUnavailable, BlockMissing, BlockCorrupt)
_SLICE_SECONDS = 0.2  # how long a request to stop may wait


def run_worker(
    worker: ClientWorker,
    *,
    poll_seconds: float,
    stopped: Callable[[], bool],
    say: Callable[[str], None],
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Step ``worker`` until it is done with its rounds, their pay included, or ``stopped()`` says so.

    A refused round is said and passed over, as is one that neither a relay nor the account pays for; a node or store that does not answer is said once and asked again.

    Raises:
        RondoError: Anything that waiting does not mend: the federation is refused, the data do not fit, no gas money.
    """
    trouble = ""
    while not stopped():
        try:
            done = worker.step()
            trouble = ""
        except TrainingStopped:
            return
        except (RoundRefused, ArtifactRefused, TrainingFailed, NoFallback) as refusal:
            done = str(refusal)
        except _PASSING as error:
            done = None
            if str(error) != trouble:
                trouble = str(error)
                say(f"{trouble} Trying again every {poll_seconds:g} s.")
        if done is not None:
            say(done)
            continue
        if worker.is_done and not trouble:
            return
        _wait(poll_seconds, stopped, sleep)


def _wait(seconds: float, stopped: Callable[[], bool], sleep: Callable[[float], None]) -> None:
    while seconds > 0 and not stopped():
        sleep(min(seconds, _SLICE_SECONDS))
        seconds -= _SLICE_SECONDS
