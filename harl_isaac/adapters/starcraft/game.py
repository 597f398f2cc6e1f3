"""`StarCraftGame`: battles of SMAC and SMACv2, each in a process of StarCraft II (oxwhirl/smac, oxwhirl/smacv2).

Pitfalls of the two environments, and how they are handled here:

- A time limit is reported as termination. With `continuing_episode=True` the info names it: truncated.
- When StarCraft II dies, `step` starts it anew and returns (0, True, {}): the episode is truncated, and the next one is
  played by a new game (the old object would start another process beside its own in its first episode).
- SMACv2's `reset` may return None, so observations are always queried.
- SMACv2 draws teams and positions from generators without a seed and from `random`: all are seeded at every reset.
- The game itself takes a seed only when it is launched, at the first reset: later episodes go on from there.
"""

import os
import random
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Callable, Dict, List, Optional

import numpy as np

from harl_isaac.adapters.workers.game import GameSpec, GameView, Outcome, fill
from harl_isaac.env import Discrete, MissingSimulator

NO_OP = 0  # the only action of the dead, and theirs alone


class StarCraftGame:
    """Battles of one simulator, one after another. `build(seed=)` makes its environment, without a game yet.

    With `agent_state` the critic's state of each agent is the environment's state concatenated with the agent's
    observation (the agent-specific state of Yu et al., 2022), otherwise one state serves all.
    """

    def __init__(self, build: Callable[..., Any], agent_state: bool = False, save_replays: bool = False):
        self._build = build
        self._agent_state = agent_state
        self._save_replays = save_replays
        self._env = build(seed=0)
        self._running = False
        self._crashed = False
        info = self._env.get_env_info()
        agents = info["n_agents"]
        width = info["state_shape"]
        self._state_width = width
        self.spec = GameSpec(
            agents=tuple(f"unit{i}" for i in range(agents)),
            obs_sizes=(info["obs_shape"],) * agents,
            actions=(Discrete(info["n_actions"]),) * agents,
            state_size=width + agent_state * info["obs_shape"],
            max_episode_steps=info["episode_limit"],
            state_agents=agents if agent_state else 1,
            metrics=("success", "crashed"),
            has_action_mask=True,
            has_alive=True,
        )

    def reset(self, seed: int) -> None:
        """Begin a battle; the first one, and the first after a crash, launches the game with this seed."""
        if self._crashed:
            self.close()
        if not self._running:
            self._env = self._build(seed=seed)
            self._running = True
            self._crashed = False
        seed_generators(self._env, seed)
        self._env.reset()

    def step(self, actions: List[np.ndarray]) -> Outcome:
        """Advance by one step; actions: A x [1] int64. A crash of the game truncates."""
        reward, over, info = self._env.step([int(action[0]) for action in actions])
        self._crashed = bool(over) and not info
        truncated = self._crashed or bool(info.get("episode_limit", False))
        metrics = {"success": float(info.get("battle_won", False)), "crashed": float(self._crashed)}
        return Outcome([float(reward)], bool(over) and not truncated, truncated, metrics)

    def look(self, view: GameView) -> None:
        """Write the current observations, state, available actions and who is alive."""
        assert view.action_mask is not None and view.alive is not None  # the spec has both
        all_obs = self._env.get_obs()
        state = np.zeros(self._state_width, np.float32)
        fill(state, self._env.get_state(), "state")
        view.state[:, : self._state_width] = state
        for i, obs in enumerate(all_obs):
            fill(view.obs[i], obs, f"agent {self.spec.agents[i]}: observation")
            if self._agent_state:
                view.state[i, self._state_width :] = view.obs[i]
            fill(view.action_mask[i], self._env.get_avail_agent_actions(i), f"agent {self.spec.agents[i]}: action mask")
            view.alive[i] = not view.action_mask[i][NO_OP]

    def save(self) -> Optional[bytes]:
        """Return None: StarCraft II cannot be saved in the middle of a battle."""
        return None

    def restore(self, saved: bytes) -> None:
        """Raise NotImplementedError, as nothing is ever saved."""
        raise NotImplementedError("a battle cannot be restored")

    def close(self) -> None:
        """End the game and write the replay, if one is running."""
        if self._running:
            if self._save_replays and not self._crashed:
                self._env.save_replay()
            self._env.close()
        self._running = False


def smac_game(map_name: str, agent_state: bool, replays: str, settings: Dict[str, Any]) -> StarCraftGame:
    """Make a game of SMAC on a map; `settings` are arguments of its StarCraft2Env, `replays` a folder or ''."""
    prefer_slow_protobuf()
    from smac.env import StarCraft2Env

    def build(seed: int) -> Any:
        return StarCraft2Env(map_name=map_name, seed=seed, **common_arguments(replays, map_name, seed), **settings)

    return StarCraftGame(build, agent_state, bool(replays))


def smacv2_game(map_name: str, agent_state: bool, replays: str, settings: Dict[str, Any]) -> StarCraftGame:
    """Make a game of SMACv2; `settings` are arguments of its StarCraft2Env, among them the capability_config."""
    prefer_slow_protobuf()
    from smacv2.env.starcraft2.wrapper import StarCraftCapabilityEnvWrapper

    def build(seed: int) -> Any:
        return StarCraftCapabilityEnvWrapper(
            map_name=map_name, seed=seed, **common_arguments(replays, map_name, seed), **settings
        )

    return StarCraftGame(build, agent_state, bool(replays))


def common_arguments(replays: str, map_name: str, seed: int) -> Dict[str, Any]:
    """Arguments that SMAC and SMACv2 share: report time limits as such, and write replays to the folder `replays`."""
    # the seed keeps the replays of different environments apart
    return {"continuing_episode": True, "replay_dir": replays, "replay_prefix": f"{map_name}_{seed}"}


def prefer_slow_protobuf() -> None:
    """Choose protobuf's slow decoder in this process: PySC2's messages are too old for the fast one of protobuf 4."""
    os.environ.setdefault("PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION", "python")


def seed_generators(env: Any, seed: int) -> None:
    """Seed the generators from which SMACv2 draws an episode's teams and positions; SMAC has none."""
    random.seed(seed)
    queue = list(getattr(env, "env_key_to_distribution_map", {}).values())
    count = 0
    while queue:
        distribution = queue.pop(0)
        if hasattr(distribution, "rng"):
            distribution.rng = np.random.default_rng((seed, count))
            count += 1
        queue += [part for part in vars(distribution).values() if hasattr(part, "generate")]


def check_installed(task: str, package: str, map_name: str) -> None:
    """Raise MissingSimulator where the package, the game or its map is missing; it says which, and how to get it."""
    missing = _missing(package, Path(os.path.expanduser(os.environ.get("SC2PATH", "~/StarCraftII"))), map_name)
    if missing:
        raise MissingSimulator(f"task={task} needs {missing}")


def _missing(package: str, game: Path, map_name: str) -> str:
    """Name the missing part and how to install it, or ''."""
    spec = find_spec(package)
    folders = list(spec.submodule_search_locations or ()) if spec else []
    if not any((Path(folder) / "env").is_dir() for folder in folders):
        other = f"the `{package}` installed here is another project; " if folders else ""
        warning = " (`pip install smac` is another project, a hyper-parameter optimizer)" if package == "smac" else ""
        install = f"pip install git+https://github.com/oxwhirl/{package}.git"
        return f"the StarCraft Multi-Agent Challenge; {other}install it with {install}{warning}, and StarCraft II"
    if sys.platform != "linux":  # elsewhere PySC2 finds the game itself
        return ""
    if not game.is_dir():
        return (
            f"StarCraft II: unpack Blizzard's Linux package (github.com/Blizzard/s2client-proto) to {game}, or set "
            "SC2PATH"
        )
    path = game / "Maps" / "SMAC_Maps" / (map_name + ".SC2Map")
    if not path.is_file():
        return f"the map {path}: copy the SMAC_Maps of github.com/oxwhirl/{package} there"
    return ""
