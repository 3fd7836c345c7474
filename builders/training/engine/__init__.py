"""How a device computes training steps: when their numbers are read, and in which precision.

Imports `builders.precision`, `builders.checkpoints`, `builders.training.settings` and `specs`.
"""
