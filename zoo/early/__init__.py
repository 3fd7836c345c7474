"""Checks of a request before torch is imported: a wrong option is refused within a second.

Imports `registry` and `builders.data`, and of these only what is free of torch.
"""
