"""A detector builds from its config alone."""

from pathlib import Path

from mmengine.config import Config
from mmengine.registry import DefaultScope

from registry_losses.datasets import DetDataPreprocessor
from registry_losses.registry import MODELS

CONFIG = Path(__file__).parents[2] / 'configs' / '_base_' / 'models' / 'centernet_tiny.py'


def test_its_preprocessor_is_found_without_a_default_scope(monkeypatch):
    monkeypatch.setattr(DefaultScope, 'get_current_instance', classmethod(lambda cls: None))
    model = MODELS.build(Config.fromfile(CONFIG).model)
    assert isinstance(model.data_preprocessor, DetDataPreprocessor)
