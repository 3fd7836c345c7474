"""Checkpoint files: safetensors with a spec, its hashes and a content hash.

Imports `builders.networks`, `builders.files`. This file and `shipped` import no torch, because the registry uses them.
"""

from specs.public_names import offer

__getattr__ = offer(__name__)
