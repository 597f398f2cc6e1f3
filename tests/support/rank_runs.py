"""Several processes (gloo) that update from shares of what one process updates from as a whole."""

import copy
import os
import socket
from pathlib import Path

import torch

from harl_isaac import ranks
from support.commands import FORKS
from support.small_runs import OFF_POLICY

ENVS = 12  # divisible by 2 and 3; unlike the rollouts' length
ROWS = 24  # of an off-policy batch


def free_port():
    """A port that nobody listens on."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        return server.getsockname()[1]


def in_ranks(world, work, *args, timeout=120):
    """`work(rank, *args)` in `world` processes that can meet; returns their exit codes."""
    port = free_port()
    processes = [FORKS.Process(target=start, args=(rank, world, port, work, args)) for rank in range(world)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(timeout)
        if process.exitcode is None:
            process.kill()
    return [process.exitcode for process in processes]


def start(rank, world, port, work, args):
    """Make this process the rank of a launch by torchrun."""
    names = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")
    os.environ.update(zip(names, map(str, (rank, world, rank, "127.0.0.1", port))))
    torch.set_num_threads(1)
    work(rank, *args)


def update_in_parts(rank, cases, folder):
    """Of each case, its command line and whether agents are dead on one rank only, see `update_case`."""
    torch.set_default_dtype(torch.float64)
    for name, (words, only_first_alive) in cases.items():
        torch.save(update_case(rank, words, only_first_alive), Path(folder) / f"{name} {rank}.pt")


def update_case(rank, words, only_first_alive):
    """Update as a whole alone, then from this rank's share together; returns both learners' states."""
    world = int(os.environ["WORLD_SIZE"])
    off_policy = any(word == f"algo={name}" for word in words for name in OFF_POLICY)
    whole, tape = (play_off_policy if off_policy else play_on_policy)(words, only_first_alive)
    with ranks.joined(ranks.launched()):
        part = learner_of(words, ENVS // world)
        metrics = [replay_share(part, each, rank, world) for each in tape]
        together = {"part": part.state_dict(), "own": metrics}
    return {"whole": whole, "metrics": [each["metrics"] for each in tape], **together}


def learner_of(words, num_envs):
    """A learner of small settings in float64, for some environments."""
    env, cfg = environment(words, num_envs)
    return cfg.algo.learner(env.spec, 3)


def environment(words, num_envs):
    """The environments of a command line and its settings."""
    from hydra import compose, initialize_config_module

    from harl_isaac.cli.overrides import CONFIG
    from harl_isaac.config import register, to_run

    register()
    with initialize_config_module(CONFIG, version_base="1.3"):
        cfg = to_run(compose("config", [*words, "num_envs=12", "device=cpu"]))
    torch.manual_seed(3)
    return cfg.task.make(num_envs, torch.device("cpu"), "auto"), cfg


def play_on_policy(words, only_first_alive):
    """Two iterations of one process; returns the learner's last state, and each iteration's rollout."""
    env, cfg = environment(words, ENVS)
    learner = cfg.algo.learner(env.spec, 3)
    step = env.reset(3)
    tape = []
    for iteration in range(2):
        step, _ = learner.collect(env, step)
        in_double(learner.rollout)
        if only_first_alive:
            alive = learner.rollout.alive
            alive[:, ENVS // 2 :, 0] = 0.0
            alive[:, : ENVS // 3, 1] = iteration * 1.0
        stored = {name: value.clone() for name, value in tensors_of(learner.rollout).items()}
        metrics = learner.update(iteration / 3)
        tape.append({"rollout": stored, "metrics": metrics, "progress": iteration / 3})
    return learner.state_dict(), tape


def tensors_of(rollout):
    """A rollout's tensors by name."""
    return {name: value for name, value in vars(rollout).items() if isinstance(value, torch.Tensor)}


def in_double(rollout):
    """Turn a rollout's real numbers into float64."""
    for name, value in tensors_of(rollout).items():
        if value.is_floating_point():
            setattr(rollout, name, value.double())


def share_of(value, rank, world):
    """The rank's environments of a tensor [T, E, ...], or [E, ...]."""
    dim = 1 if value.dim() > 1 and value.shape[1] == ENVS else 0
    return value.chunk(world, dim)[rank].clone()


def replay_share(learner, entry, rank, world):
    """Update from the rank's share of an iteration; returns the metrics."""
    if "rollout" in entry:
        for name, value in entry["rollout"].items():
            setattr(learner.rollout, name, share_of(value, rank, world))
        return learner.update(entry["progress"])
    if entry["steps"] is not None:  # counted while collecting, of all ranks together
        learner.steps.copy_(entry["steps"])
    batches = iter(entry["batches"])
    noises = iter(entry["noises"])

    def sample(size, n_step, gamma):
        assert size == ROWS // world
        return rows_of(next(batches), rank, world)

    def sample_sequences(count, length, burn_in, gamma):
        return sample(count * length, 1, gamma)

    learner.replay.sample = sample
    learner.replay.sample_sequences = sample_sequences
    with noise_from(lambda like: next(noises).chunk(world)[rank]):
        return learner.update(0.0)


def rows_of(batch, rank, world):
    """The rank's rows of a Batch."""

    def cut(value):
        if isinstance(value, list):
            return [cut(each) for each in value]
        return None if value is None else value.chunk(world)[rank].clone()

    return type(batch)(**{name: cut(value) for name, value in vars(batch).items()})


class noise_from:
    """Noise of policies and targets from a function of the tensor that it is like."""

    def __init__(self, draw):
        self.draw = draw

    def __enter__(self):
        from harl_isaac.networks import heads

        self.before = (torch.randn_like, heads.CategoricalHead.noise)
        torch.randn_like = self.draw
        heads.CategoricalHead.noise = lambda head, output: self.draw(output)

    def __exit__(self, *error):
        from harl_isaac.networks import heads

        torch.randn_like, heads.CategoricalHead.noise = self.before


def play_off_policy(words, only_first_alive):
    """Two iterations of one process; returns the learner's last state, and each iteration's batches and noise."""
    env, cfg = environment(words, ENVS)
    learner = cfg.algo.learner(env.spec, 3)
    step = env.reset(3)
    while learner.steps_before_update:
        step, _ = learner.collect(env, step)
    name = "sample_sequences" if getattr(cfg.algo, "recurrent", False) else "sample"
    draw = getattr(learner.replay, name)
    tape = []
    for _ in range(2):
        step, _ = learner.collect(env, step)
        entry = {"batches": [], "noises": [], "steps": copy.deepcopy(getattr(learner, "steps", None))}

        def sample(*args, entry=entry):
            batch = draw(*args)
            if only_first_alive:
                batch.alive[ROWS // 2 :, 0] = 0.0
            entry["batches"].append(copy.deepcopy(batch))
            return batch

        def noise(like, entry=entry):
            entry["noises"].append(torch.normal(torch.zeros(like.shape), 1.0))
            return entry["noises"][-1]

        setattr(learner.replay, name, sample)
        with noise_from(noise):
            entry["metrics"] = learner.update(0.0)
        tape.append(entry)
    return learner.state_dict(), tape


def train_and_resume(rank, words, folder):
    """Train four iterations together; resume from after the second; save both states."""
    from harl_isaac.training import checkpoint
    from harl_isaac.training.trainer import Trainer

    _, cfg = environment(words, 1)
    with ranks.joined(ranks.launched()):
        whole = Trainer(cfg)
        whole.train(Path(folder) / "run")
        torch.manual_seed(99)
        second = Trainer(cfg, checkpoint.load(Path(folder) / "run" / "checkpoints" / "iteration_000002.pt"))
        second.iterate()
        second.iterate()
        states = [whole.state_dict(), second.state_dict()]
        assert whole.step.obs[0].shape[0] == ENVS // ranks.world() and whole.iteration == 4
        assert int(getattr(whole.learner, "steps", whole.steps)) == whole.steps  # of which epsilon depends
    if rank == 0:
        torch.save(states, Path(folder) / "states.pt")


def resume_as_others(rank, words, folder):
    """Resume a run of another number of processes, and go on for an iteration."""
    from harl_isaac.training import checkpoint
    from harl_isaac.training.trainer import Trainer

    _, cfg = environment(words, 1)
    file = Path(folder) / "run" / "checkpoints" / "iteration_000002.pt"
    with ranks.joined(ranks.launched()):
        trainer = Trainer(cfg, checkpoint.load(file))
        assert trainer.iteration == 2 and "episodes, and a replay, begin anew" in trainer.begun
        while trainer.learner.steps_before_update:
            trainer.iterate()
        assert trainer.iterate()["steps"] == trainer.steps


def evaluate_in_parts(rank, words, folder):
    """Evaluate together; the same as evaluations alone with each process's seed."""
    from harl_isaac.training.evaluation import evaluate_policy
    from harl_isaac.training.together import evaluate_together

    env, cfg = environment(words, 4)
    world = int(os.environ["WORLD_SIZE"])
    actors = cfg.algo.learner(env.spec, 3).actors
    expected = [evaluate_policy(env, actors, 6, 7 + ranks.SEED_STEP * other).values for other in range(world)]
    with ranks.joined(ranks.launched()):
        found = evaluate_together(env, actors, 6 * world, ranks.seed(7), str)
    for name, value in found.values.items():
        assert torch.equal(value, torch.cat([each[name] for each in expected]))
    assert found.episodes == len(expected[0]["return"]) * world


def fail_in_one(rank, words, folder):
    """Environments of the last process fail while collecting: all processes raise the same, with a checkpoint."""
    from harl_isaac.env import EnvironmentFault, SimulatorError
    from harl_isaac.training.trainer import Trainer

    _, cfg = environment(words, 1)
    with ranks.joined(ranks.launched()):
        for kind, word in ((SimulatorError, "crashed"), (EnvironmentFault, "broke")):
            trainer = Trainer(cfg)
            play = trainer.env.step

            def step(actions, trainer=trainer, play=play, kind=kind, word=word):
                if rank == ranks.world() - 1 and trainer.iteration == 1:
                    raise kind(f"the game {word}")
                return play(actions)

            trainer.env.step = step
            try:
                trainer.train(Path(folder) / word)
            except SimulatorError as error:
                assert isinstance(error, EnvironmentFault) == (kind is EnvironmentFault)
                assert f"process {ranks.world() - 1}: the game {word}" in str(error)
            else:
                raise AssertionError("nothing was raised")
            assert (Path(folder) / word / "checkpoints" / "latest.pt").is_file()
