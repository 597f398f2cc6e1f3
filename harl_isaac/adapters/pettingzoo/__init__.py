"""Parallel environments of PettingZoo as Games: `game.py` plays and saves them, `spaces.py` converts their spaces."""
