"""``mmiam serve``: a page on your own machine that shows what the model sees in a photo, and takes clicks.

It uses Python's own server, so it runs wherever the package does. The page is ``serve.html``; it requests pictures and
json by the key of a photo, and no path in a request ever names a file. Only the browser of this machine gets answers,
unless another ``host`` is given.

Legend: H, W photo; h, w network input.
"""
from __future__ import annotations

import io
import json
import re
import secrets
import sys
import tempfile
import threading
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.structures import InstanceData
from PIL import Image

from mmiam.apis import CocoResults
from mmiam.apis.annotation_files import write_annotations
from mmiam.utils.images import read_image
from mmiam.visualization.maps import merge_maps
from mmiam.visualization.overlays import instance_colors, overlay_heatmap

from .annotator import Annotator
from .web import Handler, Refused, as_json, make_server

#: limits: bytes of a photo, bytes of any other request, photos whose state is kept, oldest dropped first (our choices)
MAX_PHOTO, MAX_REQUEST, MAX_PHOTOS = 2**26, 2**16, 8
#: the page's name for each map of an object, in its order -> field of the map
MAPS = dict(cam='cams', prm='prms', cue='maps', iam='iams')
LOOPBACK = ('127.0.0.1', 'localhost', '::1')


@dataclass
class Thing:
    """An object in a photo.

    ``found`` contains one instance (``masks`` (1, H, W), ``bboxes``, ``scores``), ``maps`` those of :data:`MAPS` that
    exist, (h, w) in [0, 1].
    """
    number: int
    name: str
    by: str
    found: InstanceData
    maps: dict[str, np.ndarray]


class Photo:
    """A photo with its objects, where every step can be undone.

    Args:
        annotator (Annotator): annotator that keeps maps.
        image (ndarray): RGB, uint8 (H, W, 3).
        name (str): what the photo is called in COCO json.
    """

    def __init__(self, annotator: Annotator, image: np.ndarray, name: str) -> None:
        self.image, self.name, self.classes = image, name, list(annotator.classes)
        self.made: list[Thing] = []
        found = annotator.masks(image)
        for number, label in enumerate(found.labels.tolist()):
            self.make(found[[number]], self.classes[label], 'model')
        self.session = annotator.session(image)
        self.history = [list(self.made)]

    def make(self, found: InstanceData, name: str, by: str) -> Thing:
        """Make a new object, which keeps its number for good."""
        shape = InstanceData(masks=found.masks, bboxes=found.bboxes, scores=found.scores)
        maps = {kind: merge_maps(found.get(field), normalize=kind != 'iam') for kind, field in MAPS.items()
                if field in found}
        self.made.append(Thing(len(self.made), name, by, shape, maps))
        return self.made[-1]

    @property
    def things(self) -> list[Thing]:
        """The current objects."""
        return self.history[-1]

    def change(self, step: str, asked: Any) -> None:
        """Take a step: 'add' or 'remove' an object, or 'undo' the last step.

        Args:
            step (str): 'add', 'remove' or 'undo'.
            asked (dict): for 'add', a ``point`` or a ``box`` (see :class:`PromptSession`) and a ``name``; for 'remove',
                the ``number`` of the object.

        Raises:
            ValueError: if the request or the prompt is malformed, or there is no mask at the prompt.
        """
        if not isinstance(asked, dict):
            raise ValueError('the request is not a json object')
        if step == 'add':
            prompt = {key: asked[key] for key in ('point', 'box') if key in asked}
            found = self.session([prompt]).cpu()
            if not len(found):
                raise ValueError('nothing was found there; try a box around the object')
            name = str(asked.get('name', '')).strip()[:80] or 'object'
            self.history.append([*self.things, self.make(found[[0]], name, 'box' if 'box' in prompt else 'click')])
        elif step == 'remove':
            self.history.append([thing for thing in self.things if thing.number != asked.get('number')])
        elif len(self.history) > 1:
            self.history.pop()

    def describe(self) -> dict:
        """Describe what the page shows, as plain values."""
        height, width = self.image.shape[:2]
        return dict(width=width, height=height, steps=len(self.history) - 1, things=[dict(
            number=thing.number, name=thing.name, by=thing.by, score=round(float(thing.found.scores[0]), 4),
            box=thing.found.bboxes[0].tolist(), maps=list(thing.maps),
            color=instance_colors(len(self.made))[thing.number].tolist()) for thing in self.things])

    def picture(self, number: int, kind: str) -> np.ndarray:
        """Draw an object's mask in its color, RGBA, or one of its maps over the photo, RGB: uint8 (H, W, 4 or 3).

        Raises:
            Refused: if there is no such picture.
        """
        if number >= len(self.made) or kind not in ('mask', *self.made[number].maps):
            raise Refused(404, 'there is no such picture')
        thing = self.made[number]
        if kind == 'mask':
            color = np.append(instance_colors(len(self.made))[number], 255)
            return np.where(thing.found.masks[0].numpy()[..., None], color, 0).astype(np.uint8)
        return overlay_heatmap(self.image, thing.maps[kind])

    def coco(self, file_name: str) -> dict:
        """Convert the objects to COCO json; the categories are those of the model, followed by the user's."""
        names = list(dict.fromkeys([*self.classes, *(thing.name for thing in self.things)]))
        results = CocoResults(names)
        shapes = [thing.found for thing in self.things]
        size = self.image.shape[:2]
        found = InstanceData.cat(shapes) if shapes else InstanceData(
            masks=torch.zeros(0, *size), bboxes=torch.zeros(0, 4), scores=torch.zeros(0))
        found.labels = torch.tensor([names.index(thing.name) for thing in self.things], dtype=torch.long)
        results.add(file_name, size, found)
        return results.content

    def png(self) -> bytes:
        """Draw all objects into one palette PNG, in which pixels of value i belong to the i-th object."""
        with tempfile.TemporaryDirectory() as folder:
            write_annotations(self.coco('photo.png'), folder, 'png')
            return Path(folder, 'masks', 'photo.png').read_bytes()


class Studio:
    """The open photos by key, and the lock that lets one request at a time work on them.

    Args:
        annotator (Annotator): annotator that keeps maps.
    """

    def __init__(self, annotator: Annotator) -> None:
        self.annotator, self.lock = annotator, threading.Lock()
        self.photos: dict[str, Photo] = {}  # oldest first

    def open(self, data: bytes, name: str) -> dict:
        """Open a photo, given the bytes of its file.

        Raises:
            ValueError: if it is not a photo, or too large.
        """
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, 'photo')
            path.write_bytes(data)
            try:
                image = read_image(path)
            except ValueError as error:
                raise ValueError(str(error).replace(f'image {path}', 'the photo').split('; ')[0]
                                 + '; a photo is a whole JPEG, PNG or WebP file of at most 268 megapixels') from None
        key = secrets.token_hex(8)  # random, so that nobody can guess the keys of other people's photos
        self.photos[key] = Photo(self.annotator, image, name)
        while len(self.photos) > MAX_PHOTOS:
            del self.photos[next(iter(self.photos))]
        return dict(self.photos[key].describe(), photo=key)

    def photo(self, key: str) -> Photo:
        """Return an open photo.

        Raises:
            Refused: if it is not open (any more).
        """
        if key not in self.photos:
            raise Refused(404, 'this photo is not open any more; drop it again')
        return self.photos[key]


class PageHandler(Handler):
    """Handler for the requests of ``serve.html``; :func:`make_server` sets ``studio``."""
    studio: Studio

    def match(self, pattern: str) -> tuple:
        """Match the address of the request, and return the groups of the pattern.

        Raises:
            Refused: if the address does not match, or the request is not meant for this machine.
        """
        # otherwise, a page of another site could read the answers by a host name that leads here (DNS rebinding)
        host = re.sub(r':\d+$', '', self.headers.get('Host', '')).strip('[]')
        if self.server.server_address[0] in LOOPBACK and host not in LOOPBACK:
            raise Refused(403, 'this page is for the browser of this machine: open it as localhost')
        found = re.fullmatch(pattern, self.path)
        if not found:
            raise Refused(404, 'there is no such page')
        return found.groups()

    def get(self) -> tuple[bytes, str]:
        """Return the page, a picture or a download."""
        key, what, number, kind = self.match(r'/(?:photo/([0-9a-f]{16})/(?:(photo|coco|png)|(\d{1,6})/(\w{1,9})))?')
        if key is None:
            return resources.files('mmiam.integrations').joinpath('serve.html').read_bytes(), 'text/html; charset=utf-8'
        with self.studio.lock:
            photo = self.studio.photo(key)
            if what == 'coco':
                return as_json(photo.coco(photo.name))
            if what == 'png':
                return photo.png(), 'image/png'
            picture, data = photo.image if what else photo.picture(int(number), kind), io.BytesIO()
        form = 'PNG' if picture.shape[2] == 4 else 'JPEG'
        Image.fromarray(picture).save(data, form, quality=95)
        return data.getvalue(), f'image/{form.lower()}'

    def post(self) -> tuple[bytes, str]:
        """Open a new photo, or change the objects of one."""
        key, step = self.match(r'/photo(?:/([0-9a-f]{16})/(add|remove|undo))?')
        if key is None:
            data = self.body('application/octet-stream', MAX_PHOTO)
            name = re.split(r'[\\/]', self.headers.get('X-Name', ''))[-1]
            with self.studio.lock:
                return as_json(self.studio.open(data, name[:200] or 'photo'))
        asked = json.loads(self.body('application/json', MAX_REQUEST))
        with self.studio.lock:
            photo = self.studio.photo(key)
            photo.change(step, asked)
            return as_json(photo.describe())

    def log_message(self, *args: Any) -> None:
        """Log nothing, since the page says what went wrong."""


def serve(model: str, host: str, port: int, device: str | None = None) -> int:
    """Serve the page until it is interrupted."""
    studio = Studio(Annotator(model, device, maps=True))
    with make_server(PageHandler, host, port, studio=studio) as server:
        print(f'open http://{host}:{server.server_port} in a browser; Ctrl+C ends it', flush=True)
        if host not in LOOPBACK:
            print(f'--host {host}: whoever reaches this machine can use the page; there is no password',
                  file=sys.stderr)
        server.serve_forever()
    return 0
