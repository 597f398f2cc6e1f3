"""A run: its loop, evaluation, episode statistics, logger, checkpoints and run folder."""
