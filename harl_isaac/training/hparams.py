"""A run's settings in its TensorBoard events: a table to compare runs by (HPARAMS), and the configuration as text."""

import json
from typing import TYPE_CHECKING, Any, Dict

import yaml

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

METRICS = ("eval/return", "eval/success", "episode/return", "episode/success")  # columns beside the settings
NOT_COMPARED = ("resume", "trust", "run_root", "log.")


def write_settings(events: "SummaryWriter", settings: Dict[str, Any], steps: int) -> None:
    """Write a run's settings, nested dicts, at the step from which it goes on."""
    from torch.utils.tensorboard.summary import hparams

    plain = json.loads(json.dumps(settings, default=str))  # a task of one's own may have values that YAML does not know
    text = yaml.safe_dump(plain, sort_keys=False)
    events.add_text("config", f"```yaml\n{text}```", steps)
    values = {name: value for name, value in flat(settings).items() if not name.startswith(NOT_COMPARED)}
    # add_hparams would write a folder and an event file of its own; of these summaries the last one ends the session.
    for summary in hparams(values, dict.fromkeys(METRICS, 0.0))[:2]:
        events.file_writer.add_summary(summary)


def flat(settings: Dict[str, Any], prefix: str = "") -> Dict[str, Any]:
    """{"algo": {"lr": 0.1, "hidden": [8]}} -> {"algo.lr": 0.1, "algo.hidden": "[8]"}: numbers and strings."""
    result: Dict[str, Any] = {}
    for key, value in settings.items():
        if isinstance(value, dict) and value:
            result.update(flat(value, f"{prefix}{key}."))
        else:
            number = isinstance(value, (int, float)) and not isinstance(value, bool)  # TensorBoard shows bools as 1.0
            result[f"{prefix}{key}"] = value if number else str(value)
    return result
