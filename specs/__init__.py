"""The language: YAML specs, and the passes that turn one into a checked graph. Free of torch."""
