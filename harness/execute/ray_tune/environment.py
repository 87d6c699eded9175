"""What Ray reads from the environment: imported for its effect, before anything imports ray."""

from __future__ import annotations

import os
import sys
from pathlib import Path

A_YEAR = 365 * 24 * 3600

_SETTINGS = {
    "TUNE_DISABLE_SIGINT_HANDLER": "1",  # the driver answers Ctrl-C, through the store
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",  # results are kept in the store
    "TUNE_PRINT_ALL_TRIAL_ERRORS": "0",  # why an attempt ended stands in its record
    "TUNE_GLOBAL_CHECKPOINT_S": str(A_YEAR),  # a snapshot of all trials, which nobody would restore
    "TUNE_MAX_PENDING_TRIALS_PG": "1000",  # how many may wait for room is for the driver to say
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # the worker hides GPUs itself
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_AIR_NEW_OUTPUT": "0",  # the new one prints tables whatever the verbosity
    "RAY_TRAIN_V2_ENABLED": "1",
}

for _name, _value in _SETTINGS.items():
    os.environ.setdefault(_name, _value)

if (Path.home() / ".ray" / "auth_token").is_file() and "ray" not in sys.modules:
    # From 2.59 on Ray starts clusters with this token, but offers it to a running one only when asked to.
    # Whoever imported Ray before has chosen the mode: half of Ray would see another one now.
    os.environ.setdefault("RAY_AUTH_MODE", "token")
