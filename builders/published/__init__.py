"""The paper's own files: configurations and checkpoints, read without running them.

Imports `builders.networks` and `builders.checkpoints`.
"""

from specs.public_names import offer

__getattr__ = offer(__name__)
