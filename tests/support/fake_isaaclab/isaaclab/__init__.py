"""A fake of Isaac Lab: the interface of the real one's direct environments, and its traps, without a simulator."""
