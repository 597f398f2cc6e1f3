"""Adapters of other projects' simulators to the environment contract of `harl_isaac.env`."""
