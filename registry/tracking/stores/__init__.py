"""Addresses, artifacts and experiments of MLflow stores.

Imports `builders.files`, `specs`.
"""
