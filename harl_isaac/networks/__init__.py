"""Stacked per-agent policies, the central critic, action distributions."""
