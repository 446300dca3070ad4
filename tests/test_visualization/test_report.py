"""The page of a run: what it says, and that a browser shows it."""

import json
import re
import shutil
import subprocess

import cv2
import numpy as np
import pytest

from registry_losses.visualization.report import write_report

BROWSERS = ('chromium', 'chromium-browser', 'google-chrome', 'google-chrome-stable')
BROWSER = next(filter(None, map(shutil.which, BROWSERS)), None)


@pytest.fixture
def run_folder(tmp_path):
    """What a training leaves behind: two starts, three validations, classes, a sheet."""
    folder = tmp_path / 'cells <1>'
    logs = [folder / name / 'vis_data' for name in ('20260101_1', '20260101_2')]
    for start, log in zip((0, 200), logs):
        log.mkdir(parents=True)
        rows = []
        for step in range(start + 10, start + 210, 10):
            loss = 3 * 0.99**step
            rows.append(dict(lr=0.1, loss=loss, loss_cls=loss / 2, time=0.5, iter=step, step=step))
            if step % 100 == 0 and step != 300:
                ap = dict(zip((100, 200, 400), (0.2, 0.61, 0.5)))[step]
                figures = {'bbox_mAP': ap, 'bbox_mAP_50': ap + 0.3, 'bbox_mAP_l': float('nan')}
                figures = {f'coco/{name}': value for name, value in figures.items()}
                rows.append(dict(figures, data_time=0.1, time=0.2, step=step + 5))  # between lines
        (log / 'scalars.json').write_text('\n'.join(map(json.dumps, rows)))
    (logs[1] / 'config.py').write_text('model = dict(type="A<B")\n')
    classes = dict(dog=dict(AP=0.7, AP50=0.9), cat=dict(AP=0.31, AP50=0.6), eel=dict(AP=None))
    (logs[1].parent / 'class_ap.json').write_text(json.dumps([dict(step=400, classes=classes)]))
    record = dict(command='python train.py "a & b"', commit='f' * 40, versions=dict(torch='2.9'))
    (logs[1].parent / 'run.json').write_text(json.dumps(record))
    noise = np.random.default_rng(0).integers(0, 256, (600, 900, 3), dtype=np.uint8)
    cv2.imwrite(str(folder / 'predictions.png'), noise)
    return folder


def text_of(page):
    return re.sub(r'<[^>]+>', ' ', re.sub(r'<style>.*?</style>', '', page, flags=re.S))


def test_what_it_says(run_folder):
    page = write_report(run_folder).read_text()
    text = re.sub(r'\s+', ' ', text_of(page))
    for part in (
        '400 steps of training in 3.3 minutes (0.500 s a step, median), 3 validations.',
        '0.500 COCO AP 0.800 AP50 0.610 best COCO AP, step 205',
        'step mAP mAP_50 mAP_l 105 0.200 0.500 undefined 205 0.610 0.910 undefined 405',
        # The lowest first, the undefined last.
        'class AP AP50 cat 0.310 0.600 dog 0.700 0.900 eel undefined undefined',
        'python train.py &quot;a &amp; b&quot;', 'f' * 40, 'Started 2 times', 'A&lt;B',
    ):  # fmt: skip
        assert part in text, part
    # It needs no other file, and is not as large as its pictures.
    assert page.count('src="data:image/') == 2 and not re.search(r'(src|href)="(?!data:)', page)
    assert 'data:image/jpeg' in page and len(page) < 2_000_000


@pytest.mark.skipif(BROWSER is None, reason=f'no browser installed: {", ".join(BROWSERS)}')
def test_a_browser_shows_it(run_folder, tmp_path):
    """Both pictures have their size, the config opens at a click, and there is something to see."""
    path = write_report(run_folder)
    probe = tmp_path / 'probe.html'
    script = (
        '<script>addEventListener("load", () => { document.querySelector("summary").click();'
        ' document.title = JSON.stringify({images: [...document.images].map(i =>'
        ' [i.naturalWidth, i.naturalHeight, i.clientWidth]), wide: document.body.scrollWidth,'
        ' open: document.querySelector("pre").clientHeight}); })</script>'
    )
    probe.write_text(path.read_text().replace('</body>', script + '</body>'))
    picture = tmp_path / 'page.png'
    options = ['--headless', '--no-sandbox', '--disable-gpu', '--window-size=1100,2400']
    options.append(f'--user-data-dir={tmp_path / "profile"}')
    browser = dict(capture_output=True, text=True, timeout=180, check=True)
    page = subprocess.run([BROWSER, *options, '--dump-dom', probe.as_uri()], **browser).stdout
    seen = json.loads(re.search(r'<title>(\{.*?\})</title>', page).group(1))
    (curves, sheet) = seen['images']
    assert sheet[:2] == [900, 600] and curves[0] > 1000 and 600 < curves[2] <= 1024
    assert seen['wide'] <= 1100 and seen['open'] > 10
    shot = [BROWSER, *options, f'--screenshot={picture}', path.as_uri()]
    subprocess.run(shot, **browser)
    shown = cv2.imread(str(picture))
    assert shown.shape[:2] == (2400, 1100) and shown.std() > 20
