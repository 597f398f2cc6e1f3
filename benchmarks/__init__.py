"""Benchmarks: ratios against the bare engine, the bare networks, a smaller replay (python -m benchmarks)."""
