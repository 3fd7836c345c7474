"""Recognition of what lies in folders and tar files: formats, texts, labels, splits, and what is left out.

Imports `builders.data.errors`, `builders.files`, `specs.printable`.
"""
