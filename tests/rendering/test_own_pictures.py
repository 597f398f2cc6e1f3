"""Environments that draw themselves: what is asked of them and when, and what is refused in one line."""

import numpy as np
import pytest
import torch

from harl_isaac.adapters.pettingzoo.game import PettingZooCfg
from harl_isaac.adapters.workers.env import WorkerEnv
from harl_isaac.algos.happo import HappoCfg
from harl_isaac.cli.play import draws_itself, write_pictures
from harl_isaac.cli.recording import choose, rehearse
from harl_isaac.env import Discrete, EnvSpec, Step
from harl_isaac.rendering.camera import Camera, step_seconds
from harl_isaac.rendering.film import GAP, HEIGHT, STRIP_PICTURES, WIDTH
from harl_isaac.tasks.games.base import TensorGame

imageio = pytest.importorskip("imageio.v3", reason="imageio is not installed")
CPU = torch.device("cpu")
TARGET = 15
ARGS = {"seed": 3, "episodes": 2, "pick": "any", "speed": 1.0}


class Walk(TensorGame):
    """One walker from a drawn place to TARGET, a cell a step; an episode that begins at an odd place succeeds."""

    def __init__(self, change=lambda picture, times: picture):
        super().__init__(EnvSpec(1, ("walker",), (1,), (Discrete(2),), 1, 20, CPU, metrics=("success",)))
        self.change = change  # of a picture, of which so many were taken before
        self.place = torch.zeros(1, 1)
        self.odd = torch.zeros(1, dtype=torch.bool)
        self.asked = []  # places at which a picture was taken
        self.seeds = []

    def reset(self, seed=None):
        self.seeds.append(seed)
        return super().reset(seed)

    def start_episodes(self):
        self.place.copy_(torch.randint(0, 9, (1, 1), generator=self.random))
        self.odd.copy_(self.place[0] % 2 == 1)

    def observe(self):
        return (self.place.clone(),), self.place[:, None].clone()

    def step(self, actions):
        self.place += 1
        over = self.place[:, 0] >= TARGET
        obs, state = self.observe()
        return Step(
            obs, state, over[:, None].float(), over, over & False, obs, state, {"success": (over & self.odd) * 1.0}
        )

    def render(self):
        picture = np.zeros((6, 16, 3), np.uint8)
        picture[:, int(self.place)] = 255
        self.asked.append(int(self.place))
        return self.change(picture, len(self.asked) - 1)


def policy(env):
    return HappoCfg(hidden=[8]).actors(env.spec)


def starts(seeds):
    env = Walk()
    return [int(env.reset(seed).obs[0]) for seed in seeds]


def test_a_strip_asks_for_the_pictures_that_it_shows(tmp_path):
    env = Walk()
    write_pictures(env, policy(env), ARGS, tmp_path / "strip.png")
    first, second = starts([3, 4])
    assert len(env.asked) <= 1 + 2 * STRIP_PICTURES  # one before anything is played
    for start, asked in ((first, env.asked[1 : 1 + STRIP_PICTURES]), (second, env.asked[-STRIP_PICTURES:])):
        assert asked[0] == start and asked[-1] == TARGET - 1 and asked == sorted(asked)
    strip = imageio.imread(tmp_path / "strip.png")
    assert strip.shape == (HEIGHT + GAP, STRIP_PICTURES * (WIDTH // 2 + GAP) - GAP, 3)
    cell = WIDTH // 2 // 16
    for row, start in enumerate((first, second)):
        shown = strip[HEIGHT // 4 + row * (HEIGHT // 2 + GAP), : WIDTH // 2, 0]
        assert np.flatnonzero(shown == 255).tolist() == list(range(cell * start, cell * (start + 1)))  # sharp cells


def test_a_video_has_every_step_of_every_episode(tmp_path, capsys):
    env = Walk()
    write_pictures(env, policy(env), {**ARGS, "speed": 2.0}, tmp_path / "film.mp4")
    lengths = [TARGET - start for start in starts([3, 4])]
    frames = sum(1 for _ in imageio.imiter(tmp_path / "film.mp4", plugin="FFMPEG"))
    assert frames == sum(lengths) + 10  # a pause of half a second, at 20 pictures a second
    assert f"2 episodes, {sum(start % 2 for start in starts([3, 4]))} of them with success" in capsys.readouterr().out


def test_only_episodes_that_succeed_are_picked_and_no_more_than_needed_are_played():
    env = Walk()
    recording = rehearse(env, policy(env), 0, 2, "success")
    odd = [start % 2 == 1 for start in starts(range(32))]
    assert recording.success.tolist() == odd[: len(env.seeds)] and sum(recording.success) == 2
    assert choose(recording, "success", 2).tolist() == list(np.flatnonzero(odd)[:2]) and env.asked == []


WRONG = {
    "None": lambda picture, times: None,
    "a list": lambda picture, times: [picture],
    "float64 of shape (6, 16, 3)": lambda picture, times: picture / 255.0,
    "uint8 of shape (6, 16)": lambda picture, times: picture[..., 0],
    "uint8 of shape (6, 16, 4)": lambda picture, times: np.zeros((6, 16, 4), np.uint8),
    "uint8 of shape (0, 16, 3)": lambda picture, times: picture[:0],
    "float32 of shape (6, 16, 3)": lambda picture, times: torch.from_numpy(picture).float(),
    "3 x 16 pixels after one of 6 x 16": lambda picture, times: picture[:3] if times > 4 else picture,
}


@pytest.mark.parametrize("found", WRONG)
def test_what_is_no_picture_is_one_line_and_leaves_no_file(found, tmp_path):
    env = Walk(WRONG[found])
    with pytest.raises(ValueError) as error:
        write_pictures(env, policy(env), ARGS, tmp_path / "film.mp4")
    assert found in str(error.value) and "expected" in str(error.value) and "\n" not in str(error.value)
    assert list(tmp_path.iterdir()) == []


def test_pictures_of_all_environments_and_tensors_are_taken():
    plain = Camera(Walk()).picture()
    assert (Camera(Walk(lambda picture, times: np.stack([picture, 0 * picture]))).picture() == plain).all()
    assert (Camera(Walk(lambda picture, times: torch.from_numpy(picture))).picture() == plain).all()
    assert plain.shape == (HEIGHT, WIDTH, 3)


def test_an_environment_that_does_not_repeat_itself_says_so(tmp_path):
    env = Walk()
    env.start_episodes = lambda: env.place.fill_(len(env.seeds))
    with pytest.raises(ValueError, match=r"reset\(seed\) must seed all that it draws"):
        write_pictures(env, policy(env), ARGS, tmp_path / "film.mp4")


@pytest.mark.parametrize("seconds", [-1.0, float("nan"), 1e-9, 1e9, "0.1", None])
def test_a_duration_that_no_video_has_is_refused(seconds):
    env = Walk()
    assert step_seconds(env) == 0.0
    env.control_seconds = seconds
    with pytest.raises(ValueError, match="control_seconds=.* must be within 0.001 and 60"):
        step_seconds(env)


PARALLEL = """
import numpy as np
from gymnasium.spaces import Box, Discrete

class Strip:
    possible_agents = ["left", "right"]
    max_cycles = 4
    unwrapped = property(lambda self: self)
    metadata = {"render_fps": 20}
    def __init__(self, render_mode=None):
        self.render_mode = render_mode
    def observation_space(self, agent):
        return Box(-9, 9, (1,))
    def action_space(self, agent):
        return Discrete(2)
    def observe(self):
        return {agent: np.full(1, self.count, np.float32) for agent in self.agents}
    def reset(self, seed=None):
        self.agents = list(self.possible_agents)
        self.count = 0
        return self.observe(), {}
    def step(self, actions):
        self.count += 1
        obs = self.observe()
        flags = [dict.fromkeys(self.agents, value) for value in (1.0, False, self.count == 4)]
        self.agents = self.agents if self.count < 4 else []
        return (obs, *flags, {})
    def render(self):
        return np.full((5, 9, 3), 50 * self.count, np.uint8) if self.render_mode == "rgb_array" else None
    def close(self):
        pass

class Torn(Strip):
    def render(self):
        raise RuntimeError("no brush\\nat all")

class Mute(Strip):
    render = None

def without_mode():
    return Strip()
"""
SAID = {
    "Torn": "render() raised RuntimeError: no brush at all",
    "Mute": "cannot be drawn: it has no render(); its function must take render_mode=rgb_array",
    "without_mode": "its render() returned None with render_mode=None; its function must take render_mode=rgb_array",
}


@pytest.mark.parametrize("function", ["Strip", *SAID])
def test_parallel_environments_draw_themselves(function, tmp_path):
    pytest.importorskip("gymnasium", reason="gymnasium is not installed")
    (tmp_path / "zoo.py").write_text(PARALLEL)
    env = PettingZooCfg(env=f"{tmp_path}/zoo.py:{function}").with_pictures().make(1, CPU, "auto")
    try:
        assert draws_itself(env) and step_seconds(env) == 0.05
        if function in SAID:
            with pytest.raises(ValueError) as error:
                write_pictures(env, policy(env), ARGS, tmp_path / "strip.png")
            assert str(error.value).endswith(SAID[function])
            return
        write_pictures(env, policy(env), ARGS, tmp_path / "strip.png")
        strip = imageio.imread(tmp_path / "strip.png")
        middles = strip[HEIGHT // 4, WIDTH // 4 :: WIDTH // 2 + GAP, 0]
        assert middles.tolist() == [0, 50, 100, 150]
    finally:
        env.close()


def test_a_particle_world_of_mpe2_draws_itself():
    pytest.importorskip("mpe2", reason="mpe2 is not installed: pip install 'mpe2>=1.1,<2'")
    env = PettingZooCfg(kwargs={"N": 2}).with_pictures().make(1, CPU, "auto")
    try:
        env.reset(0)
        one = Camera(env).picture()
        for _ in range(5):
            env.step(tuple(torch.ones(1, 1, dtype=torch.long) for _ in range(2)))
        two = Camera(env).picture()
        assert step_seconds(env) == 0.1 and (one != two).any() and len(np.unique(one)) > 10
    finally:
        env.close()


def test_a_game_without_pictures_says_so():
    env = WorkerEnv("support.worker_games:Walk", {}, 1, CPU)
    with pytest.raises(ValueError, match=r"Walk has no render\(\): there is no picture of this task"):
        env.render()
    env.close()
