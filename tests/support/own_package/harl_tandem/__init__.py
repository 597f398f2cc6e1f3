"""A package of one's own, as a user would install it: a task and an algorithm found by entry points."""
