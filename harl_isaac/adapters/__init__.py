"""Other people's simulators behind the contract of `harl_isaac.env`."""
