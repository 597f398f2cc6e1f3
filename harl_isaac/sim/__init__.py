"""Physics engines behind one protocol, and the order of one simulated environment step."""
