"""Held-out losses: the same noise and times for a sample in every measurement, whatever entry is measured.

Imports `builders.training.batches`, and the rooms of `builders` below it.
"""
