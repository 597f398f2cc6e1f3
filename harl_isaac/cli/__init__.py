"""Commands: arguments, checks and output. `entry.py` starts each of them before torch is imported."""
