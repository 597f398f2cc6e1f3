"""Heterogeneous-agent reinforcement learning on batched simulation."""
