"""Statistics of paired comparisons: exact tests, bootstrap intervals, several tests at once, power. Imports NumPy."""
