"""What starts Isaac Sim. It reads sys.argv and refuses what it does not know."""

import sys
from types import SimpleNamespace

STARTED = []  # what each launcher was given


class FakeAppLauncher:
    def __init__(self, launcher_args=None, **kwargs):
        assert sys.argv[1:] == [], "words on the command line reach Isaac Sim"
        STARTED.append(kwargs)
        self.app = SimpleNamespace(close=lambda: None)


AppLauncher = FakeAppLauncher
