"""Train: python train.py task=ShadowHandOver algo=happo num_envs=256 (see --help; `harl-train` is the same)."""

from harl_isaac.cli.entry import train

if __name__ == "__main__":
    train()
