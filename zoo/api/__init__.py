"""The Python functions of ``zoo``: load, sample, train, evaluate. Slow imports are inside them.

Imports `zoo.device` and `zoo.terminal`.
"""
