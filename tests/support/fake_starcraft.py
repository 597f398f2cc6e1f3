"""Stand-in for the environments of oxwhirl/smac and oxwhirl/smacv2, which need StarCraft II.

FakeStarCraft2Env plays a small battle on a line behind the same methods, and has the same pitfalls: time limits that
look like terminations, a crash that returns an empty info, a game that is launched at the first reset and takes a seed
there alone, unavailable actions that are refused, statistics that divide by zero before the first battle ends.
"""

import random

import numpy as np

ACTIONS = 6  # no-op, stop, north, south, east, west; then an attack on each enemy
REACH = 3.0
LIVE = []  # numbers of the games that are running


class FakeStarCraft2Env:
    """Battle of `allies` units at 0 against `enemies` at 3; the latter attack now and then.

    crash_at: a set of total steps that kill the game.
    """

    launches = 0

    def __init__(
        self,
        map_name="3m",
        seed=None,
        allies=3,
        enemies=3,
        limit=25,
        crash_at=(),
        continuing_episode=False,
        replay_dir="",
        replay_prefix="",
        **settings,
    ):
        self.map_name = map_name
        self._seed = seed
        self.allies = allies
        self.enemies = enemies
        self.limit = limit
        self.crash_at = crash_at
        self.continuing_episode = continuing_episode
        self.settings = settings
        self.replay_dir = replay_dir
        self.replay_prefix = replay_prefix
        self.replays = []
        self.battles_won = self.battles_game = self._episode_count = self.total_steps = 0
        self.process = None

    def get_env_info(self):
        return {
            "state_shape": 3 * (self.allies + self.enemies),
            "obs_shape": 2 + 3 * self.enemies,
            "n_actions": ACTIONS + self.enemies,
            "n_agents": self.allies,
            "episode_limit": self.limit,
        }

    def _launch(self):
        FakeStarCraft2Env.launches += 1
        self.process = FakeStarCraft2Env.launches
        LIVE.append(self.process)
        self.rng = np.random.default_rng(self._seed)

    def reset(self, config=None):
        if self._episode_count == 0:
            self._launch()  # also after a crash in the first episode: the process started then is forgotten
        self.steps = 0
        config = config or {}
        spread = config.get("start", 0.0)
        self.x = np.concatenate((self.rng.uniform(-1, 1, self.allies), self.rng.uniform(2, 4, self.enemies))) + spread
        self.health = np.concatenate((np.full(self.allies, 5.0), np.full(self.enemies, 2.0)))
        return self.get_obs(), self.get_state()

    def step(self, actions):
        assert len(actions) == self.allies and all(isinstance(action, int) for action in actions)
        for i, action in enumerate(actions):
            assert self.get_avail_agent_actions(i)[action] == 1, f"Agent {i} cannot perform action {action}"
        self.total_steps += 1
        if self.total_steps in self.crash_at:
            self.crash_at.remove(self.total_steps)  # the next game lives
            LIVE.remove(self.process)
            self._launch()
            return 0, True, {}
        self.steps += 1
        reward = self._fight(actions)
        return self._end_battle(reward)

    def _fight(self, actions):
        before = self.health[self.allies :].sum()
        for i, action in enumerate(actions):
            self.x[i] += {4: 0.5, 5: -0.5}.get(action, 0.0)
            if action >= ACTIONS:
                self.health[self.allies + action - ACTIONS] -= 1.0
        self.x[self.allies :] -= 0.1  # enemies draw near
        for j in range(self.allies, self.allies + self.enemies):
            near = [i for i in range(self.allies) if self.health[i] > 0 and abs(self.x[i] - self.x[j]) < REACH]
            if self.health[j] > 0 and near and self.rng.random() < 0.4:
                self.health[self.rng.choice(near)] -= 1.0
        self.health = self.health.clip(0.0)
        return before - self.health[self.allies :].sum()

    def _end_battle(self, reward):
        info = {"battle_won": False}
        over = False
        lost, won = (not self.health[part].any() for part in (slice(0, self.allies), slice(self.allies, None)))
        if lost or won:
            over = True
            if won and not lost:
                info["battle_won"] = True
                reward += 20.0
        elif self.steps >= self.limit:
            over = True
            if self.continuing_episode:
                info["episode_limit"] = True
        self._episode_count += over
        self.battles_game += over
        self.battles_won += info["battle_won"]
        return reward, over, info

    def get_obs(self):
        return [self.get_obs_agent(i) for i in range(self.allies)]

    def get_obs_agent(self, i):
        obs = np.zeros(2 + 3 * self.enemies, dtype=np.float32)
        if self.health[i] > 0:
            obs[:2] = self.x[i], self.health[i]
            enemies = slice(self.allies, None)
            obs[2:] = np.stack(
                (self.x[enemies] - self.x[i], self.health[enemies], self.get_avail_agent_actions(i)[ACTIONS:])
            ).ravel()
        return obs

    def get_state(self):
        alive = self.health > 0
        return np.concatenate((self.x * alive, self.health, alive)).astype(np.float32)

    def get_avail_agent_actions(self, i):
        if self.health[i] <= 0:
            return [1] + [0] * (ACTIONS - 1 + self.enemies)
        enemies = slice(self.allies, None)
        near = (np.abs(self.x[enemies] - self.x[i]) < REACH) & (self.health[enemies] > 0)
        return [0] + [1] * (ACTIONS - 1) + near.astype(int).tolist()

    def get_stats(self):
        return {"win_rate": self.battles_won / self.battles_game}

    def save_replay(self):
        self.replays.append((self.replay_dir, self.replay_prefix))

    def seed(self):
        return self._seed

    def close(self):
        if self.process in LIVE:
            LIVE.remove(self.process)


class FakeDistribution:
    """Distribution with a generator that nobody seeded, and a nested one."""

    def __init__(self, depth=0):
        self.config = {}
        self.rng = np.random.default_rng()
        if depth:
            self.reflect_distribution = FakeDistribution(depth - 1)

    def generate(self):
        nested = self.reflect_distribution.generate()["start"] if hasattr(self, "reflect_distribution") else 0.0
        return {"start": nested + self.rng.uniform() + random.choice((0.0, 0.25, 0.5))}


class FakeStarCraftCapabilityEnvWrapper:
    """Stand-in for SMACv2's wrapper: positions drawn in every episode, `reset` without a return value."""

    def __init__(self, **settings):
        self.distribution_config = settings.pop("capability_config")
        self.env_key_to_distribution_map = {"start_positions": FakeDistribution(depth=2)}
        self.env = FakeStarCraft2Env(
            allies=self.distribution_config["n_units"], enemies=self.distribution_config["n_enemies"], **settings
        )

    def reset(self):
        self.env.reset(self.env_key_to_distribution_map["start_positions"].generate())

    def __getattr__(self, name):
        return getattr(self.env, name)
