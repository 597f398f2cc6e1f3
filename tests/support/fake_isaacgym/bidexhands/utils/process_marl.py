"""One list of groups for each hand."""

from ast import literal_eval


def get_AgentIndex(config):
    return [literal_eval(config["env"]["handAgentIndex"]) for _ in range(2)]
