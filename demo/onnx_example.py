"""Masks of a photo from exported files, without torch: this needs only numpy, Pillow and onnxruntime.

    mmiam export voc20 --out exported
    python demo/onnx_example.py exported photo.jpg masks            # what it recognizes
    python demo/onnx_example.py exported photo.jpg masks 180 130    # the object at this pixel
"""
import json
import sys
from pathlib import Path

import numpy as np
import onnxruntime
from PIL import Image, ImageOps


def run(path, inputs):
    """Run a graph, and return its outputs by name."""
    session = onnxruntime.InferenceSession(str(path))
    return dict(zip([one.name for one in session.get_outputs()], session.run(None, inputs)))


def main(folder, photo, out, *click):
    image = np.asarray(ImageOps.exif_transpose(Image.open(photo)).convert('RGB'))
    found = run(Path(folder, 'photo.onnx'), dict(image=image))
    names = [json.loads(Path(folder, 'classes.json').read_text())[label] for label in found['labels']]
    if click:
        x, y = map(float, click)  # a click is a box without extent
        state = {name: found[name] for name in ('weights', 'context', 'guide')}
        prompts = np.array([[x, y, x, y]], np.float32)
        found = run(Path(folder, 'click.onnx'), dict(state, size=np.array(image.shape[:2]), prompts=prompts))
        names = ['object']
    Path(out).mkdir(parents=True, exist_ok=True)
    for number, (name, score, mask) in enumerate(zip(names, found['scores'], found['masks'])):
        if click or score >= 0.6:
            Image.fromarray(mask.astype(np.uint8) * 255).save(Path(out, f'{number}_{name.split(",")[0]}.png'))
            print(f'{name} {100 * score:.0f}%')


if __name__ == '__main__':
    main(*sys.argv[1:])
