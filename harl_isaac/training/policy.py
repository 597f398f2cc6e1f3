"""`Policy`: a trained policy that acts on observations, without its environment and its simulator."""

from dataclasses import replace
from pathlib import Path
from typing import Any, Dict, List, Optional, Sequence, Tuple, Union

import numpy as np
import torch
from torch import Tensor

from harl_isaac.acting import pack_agents, to_env
from harl_isaac.devices import choose_device
from harl_isaac.env import EnvSpec, Step, mask_width
from harl_isaac.networks.joint_policy import JointPolicy
from harl_isaac.training import checkpoint
from harl_isaac.training.load_policy import restored_actors
from harl_isaac.training.run_folder import saved_algo
from harl_isaac.training.saved_spec import saved_spec

Array = Union[np.ndarray, Tensor]  # of one agent: [E, ...], or [...] of a single environment
ByAgent = Union[Dict[str, Array], Sequence[Array]]  # by the agents' names, or in their order


class Policy:
    """The policies of all agents of a run; `spec` says what they observe and do.

    A recurrent policy keeps a state for each environment: call `reset` where episodes begin.
    """

    def __init__(self, spec: EnvSpec, actors: JointPolicy, file: Path):
        self.spec = spec
        self.actors = actors
        self.file = file  # the checkpoint that it comes from
        self.layers = actors.fused_layers()
        self.hidden: Optional[Tensor] = None  # [E, A, H] of a recurrent policy, from the first `act` on

    @property
    def agents(self) -> Tuple[str, ...]:
        """The agents' names, in their order."""
        return self.spec.agents

    @torch.no_grad()
    def act(
        self,
        observations: Union[ByAgent, Step],
        action_mask: Optional[Union[Dict[str, Any], Sequence[Any]]] = None,
        deterministic: bool = True,
    ) -> Any:
        """Actions in the environment's units: by agent as the observations are, numpy for numpy, torch for torch.

        Observations of an agent are [E, O_i], or [O_i] of a single environment; its action is [E, W_i] or [W_i].
        `action_mask` allows choices, [E, N_i] bool (None for an agent: all). deterministic: the most likely actions;
        else samples, of an off-policy algorithm its exploring actions. A Step is taken too, with its masks and its
        ends. Raises ValueError for what does not fit.
        """
        if isinstance(observations, Step):
            if observations.done.any() and self.hidden is not None:
                self.reset(observations.done)
            return tuple(self.act(observations.obs, observations.action_mask, deterministic))
        values = self._in_order(observations, "observations")
        obs = [
            self._tensor(value, "observations", name, size, torch.float32)
            for value, name, size in zip(values, self.agents, self.spec.obs_sizes)
        ]
        single = obs[0].dim() == 1
        rows = [each[None] if single else each for each in obs]
        if len({each.shape[:-1] for each in obs}) > 1:
            raise ValueError(f"observations have shapes {[tuple(each.shape) for each in obs]}: not of one batch")
        action = self._actions(rows, self._mask(action_mask, len(rows[0])), deterministic)
        parts = to_env(self.spec, action)
        results = [self._like(part[0] if single else part, value) for part, value in zip(parts, values)]
        return dict(zip(self.agents, results)) if isinstance(observations, dict) else results

    def reset(self, mask: Optional[Any] = None) -> None:
        """Forget a recurrent policy's state where mask [E] is true, or of all environments."""
        if mask is None:
            self.hidden = None
        elif self.hidden is not None:
            rows = torch.as_tensor(mask, dtype=torch.bool, device=self.spec.device)
            if rows.shape != self.hidden.shape[:1]:
                raise ValueError(f"the mask has shape {tuple(rows.shape)}, expected ({len(self.hidden)},)")
            self.hidden.masked_fill_(rows[:, None, None], 0.0)

    def _actions(self, rows: List[Tensor], mask: Optional[Tensor], deterministic: bool) -> Tensor:
        """Padded actions [E, A, W] at observations A x [E, O_i]."""
        count = len(rows[0])
        packed = self.actors.empty_obs(count)
        pack_agents(packed, rows)
        if self.actors.hidden_size:
            if self.hidden is None:
                self.hidden = packed.new_zeros((count, self.spec.num_agents, self.actors.hidden_size))
            if len(self.hidden) != count:
                raise ValueError(
                    f"observations of {count} environments after those of {len(self.hidden)}: call reset() before"
                )
        if deterministic:
            return self.actors.mode(packed, mask, self.hidden, self.layers)
        actors: Any = self.actors
        if hasattr(actors, "explore"):
            return actors.explore(packed, mask, self.hidden, self.layers)
        if hasattr(actors, "sample"):
            return actors.sample(packed, mask, self.hidden, self.layers)[0]
        raise ValueError("this policy only has most likely actions: give deterministic=True")

    def _mask(self, masks: Optional[Any], count: int) -> Optional[Tensor]:
        """The padded mask [E, A, N] of allowed choices."""
        if masks is None:
            if self.spec.has_action_mask:
                raise ValueError("this policy was trained with action masks: give action_mask, by agent")
            return None
        widths = [mask_width(space) for space in self.spec.actions]
        packed = torch.ones((count, self.spec.num_agents, max(widths)), dtype=torch.bool, device=self.spec.device)
        for i, (value, name) in enumerate(zip(self._in_order(masks, "action_mask", few=True), self.agents)):
            if value is not None and widths[i]:
                own = self._tensor(value, "action_mask", name, widths[i], torch.bool)
                packed[:, i, : widths[i]] = own.expand(count, -1) if own.dim() == 1 else own
        return packed

    def _in_order(self, values: Any, what: str, few: bool = False) -> List[Any]:
        """Values of all agents in their order, from a dict by names or a sequence. `few`: a dict may leave some out."""
        if isinstance(values, dict):
            unknown = [str(name) for name in values if name not in self.agents]
            missing = [] if few else [name for name in self.agents if name not in values]
            if unknown or missing:
                found = f"missing: {', '.join(missing) or 'none'}, unknown: {', '.join(unknown) or 'none'}"
                raise ValueError(f"{what} by agent: {found}; the agents are {', '.join(self.agents)}")
            return [values.get(name) for name in self.agents]
        if not isinstance(values, (list, tuple)) or len(values) != len(self.agents):
            raise ValueError(f"give {what} as a dict by agent, or as a list for {', '.join(self.agents)}")
        return list(values)

    def _tensor(self, value: Any, what: str, agent: str, width: int, dtype: torch.dtype) -> Tensor:
        """One agent's value as a tensor [E, width] or [width]."""
        tensor = torch.as_tensor(value if isinstance(value, Tensor) else np.asarray(value), device=self.spec.device)
        if tensor.dim() not in (1, 2) or tensor.shape[-1] != width:
            raise ValueError(f"{what} of {agent} have shape {tuple(tensor.shape)}, expected (E, {width}) or ({width},)")
        return tensor.to(dtype)

    def _like(self, action: Tensor, value: Any) -> Array:
        """An action on the device of a tensor, else as a numpy array."""
        return action.to(value.device) if isinstance(value, Tensor) else action.cpu().numpy()


def read_policy(run: str, device: str = "cpu", trust: bool = False, spec: Optional[EnvSpec] = None) -> Policy:
    """The policy of a run folder (its best checkpoint, else its latest) or of a checkpoint file.

    Nothing of the task is imported. `spec` is that of the environment, for checkpoints that hold none. Raises
    ValueError.
    """
    file = checkpoint.policy_file(run)
    saved = checkpoint.load(file)
    algo = saved_algo(saved, file, trust)
    where = choose_device(device)
    spec = saved_spec(saved, file, 1, where) if spec is None else replace(spec, num_envs=1, device=where)
    return Policy(spec, restored_actors(saved, algo, spec, file), file)
