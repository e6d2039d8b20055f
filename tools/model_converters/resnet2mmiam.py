"""Converts weights of ResNets: ``python tools/model_converters/resnet2mmiam.py IN.pth OUT.pth [--layout ...]``.

backbone    torchvision or timm ResNet -> mmdet's ResNet, without the linear layer (the configs' ``init_cfg``)
classifier  the same with its linear layer as IAMNet's 1 x 1 convolution: an IAMNet whose cues are ImageNet's classes
prm         a checkpoint of the PRM reference -> IAMNet (``load_from``; then fill_begin=0 trains the filling module)
"""
from __future__ import annotations

import argparse
import sys

from mmiam.engine.conversion import classifier_to_iamnet, prm_to_iamnet, resnet_to_mmdet
from mmiam.engine.publishing import save_checkpoint, state_dict_of
from mmiam.engine.safe_loading import read_checkpoint

LAYOUTS = dict(backbone=resnet_to_mmdet, classifier=classifier_to_iamnet, prm=prm_to_iamnet)


def parse_args(argv=None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('source', help='file of weights; read by the safe loader')
    parser.add_argument('target', help='new file')
    parser.add_argument('--layout', choices=sorted(LAYOUTS), default='backbone')
    return parser.parse_args(argv)


def main(argv=None) -> int:
    args = parse_args(argv)
    try:
        state = LAYOUTS[args.layout](state_dict_of(read_checkpoint(args.source), args.source))
        save_checkpoint(dict(state_dict=state, meta=dict(converted_from=args.layout)), args.target)
    except (OSError, ValueError) as error:
        print(f'{args.source}: {error}', file=sys.stderr)
        return 1
    print(f'{args.target}: {len(state)} tensors')
    return 0


if __name__ == '__main__':
    sys.exit(main())
