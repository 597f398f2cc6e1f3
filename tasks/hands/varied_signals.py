"""Noise on observations and actions, and actions that take effect late."""

from typing import Dict, Optional, Union

import torch
from torch import Tensor

from harl_isaac.tasks.hands.randomization import Draw, Value

SETTINGS = ("observation_noise", "observation_offset", "action_noise", "action_offset", "latency")


class VariedSignals:
    """Disturbances of the signals between hands and policies, for each environment.

    Noise is drawn anew at each use; offsets and latencies stay for an episode. `values` holds what stays, and `past`
    the actions that are still to take effect, for the checkpoint; both [E, ...].
    """

    def __init__(self, num_envs: int, observations: int, actions: int, wanted: Dict[str, Value], device: torch.device):
        self._wanted = {name: wanted[name] for name in SETTINGS if name in wanted}
        widths = {"observation_offset": observations, "action_offset": actions}
        self.values = {
            name: torch.zeros(num_envs, width, device=device) for name, width in widths.items() if name in self._wanted
        }
        self.past: Optional[Tensor] = None  # [E, most + 1, actions] newest first
        latency = self._wanted.get("latency")
        if isinstance(latency, (list, tuple)):
            self.values["latency"] = torch.zeros(num_envs, 1, device=device)
            self.past = torch.zeros(num_envs, int(latency[1]) + 1, actions, device=device)

    def draw(self, mask: Tensor, strength: Union[float, Tensor], uniform: Draw, normal: Draw) -> None:
        """Draw what stays for an episode where mask [E] is true.

        `strength` is the share of it that is used; `uniform` draws within [0, 1), `normal` of deviation 1.
        """
        for name, value in self.values.items():
            limits = self._wanted[name]
            if isinstance(limits, (list, tuple)):
                steps = limits[0] + ((limits[1] - limits[0] + 1) * uniform(1)).floor()
                drawn = (strength * steps).round()
            else:
                drawn = float(limits) * strength * normal(value.shape[1])
            torch.where(mask[:, None], drawn, value, out=value)

    def rest(self, mask: Tensor, action: Tensor) -> None:
        """Fill the past where mask [E] is true with an action [E, actions] that keeps everything as it is."""
        if self.past is not None:
            torch.where(mask[:, None, None], action[:, None], self.past, out=self.past)

    def act(self, action: Tensor, strength: Union[float, Tensor], normal: Draw) -> Tensor:
        """The action that takes effect now when `action` [E, actions] is the newest, within [-1, 1]."""
        if self.past is not None:
            self.past.copy_(torch.cat((action[:, None], self.past[:, :-1]), dim=1))
            late = self.values["latency"].long()[:, :, None].expand(-1, 1, action.shape[1])
            action = self.past.gather(1, late)[:, 0]
        return self._disturbed("action", action, strength, normal).clamp(-1.0, 1.0)

    def observe(self, values: Tensor, strength: Union[float, Tensor], normal: Draw) -> Tensor:
        """Observed values [E, observations] with noise and offset."""
        return self._disturbed("observation", values, strength, normal)

    def _disturbed(self, what: str, values: Tensor, strength: Union[float, Tensor], normal: Draw) -> Tensor:
        offset = self.values.get(f"{what}_offset")
        if offset is not None:
            values = values + offset
        noise = self._wanted.get(f"{what}_noise")
        if isinstance(noise, (int, float)):
            values = values + noise * strength * normal(values.shape[1])
        return values
