"""Environments that break their contract: found, named, kept out of all that is learned from and saved."""

from dataclasses import dataclass, replace

import pytest
import torch
from support.host_reads import NoHostReads, needs_silent_adam
from support.resuming import flat

from harl_isaac.buffers import quarantine
from harl_isaac.check_env import _copy as tensors
from harl_isaac.env import EnvironmentFault, SimulatorError
from harl_isaac.faults import StepShapes, by_environment
from harl_isaac.settings import TaskCfg
from harl_isaac.tasks.games.matrix import MatrixGameCfg
from harl_isaac.tasks.games.sum import SumGame
from harl_isaac.training import checkpoint
from harl_isaac.training.report import check_finite
from harl_isaac.training.trainer import Trainer

CPU = torch.device("cpu")


def spoil_obs(step, value):
    step.obs[1][2, 0] = value


def spoil_state(step, value):
    step.state = step.state.clone()
    step.state[2] = value


def spoil_reward(step, value):
    step.reward = step.reward.clone()
    step.reward[2] = value


def spoil_last(step, value):
    """The true last observations of an ended episode, which nothing but a truncated step's value needs."""
    step.next_obs = tuple(obs.clone() for obs in step.next_obs)
    step.next_obs[1][2, 1] = value


def flat_reward(step, value):
    step.reward = step.reward[:, 0]


def scalar_state(step, value):
    step.state = step.state[:1]


def narrow_obs(step, value):
    step.obs = (step.obs[0], step.obs[1][:, :1])


def one_agent(step, value):
    step.obs = step.obs[:1]


def complex_obs(step, value):
    step.obs = (step.obs[0] + 1j, step.obs[1])


def number_ends(step, value):
    step.terminated = step.terminated.float()


def later_alive(step, value):
    step.alive = torch.ones(len(step.reward), 2, dtype=torch.bool)


def later_mask(step, value):
    step.action_mask = (torch.ones(len(step.reward), 1, dtype=torch.bool),) * 2


def no_metric(step, value):
    step.metrics = {}
    step.obs = tuple(obs.double() for obs in step.obs)  # what was seen before is not looked at again


class Faulty(SumGame):
    """SumGame with a fault in one of its steps (0: in the reset)."""

    def __init__(self, num_envs, spoil, at, value=float("nan"), broken=False):
        super().__init__(num_envs, CPU)
        self.spoil = spoil
        self.at = at
        self.value = value
        self.broken = broken  # it cannot begin anew after that
        self.taken = 0

    def reset(self, seed=None):
        if self.broken and self.taken:
            raise RuntimeError("still broken")
        step = super().reset(seed)
        if self.at == 0:
            self.spoil(step, self.value)
        return step

    def step(self, actions):
        step = super().step(actions)
        self.taken += 1
        if self.taken == self.at:
            self.spoil(step, self.value)
        return step


@dataclass
class FaultyCfg(TaskCfg):
    name: str = "Faulty"
    how: tuple = ()
    evaluation: tuple = (spoil_obs, -1)  # for environments made after the first
    made: int = 0

    def make(self, num_envs, device, sim):
        self.made += 1
        return Faulty(num_envs, *(self.how if self.made == 1 else self.evaluation))


def trainer(settings, how, *words, **more):
    cfg = settings("SumGame", "total_steps=240", "checkpoint.interval=1000", *words)
    return Trainer(replace(cfg, task=FaultyCfg(how=how, **more)))


def not_finite(state):
    """Names of floating-point tensors in a state that hold NaN or infinity."""
    return [
        name
        for name, value in flat(state).items()
        if isinstance(value, torch.Tensor) and value.is_floating_point() and not torch.isfinite(value).all()
    ]


NUMBERS = {"obs": spoil_obs, "state": spoil_state, "reward": spoil_reward}
ALGOS = (
    ["algo=happo"],
    ["algo=happo", "algo.recurrent=true", "algo.chunk_length=5"],
    ["algo=ippo", "algo.input_norm=running"],
    ["algo=hatd3"],
    ["algo=hasac", "algo.replay_dtype=float16"],
)


@pytest.mark.parametrize("words", ALGOS, ids=" ".join)
@pytest.mark.parametrize("what", NUMBERS)
@pytest.mark.parametrize("value", [float("nan"), float("-inf")])
def test_numbers_that_are_not_finite_end_a_run_and_leave_no_trace(settings, tmp_path, words, what, value):
    run = trainer(settings, (NUMBERS[what], 8, value), *words)
    name = "agent two: observation" if what == "obs" else what
    with pytest.raises(EnvironmentFault, match=rf"task=Faulty \(seed=1\).*environment 2, {name}.*resume={tmp_path}"):
        run.train(tmp_path)
    saved = checkpoint.load(tmp_path / "checkpoints" / "latest.pt")
    assert saved["counters"]["steps"] > 0 and not_finite(saved) == []
    if run.learner.replay is None:
        assert not_finite(vars(run.learner.rollout)) == []
    again = trainer(settings, (spoil_obs, -1), *words)
    again.load_state_dict(saved)
    assert again.train(tmp_path)["steps"] == 240.0 and not_finite(again.state_dict()) == []


@pytest.mark.parametrize("words", [["algo=happo"], ["algo=hatd3"]], ids=" ".join)
@pytest.mark.parametrize("what", ["obs", "state"])
def test_the_last_step_of_an_iteration_is_looked_at_before_it_is_saved(settings, tmp_path, words, what):
    run = trainer(settings, (NUMBERS[what], 5), *words, "checkpoint.interval=1")  # an iteration has five steps
    with pytest.raises(EnvironmentFault, match="after 30 steps: .*environment 2"):
        run.train(tmp_path)
    assert not_finite(checkpoint.load(tmp_path / "checkpoints" / "latest.pt")) == []


def large_obs(step, value):
    step.obs[1][2, 0] = 1e5


def test_what_the_replay_cannot_hold_is_named_as_that(settings, tmp_path):
    run = trainer(settings, (large_obs, 8), "algo=hatd3", "algo.replay_dtype=float16")
    with pytest.raises(
        EnvironmentFault, match="beyond the 65504 that algo.replay_dtype=float16 can hold.: environment 2"
    ):
        run.train(tmp_path)
    trainer(settings, (large_obs, 8), "algo=hatd3").train(tmp_path)


@pytest.mark.parametrize("chunk", [1, 40, 2**24])
def test_a_replay_is_looked_at_in_parts(settings, monkeypatch, chunk):
    monkeypatch.setattr(quarantine, "CHUNK", chunk)
    run = trainer(settings, (spoil_reward, 3), "algo=hatd3")
    run.learner.collect(run.env, run.step)
    assert run.learner.faults.found.nonzero().tolist() == [[2, 3]]
    assert not_finite(run.learner.replay.state_dict()) == []


@pytest.mark.parametrize("words", [["algo=ippo"], ["algo=hatd3"]], ids=" ".join)
def test_the_true_last_observation_counts_where_it_is_used(settings, tmp_path, words):
    run = trainer(settings, (spoil_last, 10), *words)  # episodes of five steps are truncated
    with pytest.raises(EnvironmentFault, match="environment 2, agent two: observation"):
        run.train(tmp_path)
    assert not_finite(run.state_dict()) == []


@pytest.mark.parametrize(
    "spoil, message",
    [
        (flat_reward, r"reward: expected shape \(6, 1\), got \(6,\)"),
        (scalar_state, r"state: expected shape \(6, 1, 1\), got \(1, 1, 1\)"),
        (narrow_obs, r"agent two: observation: expected shape \(6, 2\), got \(6, 1\)"),
        (one_agent, "observation: expected one for each of 2 agents, got 1"),
        (complex_obs, "agent one: observation: expected real numbers, got torch.complex64"),
        (number_ends, "terminated: expected torch.bool, got torch.float32"),
        (later_alive, "alive: the spec says has_alive=False, this Step has one"),
        (later_mask, "action_mask: the spec says has_action_mask=False, this Step has one"),
        (no_metric, "metric success is missing, expected success"),
    ],
)
@pytest.mark.parametrize("words", [["algo=happo"], ["algo=hatd3"]], ids=" ".join)
def test_what_the_spec_excludes_is_named(settings, tmp_path, spoil, message, words):
    run = trainer(settings, (spoil, 7), *words)
    with pytest.raises(EnvironmentFault, match=message):
        run.train(tmp_path)
    assert not_finite(checkpoint.load(tmp_path / "checkpoints" / "latest.pt")) == []


def test_what_a_spec_promises_must_come():
    env = MatrixGameCfg(masks=True, absences=True).make(4, CPU, "auto")
    step = env.reset(0)
    StepShapes(env.spec)(step)
    for part in ("action_mask", "alive"):
        with pytest.raises(EnvironmentFault, match=f"{part}: the spec says has_{part}=True, this Step has none"):
            StepShapes(env.spec)(replace(step, **{part: None}))
    for value in (step.state.numpy(), step.state.tolist(), None):
        with pytest.raises(
            EnvironmentFault, match=f"state: expected a tensor of shape .* got a {type(value).__name__}"
        ):
            StepShapes(env.spec)(replace(step, state=value))


def test_a_reset_is_looked_at(settings, tmp_path):
    with pytest.raises(EnvironmentFault, match="at a reset: .*environment 2, agent two.*there is no checkpoint yet"):
        trainer(settings, (spoil_obs, 0))


def test_no_message_names_a_checkpoint_that_is_not_there(settings, tmp_path):
    run = trainer(settings, (spoil_obs, 3, float("nan"), True))
    with pytest.raises(EnvironmentFault, match="still broken.*there is no checkpoint yet") as error:
        run.train(tmp_path)
    assert "latest.pt" not in str(error.value) and not (tmp_path / "checkpoints").exists()
    with pytest.raises(FloatingPointError, match="critic/loss is not finite at iteration 3.*no checkpoint yet"):
        check_finite({"critic/loss": float("nan")}, 3, tmp_path)
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "latest.pt").touch()
    with pytest.raises(FloatingPointError, match=r"the last checkpoint, .*latest.pt, is from before"):
        check_finite({"critic/loss": float("nan")}, 3, tmp_path)


def test_a_simulator_that_fails_on_resuming_is_not_taken_for_a_damaged_checkpoint(settings, tmp_path):
    saved = trainer(settings, (spoil_obs, -1)).state_dict()
    cfg = settings("SumGame")
    broken = replace(cfg, task=FaultyCfg(how=(spoil_obs, 0)))
    expected = pytest.raises(EnvironmentFault, match="at a reset: .*environment 2.*; the checkpoint is as it was")
    with expected, checkpoint.damage_named(tmp_path / "latest.pt"):
        Trainer(broken, saved)


@pytest.mark.parametrize("spoil", [spoil_obs, spoil_state, spoil_reward, flat_reward])
def test_evaluation_looks_too_and_training_is_saved(settings, tmp_path, spoil):
    run = trainer(settings, (spoil_obs, -1), "eval.interval=1", evaluation=(spoil, 2))
    with pytest.raises(SimulatorError, match="in an evaluation of seed 1000004"):
        run.train(tmp_path)
    assert checkpoint.load(tmp_path / "checkpoints" / "latest.pt")["counters"]["iteration"] == 1


def test_a_policy_that_is_not_finite_is_not_blamed_on_the_environment(settings, tmp_path):
    run = trainer(settings, (spoil_obs, -1))
    with torch.no_grad():
        next(iter(run.learner.actors.parameters())).fill_(float("nan"))
    with pytest.raises(FloatingPointError, match="lower learning rate"):
        run.train(tmp_path)


def test_the_first_that_is_not_finite_is_to_blame():
    nothing = torch.zeros(2, 4, dtype=torch.bool)
    before, action, after = (nothing.clone() for _ in range(3))
    before[1, 0] = action[1, 0] = after[1, 0] = True  # what was observed came first
    action[0, 1] = after[0, 1] = before[1, 1] = True  # the policy's action
    after[0, 2] = before[1, 2] = action[1, 2] = True  # the outcome of a good action
    assert by_environment(before, action, after).tolist() == [True, False, True, False]


@needs_silent_adam
@pytest.mark.parametrize("words", [["algo=happo"], ["algo=hatd3"]], ids=" ".join)
def test_faults_are_found_without_a_read_on_the_host(settings, words):
    run = trainer(settings, (spoil_obs, 8), *words)
    step = run.step
    with NoHostReads():
        for _ in range(3):
            step, _ = run.learner.collect(run.env, step)
            run.learner.update(0.0)
    assert run.learner.faults.found.nonzero().tolist() == [[2, 1]] or bool(run.learner.faults.found[2, 1])


def test_spoiled_rows_count_for_nothing(settings):
    """They are dead, ended, and finite; all other rows are those of the run without the fault."""
    runs = []
    for how in ((spoil_reward, 3), (spoil_obs, -1)):
        runs.append(trainer(settings, how))
        runs[-1].learner.collect(runs[-1].env, runs[-1].step)
    run, twin = runs
    spoiled = run.learner.rollout
    rows = torch.zeros(5, 6, dtype=torch.bool)
    rows[2, 2] = True
    assert torch.equal(spoiled.alive == 0.0, rows[..., None].expand(-1, -1, 2))
    assert spoiled.terminated[2, 2] and spoiled.reward[2, 2] == 0.0
    for name in ("obs", "state", "reward", "action", "log_prob"):
        assert torch.equal(getattr(spoiled, name)[~rows], getattr(twin.learner.rollout, name)[~rows])
    run.learner.collect(run.env, run.env.reset(2))
    assert (spoiled.alive == 1.0).all()


def test_good_steps_pass_as_they_are():
    env = SumGame(3, CPU)
    twin = Faulty(3, spoil_obs, -1)
    assert all(map(torch.equal, tensors(env.reset(4)), tensors(twin.reset(4))))
