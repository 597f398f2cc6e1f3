"""SMAX on JAX's arrays: the contract, true ends, SMAX's own rules step by step, seeds and exact resume."""

import copy
import sys

import pytest
import torch

from harl_isaac.adapters.smax import SmaxCfg, import_jax
from harl_isaac.check_env import check_env, random_actions
from harl_isaac.env import MissingSimulator
from harl_isaac.tasks import SCENARIOS
from harl_isaac.training.trainer import Trainer

CPU = torch.device("cpu")


def test_without_jaxmarl_it_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "jaxmarl", None)
    monkeypatch.setitem(sys.modules, "jaxmarl.environments", None)
    with pytest.raises(MissingSimulator, match="task=smax/3m: jaxmarl is not installed here .*pip install"):
        import_jax("smax/3m")


@pytest.mark.parametrize(
    "values, text", [({"max_steps": 0}, "task.max_steps=0"), ({"attack_mode": "all"}, "closest, random")]
)
def test_wrong_settings_are_named(values, text):
    with pytest.raises(ValueError, match=text):
        SmaxCfg(**values).make(2, CPU, "auto")


@pytest.fixture(scope="module")
def env():
    pytest.importorskip("jaxmarl", reason="jaxmarl is not installed (the extra `smax`)")
    return SmaxCfg(name="smax/3m", max_steps=18).make(8, CPU, "auto")


@pytest.mark.parametrize("scenario", SCENARIOS["smax"][1])
def test_a_scenario_is_as_its_spec_says(scenario):
    """By shapes alone: compiling takes too long."""
    pytest.importorskip("jaxmarl", reason="jaxmarl is not installed (the extra `smax`)")
    env = SmaxCfg(name="smax/" + scenario).make(2, CPU, "auto")
    spec = env.spec
    (_, _, view) = env._jax.eval_shape(env._begin, env._keys)
    agents = spec.num_agents
    assert view.obs.shape == (2, agents, spec.obs_sizes[0]) and view.state.shape == (2, spec.state_size)
    assert view.mask.shape == (2, agents, spec.actions[0].n) and view.alive.shape == (2, agents)


def another(env):
    """An environment that shares the compiled functions."""
    return copy.copy(env)


def test_the_contract_is_kept(env):
    check_env(lambda: another(env), steps=45)


def play(env, steps, seed=0):
    draw = torch.Generator().manual_seed(1)
    step = env.reset(seed)
    found = []
    for _ in range(steps):
        actions = random_actions(env.spec, step, draw)
        step = env.step(actions)
        found.append((actions, step))
    return found


def test_both_kinds_of_end_and_victories_are_reported(env):
    steps = [step for _, step in play(env, 300)]
    ended = (
        torch.stack([step.terminated for step in steps]).sum(),
        torch.stack([step.truncated for step in steps]).sum(),
    )
    assert min(ended) > 0
    for step in steps:
        assert (step.metrics["success"] <= step.terminated.float()).all()
        dead = ~torch.stack([obs.any(1) for obs in step.next_obs], 1)  # in SMAX the dead observe zeros
        assert (dead.all(1) <= step.terminated).all()


def test_the_dead_may_only_stop(env):
    count = 0
    for _, step in play(env, 100):
        for i in range(3):
            masks = step.action_mask[i][~step.alive[:, i]]
            assert (masks == torch.tensor([False] * 4 + [True] + [False] * 3)).all()
            count += len(masks)
    assert count > 50


def test_steps_are_smaxs_own(env):
    """One battle by SMAX's functions, without batching, compilation or automatic reset."""
    jax, smax = import_jax("smax/3m")
    battle = smax.HeuristicEnemySMAX(scenario=smax.map_name_to_scenario("3m"), max_steps=18)
    draw = torch.Generator().manual_seed(3)
    step = env.reset(5)
    key, own = jax.random.split(jax.random.split(jax.random.PRNGKey(5), 8)[2])
    obs, state = battle.reset(own)
    for _ in range(19):
        assert torch.equal(step.state[2, 0], torch.from_dlpack(obs["world_state"]))
        masks = battle.get_avail_actions(state)
        for i, name in enumerate(battle.agents):
            torch.testing.assert_close(step.obs[i][2], torch.from_dlpack(obs[name]))
            assert torch.equal(step.action_mask[i][2], torch.from_dlpack(masks[name]).bool())
        actions = random_actions(env.spec, step, draw)
        step = env.step(actions)
        key, own = jax.random.split(key)
        choice = {name: jax.numpy.asarray(int(action[2])) for name, action in zip(battle.agents, actions)}
        obs, state, rewards, dones, _ = battle.step_env(own, state, choice)
        torch.testing.assert_close(step.next_state[2, 0], torch.from_dlpack(obs["world_state"]))
        torch.testing.assert_close(step.reward[2, 0], torch.from_dlpack(rewards["ally_0"]))
        assert bool(step.done[2]) == bool(dones["__all__"])
        if step.done[2]:
            break
        key = jax.random.split(key)[0]  # the other half is the next battle's, begun in vain
    assert step.done[2]


def test_a_saved_battle_goes_on_exactly(env):
    play(env, 12)
    saved = env.state_dict()
    begun = another(env)
    begun.reset(99)
    actions = [tuple(torch.full((8, 1), 4) for _ in range(3)) for _ in range(25)]
    expected = [env.step(choice) for choice in actions]
    assert begun.load_state_dict(saved) is None
    for choice, step in zip(actions, expected):
        again = begun.step(choice)
        assert torch.equal(again.state, step.state) and torch.equal(again.reward, step.reward)
        assert torch.equal(again.done, step.done)


def test_one_compiled_function_serves_every_step(env):
    play(env, 3)
    assert env._advance._cache_size() == 1


def test_a_policy_trains(env, settings, tmp_path, monkeypatch):
    run = settings(
        "smax/3m",
        "num_envs=8",
        "total_steps=80",
        "algo.rollout_length=5",
        "algo.hidden=[8]",
        "algo.recurrent=true",
        "algo.chunk_length=5",
    )
    monkeypatch.setattr(SmaxCfg, "make", lambda self, num_envs, device, sim: env)
    Trainer(run).train(tmp_path)
    assert (tmp_path / "checkpoints" / "latest.pt").is_file()
