"""Statistics of finished episodes, kept on the device and read once an iteration."""

from typing import Dict

import torch
from torch import Tensor

from harl_isaac.env import EnvSpec, Step


class EpisodeStats:
    """Sums over the episodes that ended since the last `drain`. Call it with every Step."""

    def __init__(self, spec: EnvSpec):
        def zeros(*shape):
            return torch.zeros(shape, device=spec.device)

        self.names = spec.metrics
        self.running = zeros(spec.num_envs, 2)  # [E, 2] return (mean over agents) and length of the running episodes
        self.sums = zeros(3 + len(spec.metrics))  # episodes, returns, lengths, then each metric

    def __call__(self, step: Step) -> None:
        self.running[:, 0] += step.reward.mean(1)
        self.running[:, 1] += 1.0
        metrics = [step.metrics[name] for name in self.names]
        columns = torch.stack([torch.ones_like(self.running[:, 0]), self.running[:, 0], self.running[:, 1], *metrics], 1)
        done = step.done[:, None]
        self.sums += torch.where(done, columns, torch.zeros_like(columns)).sum(0)
        self.running.masked_fill_(done, 0.0)

    def drain(self) -> Dict[str, Tensor]:
        """Means over the ended episodes (NaN where none ended) and their number; starts anew."""
        count = self.sums[0].clone()
        means = self.sums[1:] / count
        self.sums.zero_()
        names = ["return", "length", *self.names]
        return {"episode/count": count, **{"episode/" + name: value for name, value in zip(names, means)}}

    def state_dict(self) -> Dict[str, Tensor]:
        return {"running": self.running.clone(), "sums": self.sums.clone()}

    def load_state_dict(self, state: Dict[str, Tensor]) -> None:
        self.running.copy_(state["running"])
        self.sums.copy_(state["sums"])
