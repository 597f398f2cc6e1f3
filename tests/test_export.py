"""Exported policies are the trained ones: every algorithm in every format, masks and recurrence, by the command."""

import json
import shutil
import subprocess
import sys
from dataclasses import replace

import pytest
import torch
from support import reference
from support.commands import ROOT, run
from support.small_runs import OFF_POLICY

from harl_isaac.algos import ALGOS
from harl_isaac.env import Box, Discrete, MultiDiscrete
from harl_isaac.export import formats
from harl_isaac.export.comparison import TOLERANCE, act, inputs_of, largest_difference, random_sample, recorded_sample
from harl_isaac.export.folder import agent_policies, export, file_names, write_description
from harl_isaac.registry import default_settings
from harl_isaac.training.evaluation import Player
from harl_isaac.training.trainer import Trainer

CPU = torch.device("cpu")
OLD_RUNS = ROOT / "tests" / "support" / "old_runs"
RECURRENT = ["algo.recurrent=true", "algo.chunk_length=5"]
MASKS = ["task.masks=true", "task.absences=true"]
DISCRETE = ["task.continuous=false"]
CASES = [
    ("MixedGame", ["algo=happo"]),
    ("MatrixGame", ["algo=happo", *MASKS]),
    ("MemoryGame", ["algo=happo", *RECURRENT]),
    ("SumGame", ["algo=hatrpo", *RECURRENT, "algo.activation=selu"]),
    ("MixedGame", ["algo=happo", "algo.layer_norm=false"]),
    ("mpe/simple_spread", ["algo=mappo", "algo.share_param=true", "algo.layer_norm=false", "algo.input_norm=none"]),
    ("SumGame", ["algo=happo", *RECURRENT, "algo.layer_norm=false", "algo.input_norm=running"]),
    ("SumGame", ["algo=haa2c", "algo.action_aggregation=mean", "algo.max_std=2.0"]),
    ("mpe/simple_spread", ["algo=mappo", "algo.share_param=true", "algo.input_norm=running"]),
    ("mpe/simple_spread", ["algo=maa2c", "algo.share_param=true", "algo.agent_id=false", *RECURRENT]),
    ("MixedGame", ["algo=ippo", "algo.input_norm=running", "algo.activation=tanh"]),
    ("SumGame", ["algo=haddpg"]),
    ("SumGame", ["algo=hatd3", "algo.layer_norm=true"]),
    ("SumGame", ["algo=maddpg", "algo.activation=elu"]),
    ("mpe/simple_speaker_listener", ["algo=matd3"]),
    ("MixedGame", ["algo=hasac", "algo.choice_network=normalized", "algo.last_activation=tanh"]),
    ("MatrixGame", ["algo=hasac", *MASKS]),
    ("MatrixGame", ["algo=had3qn", *MASKS]),
    ("mpe/simple_speaker_listener", ["algo=had3qn", *DISCRETE]),
    ("SumGame", ["algo=rl_games_ppo"]),
    ("MatrixGame", ["algo=rl_games_ppo"]),
    ("CountingGame", ["algo=rl_games_ppo"]),
    ("mpe/simple_spread", ["algo=rl_games_ppo", "algo.policy=shared", "algo.normalize_obs=false", *DISCRETE]),
    ("MatrixGame", ["algo=vdn", *MASKS]),
    ("MemoryGame", ["algo=qmix", *RECURRENT]),
    ("mpe/simple_spread", ["algo=qmix", "algo.share_param=true", *DISCRETE]),
]


def available(name):
    """The format, or a skipped test with the reason."""
    try:
        return formats.check_available(name)
    except ValueError as error:
        pytest.skip(str(error))


def trained(settings, task, overrides):
    """An environment and policies of random weights, as far from their start as training takes them."""
    if "algo=rl_games_ppo" in overrides:
        pytest.importorskip("rl_games", reason="rl_games is not installed: pip install -e .[rl-games]")
    cfg = settings(task, *overrides)
    env = cfg.task.make(cfg.num_envs, CPU, cfg.sim)
    actors = cfg.algo.actors(env.spec)
    with torch.no_grad():
        for parameter in actors.parameters():
            parameter += 0.3 * torch.randn_like(parameter)
        for name, buffer in actors.named_buffers():
            if buffer.is_floating_point() and "count" not in name:
                buffer.copy_(0.5 + torch.rand_like(buffer))
    return env, actors


def samples_of(env, actors):
    return [random_sample(env.spec, actors, 300, 0), recorded_sample(env, actors, 0)]


def test_every_algorithm_is_among_the_cases():
    assert {word.split("=")[1] for _, words in CASES for word in words if word.startswith("algo=")} == set(ALGOS)


CHOOSING = ["happo", "hasac", "had3qn", "qmix", "rl_games_ppo"]
FAST_CASES = (2, 13, 16)  # of the slow exporters: a GRU, choices with masks, rl_games


def combinations():
    """Every case as TorchScript; by the exporters that take seconds with or without a distribution, most apart."""
    for number, (task, overrides) in enumerate(CASES):
        for name in sorted(formats.FORMATS):
            for distribution in (False, True):
                quick = name == "torchscript"
                if quick or distribution == (number % 2 == 1):
                    what = "distribution" if distribution else "action"
                    marks = () if quick or number in FAST_CASES else pytest.mark.slow
                    label = f"{task}-{overrides[0][5:]}-{name}-{what}"
                    yield pytest.param(task, overrides, name, distribution, marks=marks, id=label)


@pytest.mark.parametrize("task, overrides, name, distribution", combinations())
def test_a_file_is_the_trained_policy(task, overrides, name, distribution, settings, tmp_path):
    form = available(name)
    env, actors = trained(settings, task, overrides)
    policies = agent_policies(actors, env.spec, [], distribution)
    if len({(policy.obs_size, str(policy.spec.actions)) for policy in policies}) == 1:
        policies = policies[-1:]  # agents alike
    files = export(actors, env.spec, policies, form, samples_of(env, actors), tmp_path / "out")
    write_description(tmp_path / "out", files, {})
    for each in files:
        print(f"DIFFERENCE {overrides[0][5:]} {task} {name} {each.file} {each.difference:.2e}")
        assert each.difference <= TOLERANCE and (tmp_path / "out" / each.file).stat().st_size > 0
    described = json.loads((tmp_path / "out" / "policy.json").read_text())["files"]
    for each, policy in zip(described, policies):
        inputs = inputs_of(policy, samples_of(env, actors)[0])
        outputs = form.open(tmp_path / "out" / each["file"])(inputs)
        for tensors, rows in ((inputs, each["inputs"]), (outputs, each["outputs"])):
            found = [[str(tensor.dtype)[6:], list(tensor.shape[1:])] for tensor in tensors]
            assert found == [[row["dtype"], row["shape"][1:]] for row in rows]


ACTORS = [
    ("mappo", ["algo.share_param=true"]),
    ("mappo", ["algo.share_param=false"]),
    ("maa2c", ["algo.share_param=true"]),
    ("maa2c", ["algo.share_param=false"]),
    ("ippo", ["algo.share_param=true"]),
    ("ippo", ["algo.share_param=false"]),
    ("haa2c", []),
    ("hatrpo", []),
    ("hasac", []),
    ("hatd3", []),
]
SLOW_ONES = [ACTORS[1], ACTORS[4], ACTORS[-1]]


@pytest.mark.parametrize(
    "algo, overrides", ACTORS, ids=lambda value: value if isinstance(value, str) else "".join(value)
)
@pytest.mark.parametrize("name", ["onnx", "torchscript"])
def test_trained_policies_with_own_and_shared_networks(name, algo, overrides, settings, tmp_path):
    """After two iterations of training, on a task whose agents are alike, as sharing needs."""
    if name == "onnx" and (algo, overrides) not in SLOW_ONES:
        pytest.skip("the slow exporter: those that differ from each other, and from the cases above")
    form = available(name)
    warm = ["algo.warmup_steps=30"] if algo in OFF_POLICY else []
    trainer = Trainer(settings("mpe/simple_spread", f"algo={algo}", "algo.hidden=[8]", *overrides, *warm))
    actors = trainer.learner.actors
    before = [parameter.clone() for parameter in actors.parameters()]
    for _ in range(2):
        trainer.iterate()
    assert any((one != two).any() for one, two in zip(before, actors.parameters()))
    env = trainer.env
    policies = agent_policies(actors, env.spec, [], False)
    files = export(actors, env.spec, policies[:1], form, samples_of(env, actors), tmp_path / "out")
    worst = max(each.difference for each in files)
    print(f"DIFFERENCE {algo} {' '.join(overrides)} {name} {worst:.2e}")
    assert worst <= TOLERANCE


@pytest.mark.parametrize(
    "name, algo",
    [("torchscript", algo) for algo in CHOOSING]
    + [("onnx", "happo")]
    + [pytest.param("onnx", algo, marks=pytest.mark.slow) for algo in CHOOSING[1:]]
    + [pytest.param("torch_export", algo, marks=pytest.mark.slow) for algo in CHOOSING],
)
def test_several_choices_at_once_with_masks(name, algo, tmp_path):
    form = available(name)
    if algo == "rl_games_ppo":
        pytest.importorskip("rl_games", reason="rl_games is not installed: pip install -e .[rl-games]")
    spaces = (MultiDiscrete((3, 3)), Discrete(3)) if algo == "rl_games_ppo" else (MultiDiscrete((2, 4)), Discrete(3))
    spec = reference.spec_for(spaces, (3, 2), num_envs=1, has_action_mask=True)
    actors = replace(default_settings(ALGOS, algo), hidden=[8]).actors(spec)
    with torch.no_grad():
        for parameter in actors.parameters():
            parameter += torch.randn_like(parameter)
    policies = agent_policies(actors, spec, [], True)
    (first, *_) = export(actors, spec, policies, form, [random_sample(spec, actors, 500, 0)], tmp_path)
    sample = random_sample(spec, actors, 200, 1)
    inputs = inputs_of(policies[0], sample)
    action = form.open(tmp_path / first.file)(inputs)[0]
    assert action.dtype == torch.int64
    start = 0
    for column, size in zip(action.unbind(1), spaces[0].nvec):
        allowed = inputs[1][:, start : start + size]
        assert allowed.gather(1, column[:, None]).all() and len(set(column.tolist())) == size
        start += size


@pytest.mark.parametrize("name", sorted(formats.FORMATS))
def test_an_agent_s_own_file_plays_an_episode_with_its_own_state(name, settings, tmp_path):
    """Actions over a whole recurrent episode; the state is carried by the caller, and is zero where episodes begin."""
    form = available(name)
    env, actors = trained(settings, "MemoryGame", ["algo=happo", *RECURRENT, "task.delay=3"])
    policies = agent_policies(actors, env.spec, [], False)
    files = export(actors, env.spec, policies, form, samples_of(env, actors), tmp_path)
    runners = [form.open(tmp_path / each.file) for each in files]
    player = Player(env.spec, actors)
    step = env.reset(3)
    hidden = [torch.zeros(env.spec.num_envs, actors.hidden_size) for _ in policies]
    for _ in range(12):
        action = player.act(step)
        for i, run_file in enumerate(runners):
            hidden[i][step.done] = 0.0
            own, hidden[i] = run_file([step.obs[i], hidden[i]])
            assert torch.equal(own, action[i])
        step = env.step(action)


@pytest.mark.parametrize("wrong", ["weight", "bounds", "state"])
def test_a_file_that_differs_does_not_stay(wrong, settings, tmp_path):
    env, actors = trained(settings, "SumGame", ["algo=happo", *RECURRENT])
    policies = agent_policies(actors, env.spec, [], False)
    policy = policies[1]
    with torch.no_grad():
        if wrong == "weight":
            policy.network.biases[-1] += 1e-4
        elif wrong == "state":
            policy.network.gru[1] += 1e-3
        else:
            policy.spec = replace(policy.spec, actions=(Box(2, 0.0, 2.1),))
    with pytest.raises(ValueError, match="two.pt differs from the trained policy by .*nothing was written"):
        export(actors, env.spec, policies, formats.FORMATS["torchscript"], samples_of(env, actors), tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_a_choice_differs_by_what_the_policy_gives_it_less(settings):
    env, actors = trained(settings, "MatrixGame", ["algo=happo", *MASKS])
    (policy, _) = agent_policies(actors, env.spec, [], False)
    sample = random_sample(env.spec, actors, 50, 0)
    acted = act(actors, env.spec, [policy], sample)

    def worst(inputs):
        return [policy.scores(acted.outputs[0], None)[0][: len(inputs[0])].argmin(1, keepdim=True)]

    assert largest_difference(policy, lambda inputs: list(policy(*inputs)), sample, acted, 0) == 0.0
    assert largest_difference(policy, worst, sample, acted, 0) > 0.01


def test_agents_with_other_characters_have_files_of_their_own(settings):
    env, actors = trained(settings, "SumGame", ["algo=happo"])
    policies = agent_policies(actors, env.spec, [], False)
    for policy, name in zip(policies, ("a/b", "a b")):
        policy.part = policy.part._replace(name=name)
    assert file_names(policies, ".onnx") == ["a_b.onnx", "a_b_1.onnx"]


@pytest.fixture
def old_run(tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(OLD_RUNS / "SumGame_hatd3", folder)
    return folder


def command(*words, cwd):
    return run(*words, cwd=cwd, script="scripts/export.py")


def test_the_command_writes_checks_and_describes(old_run, tmp_path):
    result = command(f"run={old_run}", "format=torchscript", "out=out", "agents=two", cwd=tmp_path)
    assert result.returncode == 0 and result.stderr == "", result.stderr
    assert "1024 random and 20 recorded observations" in result.stdout
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["policy.json", "two.pt"]
    described = json.loads((tmp_path / "out" / "policy.json").read_text())
    space = {"kind": "Box", "size": 2, "low": 0.0, "high": 2.0}
    agent = {"name": "two", "obs_columns": [0, 2], "action_columns": [0, 2], "action_space": space}
    assert described["files"][0]["agents"] == [agent] and described["algo"] == "hatd3"
    action = torch.jit.load(str(tmp_path / "out" / "two.pt"))(100.0 * torch.randn(1000, 2))[0]
    assert action.min() >= 0.0 and action.max() <= 2.0 and action.max() - action.min() > 0.5


MISTAKES = {
    "format=onxx": "format=onxx; possible: policy, onnx, torchscript, torch_export",
    "format=torchscript agents=three": "agents=three: three is none; possible: one,two",
    "format=torchscript out=run/config.yaml": "out=run/config.yaml is a file: give a folder",
    "format=policy agents=one": "format=policy holds all agents whole",
    "format=policy out=run": "out=run: give a file whose name ends in .policy",
    "format=policy out=run/config.yaml": "give a file whose name ends in .policy",
    "policy=nothing": "policy=nothing and run|give one of them",
    "forma=onnx": "forma=onnx is unknown; possible: run=",
    "trust=maybe": "trust=maybe; possible: true, false",
}


@pytest.mark.parametrize("words", sorted(MISTAKES))
def test_a_mistake_is_one_line(words, old_run, tmp_path):
    before = (old_run / "config.yaml").read_bytes()
    result = command("run=run", *words.split(), cwd=tmp_path)
    assert result.returncode == 2 and len(result.stderr.strip().split("\n")) == 1, result.stderr
    assert any(part in result.stderr for part in MISTAKES[words].split("|")), result.stderr
    assert (old_run / "config.yaml").read_bytes() == before and [path.name for path in tmp_path.iterdir()] == ["run"]


def test_a_missing_package_is_named_before_anything_is_read(monkeypatch):
    monkeypatch.setattr(formats, "find_spec", lambda name: None if name == "onnxruntime" else object())
    with pytest.raises(ValueError, match=r"format=onnx needs onnxruntime: pip install 'harl-isaac\[export\]'"):
        formats.check_available("onnx")
    monkeypatch.setattr(formats.torch, "__version__", "2.0.1")
    with pytest.raises(ValueError, match="format=torch_export needs torch 2.6 or newer, this is 2.0.1"):
        formats.check_available("torch_export")
    assert formats.check_available("torchscript").suffix == ".pt"


def test_the_page_s_example_runs_without_torch(old_run, tmp_path):
    """With onnxruntime and numpy, on a policy that was exported by the page's command."""
    available("onnx")
    page = (ROOT / "docs" / "export.md").read_text()
    program = page.split("```python\n")[1].split("```")[0]
    result = command(f"run={old_run}", "format=onnx", "out=exported", cwd=tmp_path)
    assert result.returncode == 0 and result.stderr == "", result.stderr
    hidden = "import sys\nsys.modules['torch'] = sys.modules['harl_isaac'] = None\n"
    result = subprocess.run([sys.executable, "-c", hidden + program], cwd=tmp_path, capture_output=True, text=True)
    assert result.returncode == 0 and "two" in result.stdout, result.stderr
