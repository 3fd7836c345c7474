"""``zoo list``: entries, recipes, studies and datasets.

Imports `zoo.commands.options`; slow imports are inside the commands.
"""
