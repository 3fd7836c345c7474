"""Timing scripts. ``python -m benchmarks --list`` names them."""
