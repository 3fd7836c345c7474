"""What is known of each entry: look-up, costs, evaluation, tracking, comparison. Free of torch until it is needed."""

import specs.public_names  # noqa: F401  modules by their names of before 0.2
