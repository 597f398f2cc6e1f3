"""Heterogeneous-agent reinforcement learning on batched simulation."""

__version__ = "0.1.0"
