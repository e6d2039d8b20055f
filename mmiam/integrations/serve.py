"""``mmiam serve``: a page on one's own machine that shows what the model sees in a photo, and takes clicks.

Python's own server, so that it runs wherever the package does. The page is ``serve.html``; it asks for pictures and
json below the number of a photo, and no path of a request is a file's. It answers the browser of this machine alone,
unless another ``host`` is given.

Legend: H, W photo; h, w network input.
"""
from __future__ import annotations

import json
import re
import secrets
import sys
import tempfile
import threading
import traceback
from collections import OrderedDict
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import resources
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from mmdet.structures import DetDataSample
from mmengine.structures import InstanceData

from mmiam.apis import CocoResults
from mmiam.apis.annotation_files import write_annotations
from mmiam.apis.options import sentence
from mmiam.utils.images import read_image
from mmiam.visualization.maps import merge_maps
from mmiam.visualization.overlays import instance_colors, overlay_heatmap

from .annotator import Annotator

#: bytes of a photo, and of any other request; photos whose state is kept, the oldest goes first (our choices)
MAX_PHOTO, MAX_REQUEST, MAX_PHOTOS = 2**26, 2**16, 8
#: maps of an object by the name that the page has for them, in its order
MAPS = dict(cam='cams', prm='prms', cue='maps', iam='iams')
LOOPBACK = ('127.0.0.1', 'localhost', '::1')


class Refused(Exception):
    """Carries the status of a request that is not answered, beside the sentence for the user."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


@dataclass
class Thing:
    """An object of a photo: ``found`` has one instance, with masks (1, H, W) and maps (1, h, w)."""
    number: int
    name: str
    by: str
    found: InstanceData


class Photo:
    """A photo with its objects, of which any step can be undone.

    Args:
        annotator (Annotator): with maps.
        image (ndarray): RGB, uint8 (H, W, 3).
        name (str): what the photo is called in COCO json.
    """

    def __init__(self, annotator: Annotator, image: np.ndarray, name: str) -> None:
        self.image, self.name, self.classes = image, name, list(annotator.classes)
        found = annotator.masks(image)
        self.made = [Thing(number, self.classes[int(found.labels[number])], 'model', found[[number]])
                     for number in range(len(found))]
        self.session = annotator.session(image)
        self.history = [list(self.made)]

    @property
    def things(self) -> list[Thing]:
        """The objects there are now."""
        return self.history[-1]

    def add(self, prompt: dict, name: str) -> None:
        """One more object, at a click or in a box, ``prompt`` as of :class:`PromptSession`.

        Raises:
            ValueError: for a prompt that is none, or if there is no mask.
        """
        found = self.session([prompt]).cpu()
        if not len(found):
            raise ValueError('nothing was found there; try a box around the object')
        by = 'box' if 'box' in prompt else 'click'
        self.made.append(Thing(len(self.made), name.strip()[:80] or 'object', by, found[[0]]))
        self.history.append([*self.things, self.made[-1]])

    def remove(self, number: int) -> None:
        """Leave an object out; a number that is none changes nothing."""
        self.history.append([thing for thing in self.things if thing.number != number])

    def undo(self) -> None:
        """Take the last step back, if there is one."""
        if len(self.history) > 1:
            self.history.pop()

    def describe(self) -> dict:
        """What the page shows."""
        height, width = self.image.shape[:2]
        return dict(width=width, height=height, steps=len(self.history) - 1, things=[dict(
            number=thing.number, name=thing.name, by=thing.by, score=round(float(thing.found.scores[0]), 4),
            box=thing.found.bboxes[0].tolist(), maps=[kind for kind, field in MAPS.items() if field in thing.found],
            color=instance_colors(len(self.made))[thing.number].tolist()) for thing in self.things])

    def picture(self, number: int, kind: str) -> np.ndarray:
        """RGB or RGBA, uint8: the photo, a thing's mask (H, W, 4) in its color, or one of its maps over the photo.

        Raises:
            Refused: if there is no such picture.
        """
        if kind == 'photo':
            return self.image
        if not 0 <= number < len(self.made) or kind != 'mask' and MAPS.get(kind) not in self.made[number].found:
            raise Refused(404, 'there is no such picture')
        found = self.made[number].found
        if kind == 'mask':
            mask = found.masks[0].numpy()
            color = np.append(instance_colors(len(self.made))[number], 255)
            return np.where(mask[..., None], color, 0).astype(np.uint8)
        return overlay_heatmap(self.image, merge_maps(found.get(MAPS[kind]), normalize=kind != 'iam'))

    def coco(self, file_name: str) -> dict:
        """The objects as COCO json; categories are the model's, and after them the user's."""
        names = [*self.classes, *dict.fromkeys(thing.name for thing in self.things if thing.name not in self.classes)]
        results = CocoResults(names)
        sample = DetDataSample(metainfo=dict(ori_shape=self.image.shape[:2]))
        kept = [thing.found for thing in self.things]
        sample.pred_instances = InstanceData(
            labels=torch.tensor([names.index(thing.name) for thing in self.things], dtype=torch.long),
            masks=torch.cat([one.masks for one in kept]) if kept else torch.zeros((0, *self.image.shape[:2])).bool(),
            bboxes=torch.cat([one.bboxes for one in kept]) if kept else torch.zeros(0, 4),
            scores=torch.cat([one.scores for one in kept]) if kept else torch.zeros(0))
        results.add(file_name, sample)
        return results.content

    def png(self) -> bytes:
        """One palette PNG, pixel i of the i-th object."""
        with tempfile.TemporaryDirectory() as folder:
            write_annotations(self.coco('photo.png'), folder, 'png')
            return Path(folder, 'masks', 'photo.png').read_bytes()


class Studio:
    """Photos by number, one request at a time.

    Args:
        annotator (Annotator): with maps.
    """

    def __init__(self, annotator: Annotator) -> None:
        self.annotator, self.lock = annotator, threading.Lock()
        self.photos: OrderedDict[str, Photo] = OrderedDict()

    def open(self, data: bytes, name: str) -> dict:
        """A new photo from the bytes of its file.

        Raises:
            ValueError: if it is no photo, or a too large one.
        """
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, 'photo')
            path.write_bytes(data)
            try:
                image = read_image(path)
            except ValueError as error:
                raise ValueError(str(error).replace(f'image {path}', 'the photo').split('; ')[0]
                                 + '; a photo is a whole JPEG, PNG or WebP file of at most 268 megapixels') from None
        key = secrets.token_hex(8)  # no guessing at other people's photos where there are several people
        self.photos[key] = Photo(self.annotator, image, name)
        while len(self.photos) > MAX_PHOTOS:
            self.photos.popitem(last=False)
        return dict(self.photos[key].describe(), photo=key)

    def photo(self, key: str) -> Photo:
        """An open photo.

        Raises:
            Refused: if it is not open.
        """
        if key not in self.photos:
            raise Refused(404, 'this photo is not open any more; drop it again')
        return self.photos[key]

    def change(self, key: str, step: str, asked: Any) -> dict:
        """Take a step: 'add' with ``point`` or ``box`` and ``name``, 'remove' with ``number``, or 'undo'.

        Raises:
            ValueError: for a request that is none.
        """
        photo = self.photo(key)
        if not isinstance(asked, dict):
            raise ValueError('the request is not a json object')
        if step == 'add':
            photo.add({key: asked[key] for key in ('point', 'box') if key in asked}, str(asked.get('name', '')))
        elif step == 'remove':
            photo.remove(asked.get('number', -1))
        else:
            photo.undo()
        return photo.describe()


class Handler(BaseHTTPRequestHandler):
    """The requests of ``serve.html``."""
    server: Any
    timeout = 60  # seconds that a silent connection is waited for

    def do_GET(self) -> None:
        """The page, pictures, downloads."""
        self.answer(self.get)

    def do_POST(self) -> None:
        """A new photo, or a change of its objects."""
        self.answer(self.post)

    def get(self) -> tuple[bytes, str]:
        """Body and type of an answer."""
        if self.path == '/':
            page = resources.files('mmiam.integrations').joinpath('serve.html').read_bytes()
            return page, 'text/html; charset=utf-8'
        found = re.fullmatch(r'/photo/([0-9a-f]{16})/(?:(photo|coco|png)|(\d{1,6})/(\w{1,9}))', self.path)
        if not found:
            raise Refused(404, 'there is no such page')
        key, what, number, kind = found.groups()
        photo = self.server.studio.photo(key)
        if what == 'coco':
            return json.dumps(photo.coco(photo.name)).encode(), 'application/json'
        if what == 'png':
            return photo.png(), 'image/png'
        picture = photo.picture(int(number or 0), kind or 'photo')
        form = '.png' if picture.shape[2] == 4 else '.jpg'
        order = cv2.COLOR_RGBA2BGRA if picture.shape[2] == 4 else cv2.COLOR_RGB2BGR
        return cv2.imencode(form, cv2.cvtColor(picture, order))[1].tobytes(), f'image/{form[1:].replace("jpg", "jpeg")}'

    def post(self) -> tuple[bytes, str]:
        """As :meth:`get`."""
        found = re.fullmatch(r'/photo(?:/([0-9a-f]{16})/(add|remove|undo))?', self.path)
        if not found:
            raise Refused(404, 'there is no such page')
        # of types that a foreign page may not send without asking, and asking is not answered
        kind = 'application/json' if found[1] else 'application/octet-stream'
        if self.headers.get_content_type() != kind:
            raise Refused(415, f'the type of the request must be {kind}')
        data = self.body(MAX_REQUEST if found[1] else MAX_PHOTO)
        if not found[1]:
            name = re.split(r'[\\/]', self.headers.get('X-Name', ''))[-1]
            return json.dumps(self.server.studio.open(data, name[:200] or 'photo')).encode(), 'application/json'
        return json.dumps(self.server.studio.change(found[1], found[2], json.loads(data))).encode(), 'application/json'

    def body(self, most: int) -> bytes:
        """What was sent.

        Raises:
            Refused: if it is too long, or does not tell its length.
        """
        length = self.headers.get('Content-Length', '')
        if not re.fullmatch(r'\d{1,15}', length):
            raise Refused(411, 'the request does not tell its length')
        if int(length) > most:
            raise Refused(413, f'the file is too large: {int(length) / 2**20:.0f} MiB, at most {most / 2**20:.0f} MiB '
                          'are taken; make the photo smaller')
        return self.rfile.read(int(length))

    def answer(self, work: Any) -> None:
        """Send what ``work`` gives; what a user can mend becomes one sentence."""
        status = 200
        try:
            # a foreign name that leads here is how another site's page would read the answers (DNS rebinding)
            host = re.sub(r':\d+$', '', self.headers.get('Host', '')).strip('[]')
            if self.server.local and host not in LOOPBACK:
                raise Refused(403, 'this page is for the browser of this machine: open it as localhost')
            with self.server.studio.lock:
                data, kind = work()
        except Refused as error:
            status, text = error.status, str(error)
        except (ValueError, KeyError) as error:
            status, text = 400, sentence(error)
        except Exception:
            traceback.print_exc()
            status, text = 500, 'a fault of the program: the window that mmiam serve runs in says more'
        if status != 200:
            data, kind = json.dumps(dict(error=text)).encode(), 'application/json'
            self.close_connection = True  # what was not read of the request is not the next one
        self.send_response(status)
        for name, value in {
                'Content-Type': kind, 'Content-Length': str(len(data)), 'Cache-Control': 'no-store',
                'X-Content-Type-Options': 'nosniff', 'Content-Security-Policy':
                "default-src 'none'; img-src 'self'; connect-src 'self'; script-src 'unsafe-inline'; "
                "style-src 'unsafe-inline'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *args: Any) -> None:
        """Nothing: the page says what went wrong."""


def make_server(annotator: Annotator, host: str = '127.0.0.1', port: int = 0) -> ThreadingHTTPServer:
    """A server that is not running yet; with port 0 at a free one.

    Raises:
        ValueError: if nothing can be served there.
    """
    try:
        server: Any = ThreadingHTTPServer((host, port), Handler)
    except (OSError, OverflowError) as error:
        raise ValueError(f'nothing can be served at {host}:{port} ({error}); another one is --port '
                         f'{port % 60000 + 1}') from None
    server.studio, server.local = Studio(annotator), host in LOOPBACK
    return server


def serve(model: str, host: str, port: int, device: str | None = None) -> int:
    """Serve the page until it is interrupted."""
    server = make_server(Annotator(model, device, maps=True), host, port)
    print(f'open http://{host}:{server.server_port} in a browser; Ctrl+C ends it', flush=True)
    if host not in LOOPBACK:
        print(f'--host {host}: whoever reaches this machine can use the page; there is no password', file=sys.stderr)
    with server:
        server.serve_forever()
    return 0
