"""The page of ``mmiam serve``: its requests with the published model, and a click in a headless Chromium."""
import contextlib
import http.client
import io
import json
import re
import shutil
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
from PIL import Image
from support import ROOT

from mmiam.cli import main, make_parser
from mmiam.integrations import serve
from mmiam.integrations.annotator import Annotator
from mmiam.integrations.web import make_server
from mmiam.utils.rle import decode_masks

FACE = (225, 110)


@pytest.fixture(scope='module')
def url(running):
    """The address of a page."""
    return running(make_server(serve.PageHandler, studio=serve.Studio(Annotator('voc20', 'cpu', maps=True))))


@pytest.fixture
def ask(url):
    """``ask(path, body=None, **headers)`` -> status, headers, bytes; without a body it is a GET."""

    def run(path, body=None, **headers):
        connection = http.client.HTTPConnection(url[len('http://'):], timeout=60)
        kind = 'application/octet-stream' if path == '/photo' else 'application/json'
        headers = {'Content-Type': kind, **{name.replace('_', '-'): value for name, value in headers.items()}}
        with contextlib.closing(connection):
            connection.request('GET' if body is None else 'POST', path, body, headers)  # as it stands, '..' too
            reply = connection.getresponse()
            return reply.status, reply.headers, reply.read()

    return run


@pytest.fixture
def opened(ask, photo):
    """``(key, state)`` of a photo of a cat, and ``step(what, **body)`` -> state."""
    status, _, data = ask('/photo', photo('a.png').read_bytes(), X_Name='../some/cat.png')
    state = json.loads(data)
    assert status == 200
    key = state['photo']

    def step(what, **body):
        status, _, data = ask(f'/photo/{key}/{what}', json.dumps(body))
        assert status == 200, data
        return json.loads(data)

    return key, state, step


def test_a_photo(ask, opened):
    key, state, _ = opened
    thing, = state['things']
    assert (state['width'], state['height'], thing['name'], thing['by']) == (451, 300, 'cat', 'model')
    assert thing['score'] > .55 and thing['maps'] == ['cam', 'prm', 'cue', 'iam']
    answers = [ask(f'/photo/{key}/{kind}') for kind in ('0/mask', 'photo', '0/cam', '0/prm', '0/cue', '0/iam')]
    pictures = [Image.open(io.BytesIO(data)) for _, _, data in answers]
    for (status, headers, _), picture in zip(answers, pictures):
        assert status == 200 and picture.size == (451, 300) and headers['Content-Type'] == Image.MIME[picture.format]
    assert len({data for _, _, data in answers}) == 6
    mask = np.asarray(pictures[0])
    assert set(np.unique(mask[..., 3])) == {0, 255} and mask[FACE[1], FACE[0], 3] == 255
    assert ask(f'/photo/{key}/0/gif')[0] == ask(f'/photo/{key}/9/mask')[0] == 404


def test_click_box_remove_undo_and_downloads(ask, opened):
    key, state, step = opened
    clicked = step('add', point=FACE, name='Minka <b>')
    assert [(thing['name'], thing['by']) for thing in clicked['things']] == [('cat', 'model'), ('Minka <b>', 'click')]
    boxed = step('add', box=[20, 20, 440, 290], name='')
    assert [(thing['name'], thing['by']) for thing in boxed['things']][2] == ('object', 'box')
    assert [thing['number'] for thing in step('remove', number=0)['things']] == [1, 2]
    content = json.loads(ask(f'/photo/{key}/coco')[2])
    assert content['images'][0]['file_name'] == 'cat.png'  # a name, no path
    names = {one['id']: one['name'] for one in content['categories']}
    assert [names[one['category_id']] for one in content['annotations']] == ['Minka <b>', 'object']
    masks = decode_masks([one['segmentation'] for one in content['annotations']], (300, 451))
    assert masks[0][FACE[1], FACE[0]] and 0 < masks[0].mean() < .9
    indices = np.asarray(Image.open(io.BytesIO(ask(f'/photo/{key}/png')[2])))
    assert (indices == 1).sum() == masks[0].sum() and ((indices == 2) == (masks[1] & ~masks[0].astype(bool))).all()
    states = [step('undo') for _ in range(5)]
    assert [len(one['things']) for one in states] == [3, 2, 1, 1, 1] and states[2]['steps'] == 0
    step('remove', number=0)
    assert json.loads(ask(f'/photo/{key}/coco')[2])['annotations'] == []


@pytest.mark.parametrize('body, sentence', [
    ('{"point": [1000, 2]}', 'outside of the image'), ('{"point": ["a", 2]}', 'expected 2 finite numbers'),
    ('{"box": [9, 9, 9, 9]}', 'empty inside the image'), ('{}', 'expected dict(point'), ('[]', 'not a json object'),
    ('{', 'Expecting'), ('{"point": [1e999, 2]}', 'finite')])
def test_wrong_steps_change_nothing(ask, opened, body, sentence):
    key, state, step = opened
    status, _, data = ask(f'/photo/{key}/add', body)
    assert status == 400 and sentence in json.loads(data)['error'] and '/tmp' not in data.decode()
    assert step('undo')['things'] == state['things']


def test_what_is_no_photo_is_refused(ask, photo, monkeypatch):
    whole = photo('a.png').read_bytes()
    for data in (b'', b'no image', whole[:5000]):
        status, _, reply = ask('/photo', data)
        text = json.loads(reply)['error']
        assert status == 400 and text.startswith('the photo ') and 'whole JPEG' in text and '/' not in text
    monkeypatch.setattr('mmiam.utils.images.MAX_PIXELS', 1000)
    assert 'pixels' in json.loads(ask('/photo', whole)[2])['error']
    monkeypatch.setattr(serve, 'MAX_PHOTO', len(whole) - 1)
    status, _, reply = ask('/photo', whole)
    sizes = f'it has {len(whole):,} bytes, and at most {len(whole) - 1:,} are taken'
    assert status == 413 and sizes in json.loads(reply)['error']


def test_no_path_of_a_request_is_opened(ask, opened):
    key, _, _ = opened
    for path in ('/../../etc/passwd', '/photo/../photo', f'/photo/{key}/../coco', '/serve.py', f'/photo/{key}/0/..',
                 '/photo/0000000000000000/coco', f'/photo/{key}%2f..'):
        assert ask(path)[0] == 404, path
    assert ask('/photo/0000000000000000/add', '{}')[0] == 404


def test_only_this_machine(ask, photo):
    """A page of another site can neither send a step without being asked for leave, nor read by a name of its own."""
    assert ask('/')[0] == ask('/', Host='localhost:80')[0] == 200 and ask('/', Host='evil.example')[0] == 403
    assert ask('/photo', photo('a.png').read_bytes(), Content_Type='text/plain')[0] == 415
    assert make_parser().parse_args(['serve']).host == '127.0.0.1'
    _, headers, page = ask('/')
    assert "default-src 'none'" in headers['Content-Security-Policy'] and b'http' not in page
    assert 'Access-Control-Allow-Origin' not in headers


def test_a_fault_is_told_and_the_page_goes_on(ask, opened, monkeypatch, capsys):
    key, _, step = opened
    monkeypatch.setattr(serve.Photo, 'change', lambda self, step, asked: 1 / 0)
    status, _, data = ask(f'/photo/{key}/undo', '{}')
    assert status == 500 and 'fault of the program' in data.decode() and 'ZeroDivisionError' in capsys.readouterr().err
    monkeypatch.undo()
    assert step('undo')['things']


def test_the_oldest_photo_goes(ask, opened, photo, monkeypatch):
    key, _, _ = opened
    monkeypatch.setattr(serve, 'MAX_PHOTOS', 1)
    assert ask('/photo', photo('b.png', box=(0, 0, 60, 40)).read_bytes())[0] == 200
    status, _, data = ask(f'/photo/{key}/coco')
    assert status == 404 and 'drop it again' in data.decode()


def test_a_port_that_is_taken(url, capsys):
    assert main(['serve', '--port', url.rsplit(':', 1)[1], '--device', 'cpu']) == 2
    assert url[len('http://'):] in capsys.readouterr().err


def test_the_command_of_the_page(monkeypatch, capsys):
    """It serves until it is interrupted; the options named in docs/serve.md are there."""
    text = (ROOT / 'docs/serve.md').read_text(encoding='utf-8')
    command, = re.findall(r'^```sh\n(mmiam serve.*)\n```', text, re.MULTILINE)
    monkeypatch.setattr('mmiam.integrations.web.ThreadingHTTPServer.serve_forever', mock.Mock(
        side_effect=KeyboardInterrupt))
    assert main([*command.split()[1:], '--port', '0', '--device', 'cpu']) == 130
    assert 'open http://127.0.0.1:' in capsys.readouterr().out
    for option in re.findall(r'`(--\w+)', text):
        assert option in make_parser()._subparsers._group_actions[0].choices['serve'].format_help()


@pytest.fixture
def page(url):
    """The page in a headless Chromium; errors of its script fail the test."""
    sync_api = pytest.importorskip('playwright.sync_api', reason='playwright is not installed (pip install playwright)')
    browser = shutil.which('chromium') or shutil.which('chromium-browser') or shutil.which('google-chrome')
    if browser is None:
        pytest.skip('there is no Chromium')
    errors = []
    with sync_api.sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=browser, args=['--no-sandbox'])
        page = chromium.new_page(viewport=dict(width=1100, height=720))
        page.on('pageerror', lambda error: errors.append(error))
        page.goto(url)
        yield page
        chromium.close()
    assert not errors


@pytest.mark.slow
def test_a_click_in_a_browser(page, photo, tmp_path):
    def place(x, y):
        area = page.locator('canvas').bounding_box()
        return area['x'] + x * area['width'] / 451, area['y'] + y * area['height'] / 300

    def drawn(what):
        page.wait_for_selector(f'canvas[data-drawn="{what}"]', timeout=60_000)

    page.set_input_files('#file', photo('cat.png'))
    drawn('1 masks')
    before = page.locator('canvas').screenshot()
    page.fill('#name', 'Minka')
    page.mouse.click(*place(*FACE))
    drawn('2 masks')
    assert page.locator('canvas').screenshot() != before  # the mask is drawn
    assert page.locator('h3').all_inner_texts() == ['cat', 'Minka']
    with page.expect_download() as download:
        page.click('#coco')
    content = json.loads(Path(download.value.path()).read_text())
    mask = decode_masks([content['annotations'][1]['segmentation']], (300, 451))[0]
    assert mask[FACE[1], FACE[0]] and download.value.suggested_filename == 'masks.json'
    for view in ('CAM', 'Cue', 'IAM', 'Masks'):
        page.get_by_role('button', name=view, exact=True).click()
        drawn(f'2 {view.lower()}')
    page.mouse.move(*place(20, 20))
    page.mouse.down()
    page.mouse.move(*place(430, 280))
    page.mouse.up()
    drawn('3 masks')
    page.click('#undo')
    drawn('2 masks')
    page.set_input_files('#file', photo('small.png', box=(190, 80, 250, 120)))
    page.wait_for_selector('canvas[width="60"]', timeout=60_000)
    area = page.locator('canvas').bounding_box()  # a small photo fills the page as a large one does
    assert area['width'] > 500 and area['width'] / area['height'] == pytest.approx(1.5, .01)
    (tmp_path / 'broken.png').write_bytes(b'no image')
    page.set_input_files('#file', tmp_path / 'broken.png')
    page.wait_for_selector('#say.bad')
    assert page.inner_text('#say').startswith('the photo ')
