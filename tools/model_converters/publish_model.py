"""Makes a checkpoint fit to hand on: ``python tools/model_converters/publish_model.py IN.pth OUT.pth``.

Leaves out optimizer, schedulers, logs and config; the first eight digits of the sha256 go into the name. Prints what
belongs into the metafile.
"""
from __future__ import annotations

import hashlib
import io
import os
import re
import sys

import torch

from mmiam.apis.options import make_parser, tool
from mmiam.engine.hooks.safe_checkpoint_hook import to_plain
from mmiam.utils.checkpoints import check_finite, read_checkpoint, state_dict_of
from mmiam.utils.files import atomic_write
from mmiam.version import __version__

#: of ``meta``: what says what the weights are; not the config's paths, the host or the time of the run
_KEPT_META = ('epoch', 'iter', 'seed', 'dataset_meta', 'mmengine_version')


def publish(source: str, target: str, half: bool = False, notes: dict | None = None,
            parts: tuple[str, ...] = ()) -> tuple[str, str]:
    """Strip a checkpoint to what a user of it needs.

    Kept are ``state_dict`` and of ``meta`` epoch, seed and the data set's classes; optimizer, schedulers, logs and the
    config, which holds paths of the machine, are left out.

    Args:
        source (str): a checkpoint of a run.
        target (str): ``folder/name.pth``; the file is ``folder/name-<first 8 digits of its sha256>.pth``.
        half (bool): store floating weights with 16 bits; they load into 32 bits. Not batch norm's statistics.
        notes (dict, optional): further plain values for ``meta``, such as the config's name or the data.
        parts (tuple[str]): of the model, such as ``('filler', )``; the weights of others are left out. All by default.

    Returns:
        tuple[str, str]: path and sha256 of the file.

    Raises:
        FileNotFoundError, ValueError: as of :func:`read_checkpoint`, or if a weight is not finite.
    """
    content = read_checkpoint(source)
    state = state_dict_of(content, source)
    if parts:
        state = {key: value for key, value in state.items() if key.split('.')[0] in parts}
    check_finite(state, source)
    if half:
        state = {key: value.half() if value.is_floating_point() and 'running_' not in key else value
                 for key, value in state.items()}
        flat = [key for key, value in state.items() if value.is_floating_point() and not value.isfinite().all()]
        if flat:
            raise ValueError(f'{source}: {flat[0]} leaves the range of 16 bits; publish with 32')
    found = content.get('meta')
    meta = {key: found[key] for key in _KEPT_META if key in found} if isinstance(found, dict) else {}
    meta = to_plain({**meta, **(notes or {}), 'mmiam_version': __version__})
    buffer = io.BytesIO()
    torch.save(dict(state_dict={key: value.clone() for key, value in state.items()}, meta=meta), buffer)
    digest = hashlib.sha256(buffer.getvalue()).hexdigest()
    stem = re.sub(r'-[0-9a-f]{8}$', '', os.path.splitext(target)[0])
    path = f'{stem}-{digest[:8]}.pth'
    atomic_write(path, buffer.getvalue())
    return path, digest


@tool
def main(argv=None) -> None:
    """Write the file and print its entry of the metafile."""
    parser = make_parser(__doc__)
    parser.add_argument('source', help='checkpoint of a run')
    parser.add_argument('target', help='name of the new file, *.pth; the hash is put before the suffix')
    parser.add_argument('--half', action='store_true', help='store the weights with 16 bits')
    parser.add_argument('--parts', nargs='+', default=[], help='parts of the model to keep (default: all)')
    parser.add_argument('--note', action='append', default=[], metavar='KEY=TEXT', help='goes into the metadata')
    args = parser.parse_args(argv)
    if not args.target.endswith('.pth') or any('=' not in note for note in args.note):
        raise ValueError('the target must end with .pth, and --note look like KEY=TEXT')
    path, digest = publish(args.source, args.target, args.half, dict(note.split('=', 1) for note in args.note),
                           tuple(args.parts))
    print(f'{path}\n  Metadata:\n    SHA256: {digest}')


if __name__ == '__main__':
    sys.exit(main())
