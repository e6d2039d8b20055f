"""ConvCRF beside a full dense CRF on the Instance Activation Maps of real images: quality and time.

    pip install pydensecrf2
    python tools/analysis_tools/compare_crf.py configs/iam-plus_mbv2_voc.py CHECKPOINT [--num 120] [--json FILE]

All rows refine the same maps of the same peaks: none (the threshold alone), ConvCRF with the config's settings, and the
dense CRF of Kraehenbuehl and Koltun (2011) with the usual settings of DeepLab (sxy 3 and compat 3; sxy 80, srgb 13 and
compat 10; five iterations). Quality is the mean over instances of the best IoU with a mask of their class. Masks of the
images are read for this comparison alone.
"""
from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from mmengine.config import Config, DictAction
from rich.progress import track
from terminaltables import AsciiTable

import mmiam  # noqa: F401  (registers everything and makes mmdet importable on mmcv-lite)

# isort: split
from mmdet.registry import DATASETS

from mmiam.apis import init_model
from mmiam.utils.files import atomic_write
from mmiam.utils.rle import decode_masks


def dense_crf(logits: torch.Tensor, image: torch.Tensor, num_iters: int = 5) -> np.ndarray:
    """Foreground of each map (n, H, W) by a dense CRF, one map at a time: bool (n, H, W)."""
    try:
        from pydensecrf.densecrf import DenseCRF2D
    except ImportError as error:
        raise SystemExit('the comparison needs a dense CRF: pip install pydensecrf2') from error
    colours = np.ascontiguousarray(image.permute(1, 2, 0).round().byte().numpy())
    height, width = colours.shape[:2]
    masks = np.zeros(tuple(logits.shape), bool)
    for mask, one in zip(masks, logits):
        crf = DenseCRF2D(width, height, 2)
        energy = -torch.stack([F.logsigmoid(-one), F.logsigmoid(one)]).flatten(1)
        crf.setUnaryEnergy(np.ascontiguousarray(energy.numpy().astype(np.float32)))
        crf.addPairwiseGaussian(sxy=3, compat=3)
        crf.addPairwiseBilateral(sxy=80, srgb=13, rgbim=colours, compat=10)
        mask[:] = np.array(crf.inference(num_iters)).argmax(0).reshape(height, width)
    return masks


def best_overlaps(masks: np.ndarray, labels: np.ndarray, truth: np.ndarray, classes: np.ndarray) -> list[float]:
    """Best IoU of each instance (g, H, W) with a mask (n, H, W) of its class, 0 where there is none."""
    result = []
    for instance, label in zip(truth, classes):
        same = masks[labels == label]
        union = (same | instance).sum((1, 2))
        result.append(float(((same & instance).sum((1, 2)) / np.maximum(union, 1)).max(initial=0)))
    return result


@torch.inference_mode()
def compare(model: torch.nn.Module, dataset, indices: list[int]) -> dict[str, dict[str, float]]:
    """Quality (share) and seconds an instance of each refinement.

    Args:
        model (IAMNet): with a ConvCRFPostProc.
        dataset (VOCInstanceDataset): in test mode, with instances.
        indices (list[int]): images.

    Raises:
        ValueError: if the model's post-processor is no ConvCRFPostProc with a CRF.
    """
    post = model.post_processor
    if getattr(post, 'crf', None) is None:
        raise ValueError('the config needs a ConvCRFPostProc whose crf is not None')
    shift = float(torch.logit(torch.tensor(post.mask_thr)))
    refinements: dict[str, Callable] = {
        'none': lambda logits, image: (logits > shift).numpy(),
        'ConvCRF': lambda logits, image: post.foreground(logits, image).numpy(),
        'dense CRF': lambda logits, image: dense_crf(logits - shift, image)}
    overlaps, seconds, count = {name: [] for name in refinements}, dict.fromkeys(refinements, 0.), 0
    for index in track(indices, 'images'):
        packed = dataset[index]
        batch = model.data_preprocessor(dict(inputs=[packed['inputs']], data_samples=[packed['data_samples']]), False)
        sample = batch['data_samples'][0]
        feats, _, cues = model.find_cues(batch['inputs'], batch['data_samples'])
        cues[0].iams = model.fill(feats, cues)[0]
        image, cue = model.to_original(batch['inputs'][0], cues[0], sample)
        logits = post.resize_maps(cue.iams, tuple(image.shape[-2:])).cpu()
        instances = sample.instances
        truth = decode_masks([one['mask'] for one in instances], tuple(image.shape[-2:]))
        classes = np.array([one['bbox_label'] for one in instances])
        count += len(logits)
        for name, refine in refinements.items():
            started = time.perf_counter()
            masks = refine(logits, image.cpu())
            seconds[name] += time.perf_counter() - started
            overlaps[name] += best_overlaps(masks, cue.labels.cpu().numpy(), truth, classes)
    return {name: dict(best_overlap=float(np.mean(overlaps[name])), seconds_per_instance=seconds[name] / max(1, count),
                       instances=len(overlaps[name]), maps=count) for name in refinements}


def parse_args(argv=None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config')
    parser.add_argument('checkpoint')
    parser.add_argument('--num', type=int, default=120, help='images, evenly spread over the list')
    parser.add_argument('--threads', type=int, default=1, help="torch's; the dense CRF runs on one thread")
    parser.add_argument('--json', type=Path, help='write the figures here')
    parser.add_argument('--cfg-options', nargs='+', action=DictAction)
    return parser.parse_args(argv)


def main(argv=None) -> int:
    args = parse_args(argv)
    torch.set_num_threads(args.threads)
    config = Config.fromfile(args.config)
    if args.cfg_options:
        config.merge_from_dict(args.cfg_options)
    try:
        model = init_model(config, args.checkpoint, device='cpu')
        dataset = DATASETS.build(config.test_dataloader.dataset)
        indices = np.unique(np.linspace(0, len(dataset) - 1, min(args.num, len(dataset))).astype(int)).tolist()
        result = compare(model, dataset, indices)
    except (OSError, ValueError) as error:
        print(error, file=sys.stderr)
        return 2
    first = result['none']
    print(f'{len(indices)} images, {first["instances"]} instances, {first["maps"]} maps')
    print(AsciiTable([['refinement', 'best overlap (%)', 'ms a map']] + [
        [name, f'{100 * row["best_overlap"]:.1f}', f'{1000 * row["seconds_per_instance"]:.1f}']
        for name, row in result.items()]).table)
    if args.json:
        atomic_write(args.json, json.dumps(result, indent=2).encode())
    return 0


if __name__ == '__main__':
    sys.exit(main())
