"""Every configuration file composes against its schema and holds deviations only."""

from pathlib import Path

import pytest
from hydra import compose, initialize_config_module
from omegaconf import OmegaConf

from harl_isaac import cfg
from harl_isaac.algos import ALGOS
from harl_isaac.config import register, to_run
from harl_isaac.devices import choose_device
from harl_isaac.registry import import_object, register_external_tasks
from harl_isaac.tasks import TASKS

FOLDER = Path(cfg.__file__).parent
EXPERIMENTS = sorted(
    str(path.relative_to(FOLDER / "experiment").with_suffix("")) for path in (FOLDER / "experiment").rglob("*.yaml")
)


PRESETS = sorted(
    str(path.relative_to(FOLDER / "preset").with_suffix("")) for path in (FOLDER / "preset").rglob("*/*.yaml")
)


def composed(*words):
    with initialize_config_module("harl_isaac.cfg", version_base="1.3"):
        return compose("config", list(words))


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_an_experiment_composes_and_repeats_no_default(name):
    run = to_run(composed("experiment=" + name))
    values = OmegaConf.load(FOLDER / "experiment" / (name + ".yaml"))
    values.pop("defaults")
    plain = composed("task=" + run.task.name, "algo=" + run.algo.name, "preset=none")
    for key, value in OmegaConf.to_container(values).items():
        pairs = {f"{key}.{sub}": part for sub, part in value.items()} if isinstance(value, dict) else {key: value}
        assert [path for path, part in pairs.items() if OmegaConf.select(plain, path) == part] == []


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_is_taken_by_its_task_and_algorithm_and_repeats_no_default(name):
    task, _, algo = name.rpartition("/")
    chosen = composed(f"task={task}", f"algo={algo}")
    plain = composed(f"task={task}", f"algo={algo}", "preset=none")
    values = OmegaConf.load(FOLDER / "preset" / (name + ".yaml"))
    if "defaults" in values:
        values = OmegaConf.load(FOLDER / "preset" / (values.defaults[0] + ".yaml"))
    for key, value in values.algo.items():
        assert chosen.algo[key] == value != plain.algo[key], key
    assert composed(f"task={task}", f"algo={algo}", "algo.gamma=0.5").algo.gamma == 0.5
    to_run(chosen)


ON_PRESETS = ("ShadowHandOver/happo_2048", "ShadowHandOver/happo_8192")  # which say so
OF_HANDS = [name for name in EXPERIMENTS if name.startswith(("ShadowHandOver/", "hands/"))]


@pytest.mark.parametrize("name", [name for name in OF_HANDS if name not in ON_PRESETS])
def test_presets_stand_beneath_no_other_experiment(name):
    words = [f"experiment={name}", "task=ShadowHandOver"]
    assert composed(*words) == composed(*words, "preset=none")


@pytest.mark.parametrize("name", [name for name in EXPERIMENTS if name.endswith("/hasac")])
def test_hasac_s_tuned_settings_have_the_reference_s_policies(name):
    """tanh on the last hidden layer; all six have continuous actions."""
    run = to_run(composed("experiment=" + name))
    assert run.algo.last_activation == "tanh" and run.algo.activation == "relu" and not run.algo.layer_norm
    assert getattr(run.task, "continuous", True)


# Names that share their settings compose alike.
ONE_OF_A_FAMILY = sorted({path: name for name, path in TASKS.items()}.values())


@pytest.mark.parametrize(
    "task, algo", [(task, "happo") for task in ONE_OF_A_FAMILY] + [("SumGame", algo) for algo in sorted(ALGOS)]
)
def test_every_task_and_every_algorithm_composes(task, algo):
    run = to_run(composed("task=" + task, "algo=" + algo))
    assert isinstance(run.task, import_object(TASKS[task])) and isinstance(run.algo, import_object(ALGOS[algo]))
    assert run.task.name == task and run.algo.name == algo


def test_any_name_of_an_external_family_is_a_task():
    register_external_tasks(["isaaclab/My-Own-Task-v0", "elsewhere/Task", "isaaclab/", "Task"])
    try:
        register()
        assert to_run(composed("task=isaaclab/My-Own-Task-v0")).task.name == "isaaclab/My-Own-Task-v0"
        assert not {"elsewhere/Task", "isaaclab/", "Task"} & set(TASKS)
    finally:
        del TASKS["isaaclab/My-Own-Task-v0"]


def test_settings_of_one_run_are_not_those_of_another():
    first, second = (to_run(composed("task=ShadowHandOver")) for _ in range(2))
    first.task.physics.gains.kp = -1.0
    first.algo.hidden.append(7)
    assert second.task.physics.gains.kp != -1.0 and 7 not in second.algo.hidden


def test_devices():
    assert str(choose_device("cpu")) == "cpu"
    for name in ("cuda:99", "meta", "gpu"):
        with pytest.raises(ValueError, match="device=" + name):
            choose_device(name)
