"""The network: levels as torch.fx modules, conditioning, embeddings.

Imports `builders.blocks`.
"""

from specs.public_names import offer

__getattr__ = offer(__name__)
