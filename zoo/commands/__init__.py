"""The commands of ``zoo``, one file each where they are more than a few lines."""
