"""Drawing samples: samplers, batches, sample folders, previews.

Imports `builders.data`, `builders.diffusion`, `builders.networks`, `builders.text` and what is below them.
"""

from specs.public_names import offer

__getattr__ = offer(__name__)
