"""Checkpoint files: safetensors with a spec, its hashes and a content hash.

Imports `builders.networks`, `builders.files`. `shipped` and this file import no torch, for the registry uses them.
"""

from specs.public_names import offer

__getattr__ = offer(__name__)
