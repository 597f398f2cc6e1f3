"""Acts of all processes of a run together: make its folder, end by the same error, save the state of all.

With one process nothing here differs from doing it alone.
"""

from contextlib import ExitStack, contextmanager
from typing import Any, Callable, ContextManager, Dict, Iterator, List, Optional, TypeVar

import torch
from torch import Tensor

from harl_isaac import ranks
from harl_isaac.env import EnvironmentFault, MultiAgentEnv, SimulatorError
from harl_isaac.networks.joint_policy import JointPolicy
from harl_isaac.training.evaluation import Evaluation, evaluate_policy

T = TypeVar("T")
EVERY_RANK = "ranks"  # key of a checkpoint: the states of the processes after the first


@contextmanager
def entered_by_first(context: ContextManager[T]) -> Iterator[T]:
    """A context that the first process enters, for all; the others get its value.

    Raises ValueError in all where the first process's context does, or OSError.
    """
    if not ranks.is_first():
        value, error = ranks.from_first()
        if error:
            raise ValueError(error)
        yield value
        return
    with ExitStack() as stack:
        try:
            entered = stack.enter_context(context)
        except (ValueError, OSError) as error:
            ranks.from_first((None, str(error)))
            raise
        ranks.from_first((entered, ""))
        yield entered


def raise_together(error: Optional[SimulatorError]) -> None:
    """Raise the error of this process's environments, or that of another process's; return where there is none."""
    if ranks.world() == 1:
        if error is not None:
            raise error
        return
    told = ranks.tell_all(None if error is None else (isinstance(error, EnvironmentFault), str(error)))
    for rank, found in enumerate(told):
        if found is not None:
            is_fault, text = found
            raise (EnvironmentFault if is_fault else SimulatorError)(f"process {rank}: {text}")


def write_by_first(write: Any) -> None:
    """Call `write()` in the first process. Raises OSError in all where it does."""
    text = ""
    if ranks.is_first():
        try:
            write()
        except OSError as error:
            text = str(error)
            if ranks.world() == 1:
                raise
    text = ranks.from_first(text)
    if text:
        raise OSError(text)


def evaluate_together(
    env: MultiAgentEnv, actors: JointPolicy, episodes: int, seed: int, explained: Callable[[EnvironmentFault], str]
) -> Evaluation:
    """Evaluate on the environments of all processes, `episodes` in all.

    Raises SimulatorError in all of them; `explained` says what it is to tell of an environment's fault.
    """
    error: Optional[SimulatorError] = None
    values: Dict[str, Tensor] = {}
    try:
        values = evaluate_policy(env, actors, -(-episodes // ranks.world()), seed).values
    except EnvironmentFault as fault:
        error = SimulatorError(explained(fault))
    except SimulatorError as caught:
        error = caught
    raise_together(error)
    parts = ranks.tell_all(values)
    return Evaluation({name: torch.cat([part[name] for part in parts]) for name in values})


def with_all_states(own: Dict[str, Any], learner: Any) -> Dict[str, Any]:
    """The first process's state, `own`, with the others' parts beside it; to be written by the first."""
    if ranks.world() == 1:
        return own
    parts = ("env", "step", "stats", "random", "replay")
    mine = on_host({**{name: own[name] for name in parts}, "learner": learner.own_state()})
    return {**own, EVERY_RANK: ranks.tell_first(mine)[1:]}


def own_state(saved: Dict[str, Any]) -> Optional[Dict[str, Any]]:
    """This process's part of a saved state; None where another number of processes saved it."""
    others: List[Dict[str, Any]] = saved.get(EVERY_RANK, [])
    if len(others) + 1 != ranks.world():
        return None
    return saved if ranks.is_first() else others[ranks.rank() - 1]


def processes_text(saved: Dict[str, Any]) -> str:
    """A line on a saved state of another number of processes."""
    before = len(saved.get(EVERY_RANK, [])) + 1
    return f"saved by {before} process(es), now there are {ranks.world()}: episodes, and a replay, begin anew"


def on_host(value: Any) -> Any:
    """A nested state with its tensors on the host: another process has no use for those on this one's GPU."""
    if isinstance(value, Tensor):
        return value.cpu()
    if isinstance(value, dict):
        return {key: on_host(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(on_host(each) for each in value)
    return value
