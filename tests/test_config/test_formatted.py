"""The text of a config is formatted once, and anew when it changes."""

import copy
import pickle

from mmengine.config import Config

from registry_losses.config import load_config

CONFIG = 'registry_losses::retinanet/retinanet_tiny_digits.py'


def test_the_text_is_kept_until_the_config_changes(monkeypatch):
    cfg = load_config(CONFIG)
    calls = []
    plain = Config.pretty_text.fget
    monkeypatch.setattr(
        Config, 'pretty_text', property(lambda self: calls.append(1) or plain(self))
    )
    text = cfg.pretty_text
    other = copy.deepcopy(cfg)
    assert cfg.pretty_text == other.pretty_text == text and len(calls) == 1
    other.model.bbox_head.feat_channels = 7
    assert 'feat_channels=7' in other.pretty_text and cfg.pretty_text == text
    assert len(calls) == 2
    assert pickle.loads(pickle.dumps(cfg)).pretty_text == text
    assert Config(cfg.to_dict()).pretty_text == text
