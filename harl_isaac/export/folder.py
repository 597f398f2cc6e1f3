"""A folder of exported policies: a file for each agent, checked before it stays, and policy.json beside them."""

import json
import re
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any, Dict, List, NamedTuple, Optional, Sequence

from harl_isaac.env import Box, EnvSpec
from harl_isaac.export.agent_policy import AgentPolicy
from harl_isaac.export.comparison import TOLERANCE, Acted, Sample, act, inputs_of, largest_difference
from harl_isaac.export.formats import BATCH, Format
from harl_isaac.export.networks import JOINT, parts_of
from harl_isaac.networks.joint_policy import JointPolicy

DESCRIPTION = "policy.json"
EXAMPLE_ROWS = 3  # of the inputs that a function is recorded with


class ExportedFile(NamedTuple):
    """A file that was written and checked."""

    policy: AgentPolicy
    file: str
    difference: float  # the largest of all samples


def agent_policies(actors: JointPolicy, spec: EnvSpec, agents: Sequence[str], distribution: bool) -> List[AgentPolicy]:
    """The policies of these agents, of all if none is named. Raises ValueError for unknown agents."""
    unknown = [name for name in agents if name not in spec.agents]
    if unknown:
        raise ValueError(f"agents={','.join(agents)}: {unknown[0]} is none; possible: {','.join(spec.agents)}")
    parts = parts_of(actors, spec)
    if agents and parts[0].name == JOINT and set(agents) != set(spec.agents):
        raise ValueError(f"agents={','.join(agents)}: this policy is one network of all agents; leave agents= out")
    chosen = [part for part in parts if not agents or part.name in (*agents, JOINT)]
    return [AgentPolicy(part, spec, distribution).eval() for part in chosen]


def export(
    actors: JointPolicy, spec: EnvSpec, policies: List[AgentPolicy], form: Format, samples: List[Sample], out: Path
) -> List[ExportedFile]:
    """Write the policies' files to the folder `out`, all of them or none.

    Raises ValueError where one differs from the trained policy by more than TOLERANCE on a sample.
    """
    acted = [act(actors, spec, policies, sample) for sample in samples]
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=str(out.parent), prefix=".exporting-") as folder:
        files = []
        for number, (policy, name) in enumerate(zip(policies, file_names(policies, form.suffix))):
            path = Path(folder) / name
            example = tuple(each[:EXAMPLE_ROWS].clone() for each in inputs_of(policy, samples[0]))
            form.write(policy, example, path)
            files.append(ExportedFile(policy, name, _difference(policy, form, path, samples, acted, number)))
        wrong = [each for each in files if not each.difference <= TOLERANCE]
        if wrong:
            raise ValueError(
                f"{wrong[0].file} differs from the trained policy by {wrong[0].difference:.2g}, more than "
                f"{TOLERANCE:g}: nothing was written to {out}"
            )
        out.mkdir(exist_ok=True)
        for each in files:
            (Path(folder) / each.file).replace(out / each.file)
    return files


def _difference(
    policy: AgentPolicy, form: Format, path: Path, samples: List[Sample], acted: List[Acted], number: int
) -> float:
    run = form.open(path)
    return max(largest_difference(policy, run, sample, done, number) for sample, done in zip(samples, acted))


def file_names(policies: Sequence[AgentPolicy], suffix: str) -> List[str]:
    """A file's name for each policy: its agent's, with a number where other characters would make two the same."""
    names: List[str] = []
    for policy in policies:
        plain = re.sub(r"[^\w.+-]", "_", policy.part.name)
        names.append(plain if plain not in names else f"{plain}_{policy.part.agents[0]}")
    return [name + suffix for name in names]


def write_description(out: Path, files: Sequence[ExportedFile], about: Dict[str, Any]) -> None:
    """Write policy.json: `about` the whole, then inputs, outputs and bounds of each file."""
    content = {**about, "tolerance": TOLERANCE, "files": [_description(each) for each in files]}
    (out / DESCRIPTION).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def _description(exported: ExportedFile) -> Dict[str, Any]:
    policy = exported.policy
    hidden = policy.hidden_size
    rows = [("obs", "float32", policy.obs_size, "as the environment gives them: nothing is normalized before")]
    if policy.mask_size:
        rows.append(("mask", "bool", policy.mask_size, "choices that are allowed, those of several heads in a row"))
    if hidden:
        rows.append(("hidden", "float32", hidden, "zeros where an episode begins, else next_hidden of the step before"))
    continuous = isinstance(policy.spec.actions[0], Box)
    outputs = [("action", "float32" if continuous else "int64", sum(policy.widths), "as the environment takes them")]
    if hidden:
        outputs.append(("next_hidden", "float32", hidden, "hidden of the next step"))
    distribution = policy.distribution
    for name in distribution.names if distribution else ():
        width = policy.head.head_size if len(distribution.names) == 1 else policy.head.width  # type: ignore[union-attr]
        outputs.append((name, "float32", width, distribution.meaning))  # type: ignore[union-attr]
    return {
        "file": exported.file,
        "agents": _agents(policy),
        "inputs": [_tensor(*row) for row in rows],
        "outputs": [_tensor(*row) for row in outputs],
        "largest_difference": exported.difference,
    }


def _tensor(name: str, dtype: str, width: int, meaning: str) -> Dict[str, Any]:
    return {"name": name, "dtype": dtype, "shape": [BATCH, width], "meaning": meaning}


def _agents(policy: AgentPolicy) -> List[Dict[str, Any]]:
    """Each agent with its columns of obs and action, and its action space."""
    agents = []
    obs = 0
    action = 0
    for name, size, space, width in zip(policy.spec.agents, policy.spec.obs_sizes, policy.spec.actions, policy.widths):
        content: Dict[str, Any] = {"kind": type(space).__name__}
        content.update(asdict(space))
        agents.append(
            {
                "name": name,
                "obs_columns": [obs, obs + size],
                "action_columns": [action, action + width],
                "action_space": content,
            }
        )
        obs += size
        action += width
    return agents


def step_seconds(env: Optional[Any]) -> Optional[float]:
    """Seconds between two actions, where the environment says so."""
    value = getattr(env, "control_seconds", None)
    return None if value is None else float(value)
