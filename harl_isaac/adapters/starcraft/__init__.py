"""SMAC and SMACv2, battles of StarCraft II: `game.py` plays them, `settings.py` has the tasks' settings."""
