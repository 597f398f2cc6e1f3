"""`WorkerEnv`: the parent's environment, whose games are played by worker processes over shared memory.

A step wakes every worker once, by an empty message (handle.py is the parent's end, child.py the worker's); actions and
results go through the shared memory, and to a CUDA device in two copies. Environments are spread over the workers in
blocks; what happens in an environment depends on its index and on the run's seed, not on the worker that plays it.
"""

import os
import time
import warnings
import weakref
from typing import Any, Callable, Dict, List, NoReturn, Optional, Tuple

import numpy as np
import torch
from torch import Tensor

from harl_isaac.adapters.workers.game import GameSpec
from harl_isaac.adapters.workers.handle import GRACE, WorkerDied, WorkerProcess
from harl_isaac.adapters.workers.messages import Job, Saved, restored_text, split_jobs, usable_cores
from harl_isaac.adapters.workers.results import StepResults
from harl_isaac.adapters.workers.shared_memory import Layout, SharedBuffers, shared_file
from harl_isaac.env import Box, EnvSpec, SimulatorError, Step
from harl_isaac.memory import check_fits

GAME_BYTES = 4096  # of a game in Python, at the very least

LOST_GAME = Saved(None, b"")


class WorkerEnv:
    """Environments of a Game (game.py), which is named as package.module:Class and made in the workers with `settings`.

    workers: number of processes; 0: one for each usable core. on_crash: where a game raises or its process dies, "stop"
    raises SimulatorError; "restart" begins anew with a new game, and a metric `restarts` counts it. timeout: seconds
    that a worker may take for a step of its environments before it is taken for dead; 0: any time.

    Raises MissingSimulator, and ValueError where a game refuses its settings with one.
    """

    def __init__(
        self,
        game: str,
        settings: Dict[str, Any],
        num_envs: int,
        device: torch.device,
        workers: int = 0,
        on_crash: str = "stop",
        timeout: float = 0.0,
    ):
        check_fits(f"num_envs={num_envs} games", GAME_BYTES * num_envs, torch.device("cpu"), "use fewer environments")
        self.restart = on_crash == "restart"
        self.timeout = timeout  # [s]
        self.failure: Optional[str] = None  # why no step is possible any more
        self.file = shared_file()
        self.workers: List[WorkerProcess] = []
        self._end_workers = weakref.finalize(self, end_workers, self.workers, os.getpid())  # at exit at the latest
        count = min(workers or usable_cores(), num_envs)
        try:
            specs = self._start(split_jobs(game, settings, num_envs, count, self.restart))
            self.buffers = SharedBuffers(Layout(specs[0], num_envs, count), self.file)
            for worker in self.workers:
                worker.step()  # any message: the memory is laid out
        except WorkerDied as death:
            self.close()
            raise SimulatorError(str(death)) from None
        except BaseException:
            self.close()
            raise
        self.spec = make_spec(specs[0], num_envs, device, self.restart)
        self.control_seconds = specs[0].control_seconds  # [s] of a step in videos, 0: not known
        self.results = StepResults(self.buffers, self.spec)
        self.buffers.start_seeds(0)

    def reset(self, seed: Optional[int] = None) -> Step:
        """Begin new episodes in all environments. Raises SimulatorError."""
        if seed is not None:
            self.buffers.start_seeds(seed)
        self._check_running()
        self.results.wait()
        self._request(lambda worker: worker.send("reset", worker.untested), self._replace_worker, timed=False)
        self.buffers.clear_outcomes()
        return self.results.read()

    def step(self, actions: Tuple[Tensor, ...]) -> Step:
        """Advance all environments by one step; actions: A x [E, action_width_i]. Raises SimulatorError."""
        self._check_running()
        self._write_actions(actions)
        self._request(lambda worker: worker.step(), self._replace_in_step)
        return self.results.read()

    def render(self) -> np.ndarray:
        """The picture [H, W, 3] of the first environment. Raises ValueError where its game has none, SimulatorError."""
        self._check_running()
        self.results.wait()
        picture = self._request(lambda worker: worker.send("draw"), self._stop)[0]
        if isinstance(picture, str):
            raise ValueError(picture)
        return picture

    def state_dict(self) -> Dict[str, Any]:
        """Return seeds and games; "games" is None where they cannot be saved, or are lost: new episodes then begin."""
        saved = self._save_games()
        state: Dict[str, Any] = {"games": None, "generators": None}
        if saved is not None and all(each.game is not None for each in saved):
            state["games"] = [as_bytes(each.game) for each in saved]
            state["generators"] = [as_bytes(each.generators) for each in saved]
        arrays = {**self.buffers.seed_state(), **self.buffers.view_state()}
        return {**state, **{name: torch.from_numpy(array.copy()) for name, array in arrays.items()}}

    def load_state_dict(self, state: Dict[str, Any]) -> Optional[Step]:
        """Continue from a `state_dict`; returns None, or the first Step of new episodes where that is not possible.

        It is not if games were not saved, or do not repeat themselves: what they show is compared with what was saved.
        """
        for name, array in self.buffers.seed_state().items():
            array[:] = state[name].numpy()
        if state["games"] is None:
            return self.reset()
        generators = state.get("generators") or [as_bytes(b"")] * len(state["games"])
        saved = [Saved(game.numpy().tobytes(), own.numpy().tobytes()) for game, own in zip(state["games"], generators)]
        self._check_running()
        self.results.wait()
        answers = self._request(
            lambda worker: worker.send("restore", [saved[e] for e in worker.job.envs]), self._stop, timed=False
        )
        failures = self._differences([text for answer in answers for text in answer], state)
        if failures:
            warnings.warn(restored_text(failures, len(saved)), RuntimeWarning, stacklevel=2)
            return self.reset()
        self.buffers.clear_outcomes()
        self.results.read()
        return None

    def _differences(self, failures: List[str], state: Dict[str, Any]) -> Dict[int, str]:
        """Environments whose games were not restored to what was saved, and why."""
        found = {e: text for e, text in enumerate(failures) if text}
        for name, array in self.buffers.view_state().items():
            if name in state:  # not in those of earlier versions
                for e in np.flatnonzero((array != state[name].numpy()).any(1)):
                    found.setdefault(int(e), "it shows something else; it does not repeat itself for a seed")
        return found

    def close(self) -> None:
        """End all workers and the processes that their games have started."""
        self._end_workers()

    def _start(self, jobs: List[Job]) -> List[GameSpec]:
        """Start a worker for each job; returns the spec of every environment. Raises ValueError if they differ."""
        for job in jobs:
            self.workers.append(WorkerProcess(job, self.file))
        specs = [spec for worker in self.workers for spec in worker.receive()]
        for e, spec in enumerate(specs):
            if spec != specs[0]:
                raise ValueError(f"environment {e} is unlike environment 0: {spec}, {specs[0]}")
        return specs

    def _write_actions(self, actions: Tuple[Tensor, ...]) -> None:
        """Copy actions from the device to the shared memory, in one copy for each of the two types."""
        is_box = [isinstance(space, Box) for space in self.spec.actions]
        real = [action for action, box in zip(actions, is_box) if box]
        integer = [action for action, box in zip(actions, is_box) if not box]
        if real:
            torch.from_numpy(self.buffers.real_actions).copy_(torch.cat(real, 1))
        if integer:
            torch.from_numpy(self.buffers.int_actions).copy_(torch.cat(integer, 1))

    def _request(
        self,
        send: Callable[[WorkerProcess], None],
        on_death: Callable[[int, WorkerDied], Any],
        timed: bool = True,
    ) -> List[Any]:
        """Send a request to all workers, then wait for all answers; `on_death(w, death)` answers for a dead worker.

        timed: whether the time limit of a step holds. Raises SimulatorError, which ends all workers.
        """
        try:
            deaths = self._send(send)
            return [
                on_death(w, deaths[w]) if w in deaths else self._receive(w, on_death, timed)
                for w in range(len(self.workers))
            ]
        except SimulatorError as error:
            self._fail(str(error))
        except BaseException:  # Ctrl-C: answers that nobody waited for would be taken for later ones
            self.failure = "a step was interrupted"
            raise

    def _send(self, send: Callable[[WorkerProcess], None]) -> Dict[int, WorkerDied]:
        """Send a request to all workers; returns the deaths noticed by index of the worker."""
        deaths = {}
        for w, worker in enumerate(self.workers):
            try:
                send(worker)
            except WorkerDied as death:
                deaths[w] = death
        return deaths

    def _receive(self, w: int, on_death: Callable[[int, WorkerDied], Any], timed: bool) -> Any:
        try:
            return self.workers[w].receive(self.timeout if timed else 0.0)
        except WorkerDied as death:
            return on_death(w, death)

    def _save_games(self) -> Optional[List[Saved]]:
        """The games of all environments, or None where a worker is dead or a game raises: the next step fails too."""
        if self.failure:
            return None
        try:
            answers = self._request(lambda worker: worker.send("save"), lambda w, death: [LOST_GAME], timed=False)
        except SimulatorError:
            return None
        return [value for answer in answers for value in answer]

    def _replace_in_step(self, w: int, death: WorkerDied) -> None:
        """Truncate the episodes of a dead worker and begin new ones in another. Raises SimulatorError."""
        last = self.results.last_on_host()
        envs = self.workers[w].job.envs
        rows = slice(envs[0], envs[-1] + 1)
        for name, array in self.buffers.results().items():  # the dead worker may have written a part of the next
            array[rows] = last[name][rows]
        for e in envs:
            self.buffers.mark_episode_lost(e)
        self._replace_worker(w, death)

    def _replace_worker(self, w: int, death: WorkerDied) -> None:
        """Start a new worker, with new episodes, for a dead one. Raises SimulatorError where it may not or cannot."""
        old = self.workers[w]
        if not self.restart or old.untested:
            self._stop(w, death)
        old.close_connection()
        old.end(time.monotonic())
        try:
            new = WorkerProcess(old.job, self.file, untested=True)
            self.workers[w] = new
            new.receive()
            new.step()  # any message: the memory is laid out
            new.send("reset", True)
            new.receive()
        except (WorkerDied, ValueError, SimulatorError) as error:
            message = f"{self._describe_failure(w, death)}\n\nIt could not be replaced: {error}"
            raise SimulatorError(message) from None

    def _stop(self, w: int, death: WorkerDied) -> NoReturn:
        raise SimulatorError(self._describe_failure(w, death)) from None

    def _describe_failure(self, w: int, death: WorkerDied) -> str:
        """Say which environment a dead worker played, in which episode, and what is known of its death."""
        e = int(self.buffers.active_env[w])
        return f"environment {e} failed in the episode of seed {self.buffers.seed[e]}: {death}"

    def _fail(self, message: str) -> NoReturn:
        """End all workers. Raises SimulatorError, as every later step does."""
        self.failure = message
        self.close()
        raise SimulatorError(message) from None

    def _check_running(self) -> None:
        if self.failure:
            raise SimulatorError(self.failure)


def as_bytes(value: Optional[bytes]) -> Tensor:
    """Bytes as a tensor [bytes] uint8."""
    return torch.from_numpy(np.array(bytearray(value or b""), np.uint8))


def make_spec(game: GameSpec, num_envs: int, device: torch.device, restart: bool) -> EnvSpec:
    """Spec of `num_envs` such games; those that are replaced after a crash have a metric `restarts`."""
    return EnvSpec(
        num_envs=num_envs,
        agents=game.agents,
        obs_sizes=game.obs_sizes,
        actions=game.actions,
        state_size=game.state_size,
        max_episode_steps=game.max_episode_steps,
        device=device,
        state_agents=game.state_agents,
        reward_agents=game.reward_agents,
        metrics=game.metrics + (("restarts",) if restart else ()),
        has_action_mask=game.has_action_mask,
        has_alive=game.has_alive,
    )


def end_workers(workers: List[WorkerProcess], owner: int) -> None:
    """End all workers; a fork of the process `owner` that started them leaves them alone."""
    if os.getpid() != owner:
        return
    for worker in workers:
        worker.close_connection()
    deadline = time.monotonic() + GRACE
    for worker in workers:
        worker.end(deadline)
