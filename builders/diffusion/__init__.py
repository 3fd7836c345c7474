"""The diffusion process: noise schedules, targets, reverse steps, losses.

Imports only the specs.
"""

from specs.public_names import offer

__getattr__ = offer(__name__)
