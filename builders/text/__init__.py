"""Text encoders: the embedded one, T5, and cached states of a dataset's captions.

Imports `builders.data`, `builders.checkpoints` and what is below them.
"""

from specs.public_names import offer

__getattr__ = offer(__name__)
