"""What entries cost: parameters, MACs, FLOPs and memory, from the blocks' rules and without torch.

Imports the specs alone; `counters` builds networks to compare.
"""

from specs.public_names import offer

__getattr__ = offer(__name__)
