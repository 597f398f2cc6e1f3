"""`python -m harl_isaac <command> ...`: the commands of harl_isaac/cli/entry.py."""

from harl_isaac.cli.entry import main

if __name__ == "__main__":
    main()
