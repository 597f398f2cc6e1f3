"""Weights & Biases, which takes over what is written for TensorBoard (log.wandb=true)."""

import os
import uuid
from pathlib import Path
from typing import Any, Dict

from harl_isaac.config import LogCfg
from harl_isaac.hints import missing_extra

ID = "wandb.id"  # in the run folder: a resumed run goes on with the same record
OFFLINE = ("offline", "disabled", "dryrun")


def check_wandb(settings: LogCfg) -> None:
    """Raise ValueError where wandb is asked for and not installed, or has no account to write to."""
    if not settings.wandb:
        return
    api = getattr(_wandb(), "api", None)
    if os.environ.get("WANDB_MODE") not in OFFLINE and getattr(api, "api_key", None) is None:
        raise ValueError(
            "log.wandb=true: nobody is logged in; run `wandb login`, or set WANDB_MODE=offline to record here and send "
            "later by `wandb sync`"
        )


def start(settings: LogCfg, folder: Path, config: Dict[str, Any]) -> Any:
    """Begin to record, before the event file is opened; returns the run, None without log.wandb."""
    if not settings.wandb:
        return None
    wandb = _wandb()
    wandb.tensorboard.patch(root_logdir=str(folder), pytorch=True, save=False)  # save links the events once more
    try:
        return wandb.init(
            project=settings.wandb_project,
            id=_run_id(folder),
            resume="allow",
            name="/".join(folder.resolve().parts[-3:]),
            dir=str(folder),
            config=config,
            sync_tensorboard=False,  # patched above, for this folder alone
        )
    except Exception as error:  # its errors have no base class of their own
        text = str(error).split("\n")[0]
        raise ValueError(f"log.wandb=true: {text}; set WANDB_MODE=offline, or leave log.wandb out") from None


def finish(run: Any) -> None:
    """End the record."""
    if run is not None:
        _wandb().tensorboard.unpatch()
        run.finish()


def _run_id(folder: Path) -> str:
    file = folder / ID
    if not file.is_file():
        file.write_text(uuid.uuid4().hex[:12] + "\n")
    return file.read_text().strip()


def _wandb() -> Any:
    """The package; a folder named wandb, which it leaves behind where it runs, is not taken for it."""
    try:
        import wandb
    except ImportError:
        wandb = None
    if not hasattr(wandb, "init"):
        raise ValueError(f"log.wandb=true: {missing_extra('wandb')}")
    return wandb
