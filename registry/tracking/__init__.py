"""MLflow: stores, runs of entries, the training observer with its spool, the dashboard.

Imports `registry.publishing`, `registry.evaluation` and what is below them.
"""

from specs.public_names import offer

__getattr__ = offer(__name__)
