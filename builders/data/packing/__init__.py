"""Packing images of folders, CSV and JSONL files into shards.

Imports `builders.data`, `builders.files`.
"""
