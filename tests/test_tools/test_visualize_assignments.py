"""``tools/visualize_assignments.py``."""

from pathlib import Path

import cv2
import pytest
import torch

from registry_losses.assigners import SimOTAAssigner
from registry_losses.commands import assigner_names, assignment_looks
from registry_losses.commands.visualize_assignments import visualize_assignments_main
from registry_losses.config import load_config
from registry_losses.errors import ConfigError, DataError

ROOT = Path(__file__).parents[2]
CONFIG = ROOT / 'configs' / 'retinanet' / 'retinanet_tiny_digits.py'


def test_parse_assigner():
    assert assigner_names.parse_assigner('SimOTA') == ('SimOTA', dict(type='SimOTAAssigner'))
    label, node = assigner_names.parse_assigner("SimOTAAssigner(center_radius=1.5, quality='one')")
    assert label == "SimOTA(center_radius=1.5, quality='one')"
    assert node == dict(type='SimOTAAssigner', center_radius=1.5, quality='one')
    assert assigner_names.parse_assigner('MaxIoU(pos_iou_thr=0.7)')[1]['pos_iou_thr'] == 0.7
    with pytest.raises(ConfigError, match='SimOTA'):
        assigner_names.parse_assigner('SimOtta')
    for wrong in ('ATSS(topk=', 'ATSS(topk=open("x"))'):
        with pytest.raises(ConfigError, match='NAME'):
            assigner_names.parse_assigner(wrong)


def test_every_assigner_has_what_it_needs():
    names = assigner_names.assigner_names()
    assert len(assigner_names.build_assigners(names, None)) == len(names) >= 18
    own = SimOTAAssigner()
    assert assigner_names.build_assigners(['config'], own) == {'SimOTA (config)': own}
    with pytest.raises(ConfigError, match='without an assigner'):
        assigner_names.build_assigners(['config'], None)


def test_pages_and_tables(tmp_path, capsys):
    visualize_assignments_main(
        [str(CONFIG), '--synthetic', '--synthetic-size', '128', '--num', '2', '--panel', '64']
        + ['--assigners', 'config', 'SimOTA', 'PAA', 'CenterNet', '--columns', '3']
        + ['--out', str(tmp_path)]
    )
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == [f'synthetic_{i}_{j}.png' for i in (0, 1) for j in (1, 2)] + ['tables.md']
    for name in names[:2]:  # two and two, rather than three and one
        assert cv2.imread(str(tmp_path / name)).shape[1] == 92 + 2 * (64 + 12)
    text = (tmp_path / 'tables.md').read_text()
    for word in ('MaxIoU (config)', 'SimOTA', 'stride 16', 'gts without', 'synthetic_1'):
        assert word in text
    assert 'In all' in capsys.readouterr().out


def test_look_leaves_the_model_as_it_was():
    model, meta = assignment_looks.build_model(load_config(CONFIG), None, seed=0)
    assert meta == {} and model.training
    state = {k: v.clone() for k, v in model.state_dict().items()}
    head = assignment_looks.main_head(model)
    kept = head.assigner, head.sampler
    (item,) = assignment_looks.synthetic_items(1, (100, 120), 10, seed=1)
    assigners = assignment_looks.stage_assigners(model, ['config', 'FCOS'])
    (looked,) = assignment_looks.look(model, item, assigners)
    assert looked.image.shape == (112, 128, 3)  # padded to the divisor of the config
    assert (head.assigner, head.sampler) == kept
    assert all(torch.equal(v, model.state_dict()[k]) for k, v in state.items())
    positives = [found.num_pairs for found in looked.found.values()]
    assert min(positives) > 0
    with pytest.raises(ConfigError, match='no head with priors'):
        assignment_looks.main_head(torch.nn.Identity())


def test_says_why_nothing_fits(monkeypatch):
    model, _ = assignment_looks.build_model(load_config(CONFIG), None, seed=0)
    (item,) = assignment_looks.synthetic_items(1, (64, 64), 10, seed=1)
    wrong = assignment_looks.stage_assigners(model, ['FCOS(regress_ranges=[(0, 8)])', 'ATSS'])
    (looked,) = assignment_looks.look(model, item, wrong)
    found = looked.found
    assert 'one range for each' in found['FCOS(regress_ranges=[(0, 8)])']
    with pytest.raises(ConfigError, match='no assigner fits'):
        assignment_looks.look(model, item, {'': dict(list(wrong[''].items())[:1])})


class _Images:
    def __len__(self):
        return 2

    def get_data_info(self, index):
        return dict(img_path=f'/somewhere/{index}_b.png')


def test_images_by_number_or_name():
    data = _Images()
    assert [assignment_looks._index_of(data, name) for name in ('1', '1_b', 'x/0_b.png')] == [
        1,
        1,
        0,
    ]
    for name in ('2', 'cat.png'):
        with pytest.raises(DataError, match=name):
            assignment_looks._index_of(data, name)


def test_an_option_that_an_assigner_lacks_and_sizes_that_cannot_be(capsys):
    with pytest.raises(ConfigError, match=r"no option 'centre_radius'; nearest: center_radius"):
        assigner_names.build_assigners(['SimOTA(centre_radius=1.5)'], None)
    for arguments in (['--num', '0'], ['--columns', '0'], ['--panel', '1']):
        with pytest.raises(SystemExit):
            visualize_assignments_main([str(CONFIG), '--synthetic', *arguments])
        assert 'expected at least' in capsys.readouterr().err


def test_both_stages_of_a_two_stage_detector(tmp_path, capsys):
    """Anchors and proposals each on a page; an assigner that needs a grid says so on proposals."""
    visualize_assignments_main(
        [str(CONFIG.parents[1] / 'faster_rcnn' / 'faster_rcnn_tiny_digits.py')]
        + ['--synthetic', '--synthetic-size', '128', '--num', '1', '--panel', '64']
        + ['--assigners', 'config', 'YOLOV5', 'SimOTA', '--out', str(tmp_path)]
    )
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ['synthetic_0_roi.png', 'synthetic_0_rpn.png', 'tables.md']
    text, printed = (tmp_path / 'tables.md').read_text(), capsys.readouterr().out
    first, second = text.split('## roi')
    assert 'YOLOV5' in first and 'YOLOV5' not in second and 'SimOTA' in second
    assert 'stride 16' in first and 'priors' in second
    assert 'needs priors on a grid' in printed
