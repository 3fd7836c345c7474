"""``zoo study`` for studies of arms: plans, registration, runs."""
