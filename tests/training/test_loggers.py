"""Settings in TensorBoard, Weights & Biases, videos while training: all beside the run, none of them changes it."""

import sys
import types

import pytest
from support.resuming import flat, same
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

from harl_isaac.training import films, wandb_sync
from harl_isaac.training.trainer import Trainer

TWO = "total_steps=60"  # iterations


def test_tensorboard_has_the_settings_as_text_and_as_a_row_to_compare(settings, tmp_path):
    Trainer(settings("SumGame", TWO, "algo.lr=0.25")).train(tmp_path)
    assert len(list(tmp_path.glob("events.*"))) == 1 and not [p for p in tmp_path.iterdir() if p.name.isdigit()]
    events = EventAccumulator(str(tmp_path))
    events.Reload()
    text = events.Tensors("config/text_summary")[0].tensor_proto.string_val[0].decode()
    assert "lr: 0.25" in text and "name: SumGame" in text
    start = events.summary_metadata["_hparams_/session_start_info"].plugin_data.content
    values = HParamsPluginData.FromString(start).session_start_info.hparams
    assert values["algo.lr"].number_value == 0.25 and values["task.name"].string_value == "SumGame"
    assert values["algo.hidden"].string_value == "[8]" and "log.console" not in values
    assert values["algo.recurrent"].string_value == "False"
    experiment = events.summary_metadata["_hparams_/experiment"].plugin_data.content
    metrics = HParamsPluginData.FromString(experiment).experiment.metric_infos
    assert "eval/return" in [metric.name.tag for metric in metrics]


@pytest.mark.parametrize("left_behind", [False, True], ids=["nothing", "a folder that wandb left behind"])
def test_a_missing_wandb_is_one_line_before_anything_is_made(left_behind, settings, monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb", types.ModuleType("wandb") if left_behind else None)
    with pytest.raises(ValueError, match=r"log.wandb=true: wandb is not installed.*'harl-isaac\[wandb\]'"):
        Trainer(settings("SumGame", "log.wandb=true"))


class FakeWandb(types.ModuleType):
    """Keeps what it is told, in order."""

    def __init__(self, api_key):
        super().__init__("wandb")
        self.told = []
        self.api = types.SimpleNamespace(api_key=api_key)
        self.tensorboard = types.SimpleNamespace(
            patch=lambda **words: self.told.append("patch"), unpatch=lambda: self.told.append("unpatch")
        )

    def init(self, **words):
        self.told.append(words)
        return types.SimpleNamespace(finish=lambda: self.told.append("finish"))


def test_wandb_without_an_account_says_what_to_do(settings, monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb", FakeWandb(None))
    monkeypatch.delenv("WANDB_MODE", raising=False)
    with pytest.raises(ValueError, match="nobody is logged in; run `wandb login`, or set WANDB_MODE=offline"):
        Trainer(settings("SumGame", "log.wandb=true"))


def test_a_resumed_run_goes_on_with_its_wandb_record(settings, tmp_path, monkeypatch):
    fake = FakeWandb("key")
    monkeypatch.setitem(sys.modules, "wandb", fake)
    cfg = settings("SumGame", TWO, "log.wandb=true", "log.wandb_project=games", "checkpoint.interval=1")
    for _ in range(2):
        Trainer(cfg).train(tmp_path)
    patch, first, unpatch, finish = fake.told[:4]
    assert (patch, unpatch, finish) == ("patch", "unpatch", "finish") and len(fake.told) == 8
    assert first["project"] == "games" and first["config"]["task"]["name"] == "SumGame"
    assert first["id"] == fake.told[5]["id"] == (tmp_path / wandb_sync.ID).read_text().strip()


def test_wandb_records_offline(settings, tmp_path, monkeypatch):
    pytest.importorskip("wandb", reason="wandb is not installed").init  # noqa: B018  # a folder of that name has none
    monkeypatch.setenv("WANDB_MODE", "offline")
    Trainer(settings("SumGame", TWO, "log.wandb=true")).train(tmp_path)
    record = next(tmp_path.glob("wandb/offline-run-*/run-*.wandb")).read_bytes()
    assert b"episode/return" in record and b"SumGame" in record


def test_videos_are_made_at_their_interval_and_change_nothing(settings, tmp_path, monkeypatch):
    overrides = ["total_steps=120", "eval.interval=1"]  # 4 iterations
    plain = Trainer(settings("SumGame", *overrides))
    plain.train(tmp_path / "plain")
    seen = []
    monkeypatch.setattr(films, "film", lambda file, out, *words: seen.append((file.is_file(), out.name, words)) or "")
    filmed = Trainer(settings("SumGame", *overrides, "eval.video_interval=2"))
    filmed.train(tmp_path / "filmed")
    assert seen == [(True, "000000000060.mp4", ()), (True, "000000000120.mp4", ())]
    assert not (tmp_path / "filmed" / "checkpoints" / "filmed.pt").exists()
    expected = flat(plain.state_dict())
    found = flat(filmed.state_dict())
    assert [name for name in expected if not same(expected[name], found[name])] == []


def test_a_task_without_a_picture_trains_on(tmp_path):
    from support.commands import TINY, run

    words = [*TINY, "eval.video_interval=2"]
    result = run("task=SumGame", *words, cwd=tmp_path)
    assert result.returncode == 0 and "no video: SumGame has no picture" in result.stdout, result.stderr
    drawn = run("task=mpe/simple_spread", *words, cwd=tmp_path)
    assert drawn.returncode == 0 and "\nvideo: runs/mpe/simple_spread/happo/" in drawn.stdout, drawn.stderr
    videos = list(tmp_path.glob("runs/mpe/simple_spread/happo/*/videos/*.mp4"))
    assert len(videos) == 1 and videos[0].stat().st_size > 1000
