"""Policies as files of other runtimes: an agent's network with all that lies between observation and action."""
