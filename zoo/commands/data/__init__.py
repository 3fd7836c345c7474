"""The commands of ``zoo data``, one per module.

Imports `zoo.commands.options`; slow imports are inside the commands.
"""

#: Largest number of broken images that are listed.
NAMED = 20
