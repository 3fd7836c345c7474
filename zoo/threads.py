"""How long torch's threads wait actively for each other."""

from __future__ import annotations

import os
import sys

__all__ = ["SPINS", "spin_briefly"]

#: Rounds for which a thread of OpenMP polls before it sleeps. The default of libgomp, 300,000, takes milliseconds:
#: beside other programs, threads poll instead of leaving the core to the thread that they wait for. Without any
#: polling, small steps are slower on an idle machine. docs/measurements.md has the times for other values.
SPINS = 10_000


def spin_briefly() -> None:
    """Let the threads of torch in this process and its children poll for a short time before they sleep.

    Has no effect once torch is imported, or if the user has set ``OMP_WAIT_POLICY`` or ``GOMP_SPINCOUNT``. Results do
    not change.
    """
    chosen = "OMP_WAIT_POLICY" in os.environ or "GOMP_SPINCOUNT" in os.environ
    if "torch" not in sys.modules and not chosen:
        os.environ["GOMP_SPINCOUNT"] = str(SPINS)
