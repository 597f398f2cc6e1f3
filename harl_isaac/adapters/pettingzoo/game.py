"""`PettingZooGame`: any parallel environment of PettingZoo; agents may differ, each with its own spaces.

The module of such an environment has a function `parallel_env`: `task.env=mpe2.simple_spread_v3 task.kwargs.N=4` plays
`mpe2.simple_spread_v3.parallel_env(N=4)`. Observations are flattened as gymnasium does it (a choice becomes one-hot),
and an action mask among them is taken out. Absent agents observe zeros. The state is the environment's own or, where it
has none, the concatenation of all observations.
"""

import io
from dataclasses import dataclass, field
from typing import Any, Dict, Iterator, List, Mapping, Optional, Set, Tuple

import numpy as np

from harl_isaac.adapters.pettingzoo.factory import PICTURES, is_known, make_parallel_env
from harl_isaac.adapters.pettingzoo.spaces import MASK, ActionConverter, ObservationFlattener
from harl_isaac.adapters.workers.game import GameFault, GameSpec, GameView, Outcome, fill, real_array
from harl_isaac.adapters.workers.settings import SimulatorCfg
from harl_isaac.settings import MOST_STEPS, check_choices, check_ranges

REWARDS = ("mean", "sum", "own")
LIMITS = ("max_cycles", "max_steps", "max_episode_steps")  # names that environments have for their time limit


@dataclass
class PettingZooCfg(SimulatorCfg):
    """Settings of a task that is a parallel environment, named by its module."""

    name: str = "pettingzoo"
    env: str = "mpe2.simple_spread_v3"  # a module with a function parallel_env, module:function, or ./file.py:function
    kwargs: Dict[str, Any] = field(default_factory=dict)  # of that function
    reward: str = "mean"  # over the agents, for the team; sum; or each agent its own
    max_steps: int = 0  # an episode is truncated then; 0: the environment's own limit

    def foreign_code(self) -> str:
        """The environment, unless it is a module with `parallel_env` of a known package."""
        return "" if is_known(self.env) else f"task.env={self.env}"

    def game(self) -> Tuple[str, Dict[str, Any]]:
        """Return PettingZooGame and its arguments. Raises ValueError."""
        check_choices("task", self, (("reward", REWARDS),))
        check_ranges(self, [("max_steps", 0, MOST_STEPS)], "task")  # 0: the environment's own limit
        return "harl_isaac.adapters.pettingzoo.game:PettingZooGame", {
            "env": self.env,
            "kwargs": self.kwargs,
            "reward": self.reward,
            "max_steps": self.max_steps,
        }

    def with_pictures(self) -> "DrawnPettingZooCfg":
        """These settings, with render_mode=rgb_array where the environment's function takes it."""
        return DrawnPettingZooCfg(**vars(self))


@dataclass
class DrawnPettingZooCfg(PettingZooCfg):
    """Settings of a parallel environment that is to be drawn."""

    def game(self) -> Tuple[str, Dict[str, Any]]:
        """Return PettingZooGame and its arguments. Raises ValueError."""
        path, arguments = super().game()
        return path, {**arguments, "pictures": True}


class PettingZooGame:
    """One parallel environment. It is saved as its episode's seed and actions, and restored by playing them again."""

    def __init__(
        self, env: str, kwargs: Dict[str, Any], reward: str = "mean", max_steps: int = 0, pictures: bool = False
    ):
        self.env = make_parallel_env(env, kwargs, pictures)
        self.path = env
        self.agents = list(self.env.possible_agents)
        self.known = set(self.agents)
        self.own_rewards = reward == "own"
        self.reward_scale = 1.0 if reward == "sum" else 1.0 / len(self.agents)
        self.max_steps = max_steps or time_limit(self.env, env, kwargs)
        self.obs: Dict[Any, Any] = {}  # agent -> its last observation, of agents that have one
        self.infos: Dict[Any, Any] = {}  # agent -> its last info
        self.seed = 0  # of the episode
        self.past_actions: List[List[np.ndarray]] = []  # of the episode: steps x A x [action_width_i]
        self.over = False  # whether the episode has ended
        self.needed: Set[Any] = set()  # agents whose last observation counts although they have left
        self.reset(0)  # masks are known only then
        self.converters = {agent: ActionConverter(self.env.action_space(agent), str(agent)) for agent in self.agents}
        self.flatteners = {agent: ObservationFlattener(self.env.observation_space(agent)) for agent in self.agents}
        state = self._env_state()
        self.has_state = state is not None
        self.masked = any(each.masked for each in self.flatteners.values()) or any(
            self._mask(agent) is not None for agent in self.agents
        )
        self.spec = self._spec(state)

    def _spec(self, state: Optional[np.ndarray]) -> GameSpec:
        sizes = tuple(self.flatteners[agent].size for agent in self.agents)
        return GameSpec(
            agents=tuple(map(str, self.agents)),
            obs_sizes=sizes,
            actions=tuple(self.converters[agent].space for agent in self.agents),
            state_size=sum(sizes) if state is None else state.size,
            max_episode_steps=self.max_steps,
            reward_agents=len(self.agents) if self.own_rewards else 1,
            has_action_mask=self.masked,
            has_alive=True,
            control_seconds=seconds_of(self.env),
        )

    def reset(self, seed: int) -> None:
        """Begin an episode."""
        self.obs, self.infos = parts_of(self.env.reset(seed=seed), ("observations", "infos"), "reset")
        self.seed = seed
        self.past_actions = []
        self.over = False
        self.needed = set()

    def step(self, actions: List[np.ndarray]) -> Outcome:
        """Advance by one step; actions: A x [action_width_i], those of absent agents are ignored."""
        self.past_actions.append([action.copy() for action in actions])
        acting = list(self.env.agents)
        chosen = dict(zip(self.agents, actions))
        env_actions = {agent: self.converters[agent].to_env(chosen[agent]) for agent in acting}
        self.obs, rewards, terminations, truncations, self.infos = parts_of(
            self.env.step(env_actions), ("observations", "rewards", "terminations", "truncations", "infos"), "step"
        )
        over = [flag_of(terminations, agent, "termination") for agent in acting]
        cut = [flag_of(truncations, agent, "truncation") for agent in acting]
        ended = not self.env.agents or all(one or other for one, other in zip(over, cut))
        # Where some agents were truncated and others terminated, the team's game would have gone on.
        partly = any(other and not one for one, other in zip(over, cut))
        truncated = partly if ended else len(self.past_actions) >= self.max_steps
        self.over = ended or truncated
        self.needed = {agent for agent, one, other in zip(acting, over, cut) if other and not one}
        paid = {*acting, *rewards}  # those who have left may be, too
        own = [number_of(rewards, agent, "reward") if agent in paid else 0.0 for agent in self.agents]
        return Outcome(
            reward=own if self.own_rewards else [sum(own) * self.reward_scale],
            terminated=ended and not truncated,
            truncated=truncated,
            metrics={},
        )

    def look(self, view: GameView) -> None:
        """Write the current observations, state and masks; absent agents observe zeros."""
        assert view.alive is not None  # the spec has it
        present = set(self.env.agents)
        if not present <= self.known:
            new = ", ".join(sorted(str(agent) for agent in present - self.known))
            raise GameFault(
                f"agent {new}: expected agents of possible_agents alone, {', '.join(map(str, self.agents))}"
            )
        for i, agent in enumerate(self.agents):
            self._write_obs(view.obs[i], agent, agent in present)
            view.alive[i] = agent in present
            if view.action_mask is not None:
                self._write_mask(view.action_mask[i], agent)
            elif agent in present and self._mask(agent) is not None:
                raise GameFault(f"agent {agent}: expected no action mask, as after the first reset, got one")
        state = self._env_state()
        if (state is not None) != self.has_state:
            now = "one" if state is not None else "none"
            first = "a state" if self.has_state else "no state"
            raise GameFault(f"state: expected {first}, as after the first reset, got {now}")
        fill(view.state[0], np.concatenate(view.obs) if state is None else state, "state")

    def _write_obs(self, out: np.ndarray, agent: Any, present: bool) -> None:
        """Write an agent's observation; one that is absent has none, unless the episode ended in this step."""
        if agent in self.obs and (present or self.over):
            fill(out, self.flatteners[agent].flatten(self.obs[agent], agent), f"agent {agent}: observation")
        elif present or agent in self.needed:
            when = "" if present else " (its last, which the value of a truncated episode needs)"
            raise GameFault(f"agent {agent}: expected an observation{when}, got none")
        else:
            out[:] = 0.0

    def render(self) -> Any:
        """Return the environment's picture. Raises GameFault where it has none."""
        draw = getattr(self.env, "render", None)
        picture = None if draw is None else draw()
        if picture is None:
            given = getattr(self.env, "render_mode", None)
            found = "it has no render()" if draw is None else f"its render() returned None with render_mode={given}"
            raise GameFault(f"{self.path} cannot be drawn: {found}; its function must take render_mode={PICTURES}")
        return picture

    def save(self) -> bytes:
        """Return the seed and the actions of the episode so far."""
        file = io.BytesIO()
        np.savez(file, np.int64(self.seed), *[np.array(agent_actions) for agent_actions in zip(*self.past_actions)])
        return file.getvalue()

    def restore(self, saved: bytes) -> None:
        """Play a saved episode again."""
        with np.load(io.BytesIO(saved)) as arrays:
            seed, *actions = [arrays[f"arr_{i}"] for i in range(len(arrays.files))]
        self.reset(int(seed))
        for step_actions in zip(*actions):
            self._env_state()  # as `look` did, in case that draws random numbers
            self.step(list(step_actions))

    def close(self) -> None:
        """Close the environment."""
        self.env.close()

    def _env_state(self) -> Optional[np.ndarray]:
        """Return the environment's own state [S], or None where it has none."""
        try:
            state = self.env.state()
        except NotImplementedError:
            return None
        except AttributeError as error:
            if "state" in str(error):  # neither it nor what it wraps has one
                return None
            raise
        return None if state is None else real_array(state, "state").reshape(-1)

    def _mask(self, agent: Any) -> Any:
        """Return an agent's action mask from its observation or its info, or None."""
        obs = self.obs.get(agent)
        mask = obs.get(MASK) if isinstance(obs, dict) else None
        return (self.infos.get(agent) or {}).get(MASK) if mask is None else mask

    def _write_mask(self, out: np.ndarray, agent: Any) -> None:
        """Write an agent's action mask to `out` [mask_width]; without a mask, or where it forbids all, allow all."""
        mask = self._mask(agent) if agent in self.env.agents else None
        if mask is None:
            out[:] = True
        else:
            heads = mask if isinstance(mask, tuple) else (mask,)
            found = np.concatenate([real_array(head, f"agent {agent}: action mask").ravel() for head in heads])
            if found.size != out.size or not ((found == 0) | (found == 1)).all():
                raise GameFault(f"agent {agent}: action mask: expected {out.size} of 0 and 1, got {found.tolist()}")
            out[:] = found
        for columns in self.converters[agent].heads:
            out[columns] |= not out[columns].any()  # a policy needs a choice


def parts_of(result: Any, names: Tuple[str, ...], method: str) -> Tuple[Any, ...]:
    """The parts that an environment's method returned. Raises GameFault unless it is a tuple of so many dicts."""
    if not isinstance(result, (tuple, list)) or len(result) != len(names):
        count = f" of {len(result)}" if isinstance(result, (tuple, list)) else ""
        raise GameFault(f"{method}: expected ({', '.join(names)}), got a {type(result).__name__}{count}")
    for name, part in zip(names, result):
        if not isinstance(part, Mapping):
            raise GameFault(f"{method}: expected {name} by agent, got a {type(part).__name__}")
    return tuple(result)


def number_of(values: Mapping[Any, Any], agent: Any, name: str) -> float:
    """An acting agent's number. Raises GameFault where it is missing or is not one number."""
    value = values.get(agent)
    if isinstance(value, (float, int)):
        return float(value)
    if value is None:
        raise GameFault(f"agent {agent}: expected a {name}, got none")
    found = real_array(value, f"agent {agent}: {name}")
    if found.size != 1:
        raise GameFault(f"agent {agent}: {name}: expected one number, got shape {found.shape}")
    return float(found.reshape(()))


def flag_of(values: Mapping[Any, Any], agent: Any, name: str) -> bool:
    """An acting agent's flag, see `number_of`."""
    value = values.get(agent)
    return value if isinstance(value, bool) else bool(number_of(values, agent, name))


def time_limit(env: Any, path: str, kwargs: Dict[str, Any]) -> int:
    """Return the maximum number of steps of an episode. Raises ValueError where the environment does not say."""
    for name in LIMITS:
        if isinstance(kwargs.get(name), int):
            return kwargs[name]
    single_agent = getattr(env.unwrapped, "single_agent_env", None)  # gymnasium-robotics' MAMuJoCo
    for layer in (env, env.unwrapped, single_agent):
        for value in declared_limits(layer):
            if isinstance(value, int) and value > 0:
                return value
    raise ValueError(
        f"task.env={path} does not say how long its episodes can be; give the number of steps as task.max_steps, "
        "after which they are truncated"
    )


def seconds_of(env: Any) -> float:
    """Return the seconds that a step stands for in videos, from the environment's pictures per second; 0: not known."""
    metadata = getattr(env, "metadata", None)
    rate = metadata.get("render_fps") if isinstance(metadata, Mapping) else None
    return 1.0 / rate if isinstance(rate, (int, float)) and 0.1 <= rate <= 1000.0 else 0.0


def declared_limits(env: Any) -> Iterator[Any]:
    """Values of the attributes that may hold an environment's time limit."""
    for name in LIMITS:
        yield getattr(env, name, None)
    yield getattr(getattr(env, "spec", None), "max_episode_steps", None)
