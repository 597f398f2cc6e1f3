"""Tasks with two Shadow hands."""
