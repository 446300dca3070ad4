"""Components that only these tests know, and a function to check a config text."""

import mmengine.config.config
import pytest
from mmengine.config import Config
from torch import nn
from yapf.yapflib.yapf_api import FormatCode

from registry_losses.config import load_config
from registry_losses.registry import MODELS, TASK_UTILS


@MODELS.register_module()
class CheckedHead(nn.Module):
    """A head that declares its settings."""

    train_cfg_keys = ('assigner', 'sampler')
    test_cfg_keys = ('score_thr', 'nms')

    def __init__(
        self,
        num_classes,
        loss_cls=None,
        prior_generator=None,
        train_cfg=None,
        test_cfg=None,
        loss_terms=None,
    ):
        super().__init__()


@MODELS.register_module()
class CheckedHeadChild(CheckedHead):
    """Takes its parent's arguments by ``**kwargs``."""

    def __init__(self, depth=1, **kwargs):
        super().__init__(**kwargs)


@MODELS.register_module()
class CheckedDetector(nn.Module):
    """A detector that hands its settings to the head."""

    def __init__(self, bbox_head, backbone=None, train_cfg=None, test_cfg=None):
        super().__init__()


@TASK_UTILS.register_module()
class CheckedAssigner:
    """An assigner with one threshold."""

    def __init__(self, pos_thr=0.5):
        self.pos_thr = pos_thr


@MODELS.register_module()
class OpenModule(nn.Module):
    """Takes anything."""

    def __init__(self, learning_rate=1.0, **kwargs):
        super().__init__()


@pytest.fixture(scope='package', autouse=True)
def real_layout():
    """Configs are written out as outside of the tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mmengine.config.config, 'FormatCode', FormatCode)
        yield


@pytest.fixture
def check(tmp_path):
    """Load a config given as text; further texts are its bases, by file name."""

    def load(text: str, options=None, **bases: str) -> Config:
        for name, base in bases.items():
            (tmp_path / f'{name}.py').write_text(base)
        path = tmp_path / 'config.py'
        path.write_text(text)
        return load_config(path, options=options)

    return load
