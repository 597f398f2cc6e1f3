"""The formats of exported policies: how a file is written, and how it is run again to be checked."""

import logging
import warnings
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Callable, Dict, Iterator, List, NamedTuple, Sequence, Tuple

import torch
from torch import Tensor

from harl_isaac.export.agent_policy import AgentPolicy
from harl_isaac.hints import install

Runner = Callable[[Sequence[Tensor]], List[Tensor]]  # inputs in their order -> outputs in theirs
OPSET = 18  # of ONNX operators: those of runtimes since 2023
BATCH = "batch"


class Format(NamedTuple):
    """One way to leave: packages and torch that it needs, its file ending, writing and running."""

    suffix: str
    packages: Tuple[str, ...]
    torch: str  # the oldest that it is written with
    write: Callable[[AgentPolicy, Tuple[Tensor, ...], Path], None]
    open: Callable[[Path], Runner]


def check_available(name: str) -> Format:
    """The format of this name. Raises ValueError where it is none, or where what it needs is missing."""
    if name not in FORMATS:
        raise ValueError(f"format={name}; possible: policy, {', '.join(FORMATS)}")
    chosen = FORMATS[name]
    missing = [package for package in chosen.packages if find_spec(package) is None]
    if missing:
        raise ValueError(f"format={name} needs {' and '.join(missing)}: {install('export')}")
    if _version(torch.__version__) < _version(chosen.torch):
        raise ValueError(f"format={name} needs torch {chosen.torch} or newer, this is {torch.__version__}")
    return chosen


def _version(text: str) -> Tuple[int, ...]:
    return tuple(int(word) for word in text.split(".")[:2])


@contextmanager
def quiet() -> Iterator[None]:
    """Hide the exporters' warnings about themselves: what they wrote is checked by running it."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


def write_torchscript(policy: AgentPolicy, example: Tuple[Tensor, ...], path: Path) -> None:
    """Write a traced module, for torch.jit.load in Python or C++."""
    with quiet():
        torch.jit.trace(policy, example, check_trace=False).save(str(path))


def open_torchscript(path: Path) -> Runner:
    """Run a traced module."""
    with quiet():
        module = torch.jit.load(str(path), map_location="cpu")
    return lambda inputs: list(module(*inputs))


def write_torch_export(policy: AgentPolicy, example: Tuple[Tensor, ...], path: Path) -> None:
    """Write an ExportedProgram of any batch size, for torch.export.load."""
    shapes = (tuple({0: torch.export.Dim(BATCH, min=1)} for _ in example),)
    with quiet():
        torch.export.save(torch.export.export(policy, example, dynamic_shapes=shapes), str(path))


def open_torch_export(path: Path) -> Runner:
    """Run an ExportedProgram."""
    with quiet():
        module = torch.export.load(str(path)).module()
    return lambda inputs: list(module(*inputs))


def write_onnx(policy: AgentPolicy, example: Tuple[Tensor, ...], path: Path) -> None:
    """Write an ONNX model of any batch size, weights inside."""
    shapes = (tuple({0: torch.export.Dim(BATCH, min=1)} for _ in example),)
    with quiet():
        torch.onnx.export(
            policy,
            example,
            str(path),
            input_names=policy.input_names,
            output_names=policy.output_names,
            dynamic_shapes=shapes,
            opset_version=OPSET,
            dynamo=True,
            external_data=False,
            verbose=False,
        )


def open_onnx(path: Path) -> Runner:
    """Run an ONNX model in onnxruntime, on one thread of the CPU."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    names = [each.name for each in session.get_inputs()]

    def run(inputs: Sequence[Tensor]) -> List[Tensor]:
        values = {name: value.numpy() for name, value in zip(names, inputs)}
        return [torch.from_numpy(value) for value in session.run(None, values)]

    return run


FORMATS: Dict[str, Format] = {
    "onnx": Format(".onnx", ("onnx", "onnxscript", "onnxruntime"), "2.6", write_onnx, open_onnx),
    "torchscript": Format(".pt", (), "2.0", write_torchscript, open_torchscript),
    "torch_export": Format(".pt2", (), "2.6", write_torch_export, open_torch_export),
}
