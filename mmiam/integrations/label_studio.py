"""Label Studio: a backend that predicts masks, answers clicks, and learns from choices for whole images.

    python -m mmiam.integrations.label_studio --model voc20

It speaks the protocol of Label Studio's machine learning backends (``/health``, ``/setup``, ``/predict``,
``/webhook``, ``/train``) with nothing but Python's own server, because the SDK for such backends needs other releases
of OpenCV and numpy than this package.
"""
from __future__ import annotations

import argparse
import base64
import hashlib
import json
import logging
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urljoin, urlsplit
from xml.etree import ElementTree

import numpy as np
import requests
from pooch import file_hash

from mmiam.apis.options import add_options, tool
from mmiam.utils.files import atomic_write, write_json
from mmiam.utils.images import IMAGE_SUFFIXES, read_image

from .annotator import Annotator, Found, click, outlines
from .web import Handler, Refused, as_json, make_server

LOGGER = logging.getLogger('mmiam.label_studio')
#: limits in bytes of a request and of an image (our choice: enough for a hundred photos)
MAX_REQUEST, MAX_IMAGE = 2**28, 2**28


def encode_brush(mask: np.ndarray) -> list[int]:
    """Encode a mask, bool (H, W), as the bytes of Label Studio's brush: four equal channels, in runs of 0 and 255.

    A run consists of a bit 1, two bits for the width of its length (3, 4, 8 or 16 bits), its length minus one, and its
    value.
    """
    flat = np.repeat(mask.ravel(), 4)
    ends = np.flatnonzero(np.append(flat[1:] != flat[:-1], True)) + 1
    bits = [f'{len(flat):032b}', f'{8 - 1:05b}', *(f'{width - 1:04b}' for width in (3, 4, 8, 16))]
    for end, length in zip(ends.tolist(), np.diff(ends, prepend=0).tolist()):
        run = f'{255 * int(flat[end - 1]):08b}'
        while length > 0:
            part = min(length, 2**16)
            bits.append(f'111{part - 1:016b}{run}')
            length -= part
    return np.packbits(np.frombuffer(''.join(bits).encode(), np.uint8) == ord('1')).tolist()


class Controls:
    """What a labeling configuration asks for: an image, labels for masks, and choices.

    Args:
        config (str): the configuration, as XML.

    Attributes:
        image (str): key of the image in the task's data.
        mask (str): 'brushlabels' or 'polygonlabels', the first of them in the configuration; '' if it has neither.
        names (dict[str, list[str]]): names of the model for each label of the configuration: those in the label's
            ``predicted_values``, separated by commas, or else its own.
        choices (dict[str, list[str]]): the same for each choice.

    Raises:
        ValueError: if the configuration has no image, or is not XML.
    """

    def __init__(self, config: str) -> None:
        try:
            tags = list(ElementTree.fromstring(config).iter())
        except ElementTree.ParseError as error:
            raise ValueError(f'the labeling configuration is no XML: {error}') from None
        image = next((tag for tag in tags if tag.tag == 'Image'), None)
        if image is None:
            raise ValueError('the labeling configuration has no <Image>: masks are of images')
        self.image, self.to_name = image.get('value', '').lstrip('$'), image.get('name', '')
        mine = [tag for tag in tags if tag.get('toName', self.to_name) == self.to_name]
        nothing = ElementTree.Element('')
        masks = next((tag for tag in mine if tag.tag in ('BrushLabels', 'PolygonLabels')), nothing)
        choices = next((tag for tag in mine if tag.tag == 'Choices'), nothing)
        self.mask, self.mask_name, self.names = masks.tag.lower(), masks.get('name', ''), self._names(masks, 'Label')
        self.choices_name, self.choices = choices.get('name', ''), self._names(choices, 'Choice')
        self.one_choice = choices.get('choice', 'single').startswith('single')

    @staticmethod
    def _names(control: ElementTree.Element, tag: str) -> dict[str, list[str]]:
        return {label.get('value', ''): label.get('predicted_values', label.get('value', '')).split(',')
                for label in control.iter(tag)}

    def chosen(self, task: dict) -> list[str] | None:
        """Return the choices of the task's last annotation that has any; None if there is no such annotation."""
        for annotation in reversed(task.get('annotations') or []):
            if not annotation.get('was_cancelled'):
                found = [choice for one in annotation.get('result') or [] if one.get('from_name') == self.choices_name
                         for choice in one.get('value', {}).get('choices', [])]
                if found:
                    return found
        return None

    def suggest(self, found: list[Found]) -> Iterator[dict]:
        """Suggest the choices that the masks speak for."""
        names = [name for name in dict.fromkeys(name for name, *_ in found) if name in self.choices]
        if names:
            yield dict(from_name=self.choices_name, to_name=self.to_name, type='choices',
                       value=dict(choices=names[:1] if self.one_choice else names))

    def regions(self, found: list[Found]) -> Iterator[dict]:
        """Convert masks to regions of Label Studio: one brush per mask, or one polygon per outline."""
        for name, mask, score in found:
            if name not in self.names:
                continue
            height, width = mask.shape
            common = dict(from_name=self.mask_name, to_name=self.to_name, type=self.mask, score=score,
                          original_width=width, original_height=height, image_rotation=0)
            if self.mask == 'brushlabels':
                yield dict(common, value=dict(format='rle', rle=encode_brush(mask), brushlabels=[name]))
                continue
            for outline in outlines(mask):
                points = (outline * (100 / width, 100 / height)).tolist()
                yield dict(common, value=dict(points=points, closed=True, polygonlabels=[name]))


class Server:
    """Label Studio itself, from which files are fetched with the key of a user: a personal access or legacy token."""

    def __init__(self, url: str = 'http://localhost:8080', key: str = '') -> None:
        self.url, self.key = url.rstrip('/'), key

    def get(self, address: str) -> bytes:
        """Fetch what is at an address; a relative one is an address of Label Studio, the only receiver of the key.

        Raises:
            OSError: if it cannot be fetched, or is larger than ``MAX_IMAGE``.
        """
        address = urljoin(self.url + '/', address)
        if urlsplit(address).scheme not in ('http', 'https'):
            raise OSError(f'{address} is no address of the web')
        mine = bool(self.key) and urlsplit(address)[:2] == urlsplit(self.url)[:2]
        with requests.get(address, headers=self._login() if mine else {}, timeout=60, stream=True) as answer:
            if answer.status_code == 401:
                raise OSError(f'{address}: Label Studio refuses the key; put a personal access token (Account & '
                              'Settings) into LABEL_STUDIO_API_KEY')
            answer.raise_for_status()
            content = answer.raw.read(MAX_IMAGE + 1, decode_content=True)
        if len(content) > MAX_IMAGE:
            raise OSError(f'{address} has more than {MAX_IMAGE} bytes')
        return content

    def _login(self) -> dict[str, str]:
        if self.key.count('.') != 2:
            return dict(Authorization=f'Token {self.key}')
        answer = requests.post(f'{self.url}/api/token/refresh', json=dict(refresh=self.key), timeout=60)
        answer.raise_for_status()
        return dict(Authorization=f'Bearer {answer.json()["access"]}')


class Backend:
    """The models of all projects, and the answers to requests.

    Args:
        model (str): model for projects that have not trained their own, see :func:`mmiam.load`.
        folder (str): folder for the photos of each project, and for the model that is learned from its choices.
        server (Server): where photos and choices are fetched from.
        effort (float): factor for the length of training.
        device (str, optional): device of the network.
    """

    def __init__(self, model: str = 'voc20', folder: str = 'label_studio', server: Server | None = None,
                 effort: float = 1., device: str | None = None) -> None:
        self.published = Annotator(model, device), model
        self.folder, self.server, self.effort, self.device = Path(folder), server or Server(), effort, device
        self.own: dict[int, tuple[Annotator, str]] = {}
        self.session: tuple = (None, None)
        self.busy = threading.Lock()  # one image at a time
        self.trainings: dict[int, threading.Thread] = {}

    def home(self, project: int) -> Path:
        """Return the folder of a project."""
        return self.folder / f'project-{project}'

    def model(self, project: int) -> tuple[Annotator, str]:
        """Return the model learned from a project's choices, or else the published one, and its version."""
        path = self.home(project) / 'model' / 'model.pth'
        if project not in self.own and path.is_file():
            self.own[project] = Annotator(str(path.parent), self.device), f'project-{project}-{file_hash(path)[:8]}'
        return self.own.get(project, self.published)

    def versions(self) -> dict:
        """Answer ``/versions``: the versions of the models in use."""
        return dict(versions=[version for _, version in (self.published, *self.own.values())])

    def setup(self, body: dict) -> dict:
        """Answer ``/setup``: check the labeling configuration, and return the model's version.

        If this backend was given no key, it takes the one in the request, but never an address.
        """
        Controls(body.get('schema') or body.get('label_config') or '')
        self.server.key = self.server.key or body.get('access_token') or ''
        return dict(model_version=self.model(project_of(body))[1])

    def photo(self, task: dict, controls: Controls, project: int) -> Path:
        """Return the file of a task's image, which is fetched once."""
        address = str((task.get('data') or {}).get(controls.image) or '')
        if not address:
            raise ValueError(f'task {task.get("id")} has no image: its data have no {controls.image!r}')
        suffix = Path(urlsplit(address).path).suffix.lower()
        name = f'{int(task.get("id") or 0)}-{hashlib.sha256(address.encode()).hexdigest()[:12]}'
        path = self.home(project) / 'photos' / (name + (suffix if suffix in IMAGE_SUFFIXES else '.jpg'))
        if not path.is_file():
            if urlsplit(address).scheme not in ('', 'http', 'https'):  # a bucket, which Label Studio can read
                address = (f'/tasks/{int(task["id"])}/presign/?fileuri='
                           f'{base64.urlsafe_b64encode(address.encode()).decode()}')
            atomic_write(path, self.server.get(address))
        return path

    def predict(self, body: dict) -> dict:
        """Answer ``/predict``: masks for tasks, or for the one task in which the user clicks.

        If one of several tasks cannot be read, it gets no masks, so that the others get theirs.
        """
        controls, project = Controls(body.get('label_config') or ''), project_of(body)
        context = ((body.get('params') or {}).get('context') or {}).get('result') or []
        annotator, version = self.model(project)
        results, tasks = [], body.get('tasks') or []
        for task in tasks:
            try:
                path = self.photo(task, controls, project)
                with self.busy:
                    found = self.clicked(annotator, path, context, controls) if context else self.recognized(
                        annotator, path, controls, controls.chosen(task))
            except (OSError, ValueError) as error:
                if len(tasks) == 1:
                    raise
                LOGGER.warning('task %s has no masks: %s', task.get('id'), error)
                found = []
            suggested = [] if context else controls.suggest(found)
            results.append(dict(model_version=version, score=min((score for *_, score in found), default=0.),
                                result=[*controls.regions(found), *suggested]))
        return dict(results=results, model_version=version)

    def recognized(self, annotator: Annotator, path: Path, controls: Controls, chosen: list[str] | None) -> list[Found]:
        """Find the objects of an image that the configuration has labels for; if classes were chosen, only those."""
        tags = None if chosen is None else [
            name for choice in chosen for name in controls.choices.get(choice, [choice])]
        return annotator.find(read_image(path), controls.names or controls.choices, tags)

    def clicked(self, annotator: Annotator, path: Path, context: list[dict], controls: Controls) -> list[Found]:
        """Find the object that key points and rectangles show; negative ones are ignored."""
        prompts, label = [], ''
        for one in context:
            value, size = one['value'], (one['original_width'], one['original_height'])
            labels = value.get('keypointlabels') or value.get('rectanglelabels') or value.get('labels') or []
            if not one.get('is_positive', True):
                continue
            label = label or next(iter(labels), '')
            x, y = (value[axis] * side / 100 for axis, side in zip('xy', size))
            wide, high = (value.get(side, 0) * pixels / 100 for side, pixels in zip(('width', 'height'), size))
            prompts.append(dict(box=(x, y, x + wide, y + high)) if 'rectangle' in one['type'] else dict(point=(x, y)))
        if prompts and label not in controls.names:
            raise ValueError(f'{label!r} is no label for masks ({", ".join(controls.names)}): give the key points and '
                             'rectangles the labels of <BrushLabels> or <PolygonLabels>')
        if self.session[0] != (path, annotator):
            self.session = (path, annotator), annotator.session(read_image(path))
        mask = click(self.session[1], prompts) if prompts else None
        return [] if mask is None else [(label, mask, 1.)]

    def webhook(self, body: dict) -> dict:
        """Answer ``/webhook``: of all events in a project, only "start training" has an effect."""
        if body.get('action') != 'START_TRAINING':
            return {}
        project = body.get('project') or {}
        return self.train(dict(project=project.get('id'), label_config=project.get('label_config')))

    def train(self, body: dict) -> dict:
        """Answer ``/train``: begin to learn from the choices in ``annotations``, or in all tasks of the project."""
        project = project_of(body)
        if project in self.trainings and self.trainings[project].is_alive():
            return dict(job=f'project-{project}', status='this project is being trained on')
        controls, tasks = Controls(body.get('label_config') or ''), body.get('annotations')
        if not controls.choices_name:
            raise ValueError('learning needs <Choices>: what is in the whole image')
        if tasks is None:
            tasks = json.loads(self.server.get(f'/api/projects/{project}/export?exportType=JSON'))
        thread = self.trainings[project] = threading.Thread(
            target=self.fit, args=(tasks, controls, project), daemon=True)
        thread.start()
        return dict(job=f'project-{project}', status='started')

    def fit(self, tasks: list[dict], controls: Controls, project: int) -> None:
        """Learn classes from the choices of tasks, as ``mmiam label`` does; the next prediction uses the new model."""
        home = self.home(project)
        ids: dict[str, int] = {}
        images = []
        for task in tasks:
            chosen = controls.chosen(task)
            try:
                if chosen:
                    images.append(dict(id=len(images) + 1, file_name=self.photo(task, controls, project).name,
                                       category_ids=[ids.setdefault(name, len(ids) + 1) for name in chosen]))
            except (OSError, ValueError) as error:
                LOGGER.warning('task %s is left out: %s', task.get('id'), error)
        write_json(str(home / 'tags.json'), dict(images=images, categories=[
            dict(id=number, name=name) for name, number in ids.items()]))
        LOGGER.info('project %s: %s photos with choices', project, len(images))
        command = [sys.executable, '-m', 'mmiam', 'label', str(home / 'photos'), '--out', str(home / 'masks.json'),
                   '--tags', str(home / 'tags.json'), '--work-dir', str(home / 'model'), '--effort', str(self.effort)]
        done = subprocess.run(command + (['--device', self.device] if self.device else []), stdin=subprocess.DEVNULL)
        if done.returncode not in (0, 1):  # 1: some photos could not be read
            LOGGER.error('project %s: the training failed, see above; the earlier model stays', project)
            return
        with self.busy:
            self.own.pop(project, None)  # the model of an earlier training
            LOGGER.info('project %s: %s', project, self.model(project)[1])


def project_of(body: dict) -> int:
    """Read the number of a request's project; some requests put a time behind it, as in '3.1700'."""
    return int(str(body.get('project') or 0).split('.')[0])


class BackendHandler(Handler):
    """Handler for requests in json; :func:`make_server` sets ``backend``."""
    backend: Backend

    def get(self) -> tuple[bytes, str]:
        """Answer ``/``, ``/health`` and ``/versions``."""
        path = urlsplit(self.path).path
        if path == '/versions':
            return as_json(self.backend.versions())
        if path not in ('/', '/health'):
            raise Refused(404, f'nothing at {path}')
        return as_json(dict(status='UP', model_class='mmiam'))

    def post(self) -> tuple[bytes, str]:
        """Answer ``/setup``, ``/predict``, ``/webhook`` and ``/train``."""
        path = urlsplit(self.path).path
        if path not in ('/setup', '/predict', '/webhook', '/train'):
            raise Refused(404, f'nothing at {path}')
        return as_json(getattr(self.backend, path[1:])(json.loads(self.body('application/json', MAX_REQUEST))))

    def log_message(self, form: str, *args: Any) -> None:
        """Write a line to the log."""
        LOGGER.info(form, *args)


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser('python -m mmiam.integrations.label_studio', description='A backend for Label '
                                     'Studio: masks, clicks, and learning from choices.')
    add_options(parser, '--model', '--effort', '--host', '--port', '--device')
    parser.add_argument('--folder', default='label_studio', help='photos and trained models (default: label_studio)')
    parser.add_argument('--url', default='http://localhost:8080', help='address of Label Studio (default: '
                        'http://localhost:8080); the key of a user is read from the variable LABEL_STUDIO_API_KEY')
    parser.set_defaults(port=9090)
    return parser


@tool
def main(argv: list[str] | None = None) -> None:
    """Serve until interrupted."""
    args = make_parser().parse_args(argv)
    logging.basicConfig(level=logging.INFO, format='%(asctime)s %(message)s')
    backend = Backend(args.model, args.folder, Server(args.url, os.environ.get('LABEL_STUDIO_API_KEY', '')),
                      args.effort, args.device)
    with make_server(BackendHandler, args.host, args.port, backend=backend) as server:
        LOGGER.info('listening on http://%s:%s', args.host, server.server_port)
        server.serve_forever()


if __name__ == '__main__':
    sys.exit(main())
