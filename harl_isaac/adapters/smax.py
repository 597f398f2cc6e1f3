"""SMAX (Rutherford et al., 2024; jaxmarl 0.2): battles like SMAC's in JAX, on the training device, all environments at once.

What an episode's end looked like is lost in SMAX's own automatic reset; here `step_env` tells it and the reset follows.
Arrays go between JAX and torch by DLPack, without a copy. Nobody writes into them: JAX holds them to be constant.
"""

import os
from dataclasses import dataclass
from typing import Any, Dict, NamedTuple, Optional, Tuple

import torch
from torch import Tensor

from harl_isaac.env import Discrete, EnvSpec, MissingSimulator, Step
from harl_isaac.settings import TaskCfg, check_choices

ATTACK_MODES = ("closest", "random")


@dataclass
class SmaxCfg(TaskCfg):
    """A scenario of SMAX, the last part of the task's name, against its heuristic opponents."""

    name: str = "smax/3m"
    max_steps: int = 100  # of an episode, which SMAX cuts off after one more
    attack_mode: str = "closest"  # whom the opponents attack first of those in reach: closest, random

    def make(self, num_envs: int, device: torch.device, sim: str) -> "Smax":
        """Raises ValueError, MissingSimulator."""
        if self.max_steps < 1:
            raise ValueError(f"task.max_steps={self.max_steps} must be at least 1")
        check_choices("task", self, (("attack_mode", ATTACK_MODES),))
        return Smax(self, num_envs, device)


class Smax:
    """See SmaxCfg. An agent is a unit of the left team."""

    def __init__(self, cfg: SmaxCfg, num_envs: int, device: torch.device):
        jax, smax = import_jax(cfg.name)
        self._jax = jax
        self._place = jax_device(jax, device)
        battle = smax.HeuristicEnemySMAX(
            scenario=smax.map_name_to_scenario(cfg.name.rpartition("/")[2]),
            max_steps=cfg.max_steps,
            attack_mode=cfg.attack_mode,
        )
        agents = tuple(battle.agents)
        self.spec = EnvSpec(
            num_envs=num_envs,
            agents=agents,
            obs_sizes=(battle.obs_size,) * len(agents),
            actions=(Discrete(battle.num_ally_actions),) * len(agents),
            state_size=battle.state_size,
            max_episode_steps=cfg.max_steps + 1,
            device=device,
            metrics=("success",),
            has_action_mask=True,
            has_alive=True,
        )
        rules = Rules(jax, battle, len(agents))
        self._begin = jax.jit(jax.vmap(rules.begin))
        self._advance = jax.jit(jax.vmap(rules.advance))
        self._seed_keys = jax.jit(lambda seed: jax.random.split(jax.random.PRNGKey(seed), num_envs))
        # type: Any, Any
        self._keys = self._seed_keys(jax.device_put(0, self._place))
        self._state = None

    def reset(self, seed: Optional[int] = None) -> Step:
        if seed is not None:
            self._keys = self._seed_keys(self._jax.device_put(seed, self._place))
        self._keys, self._state, view = self._begin(self._keys)
        now = View(*map(torch.from_dlpack, view))
        nothing = torch.zeros(self.spec.num_envs, dtype=torch.bool, device=self.spec.device)
        zeros = torch.zeros(self.spec.num_envs, 1, device=self.spec.device)
        return self._step(now, now, zeros, nothing, nothing, zeros[:, 0])

    def step(self, actions: Tuple[Tensor, ...]) -> Step:
        joint = self._jax.numpy.from_dlpack(torch.cat(actions, 1).int())
        self._keys, self._state, now, after, outcome = self._advance(self._keys, self._state, joint)
        return self._step(
            View(*map(torch.from_dlpack, now)), View(*map(torch.from_dlpack, after)), *map(torch.from_dlpack, outcome)
        )

    def state_dict(self) -> Dict[str, Any]:
        leaves = self._jax.tree.leaves((self._keys.view("int32"), self._state))
        return {"jax": [torch.from_dlpack(leaf).clone() for leaf in leaves]}

    def load_state_dict(self, state: Dict[str, Any]) -> None:
        if self._state is None:
            self.reset(0)  # to know the shape of the tree
        tree = self._jax.tree.structure((self._keys, self._state))
        leaves = [self._jax.numpy.from_dlpack(value.to(self.spec.device).clone()) for value in state["jax"]]
        keys, self._state = self._jax.tree.unflatten(tree, leaves)
        self._keys = keys.view("uint32")

    def close(self) -> None:
        """Nothing to release."""

    def _step(
        self, now: "View", after: "View", reward: Tensor, terminated: Tensor, truncated: Tensor, won: Tensor
    ) -> Step:
        return Step(
            now.obs.unbind(1),
            now.state[:, None],
            reward,
            terminated,
            truncated,
            after.obs.unbind(1),
            after.state[:, None],
            {"success": won},
            now.mask.unbind(1),
            now.alive,
        )


class View(NamedTuple):
    """What is seen of a battle, as JAX's or torch's arrays; of E battles with E in front."""

    obs: Any  # [A, O]
    state: Any  # [S]
    mask: Any  # [A, N] bool
    alive: Any  # [A] bool


class Rules:
    """One battle as pure functions of its state and random key, to be batched and compiled."""

    def __init__(self, jax, battle, allies: int):
        self.jax = jax
        self.np = jax.numpy
        self.battle = battle
        self.allies = allies

    def begin(self, key):
        """-> next key, state, view of a new battle."""
        key, own = self.jax.random.split(key)
        seen, state = self.battle.reset(own)
        return key, self._settled(state), self._view(seen, state)

    def advance(self, key, state, actions):
        """actions [A] -> next key, state, view to act on, true successor's view, (reward, terminated, truncated, won).

        Where the battle is over, state and view are those of a new one.
        """
        key, own = self.jax.random.split(key)
        seen, after, rewards, _, _ = self.battle.step_env(own, state, dict(zip(self.battle.agents, actions)))
        left = after.state.unit_alive
        allies = left[: self.allies].any()
        enemies = left[self.allies :].any()
        terminated = ~(allies & enemies)
        truncated = after.state.done & ~terminated
        key, fresh, first = self.begin(key)
        successor = self._view(seen, after)
        state, now = self.jax.tree.map(
            lambda new, old: self.np.where(terminated | truncated, new, old),
            (fresh, first),
            (self._settled(after), successor),
        )
        won = (allies & ~enemies).astype("float32")
        return (
            key,
            state,
            now,
            successor,
            (rewards[self.battle.agents[0]][None].astype("float32"), terminated, truncated, won),
        )

    def _view(self, seen, state):
        masks = self.battle.get_avail_actions(state)
        agents = self.battle.agents
        return View(
            self.np.stack([seen[name] for name in agents]),
            seen["world_state"],
            self.np.stack([masks[name] for name in agents]).astype(bool),
            state.state.unit_alive[: self.allies],
        )

    def _settled(self, state):
        """With definite types, so that the state after a reset and after a step compile to one function."""
        return self.jax.tree.map(lambda leaf: self.jax.lax.convert_element_type(leaf, leaf.dtype), state)


def import_jax(task: str) -> Tuple[Any, Any]:
    """The modules jax and jaxmarl.environments.smax. Raises MissingSimulator."""
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")  # else JAX takes most of a GPU's memory at once
    try:
        import jax
        from jaxmarl.environments import smax
    except ImportError as error:
        raise MissingSimulator(
            f"task={task} needs jaxmarl ({error}): pip install -e .[smax] here, or pip install jaxmarl "
            "(Python 3.11 or newer)"
        ) from error
    return jax, smax


def jax_device(jax, device: torch.device) -> Any:
    """JAX's name of torch's device. Raises ValueError."""
    kind = "cuda" if device.type == "cuda" else "cpu"
    try:
        places = jax.devices(kind)  # type: List[Any]
    except RuntimeError:
        raise ValueError(
            f'device={device}: this JAX knows no GPU; pip install "jax[cuda12]", or use device=cpu'
        ) from None
    return places[device.index or 0]
