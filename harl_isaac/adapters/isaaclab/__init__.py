"""Tasks of Isaac Lab: DirectMARLEnv, and DirectRLEnv as a single agent (docs/isaaclab.md)."""
