"""Costs of entries: parameters, MACs, FLOPs and activation memory, from the blocks' rules and without torch.

Imports the specs only; `counters` builds networks on meta to verify the rules.
"""

from specs.public_names import offer

__getattr__ = offer(__name__)
