"""Records of predictions and ground truth as json: written safely, read back without a model."""
import json
import os
import tempfile
from collections.abc import Mapping, Sequence

FORMAT = 'mmiam-instances-1'
_KEYS = {'img_id', 'height', 'width', 'image_labels', 'void_mask', 'ground_truth', 'predictions'}


def write_json(path: str, content: object) -> None:
    """Write json to a temporary name in the same folder, then move it into place."""
    folder = os.path.dirname(os.path.abspath(path))
    os.makedirs(folder, exist_ok=True)
    handle, temporary = tempfile.mkstemp(prefix='.' + os.path.basename(path), suffix='.tmp', dir=folder)
    try:
        with os.fdopen(handle, 'w', encoding='utf-8') as file:
            json.dump(content, file, separators=(',', ':'))
        umask = os.umask(0)
        os.umask(umask)
        os.chmod(temporary, 0o666 & ~umask)
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


def save_dump(path: str, records: Sequence[Mapping], classes: Sequence[str], pred_field: str) -> None:
    """Write records (see :mod:`mmiam.evaluation.functional.records`).

    Args:
        path (str): The json file; its folder is made.
        records (Sequence[Mapping]): All images.
        classes (Sequence[str]): Class names; the label is the position.
        pred_field (str): Which predictions of the model these are.
    """
    write_json(path, dict(format=FORMAT, pred_field=pred_field, classes=list(classes), images=list(records)))


def load_dump(path: str) -> dict:
    """Read what :func:`save_dump` wrote.

    Returns:
        dict: ``classes`` (list of str), ``pred_field`` and ``images`` (the records).

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if the file is not such a dump.
    """
    if not os.path.isfile(path):
        raise FileNotFoundError(f'{path} does not exist; write it with VOCInstanceMetric(dump=…)')
    try:
        with open(path, encoding='utf-8') as file:
            content = json.load(file)
    except (ValueError, RecursionError) as error:
        raise ValueError(f'{path} is not json ({error}); dump the predictions again') from error
    if not isinstance(content, dict) or content.get('format') != FORMAT:
        raise ValueError(f"{path} is not a dump of VOCInstanceMetric (key 'format' must be {FORMAT!r})")
    images = content.get('images')
    if not isinstance(images, list) or not all(isinstance(record, dict) for record in images):
        raise ValueError(f"{path}: 'images' must be a list of records; dump the predictions again")
    for position, record in enumerate(images):
        missing = _KEYS - set(record)
        if missing:
            raise ValueError(f'{path}: image {position} lacks {sorted(missing)}; dump the predictions again')
    return content
