"""Packaging: the links harl_isaac/cfg and harl_isaac/tasks bring `cfg/` and `tasks/` into the package."""

from pathlib import Path

from setuptools import find_packages, setup

SIMULATION = [
    name + '; python_version >= "3.11"'
    for name in ("mujoco>=4.0,<5", "gymnasium-robotics>=1.4,<2", "imageio-ffmpeg>=0.5")
]
PLOT = ["matplotlib>=3.5"]
WARP = ['mujoco-warp>=4.0,<5; python_version >= "3.11"']
SMAX = ['jaxmarl>=0.2,<0.3; python_version >= "3.11"']
PETTINGZOO = ['mpe2>=1.1,<2; python_version >= "3.11"']
RL_GAMES = ["rl-games>=1.6.5,<1.7"]
TEST = (
    ["pytest>=7", "pytest-xdist>=3", "vermin>=1.6"]
    + PLOT
    + PETTINGZOO
    + [name + '; python_version >= "3.11"' for name in RL_GAMES]
)


setup(
    name="harl-isaac",
    version="0.1.0",
    description="Heterogeneous-agent reinforcement learning on batched simulation",
    long_description=Path(__file__).with_name("README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    python_requires=">=3.8",
    packages=find_packages(include=["harl_isaac", "harl_isaac.*"]),  # tasks and cfg by their links
    package_data={"harl_isaac.cfg": ["*.yaml", "experiment/*/*.yaml", "experiment/*/*/*.yaml"]},
    install_requires=["torch>=2.0", "numpy>=1.21", "hydra-core>=1.3,<2", "pyyaml", "tensorboard", "rich"] + SIMULATION,
    extras_require={
        "warp": WARP,
        "plot": PLOT,
        "pettingzoo": PETTINGZOO,
        "rl-games": RL_GAMES,
        "smax": SMAX,
        "test": TEST,
        "all": WARP + TEST,
    },
    entry_points={"console_scripts": ["harl-train = harl_isaac.cli.entry:train"]},
)
