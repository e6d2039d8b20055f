"""CVAT's own command line, SDK and agent with the published model, against a server that answers as CVAT does."""
import io
import re
import runpy
import zipfile
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image
from support import ROOT

from mmiam.integrations import cvat

aa = pytest.importorskip('cvat_sdk.auto_annotation', reason='cvat-sdk is not installed (pip install cvat-sdk)')
masks = pytest.importorskip('cvat_sdk.masks')

LABELS = [dict(id=71, name='cat', type='any'), dict(id=72, name='face', type='mask'),
          dict(id=73, name='dog', type='polygon'), dict(id=74, name='night', type='tag')]
NAMES = ['tagged.png', 'clicked.png', 'plain.png']


def shape(kind, frame, label, points, **other):
    return dict(dict(id=frame, type=kind, frame=frame, label_id=label, points=points, rotation=0, attributes=[],
                     occluded=False, outside=False, z_order=0, group=0, source='manual', elements=[]), **other)


ANNOTATIONS = dict(version=1, tracks=[], tags=[
    dict(id=1, frame=0, label_id=71, group=0, source='manual', attributes=[]),
    dict(id=2, frame=0, label_id=74, group=0, source='manual', attributes=[])], shapes=[
        shape('points', 1, 72, [225, 110, 220, 150]), shape('rectangle', 1, 71, [60, 5, 400, 295]),
        shape('rectangle', 1, 71, [60, 5, 400, 295], rotation=45), shape('polyline', 1, 71, [1, 1, 9, 9]),
        shape('points', 1, 73, [225, 110])])


@pytest.fixture
def server(photo, service, tmp_path, monkeypatch):
    """Answers what cvat-sdk asks about task 137, three pictures."""
    chunk = io.BytesIO()
    with zipfile.ZipFile(chunk, 'w') as archive:
        for number, name in enumerate(NAMES):
            archive.write(photo(name), f'{number:06d}.png')
    monkeypatch.setenv('CVAT_ACCESS_TOKEN', 'secret')
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))  # where the SDK keeps pictures of a task
    monkeypatch.setenv('XDG_CONFIG_HOME', str(tmp_path / 'config'))
    date, kind = '2026-01-01T00:00:00Z', 'imageset'
    return service({
        '/api/server/about': dict(name='CVAT', description='', version='2.80.0', logo_url='', subtitle=''),
        '/api/tasks/137': dict(
            id=137, name='pets', size=3, data_chunk_size=72, mode='annotation', data_original_chunk_type=kind,
            data_compressed_chunk_type=kind, updated_date=date, dimension='2d', organization=None, owner=None,
            assignee=None, jobs=dict(count=1, completed=0, validation=0, url='/api/jobs'),
            labels=dict(url='/api/labels')),
        '/api/labels': dict(count=len(LABELS), next=None, previous=None, results=[
            dict(label, color='#fff', attributes=[], sublabels=[]) for label in LABELS]),
        '/api/tasks/137/annotations': ANNOTATIONS,
        '/api/tasks/137/data/meta': dict(
            chunks_updated_date=date, chunk_size=72, size=3, image_quality=70, start_frame=0, stop_frame=2,
            frame_filter='', deleted_frames=[], included_frames=None, frames=[
                dict(name=name, width=451, height=300, related_files=0, has_related_context=False) for name in NAMES]),
        '/api/tasks/137/data': chunk.getvalue()})


def uploaded(server):
    """The one thing that was sent, with the key of whoever sent it."""
    (_, _, key, content), = (one for one in server.asked if one[0] == 'PATCH')
    return content, key


def bitmaps(shapes):
    return [masks.decode_mask(one['points'], image_width=451, image_height=300) for one in shapes]


def test_a_task_is_labeled_from_its_tags_points_and_rectangles(server, covers):
    """The command of the page: ``cvat-cli`` loads the module, and what it uploads has passed the SDK's checks."""
    cli = pytest.importorskip('cvat_cli.__main__', reason='cvat-cli is not installed (pip install cvat-cli)')
    words = ['--server-host', server.url, 'task', 'auto-annotate', '137', '--function-module',
             'mmiam.integrations.cvat', '-p', 'model=str:voc20', '-p', 'task=int:137', '-p', f'server=str:{server.url}']
    assert cli.main(words) in (None, 0)
    assert {key for _, _, key, _ in server.asked} == {'Bearer secret'}
    content, _ = uploaded(server)
    shapes = {number: [one for one in content['shapes'] if one['frame'] == number] for number in range(3)}
    assert content['tags'] == [] and {one['source'] for one in content['shapes']} == {'auto'}
    assert {one['label_id'] for one in shapes[0]} == {71}  # of the tag; 'night' has none
    asked, drawn = shapes[1][:2], shapes[1][2:]  # a points shape, a rectangle, and a label that takes polygons alone
    assert [one['label_id'] for one in asked] == [72, 71] and {one['label_id'] for one in drawn} == {73}
    assert {one['type'] for one in drawn} == {'polygon'}
    assert 71 in {one['label_id'] for one in shapes[2]}  # recognized
    assert all(map(covers, bitmaps([*shapes[0][:1], *asked])))


def test_the_script_of_the_page(server):
    page = (ROOT / 'docs/annotation/cvat.md').read_text()
    script, = re.findall(r'```python\n(.*?)```', page, re.DOTALL)
    exec(compile(script.replace('https://app.cvat.ai', server.url), 'cvat.md', 'exec'), {})
    content, key = uploaded(server)
    assert {one['frame'] for one in content['shapes']} == {0, 1, 2} and key == 'Bearer TOKEN'


def test_the_file_loads_alone():
    """As ``cvat-cli --function-file`` does, which knows no package."""
    assert runpy.run_path(cvat.__file__)['create']


def context(**settings):
    return SimpleNamespace(**dict(dict(frame_name='a.png', conf_threshold=None, conv_mask_to_poly=False), **settings))


@pytest.fixture(scope='module')
def function():
    return cvat.create()


def test_polygons_and_threshold(function, photo):
    image = Image.open(photo('a.png'))
    function.given = {'a.png': dict(tags=['dog', 'unknown'], prompts=[('cat', [dict(point=(225, 110))])])}
    whole = function.detect(context(), image)
    assert [one.label_id for one in whole[:2]] == [function.ids['cat'], function.ids['dog']]
    assert whole[0].score == 1. and 0 < whole[1].score < 1  # a tag has its best mask, though there is no dog
    parts = function.detect(context(conv_mask_to_poly=True), image)
    assert {one.type.value for one in parts} == {'polygon'} and all(len(one.points) >= 6 for one in parts)
    assert {one.label_id for one in parts} == {one.label_id for one in whole}
    assert [one.score for one in function.detect(context(conf_threshold=.999), image)] == [1.]
    function.given = {'a.png': dict(tags=['unknown'], prompts=[])}
    assert function.detect(context(), image) == []  # tags that are no class: nothing of other classes


def test_several_outlines_of_a_mask_are_one_group(function):
    mask = np.zeros((20, 30), bool)
    mask[2:8, 2:8] = mask[12:18, 20:28] = True
    found = function.shapes('dog', mask, .5, 3, context(conv_mask_to_poly=True))
    assert [one.group for one in found] == [3, 3]
    assert [one.group for one in function.shapes('dog', mask[:10], .5, 3, context(conv_mask_to_poly=True))] == [0]


def test_labels_of_a_task_that_can_have_no_mask():
    task = SimpleNamespace(id=5, get_labels=lambda: [SimpleNamespace(id=1, name='night', type='tag')])
    with pytest.raises(ValueError, match='task 5 has no label of type any'):
        cvat.read_task(task)


def test_clicks_and_boxes_through_the_agent(photo, covers):
    """The driver with which ``cvat-cli function run-agent`` serves an interaction function."""
    driver = pytest.importorskip('cvat_cli._internal.agent_driver_interaction', reason='cvat-cli is not installed')
    from cvat_cli._internal.agent import get_function_driver_class
    function = cvat.create(clicks=True)
    assert get_function_driver_class(function.spec).get_remote_function_fields(function.spec) == dict(
        min_pos_points=0, startswith_box_optional=True)
    image = function.preprocess_image(None, Image.open(photo('a.png')))

    def ask(points=(), box=None):
        prompts = driver._InteractionPromptsImpl(pos_points=points, neg_points=(), bounding_box=box)
        return function.detect(None, image, prompts)

    point, box = ((225., 110.), ), ((60., 5.), (400., 295.))
    shown = []
    for one, in (ask(point), ask(box=box), ask(point, box)):
        assert one.type == 'mask'
        shown += bitmaps([dict(points=one.points)])
    assert all(map(covers, shown)) and shown[2].sum() >= max(shown[0].sum(), shown[1].sum())  # both: what either shows
    assert ask() == []
    with pytest.raises(ValueError, match='leave task out'):
        cvat.create(clicks=True, task=137)
