"""Statistics of finished episodes, kept on the device and read once an iteration."""

from typing import Any, Dict

import torch
from torch import Tensor

from harl_isaac import ranks
from harl_isaac.env import EnvSpec, Step

LATER = ("unconverged",)  # metrics of tasks that states without names do not have


class EpisodeStats:
    """Sums over the episodes that ended since the last `drain`. Call it with every Step."""

    def __init__(self, spec: EnvSpec):
        self.names = spec.metrics
        width = 3 + len(spec.metrics)
        self.columns = torch.zeros(spec.num_envs, width, device=spec.device)  # [E, .] 1, return, length, each metric
        self.columns[:, 0] = 1.0
        self.running = self.columns[:, 1:3]  # [E, 2] return (mean over agents) and length of the running episodes
        self.sums = torch.zeros(width, device=spec.device)  # of the columns over the episodes that ended

    def __call__(self, step: Step) -> None:
        """Add a Step to the running episodes; those that end with it enter the sums."""
        self.columns[:, 1] += step.reward[:, 0] if step.reward.shape[1] == 1 else step.reward.mean(1)
        self.columns[:, 2] += 1.0
        for column, name in enumerate(self.names, 3):
            self.columns[:, column] = step.metrics[name]
        done = step.done
        self.sums.addmv_(self.columns.t(), done.to(self.sums.dtype))
        self.running.masked_fill_(done[:, None], 0.0)

    def drain(self) -> Dict[str, Tensor]:
        """Means [] over all processes' ended episodes (NaN if none ended) and their number, by name. Starts over."""
        sums = ranks.total(self.sums)
        count = sums[0].clone()
        means = sums[1:] / count
        self.sums.zero_()
        metrics = {"episode/count": count}
        for name, mean in zip(("return", "length", *self.names), means):
            metrics["episode/" + name] = mean
        return metrics

    def reset_episodes(self) -> None:
        """Drop the running episodes: new ones begin with the next Step."""
        self.running.zero_()

    def state_dict(self) -> Dict[str, Any]:
        """Everything needed to continue exactly from here."""
        return {"running": self.running.clone(), "sums": self.sums.clone(), "names": list(self.names)}

    def load_state_dict(self, state: Dict[str, Any]) -> None:
        """Continue from a `state_dict` of statistics of the same spec."""
        self.running.copy_(state["running"])
        saved = state.get("names", [name for name in self.names if name not in LATER])
        self.sums.zero_()
        self.sums[:3] = state["sums"][:3]
        for column, name in enumerate(saved, 3):
            if name in self.names:
                self.sums[3 + self.names.index(name)] = state["sums"][column]
