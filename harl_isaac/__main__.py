"""`python -m harl_isaac <command> ...`: the commands of harl_isaac/cli/commands.py."""

from harl_isaac.cli.commands import main

if __name__ == "__main__":
    main()
