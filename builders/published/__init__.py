"""The published networks of the paper: reading their configurations and checkpoints, and converting them.

Imports `builders.networks` and `builders.checkpoints`.
"""

from specs.public_names import offer

__getattr__ = offer(__name__)
