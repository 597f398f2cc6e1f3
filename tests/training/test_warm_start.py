"""Warm start: policies of another run, and agents that act and are not trained."""

import dataclasses
import re

import pytest
import torch
from support.commands import TINY, run
from support.resuming import flat, same
from support.small_runs import FACTORIZED

from harl_isaac.training import checkpoint
from harl_isaac.training.trainer import Trainer
from harl_isaac.training.warm_start import check_fits, check_function


def saved(trainer, folder, name="latest"):
    trainer.folder = folder
    trainer.save(name)
    return folder / "checkpoints" / f"{name}.pt"


def weights(trainer):
    return {name: value.clone() for name, value in trainer.learner.actors.state_dict().items()}


def changed(before, trainer, agent):
    prefix = f"agents.{agent}."
    after = trainer.learner.actors.state_dict()
    return [name for name in before if name.startswith(prefix) and not torch.equal(before[name], after[name])]


@pytest.mark.parametrize("algo", ["happo", "hatrpo", "mappo", "hatd3", "hasac", "qmix", "vdn"])
def test_a_run_begins_with_the_policies_of_another(algo, settings, tmp_path):
    task = "TwoStepGame" if algo in FACTORIZED else "SumGame"
    source = Trainer(settings(task, f"algo={algo}", "seed=5"))
    source.iterate()
    file = saved(source, tmp_path)
    trainer = Trainer(settings(task, f"algo={algo}", "num_envs=10", f"init_from={file}"))
    assert all(torch.equal(value, weights(source)[name]) for name, value in weights(trainer).items())
    for target, network in getattr(trainer.learner, "targets", []):
        assert all(torch.equal(one, other) for one, other in zip(target.parameters(), network.parameters()))
    trainer.iterate()
    state = checkpoint.load(saved(trainer, tmp_path))
    trainer.iterate()
    resumed = Trainer(settings(task, f"algo={algo}", "num_envs=10"), state)
    resumed.iterate()
    one = flat(trainer.learner.state_dict())
    other = flat(resumed.learner.state_dict())
    assert one.keys() == other.keys() and all(same(one[name], other[name]) for name in one)


def test_another_algorithm_and_other_names_and_bounds(settings, tmp_path):
    source = Trainer(settings("MixedGame"))
    file = saved(source, tmp_path)
    trainer = Trainer(settings("MixedGame", "algo=mappo", f"init_from={file}"))
    assert all(torch.equal(value, weights(source)[name]) for name, value in weights(trainer).items())
    sizes = checkpoint.load(file)["sizes"]
    spec = dataclasses.replace(source.env.spec, agents=("a", "b", "c"))
    check_fits(sizes, spec, "")
    box = dataclasses.replace(spec.actions[0], low=-1.0, high=(1.0, 2.0))
    check_fits(sizes, dataclasses.replace(spec, actions=(box, *spec.actions[1:])), "")


FAULTS = {
    "other widths": ("SumGame", [], r"its agents are 3, those of this task 2"),
    "other layers": ("MixedGame", ["algo.hidden=[9]"], r"its policies have algo.hidden=\[8\], this run \[9\]"),
    "other activations": ("MixedGame", ["algo.activation=tanh"], "algo.activation=relu, this run tanh; give the same"),
    "no layer norms": ("MixedGame", ["algo.layer_norm=false"], "algo.layer_norm=True, this run False; give the same"),
    "another kind of network": ("MixedGame", ["algo=hasac"], r"agents\.0\.|give the same"),
    "a name": ("MixedGame", ["algo.frozen=[nobody]"], r"nobody is no agent; possible: reacher, chooser, dialler"),
    "all": ("MixedGame", ["algo.frozen=[reacher,chooser,dialler]"], "leaves no agent to train"),
    "shared": ("OppositesGame", ["algo.share_param=true", "algo.frozen=[player 1]"], "learn together|is no agent"),
}


@pytest.mark.parametrize("kind", list(FAULTS))
def test_what_does_not_fit_is_one_line(kind, settings, tmp_path):
    task, words, message = FAULTS[kind]
    file = saved(Trainer(settings("MixedGame")), tmp_path)
    with pytest.raises(ValueError, match=message) as raised:
        Trainer(settings(task, *words, f"init_from={file}"))
    assert "\n" not in str(raised.value)


def test_policies_older_than_a_setting_have_its_default(settings):
    algo = settings("MixedGame", "algo.layer_norm=false").algo
    there = {name: getattr(algo, name) for name in ("hidden", "recurrent", "activation", "input_norm", "max_std")}
    with pytest.raises(ValueError, match="algo.layer_norm=True, this run False; give the same"):
        check_function(there, algo, "init_from=old")
    check_function(there, settings("MixedGame").algo, "init_from=old")
    check_function({}, algo, "init_from=weights alone")


@pytest.mark.parametrize("algo", ["happo", "hatrpo", "haa2c", "mappo", "ippo", "hasac"])
@pytest.mark.parametrize("frozen", [0, 2])
def test_a_frozen_agent_acts_and_is_not_trained(algo, frozen, settings):
    words = [f"algo={algo}", f"algo.frozen=[{('reacher', 'chooser', 'dialler')[frozen]}]"]
    words += ["algo.input_norm=running"] if algo != "hasac" else []
    trainer = Trainer(settings("MixedGame", *words, "total_steps=1000"))
    before = weights(trainer)
    alpha = getattr(trainer.learner, "log_alpha", torch.zeros(3)).clone()
    for _ in range(4):
        numbers = trainer.iterate()
    assert [bool(changed(before, trainer, i)) for i in range(3)] == [i != frozen for i in range(3)]
    name = trainer.env.spec.agents[frozen]
    assert not [key for key in numbers if key.startswith(f"agent/{name}/")] and "actor/loss" in numbers
    if algo == "hasac":
        after = trainer.learner.log_alpha
        assert [bool(after[i] != alpha[i]) for i in range(3)] == [i != frozen for i in range(3)]
    else:
        norm = trainer.learner.actors.input_norm
        assert [bool(norm.count[i] > 0) for i in range(3)] == [i != frozen for i in range(3)]


def test_happo_s_factor_counts_a_frozen_agent_as_unchanged(settings):
    words = ["algo.fixed_order=true", "algo.lr=0.01", "num_envs=8"]
    numbers = Trainer(settings("MixedGame", *words, "algo.frozen=[reacher]")).iterate()
    everybody = Trainer(settings("MixedGame", *words)).iterate()
    assert numbers["agent/chooser/factor"] == 1.0 and everybody["agent/chooser/factor"] != 1.0
    assert numbers["agent/dialler/factor"] == pytest.approx(numbers["agent/chooser/ratio"])


def test_off_policy_critics_see_a_frozen_agent_s_current_action(settings, monkeypatch):
    trainer = Trainer(settings("SumGame", "algo=haddpg", "algo.frozen=[one]"))
    learner = trainer.learner
    seen = []
    fit = learner.fit_actor

    def spy(i, batch, actions):
        seen.append((i, torch.equal(actions[0], learner.action(0, batch))))
        return fit(i, batch, actions)

    monkeypatch.setattr(learner, "fit_actor", spy)
    for _ in range(4):
        trainer.iterate()
    assert seen and set(seen) == {(1, True)}


def test_the_command_begins_with_a_run_and_goes_on_without_it(tmp_path):
    first = run("task=MixedGame", *TINY, cwd=tmp_path)
    assert first.returncode == 0, first.stderr
    (folder,) = tmp_path.glob("runs/MixedGame/happo/*")
    moved = folder.rename(tmp_path / "an old, run")
    words = ["task=MixedGame", "algo=mappo", *TINY, "num_envs=6", "algo.frozen=[chooser]", f"init_from={moved}"]
    second = run(*words, cwd=tmp_path)
    assert second.returncode == 0, second.stderr
    assert re.search(r"policies begin with those of .*an old, run/checkpoints/best.pt; critics are new", second.stdout)
    (folder,) = tmp_path.glob("runs/MixedGame/mappo/*")
    assert "init_from: " in (folder / "config.yaml").read_text()
    moved.rename(tmp_path / "gone")
    again = run(f"resume={folder}", "total_steps=60", cwd=tmp_path)
    assert again.returncode == 0, again.stderr
    missing = run("task=MixedGame", *TINY, f"init_from={moved}", cwd=tmp_path)
    assert missing.returncode == 2 and "no run folder or checkpoint at" in missing.stderr
