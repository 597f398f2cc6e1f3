"""The joint policy of an rl_games model, and the parts of rl_games' configuration that describe such a model.

`cfg` is an RlGamesPpoCfg (algos/rl_games_ppo.py) throughout.
"""

import contextlib
import io
from typing import Any, Dict, Iterator, List, Optional, Union

import torch
from rl_games.algos_torch.model_builder import ModelBuilder
from torch import Tensor, nn

from harl_isaac.acting import pack_agents
from harl_isaac.env import EnvSpec, action_width, mask_width
from harl_isaac.rl_games.rows import Rows


def model_settings(cfg: Any, rows: Rows) -> Dict[str, Any]:
    """Return rl_games' "model" and "network" of a policy."""
    if rows.continuous:
        name = "continuous_a2c_logstd"
        space: Dict[str, Any] = {
            "continuous": {
                "mu_activation": "None",
                "sigma_activation": "None",
                "mu_init": {"name": "default"},
                "sigma_init": {"name": "const_initializer", "val": 0},
                "fixed_sigma": True,
            }
        }
    elif len(rows.heads) > 1:
        name = "multi_discrete_a2c"
        space = {"multi_discrete": {}}
    else:
        name = "discrete_a2c"
        space = {"discrete": {}}
    network = {"name": "actor_critic", "separate": False, "space": space, "mlp": mlp_settings(cfg)}
    return {"model": {"name": name}, "network": network}


def mlp_settings(cfg: Any) -> Dict[str, Any]:
    """Return rl_games' "mlp" of a network."""
    return {"units": list(cfg.hidden), "activation": cfg.activation, "initializer": {"name": "default"}}


@contextlib.contextmanager
def no_output() -> Iterator[None]:
    """Discard standard output: rl_games prints what it builds."""
    with contextlib.redirect_stdout(io.StringIO()):
        yield


class RlGamesPolicy(nn.Module):
    """The policies of all agents (see `JointPolicy`) as one rl_games model: a new one, or that of an agent."""

    hidden_size = 0

    def __init__(self, spec: EnvSpec, cfg: Any, model: Optional[nn.Module] = None):
        super().__init__()
        self.spec = spec
        self.rows = Rows(spec, cfg.policy, cfg.agent_id)
        self.model = self._new_model(cfg) if model is None else model

    def _new_model(self, cfg: Any) -> nn.Module:
        sizes = {
            "actions_num": self._actions_num(),
            "input_shape": (self.rows.obs_size,),
            "num_seqs": 1,
            "value_size": 1,
            "normalize_value": cfg.normalize_value,
            "normalize_input": cfg.normalize_obs,
        }
        with no_output():
            network = ModelBuilder().load(model_settings(cfg, self.rows))
            return network.build(sizes).to(self.spec.device)

    def _actions_num(self) -> Union[int, List[int]]:
        """Dimensions of continuous actions, choices of a single head, or those of each of several heads."""
        if self.rows.continuous:
            return sum(action_width(space) for space in self.rows.spaces)
        heads = self.rows.heads
        return heads[0] if len(heads) == 1 else list(heads)

    def empty_obs(self, *lead: int) -> Tensor:
        """A new buffer for padded observations, [*lead, A, O]."""
        return torch.zeros(lead + (self.spec.num_agents, max(self.spec.obs_sizes)), device=self.spec.device)

    def fused_layers(self) -> List[Any]:
        """Stop counting observations in the running mean; there are no layers to prepare."""
        self.model.eval()
        return []

    @torch.no_grad()
    def mode(
        self,
        obs: Tensor,
        mask: Optional[Tensor] = None,
        hidden: Optional[Tensor] = None,
        layers: Optional[List[Any]] = None,
    ) -> Tensor:
        """Most likely actions [E, A, W] at padded observations [E, A, O]; those of a Box with its bounds at -1 and 1.

        `mask` [E, A, N] holds allowed choices; `hidden` and `layers` are not used.
        """
        head = self.outputs(obs)
        if not self.rows.continuous:
            head = self._argmax(head if isinstance(head, list) else [head], mask)
        width = max(action_width(space) for space in self.spec.actions)
        action = torch.zeros((obs.shape[0], self.spec.num_agents, width), device=self.spec.device)
        pack_agents(action, self.rows.split_agents(head))
        return action

    def outputs(self, obs: Tensor) -> Any:
        """The output for all rows at padded observations [E, A, O]: means, or logits (a list of several heads)."""
        rows = self.rows.obs([obs[:, i, :size] for i, size in enumerate(self.spec.obs_sizes)])
        return self.model.a2c_network({"obs": self.model.norm_obs(rows)})[0]

    def _argmax(self, logits: List[Tensor], mask: Optional[Tensor]) -> Tensor:
        """Most likely choices that the padded mask [E, A, N] allows, as floats [rows, heads]."""
        if mask is not None:
            allowed = self.rows.masks([mask[:, i, : mask_width(space)] for i, space in enumerate(self.spec.actions)])
            parts = allowed.split(list(self.rows.heads), 1)
            logits = [each.masked_fill(~part, -torch.inf) for each, part in zip(logits, parts)]
        return torch.stack([each.argmax(1) for each in logits], 1).float()
