"""Checkpoints: read only by torch's safe loader, verified by their own checksums, and compared with the model.

A pickle is a program. ``torch.load(weights_only=True)`` builds tensors, numbers, strings, lists and dicts, and calls
nothing that the file names.
"""
from __future__ import annotations

import hashlib
import io
import json
import os
import pickle
import re
import zipfile
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import mmengine
import torch
from torch import Tensor, nn

from mmiam.version import __version__

from .download import fetch
from .files import atomic_write

_REFUSED = re.compile(r'(?:GLOBAL|Unsupported class) ([\w.]+)')  # the second before torch 2.4
#: weights that a file may lack: counters, Swin's output norms, and offsets that start at zero
_OPTIONAL = re.compile(r'num_batches_tracked$|^norm\d\.(weight|bias)$|conv_offset\.|relative_position_index$')
#: the 1 x 1 convolution of IAMNet's head, with one output channel per class, in the order of the classes
HEAD = 'peak_head.classifier'
_FOLDER = 0x10  # the folder attribute of an archive member; torch takes such a member for empty memory
_TORCHVISION = 'torchvision://'
REMOTE = ('http://', 'https://', _TORCHVISION)
_OTHER_MODEL = 'give the weights of this very model, or the config that they were trained with'


def read_checkpoint(path: str, map_location='cpu') -> dict:
    """Read a checkpoint without ever running anything in the file.

    Args:
        path (str): the file, an http or https address, or a name as in mmdet's configs
            (``torchvision://resnet50``). Addresses and names are fetched into the cache folder unless they are there
            already.
        map_location: see :func:`torch.load`.

    Returns:
        dict: whatever the file holds: tensors by name, or ``state_dict``, ``meta`` and so on.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if the file tries to run something, is damaged, or is not a checkpoint; the message names the file
            and the cause.
        OSError: if an address cannot be fetched.
    """
    path = _local(path)
    if not os.path.isfile(path):
        raise FileNotFoundError(f'checkpoint {path} does not exist')
    if not os.path.getsize(path):
        raise ValueError(f'checkpoint {path} is empty (0 bytes); copy or download it again')
    try:
        _check_archive(path)
        content = torch.load(path, map_location=map_location, weights_only=True)
    except pickle.UnpicklingError as error:
        raise ValueError(_refusal(path, str(error))) from None
    except Exception as error:  # a damaged file makes the loader raise whatever it stumbles over
        raise ValueError(f'checkpoint {path} is truncated, damaged or no checkpoint ({type(error).__name__}: '
                         f'{str(error).strip().splitlines()[0] if str(error).strip() else "no cause given"}); copy or '
                         'download it again') from None
    if not isinstance(content, dict):
        raise ValueError(f'{path} holds a {type(content).__name__}, not a checkpoint (a dict of tensors by name)')
    return content


def _local(path: str) -> str:
    """Return the local file for a path, an address or a torchvision name."""
    if path.startswith(_TORCHVISION):
        name = path[len(_TORCHVISION):]
        near = f'weights/{name}_imagenet.pth'  # put there by hand: no network is needed
        if os.path.isfile(near):
            return near
        with open(os.path.join(mmengine.__path__[0], 'hub/torchvision_0.12.json'), encoding='utf-8') as file:
            addresses = json.load(file)
        if name not in addresses:
            raise ValueError(f'{path}: there is no such model; there are {", ".join(sorted(addresses))}')
        path = addresses[name]
    return fetch(path) if path.startswith(REMOTE) else os.path.expanduser(path)


def _check_archive(path: str) -> None:
    """Verify the archive's CRC-32 sums, which takes about one second per gigabyte.

    Torch does not do so, and would load corrupted values. ``torch.save`` stores without compression, so compressed
    members are refused: they could unpack to any size.
    """
    with open(path, 'rb') as file:
        head = file.read(4)
    if not zipfile.is_zipfile(path):  # torch's older layout has no sums
        if head[:1] != b'\x80':  # how a pickle begins; given anything else, the loader may ask for 4 GiB
            raise ValueError('it begins like neither layout of torch.save')
        return
    if head != b'PK\3\4':  # torch would read what comes before the archive, which has no sums, in its older layout
        raise ValueError('an archive that does not begin with its first member')
    with zipfile.ZipFile(path) as archive:
        members = archive.infolist()
        number = Counter(archive.namelist())  # sums are looked up by name
        for fault, found in (
                ('is in it more than once', [one for one in members if number[one.filename] > 1]),
                ('in it is a folder', [one for one in members if one.external_attr & _FOLDER or one.is_dir()]),
                ('in it is compressed', [one for one in members if one.compress_type != zipfile.ZIP_STORED])):
            if found:
                raise ValueError(f'{found[0].filename} {fault}')
        broken = archive.testzip()
    if broken is not None:
        raise ValueError(f'{broken} in it has another CRC-32 than the file says')


def _refusal(path: str, message: str) -> str:
    """Compose the message for a file that the safe loader rejects."""
    found = _REFUSED.search(message)
    if found is None:
        return (f'checkpoint {path} is refused by the safe loader and nothing in it was run: it is damaged, or no '
                'checkpoint of plain tensors, numbers and texts')
    return (f'checkpoint {path} is refused and nothing in it was run: loading it would call {found.group(1)}, which a '
            'checkpoint of plain tensors, numbers and texts never does. Take the file from a source you trust; one of '
            "your own from another project: write its state_dict alone, torch.save(dict(state_dict=...), 'new.pth')")


def save_checkpoint(content: dict, path: str | Path) -> None:
    """Write a checkpoint that the safe loader accepts, under a temporary name first."""
    buffer = io.BytesIO()
    torch.save(content, buffer)
    atomic_write(path, buffer.getvalue())


def fingerprint(*parts: object) -> str:
    """Compute the first twelve hexadecimal digits of the sha256 of the given parts.

    A module contributes its state dict, anything else its ``repr``. The version of mmiam is included, because another
    version may compute something else from the same parts.
    """
    digest = hashlib.sha256(__version__.encode())
    for part in parts:
        if isinstance(part, nn.Module):
            for name, value in part.state_dict().items():
                digest.update(name.encode() + value.detach().cpu().contiguous().view(-1).numpy().tobytes())
        else:
            digest.update(repr(part).encode())
    return digest.hexdigest()[:12]


def state_dict_of(content: Mapping, path: str) -> dict[str, Tensor]:
    """Extract the tensors of a checkpoint, which is a state dict or holds one, without the prefix ``module.``.

    Raises:
        ValueError: if there are none, or one is sparse or has no values.
    """
    content = _mapping(content, 'state_dict') or _mapping(content, 'model') or content
    state = {key: value for key, value in content.items() if isinstance(key, str) and isinstance(value, Tensor)}
    if not state:
        raise ValueError(f'{path} holds no weights (tensors by name)')
    odd = [key for key, value in state.items() if value.layout != torch.strided or value.is_meta]
    if odd:
        raise ValueError(f'{path}: {odd[0]} is a sparse tensor, or one without values; write it as a dense one')
    return {key.removeprefix('module.'): value for key, value in state.items()}


def check_fit(model: nn.Module, state: Mapping[str, Tensor], path: str, parts: Iterable[str] | None = None) -> None:
    """Refuse weights that do not belong to a model; mmengine would load those that fit and merely log the rest.

    A part with its own weight file (``own_weights``, :class:`FrozenClassifier`) may be missing, and weights that a
    network declares unused (``unused_weights``, prefixes of names) may be present.

    Args:
        model (nn.Module): the model to load the weights into.
        state (Mapping[str, Tensor]): weights by name.
        path (str): the file they come from, for messages.
        parts (Iterable[str], optional): children of the model that must fit; all by default. Weights in the file for
            other children, or for ones that the model does not have, are ignored.

    Raises:
        ValueError: naming the first weights that are missing, unexpected, of another shape, not floating point, or not
            finite.
    """
    children = {name for name, _ in model.named_children()}
    parts = children if parts is None else set(parts) & children
    separate = tuple(f'{name}.' for name, module in model.named_modules() if getattr(module, 'own_weights', False)
                     and not any(key.startswith(f'{name}.') for key in state))
    own = {name: value for name, value in model.state_dict().items()
           if name.split('.')[0] in parts and not name.startswith(separate)}
    wrong = [name for name, value in own.items() if name in state and state[name].shape != value.shape]
    whole = [name for name, value in own.items()
             if name in state and value.is_floating_point() and not state[name].is_floating_point()]
    missing = [name for name in own if name not in state and not _OPTIONAL.search(name)]
    further = [name for name in state if name.split('.')[0] in parts and name not in own
               and not name.startswith(tuple(getattr(model, 'unused_weights', ())))]
    fit = len(own) - len(wrong) - sum(name not in state for name in own)
    if own and fit * 2 < len(own):
        raise ValueError(f'{path} is of another model: {fit} of the {len(own)} weights of {type(model).__name__} are '
                         f'in it. It has {_some(state)}; wanted are {_some(missing or wrong)}: {_OTHER_MODEL}')
    if wrong:
        name = wrong[0]
        raise ValueError(f'{path} is of another model: {len(wrong)} of its weights have other shapes, the first is '
                         f'{name}, {tuple(state[name].shape)} in place of {tuple(own[name].shape)}; '
                         + ('the classes of the config are not those of the training: set them (metainfo.classes, '
                            'num_classes; OWN_CLASSES for own images)' if name.startswith(HEAD) else _OTHER_MODEL))
    if whole:
        raise ValueError(f'{path}: {len(whole)} weights are {state[whole[0]].dtype}, the first is {whole[0]}, as those '
                         'of a quantized model, which are not the weights themselves; give the file before that')
    if missing:
        raise ValueError(f'{path} lacks {len(missing)} of the {len(own)} weights of {type(model).__name__}: '
                         f'{_some(missing)}; {_OTHER_MODEL}')
    if further:
        raise ValueError(f'{path} is of another model: it has {len(further)} weights that {type(model).__name__} has '
                         f'no place for: {_some(further)}; {_OTHER_MODEL}')
    check_finite({name: state[name] for name in own if name in state}, path)


def check_finite(state: Mapping[str, Tensor], path: str) -> None:
    """Raise a ValueError if any weight is infinite or NaN."""
    # checked in 32 bits, which the network uses: 1e300 is infinite there
    broken = [name for name, value in state.items() if value.is_floating_point()
              and not value.float().isfinite().all()]
    if broken:
        raise ValueError(f'{path}: {len(broken)} of {len(state)} weights are infinite or no numbers, the first is '
                         f'{broken[0]}: that training diverged. Take an earlier checkpoint, or train at a lower rate')


def _mapping(content: object, key: str) -> Mapping:
    """Return the mapping that a file's content holds under a key, or an empty one if there is none."""
    value = content.get(key) if isinstance(content, Mapping) else None
    return value if isinstance(value, Mapping) else {}


def dataset_meta_of(content: Mapping) -> dict:
    """Return what a checkpoint's ``meta`` says about its data set, with keys in lower case.

    mmdet 2 stored these keys directly in ``meta``.
    """
    meta = _mapping(content, 'meta')
    data = _mapping(meta, 'dataset_meta') or {key: meta[key] for key in ('CLASSES', 'PALETTE') if key in meta}
    return {str(key).lower(): value for key, value in data.items()}


def check_packages(model: nn.Module, content: Mapping, path: str) -> None:
    """Raise a ValueError if the weights were trained with other package weights than the model fetches.

    Their shapes may well be the same, so that only the recorded address tells them apart.
    """
    for name, address in _mapping(_mapping(content, 'meta'), 'packages').items():
        own = (getattr(getattr(model, str(name), None), 'init_cfg', None) or {}).get('checkpoint')
        if own != address:
            raise ValueError(f'{path} was trained beside the weights {address} of its {name}, and the model has those '
                             f'of {own}; {_OTHER_MODEL}')


def reads_own_head(model: nn.Module) -> bool:
    """Tell whether the labels come from the model's own head rather than from a classifier that its cue brings."""
    return getattr(getattr(model, 'cue', None), 'needs_peak_head', True)


def classes_of(content: Mapping) -> tuple[str, ...] | None:
    """Return the class names in a checkpoint's ``meta``, or None if there are none."""
    names = dataset_meta_of(content).get('classes')
    return tuple(names) if isinstance(names, (list, tuple)) and all(isinstance(one, str) for one in names) else None


def check_class_count(state: Mapping[str, Tensor], found: Sequence[str] | None, path: str) -> None:
    """Raise a ValueError if a checkpoint names more or fewer classes than its IAMNet head has outputs."""
    outputs = len(state.get(f'{HEAD}.weight', found or ()))
    if found is not None and len(set(found)) != outputs:
        raise ValueError(f'{path} names {len(set(found))} classes ({_some(found)}) and has a head of {outputs}: its '
                         'meta is of another training; put the names of this one into meta.dataset_meta.classes')


def match_classes(state: dict[str, Tensor], found: Sequence[str] | None, wanted: Sequence[str], path: str) -> bool:
    """Reorder the class scores of IAMNet's head, in place, to match the classes of a data set.

    Labels are positions: with the same classes in a different order, labels would be mixed up.

    Args:
        state (dict[str, Tensor]): weights by name; changed in place.
        found (Sequence[str], optional): the checkpoint's classes, see :func:`classes_of`.
        wanted (Sequence[str]): the data set's classes.
        path (str): path of the checkpoint, for messages.

    Returns:
        bool: whether the order had to be changed.

    Raises:
        ValueError: if the names differ, or only their order differs but the head is not IAMNet's.
    """
    if found is None or tuple(found) == tuple(wanted):
        return False
    remedy = "set the data set's metainfo=dict(classes=...) (own images: OWN_CLASSES) to those of the checkpoint"
    if sorted(found) != sorted(wanted):
        lost = sorted(set(found) ^ set(wanted))
        raise ValueError(f'{path} knows the classes {_some(found)}, the data set {_some(wanted)}; '
                         f'{_some(lost)} are in one alone: {remedy}, or give a checkpoint of these classes')
    tensors = [key for key in (f'{HEAD}.weight', f'{HEAD}.bias') if key in state]
    if not tensors or any(len(state[key]) != len(wanted) for key in tensors):
        raise ValueError(f'{path} has the classes in the order {_some(found)}, the data set in {_some(wanted)}: '
                         f'{remedy}, in their order')
    order = [list(found).index(name) for name in wanted]
    for key in tensors:
        state[key] = state[key][order]
    return True


def _some(names: Iterable[str], most: int = 4) -> str:
    names = list(names)
    return ', '.join(names[:most]) + (', …' if len(names) > most else '')
