"""What a run may be resumed with: the recipe it was started with, or one that extends it.

Imports `builders.training.state`, and `specs`.
"""
