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
        self.columns = zeros(spec.num_envs, 3 + len(spec.metrics))  # [E, .] 1, return, length, then each metric
        self.columns[:, 0] = 1.0
        self.running = self.columns[:, 1:3]  # [E, 2] return (mean over agents) and length of the running episodes
        self.sums = zeros(3 + len(spec.metrics))  # of the columns over the episodes that ended

    def __call__(self, step: Step) -> None:
        self.columns[:, 1] += step.reward[:, 0] if step.reward.shape[1] == 1 else step.reward.mean(1)
        self.columns[:, 2] += 1.0
        for place, name in enumerate(self.names):
            self.columns[:, 3 + place] = step.metrics[name]
        done = step.done
        self.sums.addmv_(self.columns.t(), done.to(self.sums.dtype))
        self.running.masked_fill_(done[:, None], 0.0)

    def drain(self) -> Dict[str, Tensor]:
        """Means over the ended episodes (NaN where none ended) and their number; starts anew."""
        count = self.sums[0].clone()
        means = self.sums[1:] / count
        self.sums.zero_()
        names = ["return", "length", *self.names]
        return {"episode/count": count, **{"episode/" + name: value for name, value in zip(names, means)}}

    def forget(self) -> None:
        """The running episodes were lost."""
        self.running.zero_()

    def state_dict(self) -> Dict[str, Tensor]:
        return {"running": self.running.clone(), "sums": self.sums.clone()}

    def load_state_dict(self, state: Dict[str, Tensor]) -> None:
        self.running.copy_(state["running"])
        self.sums.copy_(state["sums"])
