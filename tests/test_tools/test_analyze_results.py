"""The page of an analysis: from a results file and from a model."""

import json
import re

import cv2
import numpy as np
import pytest
import torch

from registry_losses.commands.analyze_results import analyze_results_main
from registry_losses.commands.new_config import new_config_main
from registry_losses.engine import build_model

from .own_data import write_coco


@pytest.fixture
def config(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    source = write_coco(tmp_path / 'in', count=4)
    size = ['--image-size', '64', '64']
    new_config_main(['--train', str(source), '--val', str(source), '--out', 'c.py', *size])
    return source


def table(page, title):
    part = page.split(f'<h2>{title}</h2>')[1].split('</table>')[0]
    rows = [re.findall(r'<t[dh]>(.*?)</t', row) for row in part.split('<tr>')[2:]]
    return {row[0]: row[1:] for row in rows}


def test_a_results_file(config, tmp_path, capsys):
    """All objects found, but one of another class, one shifted, and one that is not there."""
    content = json.loads(config.read_text())
    rows = [
        dict(image_id=a['image_id'], category_id=a['category_id'], bbox=a['bbox'], score=0.9)
        for a in content['annotations']
    ]
    rows[0]['category_id'] = 3 - rows[0]['category_id']
    x, y, w, h = rows[5]['bbox']
    rows[5]['bbox'] = [x + 0.5 * w, y, w, h]
    rows.append(dict(image_id='1', category_id=1, bbox=[-60, -60, 5, 5], score=0.8))
    (tmp_path / 'r.json').write_text(json.dumps(rows))
    analyze_results_main(['c.py', '--results', 'r.json', '--out', 'a'])
    assert '4 images: a/analysis.html' in capsys.readouterr().out
    page = (tmp_path / 'a/analysis.html').read_text()
    errors = {name: int(count) for name, (count, _) in table(page, 'Errors by kind').items()}
    assert errors['background'] == 1 and errors['class'] + errors['location'] >= 1
    assert sum(int(n) for n, _ in table(page, 'Objects found by group').values()) == 24
    assert set(table(page, 'Classes')) == {'bolt', 'nut'}
    assert page.count('data:image/png;base64,') == 4 and 'src="http' not in page
    for name in ('curves', 'errors', 'confusion', 'groups'):
        assert np.ptp(cv2.imread(str(tmp_path / f'a/{name}.png'))) > 100


def test_a_model(config, tmp_path):
    torch.manual_seed(0)
    model = build_model(tmp_path / 'c.py')
    torch.save(dict(state_dict=model.state_dict()), 'm.pth')
    analyze_results_main(['c.py', '--checkpoint', 'm.pth', '--out', 'a', '--device', 'cpu'])
    assert '4 images, 12 objects' in (tmp_path / 'a/analysis.html').read_text()


@pytest.mark.parametrize(
    ('rows', 'message'),
    [
        ({}, 'expected a list of detections, got a dict'),
        ([dict(image_id=1)], 'entry 0: expected image_id, category_id, bbox'),
        (
            [dict(image_id=77, category_id=1, bbox=[0, 0, 1, 1], score=1)],
            'entry 0: image_id 77 is not in the test set',
        ),
    ],
)
def test_files_that_do_not_fit(config, tmp_path, rows, message, capsys):
    (tmp_path / 'r.json').write_text(json.dumps(rows))
    with pytest.raises(SystemExit):
        analyze_results_main(['c.py', '--results', 'r.json', '--out', 'a'])
    assert message in capsys.readouterr().err
