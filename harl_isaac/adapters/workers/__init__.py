"""Worker processes for simulators that run on the CPU and play one environment at a time.

The parent's side is `env.WorkerEnv`, with a `handle.WorkerProcess` for each worker; `child.py` runs in the workers.
"""
