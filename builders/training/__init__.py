"""Training by recipe: phases, the loop, checkpoints of a run, validation, observers.

Imports all other rooms of this package but `builders.published`.
"""

from specs.public_names import offer

__getattr__ = offer(__name__)
