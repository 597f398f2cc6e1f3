"""Packaging: the links harl_isaac/cfg and harl_isaac/tasks bring `cfg/` and `tasks/` into the package."""

import re
from pathlib import Path

from setuptools import find_packages, setup

ROOT = Path(__file__).resolve().parent


def version() -> str:
    """The `__version__` of harl_isaac/__init__.py, read without importing the package."""
    text = (ROOT / "harl_isaac" / "__init__.py").read_text(encoding="utf-8")
    found = re.search(r'^__version__(?:: str)? = "([^"]+)"$', text, re.M)
    if found is None:
        raise ValueError('harl_isaac/__init__.py has no line __version__ = "..."')
    return found.group(1)


def packages() -> list:
    """The package and what lies below it, followed through the two links."""
    found = find_packages(str(ROOT), include=["harl_isaac", "harl_isaac.*"])
    missing = {"harl_isaac.cfg", "harl_isaac.tasks"} - set(found)
    if missing:
        raise ValueError(
            f"{' and '.join(sorted(missing))} not found: harl_isaac/cfg and harl_isaac/tasks are symbolic links to "
            "../cfg and ../tasks; this copy has lost them (clone with git, or copy with cp -a)"
        )
    return found


def from_311(*names: str) -> list:
    """Requirements that hold on Python 3.11 and newer alone."""
    return [name + '; python_version >= "3.11"' for name in names]


CORE = ["torch>=2.0", "numpy>=1.21", "hydra-core>=1.3,<2", "filelock", "pyyaml", "tensorboard", "rich"]
SIMULATION = from_311("mujoco>=4.0,<5", "gymnasium-robotics>=1.4,<2", "imageio-ffmpeg>=0.5")
PLOT = ["matplotlib>=3.5", "scipy>=1.7", "jinja2>=3"]
WARP = from_311("mujoco-warp>=4.0,<5")
SMAX = from_311("jaxmarl>=0.2,<0.3")
PETTINGZOO = from_311("mpe2>=1.1,<2")
WANDB = ["wandb>=0.16"]
RL_GAMES = ["rl-games>=1.6.5,<1.7"]
SWEEPS = ["hydra-joblib-launcher>=1.2", "hydra-submitit-launcher>=1.2", "optuna>=4"]
DOCS = from_311("sphinx>=8", "myst-parser>=4", "furo", "latex2mathml>=3.77")
EXPORT = from_311("onnx>=1.16", "onnxscript>=0.3", "onnxruntime>=1.18")
TEST = ["pytest>=7", "pytest-xdist>=3", "vermin>=1.6", *DOCS, *PLOT, *PETTINGZOO, *EXPORT]
TEST += from_311(*RL_GAMES, *SWEEPS)
LINT = from_311("ruff>=0.17", "mypy>=2.4", "pre-commit>=4", "types-PyYAML")

# harl-<name> -> function of harl_isaac/cli/entry.py
COMMANDS = {
    "train": "train",
    "evaluate": "evaluate",
    "play": "play",
    "list": "list_tasks",
    "export": "export",
    "plot": "plot",
    "table": "table",
    "study": "study",
    "report": "report",
    "archive": "archive",
    "theory": "theory",
}

setup(
    name="harl-isaac",
    version=version(),
    description="Heterogeneous-agent reinforcement learning on batched simulation",
    long_description=(ROOT / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    keywords=[
        "reinforcement learning",
        "multi-agent",
        "heterogeneous agents",
        "HAPPO",
        "MAPPO",
        "dexterous manipulation",
        "MuJoCo",
        "Isaac Gym",
        "Isaac Lab",
        "PyTorch",
    ],
    project_urls={"Paper": "https://jmlr.org/papers/v25/23-0488.html"},
    license="Apache-2.0",
    license_files=["LICENSE"],
    classifiers=[
        "Development Status :: 4 - Beta",
        "Environment :: GPU :: NVIDIA CUDA",
        "Intended Audience :: Science/Research",
        "Operating System :: POSIX :: Linux",
        "Programming Language :: Python :: 3",
        "Programming Language :: Python :: 3.8",
        "Programming Language :: Python :: 3.9",
        "Programming Language :: Python :: 3.10",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Programming Language :: Python :: 3.13",
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
        "Typing :: Typed",
    ],
    python_requires=">=3.8",
    packages=packages(),
    package_data={
        "harl_isaac": ["py.typed"],
        "harl_isaac.policies": ["*.policy"],
        "harl_isaac.studies": ["*.html"],
        "harl_isaac.cfg": [
            "*.yaml",
            *(f"{folder}/*.yaml" for folder in ("launcher", "preset", "sweeper", "*/*", "*/*/*")),
        ],
    },
    install_requires=CORE + SIMULATION,
    extras_require={
        "warp": WARP,
        "plot": PLOT,
        "pettingzoo": PETTINGZOO,
        "rl-games": RL_GAMES,
        "wandb": WANDB,
        "smax": SMAX,
        "export": EXPORT,
        "sweeps": SWEEPS,
        "docs": DOCS,
        "test": TEST,
        "lint": LINT,
        "all": WARP + TEST,
    },
    entry_points={"console_scripts": [f"harl-{name} = harl_isaac.cli.entry:{run}" for name, run in COMMANDS.items()]},
)
