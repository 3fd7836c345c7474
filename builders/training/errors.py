"""Errors of training."""

from __future__ import annotations


class TrainingError(ValueError):
    """Training cannot start or go on; the message says why and what to do."""
