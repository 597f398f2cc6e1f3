"""Settings that cannot be meant are refused with their key and the numbers, before anything large is made or begun."""

from dataclasses import fields, replace

import pytest
import torch
from hydra import compose, initialize_config_module
from support import reference
from support.small_runs import FACTORIZED

from harl_isaac import memory
from harl_isaac.algos import ALGOS
from harl_isaac.buffers.rollout import Rollout, rollout_bytes
from harl_isaac.config import to_run
from harl_isaac.devices import choose_device
from harl_isaac.env import Box, Discrete, MultiDiscrete
from harl_isaac.learning.estimates import parameter_count
from harl_isaac.networks.actors import StackedActors
from harl_isaac.networks.off_policy_nets import FeedForward
from harl_isaac.registry import default_settings, import_object
from harl_isaac.settings import ENGINES, check_engine
from harl_isaac.sim import engines
from harl_isaac.tasks import TASKS
from harl_isaac.tasks.mamujoco.factorization import joints_by_distance

CPU = torch.device("cpu")
BOXES = reference.spec_for((Box(2), Box(1)), (5, 7))
CHOICES = reference.spec_for((Discrete(2), Discrete(3)), (5, 7))
LIMITS = ("max_grad_norm", "noise_clip")  # inf: none
NEGATIVE = ("reward_scale",)


def numbers_of(name):
    """(field, default) of the settings of an algorithm that are numbers."""
    default = import_object(ALGOS[name])()
    for field in fields(default):
        value = getattr(default, field.name)
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            yield field.name, value


# Numbers of tasks that may be negative, and those that may be inf, for no limit.
REWARDS = ("forward_weight", "control_cost", "contact_cost", "impact_cost", "near_cost", "distance_cost")
SIGNED = (*REWARDS, "healthy_reward", "lowest", "highest")
OPEN = ("largest_tilt", "largest_state", "largest_impact_cost", "highest")
ONE_OF_EACH = {path: name for name, path in sorted(TASKS.items())}


def impossible(name, default):
    """Values that a task's number cannot have."""
    if isinstance(default, int):
        return [-1, 10**30]
    if name == "lowest":  # -inf: no limit
        return [float("nan"), float("inf")]
    open_end = [] if name in OPEN else [float("inf"), 1e30]
    return [float("nan"), float("-inf"), *open_end, *([] if name in SIGNED else [-1.0])]


@pytest.mark.parametrize("name", sorted(ONE_OF_EACH.values()))
def test_every_number_of_a_task_has_bounds(name):
    """Before anything is built or started, and whether or not its simulator is installed."""
    default = default_settings(TASKS, name)
    for field in fields(default):
        value = getattr(default, field.name)
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            continue
        for wrong in impossible(field.name, value):
            with pytest.raises(ValueError, match=rf"task\.{field.name}=") as error:
                replace(default, **{field.name: wrong}).make(1, CPU, "mujoco")
            assert "\n" not in str(error.value)


@pytest.mark.parametrize("delay", [10**12, 0, -3])
def test_an_episode_without_an_end_is_refused(delay):
    cfg = replace(default_settings(TASKS, "MemoryGame"), delay=delay)
    with pytest.raises(ValueError, match=r"task\.delay=.* must be within 1 and 1e\+06"):
        cfg.make(2, CPU, "auto")


def check(name, **changed):
    cfg = import_object(ALGOS[name])(**changed)
    cfg.check(CHOICES if name in ("had3qn", *FACTORIZED) else BOXES)


@pytest.mark.parametrize("name", sorted(ALGOS))
def test_every_number_of_an_algorithm_has_bounds(name):
    """nan, both infinities, negative ones and those that would be inf in float32."""
    check(name)
    for field, default in numbers_of(name):
        bad = [float("nan"), float("-inf"), *([] if field in LIMITS else [float("inf"), 1e30])]
        if isinstance(default, int):
            bad = [-1, 10**30]
        elif field not in NEGATIVE:
            bad.append(-1.0)
        for value in bad:
            if field == "chunk_length" and value > 0:
                continue  # has no effect without algo.recurrent
            with pytest.raises(ValueError, match=rf"algo\.{field}=|algo\.hidden.*{field}"):
                check(name, **{field: value})


@pytest.mark.parametrize(
    "name, changed, message",
    [
        (
            "happo",
            {"rollout_length": 10**10},
            r"algo.rollout_length=10000000000 of num_envs=4 .*GiB and cpu has .* free",
        ),
        (
            "happo",
            {"hidden": [10**9]},
            r"algo.hidden=\[1000000000\] for 2 agents \(\S+ parameters\): needs at least .* GiB",
        ),
        ("hatrpo", {"hidden": [100000, 100000]}, r"algo.hidden=\[100000, 100000\] .*give fewer units"),
        ("happo", {"hidden": [100000], "recurrent": True, "chunk_length": 5}, r"algo.hidden=\[100000\]"),
        ("happo", {"hidden": [10**30]}, r"algo.hidden=.*e\+\d+ GiB"),
        ("happo", {"epochs": 10**9}, r"algo.epochs=1e\+09 must be within 1 and 1e\+06"),
        ("ippo", {"critic_epochs": 10**9}, r"algo.critic_epochs=1e\+09"),
        ("hatrpo", {"line_search_steps": 10**9}, r"algo.line_search_steps=1e\+09"),
        ("hatrpo", {"cg_iterations": 10**9}, r"algo.cg_iterations=1e\+09"),
        ("happo", {"adam_eps": 0.0}, r"algo.adam_eps=0 must be a number of at least 1e-30"),
        ("rl_games_ppo", {"hidden": [10**9]}, r"algo.hidden=\[1000000000\]"),
        ("rl_games_ppo", {"rollout_length": 10**10}, r"algo.rollout_length=10000000000"),
        ("rl_games_ppo", {"policy": "both"}, r"algo.policy=both; possible: joint, shared"),
        ("hasac", {"hidden": [10**9]}, r"algo.hidden=\[1000000000\]"),
        ("hasac", {"buffer_size": 0}, r"algo.buffer_size=0 must be a number of at least 1"),
        ("hasac", {"buffer_size": 5000}, r"algo.warmup_steps=10000 is more than algo.buffer_size=5000 holds"),
        (
            "hatd3",
            {"update_per_train": 1e11},
            r"algo.update_per_train=1e\+11 of algo.train_interval=50 is more than 1000000",
        ),
        ("hatd3", {"update_per_train": float("inf")}, r"algo.update_per_train=inf must be a number"),
        ("hatd3", {"train_interval": 10**9}, r"algo.train_interval=1e\+09 must be within 1 and 1e\+06"),
        ("hatd3", {"n_step": 10**9}, r"algo.batch_size=1000 of algo.n_step=1000000000: needs at least .* GiB"),
    ],
)
def test_what_does_not_fit_is_refused_with_the_numbers(name, changed, message):
    with pytest.raises(ValueError, match=message):
        check(name, **changed)


def test_a_limit_may_be_infinite_and_no_number_may_be_none():
    check("happo", max_grad_norm=float("inf"))
    check("hatd3", max_grad_norm=float("inf"), noise_clip=float("inf"))
    with pytest.raises(ValueError, match="algo.max_grad_norm=nan must be at least 0; inf: no limit"):
        check("hatd3", max_grad_norm=float("nan"))


# Of a whole run.


def composed(*words):
    with initialize_config_module("harl_isaac.cfg", version_base="1.3"):
        return to_run(compose("config", ["task=SumGame", "algo=happo", *words]))


@pytest.mark.parametrize(
    "word, message",
    [
        ("seed=18446744073709551616", "seed=18446744073709551616 is larger than 9223372036854775807"),
        ("seed=9223372036854775807", r"seed=9223372036854775807 must lie within -2\^62 and 2\^62"),
        ("total_steps=1" + 400 * "0", "total_steps=10+ is larger than"),
        ("eval.episodes=1000000000", "eval.episodes=1000000000 must be at most 1000000"),
        ("sim=foo", "sim=foo is unknown; possible: auto, mujoco, mujoco_warp"),
        ("algo.lr=nan", "algo.lr=nan must be a finite number"),
        ("algo.hidden=[99999999999999999999]", r"algo.hidden=\[9+\] is larger than"),
        ("task=mpe/simple_spread task.local_ratio=inf", "task.local_ratio=inf must be a finite number"),
        ("task=ShadowHandOver task.physics.gains.kp=nan", "task.physics.gains.kp=nan must be a finite number"),
    ],
)
def test_numbers_of_a_run_that_nothing_can_hold(word, message):
    with pytest.raises(ValueError, match=message):
        composed(*word.split())


@pytest.mark.parametrize("seed", [0, -3, 2**62])
def test_seeds_that_every_generator_takes(seed):
    assert composed(f"seed={seed}").seed == seed


def test_keys_of_a_simulators_own_may_be_infinite():
    assert composed("task=pettingzoo", "++task.kwargs.limit=inf").task.kwargs["limit"] == float("inf")


def test_engines_have_the_names_that_settings_know():
    assert set(ENGINES) == {"auto", *engines.ENGINES}
    for name in ENGINES:
        check_engine(name)


def test_there_is_one_cpu():
    assert choose_device("cpu:0") == CPU
    with pytest.raises(ValueError, match="device=cpu:3: there is one cpu; use device=cpu"):
        choose_device("cpu:3")


@pytest.mark.parametrize(
    "task, changed, num_envs, message",
    [
        (
            "SumGame",
            {},
            10**9,
            r"num_envs=1000000000 with 2 agents: needs at least .* GiB and cpu has .*; num_envs=\d+ would",
        ),
        ("MixedGame", {}, 10**12, r"num_envs=1000000000000 with 3 agents"),
        ("mpe/simple_spread", {}, 10**9, r"num_envs=1000000000 with 3 agents"),
        ("mpe/simple_spread", {"agents": 100000}, 4, r"task.agents=100000 must be within 1 and 1000"),
        ("mpe/simple_spread", {"landmarks": 0}, 4, r"task.landmarks=0 must be within 1 and 1000"),
        ("mpe/simple_spread", {"agents": 100, "landmarks": 100}, 10**8, r"num_envs=100000000 with 100 agents"),
        ("OppositesGame", {"players": 100000}, 4, r"task.players=100000: .* from 2 to 1000"),
        ("mamujoco/HalfCheetah", {}, 10**9, r"num_envs=1000000000 on mujoco: needs at least"),
        ("mamujoco/ManySegmentSwimmer", {"agents": "100000x1"}, 4, r"agents=100000x1: .*at most"),
        ("mamujoco/ManySegmentAnt", {"agents": "1x100000"}, 4, r"agents=1x100000: .*at most"),
        ("pettingzoo", {"env": "nowhere:env"}, 10**9, r"num_envs=1000000000 games: needs at least"),
    ],
)
def test_environments_that_do_not_fit_are_refused_before_any_is_made(task, changed, num_envs, message):
    cfg = replace(import_object(TASKS[task])(), **changed)
    with pytest.raises(ValueError, match=message):
        cfg.make(num_envs, CPU, "mujoco")


def test_joints_far_away_are_looked_for_no_longer_than_there_are_any():
    edges = [frozenset("ab"), frozenset("bc")]
    assert joints_by_distance(("a",), edges, 10**12, {}) == [["a"], ["b"], ["c"]]


# Memory.


@pytest.mark.parametrize("masks", [False, True])
def test_the_estimate_of_a_rollout_is_what_is_allocated(masks):
    spaces = (Discrete(4), MultiDiscrete((2, 3))) if masks else (Box(3), Box(1))
    spec = reference.spec_for(spaces, (5, 7), has_action_mask=masks, state_agents=2, reward_agents=2)
    rollout = Rollout(spec, 6, StackedActors(spec, [8], "relu", 0.01))
    tensors = [value for value in vars(rollout).values() if torch.is_tensor(value)]
    assert rollout_bytes(spec, 6) == sum(value.numel() * value.element_size() for value in tensors)


def test_parameters_are_counted():
    net = FeedForward(5, [8, 6], 3, "relu", False, CPU)
    assert parameter_count([5, 8, 6, 3]) == sum(p.numel() for p in net.parameters())


def test_a_container_s_limit_counts(tmp_path, monkeypatch):
    monkeypatch.setattr(memory, "CGROUPS", tmp_path)
    assert memory.free_bytes(CPU) > 2**20
    (tmp_path / "memory.max").write_text("1000\n")
    (tmp_path / "memory.current").write_text("700\n")
    (tmp_path / "memory.stat").write_text("anon 500\ninactive_file 150\nactive_file 30\n")
    assert memory.free_bytes(CPU) == 1000 - 700 + 150 + 30
    (tmp_path / "memory.max").write_text("max\n")
    assert memory.free_bytes(CPU) > 2**20


@pytest.mark.parametrize(
    "error",
    [MemoryError(), RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried\nmore lines")],
)
def test_an_allocation_that_fails_is_one_line(error):
    with pytest.raises(ValueError, match=r"^not enough memory \(.*\); choose less$"), memory.shortage_explained(
        "choose less"
    ):
        raise error


def test_other_errors_are_not_taken_for_a_lack_of_memory():
    with pytest.raises(RuntimeError, match="shapes"), memory.shortage_explained(""):
        raise RuntimeError("shapes differ")
