"""Hydra's configuration root. Tasks and algorithms register their own dataclasses; YAML holds deviations only."""
