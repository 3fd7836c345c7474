"""What ``zoo sample`` draws, and the files it writes.

Imports `zoo.terminal`.
"""
