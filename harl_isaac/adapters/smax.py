"""`Smax`: SMAX (Rutherford et al., 2024; jaxmarl 0.2), battles like SMAC's in JAX, batched on the training device.

SMAX's own automatic reset loses the last observation of an episode; here `step_env` returns it and the reset follows.
Arrays pass between JAX and torch by DLPack, without a copy. They are never written to: JAX takes them to be constant.
"""

import os
from dataclasses import dataclass
from typing import Any, Dict, NamedTuple, Optional, Tuple

import torch
from torch import Tensor

from harl_isaac.env import Discrete, EnvSpec, MissingSimulator, Step
from harl_isaac.hints import missing_extra
from harl_isaac.memory import check_envs_fit
from harl_isaac.settings import MOST_STEPS, TaskCfg, check_choices, check_ranges

HALF = 2**31  # of JAX's 32-bit integers, to which larger seeds are wrapped
ATTACK_MODES = ("closest", "random")


@dataclass
class SmaxCfg(TaskCfg):
    """Settings of a scenario of SMAX, the last part of the task's name, against its heuristic opponents."""

    name: str = "smax/3m"
    max_steps: int = 100  # of an episode, which SMAX cuts off after one more
    attack_mode: str = "closest"  # whom the opponents attack first of those in reach: closest, random

    def make(self, num_envs: int, device: torch.device, sim: str) -> "Smax":
        """Build the environments. Raises ValueError, MissingSimulator."""
        check_ranges(self, [("max_steps", 1, MOST_STEPS)], "task")
        check_choices("task", self, (("attack_mode", ATTACK_MODES),))
        return Smax(self, num_envs, device)


class BattleView(NamedTuple):
    """Observations, state and masks of a battle, as JAX's or torch's arrays; of E battles with E in front."""

    obs: Any  # [A, O] float32
    state: Any  # [S] float32
    mask: Any  # [A, N] bool
    alive: Any  # [A] bool


class BattleOutcome(NamedTuple):
    """Result of a step of a battle, as JAX's or torch's arrays; of E battles with E in front."""

    reward: Any  # [1] float32
    terminated: Any  # [] bool
    truncated: Any  # [] bool
    won: Any  # [] float32


class Smax:
    """E battles of a scenario, see SmaxCfg. An agent is a unit of the left team."""

    def __init__(self, cfg: SmaxCfg, num_envs: int, device: torch.device):
        jax, smax = import_jax(cfg.name)
        self._jax = jax
        self._device = jax_device(jax, device)
        battle = smax.HeuristicEnemySMAX(
            scenario=smax.map_name_to_scenario(cfg.name.rpartition("/")[2]),
            max_steps=cfg.max_steps,
            attack_mode=cfg.attack_mode,
        )
        self.spec = battle_spec(battle, cfg.max_steps, num_envs, device)
        check_envs_fit(self.spec)
        rules = Rules(jax, battle, self.spec.num_agents)
        self._begin = jax.jit(jax.vmap(rules.begin))
        self._advance = jax.jit(jax.vmap(rules.advance))
        self._seed_keys = jax.jit(lambda seed: jax.random.split(jax.random.PRNGKey(seed), num_envs))
        self._keys: Any = self._seed_keys(jax.device_put(0, self._device))  # [E, 2] random key of each battle
        self._state: Any = None  # tree of arrays [E, ...]; None before the first reset

    def reset(self, seed: Optional[int] = None) -> Step:
        """Begin new battles in all environments."""
        if seed is not None:
            self._keys = self._seed_keys(self._jax.device_put((seed + HALF) % (2 * HALF) - HALF, self._device))
        self._keys, self._state, first = self._begin(self._keys)
        view = BattleView(*map(torch.from_dlpack, first))
        nothing = torch.zeros(self.spec.num_envs, dtype=torch.bool, device=self.spec.device)
        zeros = torch.zeros(self.spec.num_envs, 1, device=self.spec.device)
        return make_step(view, view, BattleOutcome(zeros, nothing, nothing, zeros[:, 0]))

    def step(self, actions: Tuple[Tensor, ...]) -> Step:
        """Advance all battles by one step, and begin new ones where they ended; actions: A x [E, 1] int64."""
        joint = self._jax.numpy.from_dlpack(torch.cat(actions, 1).int())
        self._keys, self._state, now, successor, outcome = self._advance(self._keys, self._state, joint)
        return make_step(
            BattleView(*map(torch.from_dlpack, now)),
            BattleView(*map(torch.from_dlpack, successor)),
            BattleOutcome(*map(torch.from_dlpack, outcome)),
        )

    def state_dict(self) -> Dict[str, Any]:
        """Return copies of all arrays of keys and state."""
        leaves = self._jax.tree.leaves((self._keys.view("int32"), self._state))
        return {"jax": [torch.from_dlpack(leaf).clone() for leaf in leaves]}

    def load_state_dict(self, state: Dict[str, Any]) -> None:
        """Continue from a `state_dict`, exactly."""
        if self._state is None:
            self.reset(0)  # to know the structure of the tree
        tree = self._jax.tree.structure((self._keys, self._state))
        leaves = [self._jax.numpy.from_dlpack(value.to(self.spec.device).clone()) for value in state["jax"]]
        keys, self._state = self._jax.tree.unflatten(tree, leaves)
        self._keys = keys.view("uint32")

    def close(self) -> None:
        """Do nothing: there is nothing to release."""


def battle_spec(battle: Any, max_steps: int, num_envs: int, device: torch.device) -> EnvSpec:
    """Spec of `num_envs` environments of SMAX."""
    agents = tuple(battle.agents)
    return EnvSpec(
        num_envs=num_envs,
        agents=agents,
        obs_sizes=(battle.obs_size,) * len(agents),
        actions=(Discrete(battle.num_ally_actions),) * len(agents),
        state_size=battle.state_size,
        max_episode_steps=max_steps + 1,
        device=device,
        metrics=("success",),
        has_action_mask=True,
        has_alive=True,
    )


def make_step(now: BattleView, successor: BattleView, outcome: BattleOutcome) -> Step:
    """Step of E battles from torch's arrays."""
    return Step(
        obs=now.obs.unbind(1),
        state=now.state[:, None],
        reward=outcome.reward,
        terminated=outcome.terminated,
        truncated=outcome.truncated,
        next_obs=successor.obs.unbind(1),
        next_state=successor.state[:, None],
        metrics={"success": outcome.won},
        action_mask=now.mask.unbind(1),
        alive=now.alive,
    )


class Rules:
    """One battle as pure functions of its state and random key, to be batched and compiled."""

    def __init__(self, jax: Any, battle: Any, allies: int):
        self.jax = jax
        self.np = jax.numpy
        self.battle = battle
        self.allies = allies  # number of agents

    def begin(self, key: Any) -> Tuple[Any, Any, BattleView]:
        """Begin a battle; returns the next key, the state and its view."""
        key, own = self.jax.random.split(key)
        obs, state = self.battle.reset(own)
        return key, self._settled(state), self._view(obs, state)

    def advance(self, key: Any, state: Any, actions: Any) -> Tuple[Any, Any, BattleView, BattleView, BattleOutcome]:
        """Advance a battle by one step; actions: [A] int32.

        Returns the next key, the next state, its view to act on, the true successor's view and the outcome. Where the
        battle is over, the next state and its view are those of a new one.
        """
        key, own = self.jax.random.split(key)
        obs, after, rewards, _, _ = self.battle.step_env(own, state, dict(zip(self.battle.agents, actions)))
        unit_alive = after.state.unit_alive
        allies = unit_alive[: self.allies].any()
        enemies = unit_alive[self.allies :].any()
        terminated = ~(allies & enemies)
        truncated = after.state.done & ~terminated
        key, first_state, first_view = self.begin(key)
        successor = self._view(obs, after)
        next_state, next_view = self.jax.tree.map(
            lambda new, old: self.np.where(terminated | truncated, new, old),
            (first_state, first_view),
            (self._settled(after), successor),
        )
        outcome = BattleOutcome(
            reward=rewards[self.battle.agents[0]][None].astype("float32"),
            terminated=terminated,
            truncated=truncated,
            won=(allies & ~enemies).astype("float32"),
        )
        return key, next_state, next_view, successor, outcome

    def _view(self, obs: Any, state: Any) -> BattleView:
        masks = self.battle.get_avail_actions(state)
        agents = self.battle.agents
        return BattleView(
            obs=self.np.stack([obs[name] for name in agents]),
            state=obs["world_state"],
            mask=self.np.stack([masks[name] for name in agents]).astype(bool),
            alive=state.state.unit_alive[: self.allies],
        )

    def _settled(self, state: Any) -> Any:
        """Fix all types, so that the state after a reset and after a step compile to one function."""
        return self.jax.tree.map(lambda leaf: self.jax.lax.convert_element_type(leaf, leaf.dtype), state)


def import_jax(task: str) -> Tuple[Any, Any]:
    """Import jax and jaxmarl.environments.smax, which are returned. Raises MissingSimulator."""
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")  # else JAX takes most of a GPU's memory at once
    try:
        import jax
        from jaxmarl.environments import smax
    except ImportError as error:
        raise MissingSimulator(f"task={task}: {missing_extra('jaxmarl', error)} (Python 3.11 or newer)") from error
    return jax, smax


def jax_device(jax: Any, device: torch.device) -> Any:
    """Return JAX's device for torch's. Raises ValueError."""
    kind = "cuda" if device.type == "cuda" else "cpu"
    try:
        devices = jax.devices(kind)
    except RuntimeError:
        raise ValueError(
            f'device={device}: this JAX knows no GPU; pip install "jax[cuda12]", or use device=cpu'
        ) from None
    return devices[device.index or 0]
