"""Tasks of Bi-DexterousHands on Isaac Gym (docs/isaacgym.md)."""
