"""Commands that make weights files of a run.

Imports `zoo.commands.options` and `zoo.terminal`; slow imports are inside the commands.
"""
