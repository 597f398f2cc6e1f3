"""Trained policies that come with the package: policy files <name>.policy, which policy=<name> plays."""
