"""What is known of each entry: look-up, graph, costs and cards; measurements and tracking."""
