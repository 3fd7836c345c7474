"""The diffusion process: noise schedules, targets, reverse steps, losses.

Imports the specs alone.
"""

from specs.public_names import offer

__getattr__ = offer(__name__)
