"""The Python interface: light to import, policies that act without their environment, the page's examples."""

import re
import subprocess
import sys

import numpy as np
import pytest
import torch
from support.commands import ROOT

import harl_isaac
from harl_isaac.api import setting_word
from harl_isaac.training import load_policy as loading
from harl_isaac.training.evaluation import Player
from harl_isaac.training.trainer import Trainer

OLD_RUNS = ROOT / "tests" / "support" / "old_runs"


def blocks(page):
    return re.findall(r"```python\n(.*?)```", (ROOT / "docs" / page).read_text(), re.S)


def test_importing_is_light():
    program = (
        "import sys, harl_isaac; assert not {'torch', 'numpy', 'hydra'} & set(sys.modules); "
        "assert 'train' in dir(harl_isaac); from harl_isaac import load_policy; assert 'torch' in sys.modules; "
        "assert not hasattr(harl_isaac, 'nothing')"
    )
    assert subprocess.run([sys.executable, "-c", program], cwd=str(ROOT)).returncode == 0


def test_the_page_s_examples_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = {}
    for block in blocks("python.md"):
        exec(block, names)
    assert names["run"].steps == 240 and names["second"].steps == 40 and np.isfinite(names["run"].best)
    folders = [path.parent.name for path in tmp_path.glob("runs/MixedGame/*/*")]
    assert sorted(folders) == ["happo", "mappo"]


KINDS = {
    "choices with masks": ("MatrixGame", ["task.masks=true"]),
    "three kinds": ("MixedGame", []),
    "a memory": ("MemoryGame", ["algo.recurrent=true", "algo.chunk_length=5"]),
    "shared": ("OppositesGame", ["algo=mappo", "algo.share_param=true"]),
    "off-policy": ("SumGame", ["algo=hatd3"]),
    "off-policy choices": ("OppositesGame", ["algo=had3qn"]),
    "values with a memory": ("MemoryGame", ["algo=qmix", "algo.recurrent=true", "algo.chunk_length=4"]),
    "one network of values": ("OppositesGame", ["algo=vdn", "algo.share_param=true"]),
}


@pytest.fixture(params=list(KINDS))
def saved(request, settings, tmp_path):
    """A trainer and its checkpoint of each kind of policy."""
    task, words = KINDS[request.param]
    trainer = Trainer(settings(task, *words))
    trainer.folder = tmp_path
    trainer.save("latest")
    return trainer, tmp_path / "checkpoints" / "latest.pt"


def test_a_policy_acts_as_its_evaluation_does(saved):
    trainer, file = saved
    policy = harl_isaac.load_policy(file)
    spec = trainer.env.spec
    player = Player(spec, trainer.learner.actors)
    step = trainer.env.reset(seed=3)
    for _ in range(7):
        expected = player.act(step)
        actions = policy.act(step)
        assert all(torch.equal(one, other) for one, other in zip(actions, expected))
        assert [each.dtype for each in actions] == [each.dtype for each in expected]
        step = trainer.env.step(expected)
    masks = None if step.action_mask is None else dict(zip(spec.agents, [mask.numpy() for mask in step.action_mask]))
    obs = {name: value.double().numpy() for name, value in zip(spec.agents, step.obs)}
    samples = policy.act(obs, masks, deterministic=False)
    assert set(samples) == set(spec.agents) and all(isinstance(each, np.ndarray) for each in samples.values())
    policy.reset()
    single = policy.act([value[0] for value in step.obs], None if masks is None else [m[0] for m in masks.values()])
    policy.reset()
    batch = policy.act(list(step.obs), masks)
    assert all(torch.allclose(one, many[0]) for one, many in zip(single, batch))


def test_a_policy_needs_no_task(settings, tmp_path, monkeypatch):
    trainer = Trainer(settings("SumGame"))
    trainer.folder = tmp_path
    trainer.save("latest")
    monkeypatch.setitem(sys.modules, "harl_isaac.tasks.games.sum", None)
    policy = harl_isaac.load_policy(tmp_path / "checkpoints" / "latest.pt")
    assert policy.agents == ("one", "two") and policy.spec == harl_isaac.load_policy(policy.file).spec
    with pytest.raises((ImportError, ValueError)):
        loading.load_policy(str(policy.file), 2, "cpu", "auto")


def test_recurrent_states_are_kept_and_reset(settings, tmp_path):
    trainer = Trainer(settings("MemoryGame", "algo.recurrent=true", "algo.chunk_length=5"))
    trainer.folder = tmp_path
    trainer.save("latest")
    policy = harl_isaac.load_policy(tmp_path / "checkpoints" / "latest.pt")
    obs = [np.random.default_rng(0).normal(size=(2, size)) for size in policy.spec.obs_sizes]
    policy.act(obs)
    first = policy.hidden.clone()
    policy.act(obs)
    assert not torch.equal(policy.hidden, first)
    policy.reset(np.array([True, False]))
    assert not policy.hidden[0].any() and policy.hidden[1].any()
    policy.act(obs)
    assert torch.equal(policy.hidden[0], first[0]) and not torch.equal(policy.hidden[1], first[1])
    with pytest.raises(ValueError, match=r"3 environments after those of 2: call reset\(\)"):
        policy.act([np.ones((3, size)) for size in policy.spec.obs_sizes])
    with pytest.raises(ValueError, match=r"the mask has shape \(3,\), expected \(2,\)"):
        policy.reset([True, False, True])


def test_what_does_not_fit_is_named(settings, tmp_path):
    trainer = Trainer(settings("MatrixGame", "task.masks=true"))
    trainer.folder = tmp_path
    trainer.save("latest")
    policy = harl_isaac.load_policy(tmp_path / "checkpoints" / "latest.pt")
    obs = [np.zeros((2, size)) for size in policy.spec.obs_sizes]
    faults = [
        ("trained with action masks: give action_mask", (obs,)),
        ("by agent: missing: .*, unknown: nobody; the agents are", ({"nobody": obs[0]},)),
        ("give observations as a dict by agent, or as a list for", (obs[:1],)),
        (r"have shape \(2, 9\), expected \(E, \d\) or", ([np.zeros((2, 9)), obs[1]],)),
        ("not of one batch", ([obs[0], obs[1][:1]],)),
    ]
    for message, arguments in faults:
        with pytest.raises(ValueError, match=message):
            policy.act(*arguments)


def test_an_old_checkpoint_says_what_it_lacks():
    with pytest.raises(ValueError, match="kept no spec of the environment: resume its run once.*spec=make") as raised:
        harl_isaac.load_policy(OLD_RUNS / "SumGame_hatd3")
    assert "\n" not in str(raised.value)
    spec = harl_isaac.make("SumGame", device="cpu").spec
    policy = harl_isaac.load_policy(OLD_RUNS / "SumGame_hatd3", spec=spec)
    assert [each.shape for each in policy.act([np.zeros((3, 1)), np.zeros((3, 2))])] == [(3, 1), (3, 2)]
    with pytest.raises(ValueError, match="the checkpoint has agents="):
        harl_isaac.load_policy(OLD_RUNS / "SumGame_hatd3", spec=harl_isaac.make("MatrixGame", device="cpu").spec)


def test_mistakes_are_one_line():
    for call, message in (
        (lambda: harl_isaac.train("MixdGame"), "did you mean MixedGame"),
        (lambda: harl_isaac.make("MixdGame"), "did you mean MixedGame"),
        (lambda: harl_isaac.make("MixedGame", gravity=3), "gravity"),
        (lambda: harl_isaac.train("SumGame", settings={"algo.clipp": 0.1}), "did you mean algo.clip"),
        (lambda: harl_isaac.load_policy("nowhere"), "no run folder or checkpoint at nowhere"),
    ):
        with pytest.raises(ValueError, match=message) as raised:
            call()
        assert "\n" not in str(raised.value)


def test_values_are_written_as_hydra_reads_them():
    from hydra.core.override_parser.overrides_parser import OverridesParser

    values = [
        None,
        True,
        3,
        1e-5,
        -2.5,
        "it's a \\ path, with = and #",
        "\\'end\\",
        [1, 2.0],
        ["right hand", "b"],
        {"N": 3},
        [],
    ]
    for value in values:
        parsed = OverridesParser.create().parse_override(setting_word("key", value)).value()
        assert parsed == value, (parsed, value)
