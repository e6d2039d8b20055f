"""The backend over HTTP with the published model: its answers pass the checks of Label Studio's SDK, and it works with
Label Studio itself where that is installed."""
import os
import shutil
import signal
import socket
import subprocess
import sys
import time

import numpy as np
import pytest
import requests

from mmiam.integrations import label_studio
from mmiam.integrations.label_studio import Backend, Controls, Server, encode_brush
from mmiam.integrations.web import make_server

CONFIG = '''<View>
  <Image name="image" value="$photo"/>
  <BrushLabels name="mask" toName="image"><Label value="dog"/><Label value="pet" predicted_values="cat,horse"/>
  </BrushLabels>
  <KeyPointLabels name="point" toName="image" smart="true"><Label value="dog"/><Label value="pet"/></KeyPointLabels>
  <RectangleLabels name="box" toName="image" smart="true"><Label value="dog"/><Label value="pet"/></RectangleLabels>
  <Choices name="tags" toName="image" choice="multiple"><Choice value="dog"/><Choice value="pet"/></Choices>
</View>'''
POLYGONS = CONFIG.replace('BrushLabels', 'PolygonLabels')


def interface(config):
    sdk = pytest.importorskip('label_studio_sdk.label_interface',
                              reason='label-studio-sdk is not installed (pip install label-studio-sdk)')
    return sdk.LabelInterface(config)


def test_brush_is_what_the_sdk_decodes():
    brush = pytest.importorskip('label_studio_sdk.converter.brush', reason='label-studio-sdk is not installed')
    rng = np.random.default_rng(0)
    for mask in (rng.random((13, 17)) > .5, np.zeros((5, 3), bool), np.ones((300, 400), bool), np.eye(9, dtype=bool)):
        decoded = brush.decode_rle(encode_brush(mask)).reshape(*mask.shape, 4)
        assert np.array_equal(decoded, np.repeat(255 * mask[..., None], 4, axis=2))


def test_labeling_configurations():
    found = Controls(CONFIG)
    assert (found.image, found.to_name, found.mask, found.mask_name) == ('photo', 'image', 'brushlabels', 'mask')
    assert found.names == {'dog': ['dog'], 'pet': ['cat', 'horse']} and list(found.choices) == ['dog', 'pet']
    assert Controls(POLYGONS).mask == 'polygonlabels' and not found.one_choice
    with pytest.raises(ValueError, match='no XML'):
        Controls('<View>')


def test_choices_of_the_last_annotation_count():
    def annotation(*choices, **other):
        return dict(other, result=[dict(from_name='tags', value=dict(choices=[choice])) for choice in choices])

    chosen = Controls(CONFIG).chosen
    assert chosen(dict(annotations=[annotation('dog'), annotation('pet', 'dog')])) == ['pet', 'dog']
    assert chosen(dict(annotations=[annotation('dog'), annotation('pet', was_cancelled=True), annotation()])) == ['dog']
    assert chosen(dict(annotations=[])) is None and chosen({}) is None


@pytest.fixture
def studio(photo, service):
    """A stand-in for Label Studio: photos for those with a key; a personal token is exchanged for one."""
    content = {f'/data/upload/1/{name}': photo(name).read_bytes() for name in ('a.png', 'b.png')}
    return service({**content, '/api/token/refresh': dict(access='fresh')}, keys=('Token legacy', 'Bearer fresh'))


@pytest.fixture(scope='module')
def annotator():
    return label_studio.Annotator()


@pytest.fixture
def backend(tmp_path, annotator, studio, running, monkeypatch):
    """A backend that listens; ``backend.post(path, body)``."""
    real = label_studio.Annotator
    monkeypatch.setattr(label_studio, 'Annotator', lambda model, device=None: annotator if model == 'voc20' else
                        real(model, device))
    made = Backend('voc20', str(tmp_path / 'work'), Server(studio.url, 'legacy'), effort=.05)
    made.url = running(make_server(label_studio.BackendHandler, backend=made))
    made.post = lambda path, body: requests.post(made.url + path, json=body, timeout=60)
    return made


def task(number=1, name='a.png', **other):
    return dict(id=number, data=dict(photo=f'/data/upload/1/{name}'), **other)


def chosen(*choices):
    return [dict(result=[dict(from_name='tags', to_name='image', type='choices', value=dict(choices=list(choices)))])]


def test_predictions_of_chosen_classes_pass_the_checks_of_the_sdk(backend, studio):
    assert requests.get(backend.url + '/health', timeout=9).json()['status'] == 'UP'
    backend.server.key = ''
    answer = backend.post('/setup', dict(project='3.17', schema=CONFIG, hostname='http://evil', access_token='legacy'))
    assert answer.json() == dict(model_version='voc20')
    studio.content['/data/upload/1/broken.png'] = b'no image'
    tasks = [task(annotations=chosen('dog')), task(2, 'b.png'), task(3, 'broken.png')]
    for config, kind in ((CONFIG, 'brushlabels'), (POLYGONS, 'polygonlabels')):
        answer = backend.post('/predict', dict(tasks=tasks, project='3.17', label_config=config, params={})).json()
        first, second, broken = answer['results']
        assert broken['result'] == [] and broken['score'] == 0  # the others have theirs
        for one, name in ((first, 'dog'), (second, 'pet')):  # what was chosen; what is recognized, under its name here
            assert {region['type'] for region in one['result']} == {kind, 'choices'}
            assert [label for region in one['result'] for label in region['value'].get(kind, [])][0] == name
            assert one['result'][-1]['value']['choices'][0] == name
            assert 0 < one['score'] <= 1 and one['model_version'] == 'voc20'
            assert interface(config).validate_prediction(one, return_errors=True) == []
    assert studio.asked == [('GET', one['data']['photo'], 'Token legacy', None) for one in tasks]  # once each


def click(kind, x, y, label='dog', **value):
    return dict(type=kind, original_width=451, original_height=300, is_positive=1,
                value=dict({'x': x, 'y': y, kind: [label]}, **value))


def test_clicks_and_rectangles(backend, covers):
    brush = pytest.importorskip('label_studio_sdk.converter.brush', reason='label-studio-sdk is not installed')
    def ask(*context, config=CONFIG):
        return backend.post('/predict', dict(tasks=[task()], project='3.17', label_config=config,
                                             params=dict(context=dict(result=list(context)))))

    point = click('keypointlabels', 50, 37, width=.5)
    box = click('rectanglelabels', 13, 2, width=75, height=96)
    for one in (point, box):
        prediction, = ask(one).json()['results']
        region, = prediction['result']
        assert interface(CONFIG).validate_prediction(prediction, return_errors=True) == []
        mask = brush.decode_rle(region['value']['rle']).reshape(300, 451, 4)[..., 3] > 0
        assert covers(mask) and region['value']['brushlabels'] == ['dog']
    polygon, = ask(point, config=POLYGONS).json()['results'][0]['result']
    assert polygon['type'] == 'polygonlabels' and np.array(polygon['value']['points']).max() <= 100
    assert ask(dict(point, is_positive=0)).json()['results'][0]['result'] == []
    answer = ask(click('keypointlabels', 50, 50, label='car'))
    assert answer.status_code == 400 and "'car' is no label for masks (dog, pet)" in answer.json()['error']


def test_what_is_refused(backend, monkeypatch):
    url = backend.url
    assert requests.post(url + '/predict', data='{}', timeout=9).status_code == 415  # a form of some page
    assert backend.post('/fit', {}).status_code == 404 and requests.get(url + '/x', timeout=9).status_code == 404
    with monkeypatch.context() as patch:
        patch.setattr(label_studio, 'MAX_REQUEST', 10)
        assert backend.post('/predict', dict(tasks=[])).status_code == 413
    backend.server.key = ''
    for body, message in ((dict(label_config='<View/>'), 'no <Image>'),
                          (dict(label_config=CONFIG, tasks=[dict(id=1, data={})]), "its data have no 'photo'"),
                          (dict(label_config=CONFIG, tasks=[task()]), 'refuses the key')):
        answer = backend.post('/predict', body)
        assert answer.status_code == 400 and message in answer.json()['error']
    answer = backend.post('/train', dict(label_config=POLYGONS.replace('Choices', 'Other'), annotations=[]))
    assert answer.status_code == 400 and '<Choices>' in answer.json()['error']
    assert backend.post('/webhook', dict(action='ANNOTATION_CREATED', annotation={})).json() == {}
    assert not list(backend.folder.rglob('*.png'))


def test_the_key_goes_to_label_studio_alone(studio):
    assert Server(studio.url, 'a.b.c').get('/data/upload/1/a.png') == studio.content['/data/upload/1/a.png']
    assert studio.asked == [('POST', '/api/token/refresh', None, dict(refresh='a.b.c')),
                            ('GET', '/data/upload/1/a.png', 'Bearer fresh', None)]
    with pytest.raises(OSError, match='refuses the key'):
        Server('http://elsewhere', 'legacy').get(studio.url + '/data/upload/1/a.png')
    assert studio.asked[-1][2] is None
    with pytest.raises(OSError, match='no address of the web'):
        Server(studio.url).get('file:///etc/hostname')


def test_a_bucket_is_read_through_label_studio(backend, studio):
    studio.content['/tasks/7/presign/?fileuri=czM6Ly9iL3guanBn'] = b'bytes'
    path = backend.photo(dict(id=7, data=dict(photo='s3://b/x.jpg')), Controls(CONFIG), 3)
    assert path.read_bytes() == b'bytes' and path.parent == backend.folder / 'project-3/photos'


#: parts of two photographs, by tag: four cats, four cups
PARTS = [(tag, of, (x, y, x + 320, y + 240)) for x, y in ((0, 0), (131, 0), (60, 20), (131, 60))
         for tag, of in (('cat', 'chelsea'), ('cup', 'coffee'))]
LEARN = '''<View><Image name="image" value="$photo"/>
  <BrushLabels name="mask" toName="image"><Label value="cat"/><Label value="cup"/></BrushLabels>
  <Choices name="tags" toName="image"><Choice value="cat"/><Choice value="cup"/></Choices></View>'''


@pytest.mark.slow
def test_learns_from_choices(backend, studio, photo):
    """"Start training": choices of the whole project, one model; the next prediction is its."""
    tasks = []
    for number, (tag, of, box) in enumerate(PARTS):
        studio.content[f'/data/upload/1/{number}.png'] = photo('new.png', of, box).read_bytes()
        tasks.append(task(number, f'{number}.png', annotations=chosen(tag)))
    tasks.append(task(99, 'gone.png', annotations=chosen('cat')))
    export = '/api/projects/3/export?exportType=JSON'
    studio.content[export] = tasks[:1]
    start = dict(action='START_TRAINING', project=dict(id=3, label_config=LEARN))
    assert backend.post('/webhook', start).json()['status'] == 'started'
    backend.trainings[3].join()
    assert backend.model(3)[1] == 'voc20'  # a single class teaches nothing
    studio.content[export] = tasks
    assert backend.post('/webhook', start).json()['status'] == 'started'
    assert backend.post('/webhook', start).json()['status'] == 'this project is being trained on'
    backend.trainings[3].join()
    annotator, version = backend.model(3)
    assert annotator.classes == ['cat', 'cup'] and version.startswith('project-3-')
    answer = backend.post('/predict', dict(tasks=[tasks[0]], project='3.17', label_config=LEARN, params={})).json()
    assert answer['model_version'] == version and answer['results'][0]['result'][0]['value']['brushlabels'] == ['cat']
    assert backend.model(4)[1] == 'voc20'  # of another project
    assert requests.get(backend.url + '/versions', timeout=9).json() == dict(versions=['voc20', version])
    assert Backend('voc20', str(backend.folder)).model(3)[1] == version  # after a restart


@pytest.mark.slow
def test_the_command_of_the_page(tmp_path):
    process = subprocess.Popen([sys.executable, '-W', 'ignore', '-m', label_studio.__name__, '--port', '0'],
                               cwd=tmp_path, stderr=subprocess.PIPE, text=True,
                               # shells in the background have it ignored
                               preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))
    try:
        address = next(line for line in process.stderr if 'listening on' in line).split()[-1]
        assert address.startswith('http://127.0.0.1:')
        assert requests.get(address + '/health', timeout=60).json() == dict(status='UP', model_class='mmiam')
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 130
    finally:
        process.kill()


@pytest.fixture
def real_studio(tmp_path):
    """Label Studio itself, in an environment of its own: address, headers."""
    program = os.environ.get('LABEL_STUDIO') or shutil.which('label-studio')
    if not program:
        pytest.skip('label-studio is not installed: pip install it into an environment of its own, and name its '
                    'program in the variable LABEL_STUDIO')
    with socket.socket() as free:
        free.bind(('127.0.0.1', 0))
        port = free.getsockname()[1]
    token, url, data = '0123456789abcdef0123456789abcdef01234567', f'http://127.0.0.1:{port}', str(tmp_path / 'data')
    env = dict(os.environ, ML_BLOCK_LOCAL_IP='false', SSRF_PROTECTION_ENABLED='false', COLLECT_ANALYTICS='false',
               LATEST_VERSION_CHECK='false', LABEL_STUDIO_BASE_DATA_DIR=data, LABEL_STUDIO_HOST=url)
    env.pop('PYTHONPATH', None)
    options = dict(port=port, username='a@example.org', password='secret-12345')
    words = [f'--{name}={value}' for name, value in {
        **options, 'internal-host': '127.0.0.1', 'data-dir': data, 'user-token': token}.items()]
    log = tmp_path / 'studio.log'
    process = subprocess.Popen([program, 'start', '--no-browser', '--enable-legacy-api-token', *words], env=env,
                               stdout=log.open('w'), stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL)

    def is_up():
        assert process.poll() is None, log.read_text()[-2000:]
        try:
            return requests.get(url + '/health', timeout=5).ok
        except requests.RequestException:
            return False

    try:
        for _ in range(900):  # it begins with a hundred migrations of its database
            if is_up():
                break
            time.sleep(1)
        yield url, dict(Authorization=f'Token {token}')
    finally:
        process.terminate()
        process.wait(30)


@pytest.mark.slow
def test_label_studio_itself(backend, real_studio, photo):
    """Connect, predict, click, start training, predict again; the key is a personal access token."""
    url, headers = real_studio

    def api(method, path, **settings):
        answer = requests.request(method, url + path, headers=headers, timeout=120, **settings)
        assert answer.ok, (path, answer.status_code, answer.text[:500])
        return answer.json() if answer.content else None

    backend.server = Server(url, api('POST', '/api/token/')['token'])
    assert backend.server.key.count('.') == 2
    project = api('POST', '/api/projects/', json=dict(title='pets', label_config=LEARN.replace(
        '</View>', '<KeyPointLabels name="point" toName="image" smart="true"><Label value="cat"/></KeyPointLabels>'
        '</View>')))['id']
    for number, (_, of, box) in enumerate(PARTS):
        with open(photo(f'{number}.png', of, box), 'rb') as file:
            api('POST', f'/api/projects/{project}/import', files=dict(file=file))
    ml = api('POST', '/api/ml/', json=dict(url=backend.url, project=project, title='mmiam', is_interactive=True))
    assert ml['state'] == 'CO' and ml['model_version'] == 'voc20'
    tasks = api('GET', f'/api/projects/{project}/tasks/')
    tasks.sort(key=lambda one: one['id'])
    for one, (tag, *_) in zip(tasks[:-1], PARTS):
        api('POST', f'/api/tasks/{one["id"]}/annotations/', json=dict(result=chosen(tag)[0]['result']))
    point = dict(click('keypointlabels', 70, 45, label='cat', width=.5), original_width=320, original_height=240)
    answer = api('POST', f'/api/ml/{ml["id"]}/interactive-annotating', json=dict(
        task=tasks[0]['id'], context=dict(result=[point])))
    assert answer['data']['result'][0]['value']['brushlabels'] == ['cat'], answer
    api('POST', f'/api/ml/{ml["id"]}/train', json={})
    backend.trainings[project].join()
    version = backend.model(project)[1]
    assert version.startswith(f'project-{project}-')
    api('POST', f'/api/dm/actions?id=retrieve_tasks_predictions&project={project}',
        json=dict(selectedItems=dict(all=True, excluded=[])))
    stored = api('GET', f'/api/predictions/?project={project}')
    assert {one['model_version'] for one in stored} == {version} and len(stored) == 8
    assert any(region['type'] == 'brushlabels' for one in stored for region in one['result'])
