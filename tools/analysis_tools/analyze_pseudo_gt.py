"""Measures what the pseudo ground truth of training is worth (Sec. 3.2). For analysis only, never for training.

    python tools/analysis_tools/analyze_pseudo_gt.py CONFIG CHECKPOINT --proposals data/proposals/builtin \
        --k 1 5 9 --alpha 0.4 0.8 1.5 2 --overlap-rule max own --num 200 --json pseudo_gt.json --sheet pseudo_gt.png

The classifier gives the Peak Response Maps of the image labels' classes, as it does while the filling module is
trained, without flips. Each map's candidates under each setting are then compared with the annotated masks of the
map's class, at the original size; void pixels count neither in intersections nor in unions.

Legend: n peaks of an image, J proposals, g annotated instances, H x W original image size, h x w input size.
"""
from __future__ import annotations

import copy
import itertools
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from image_samples import Truth, batch_of, build_dataset, evenly_spread, mask_iou, read_truth
from mmengine.config import Config
from mmengine.structures import InstanceData
from rich.progress import track
from terminaltables import AsciiTable

from mmiam.apis import init_model
from mmiam.apis.options import given_config, make_parser, tool
from mmiam.models.cues import choose_matching_maps
from mmiam.models.samplers import ProposalPseudoGTSampler
from mmiam.proposals import SegmentProposals, select_candidates
from mmiam.proposals.io import find_proposal_file, load_proposals
from mmiam.proposals.matching import proposal_iou
from mmiam.utils.files import write_json
from mmiam.utils.images import read_image
from mmiam.visualization import overlay_heatmap, overlay_instances, write_sheet

FIGURES = ('drawn', 'best', 'vote', 'draws_50', 'recall_50', 'no_candidate')


class Setting(NamedTuple):
    """One row of the table: the arguments of :func:`mmiam.proposals.select_candidates` that are compared."""
    proposals: str
    alpha: float
    k: int
    overlap_rule: str
    area_range: tuple[float, float]
    overlap_thr: float
    rank_weight: float = 0.
    class_map_weight: float = 0.


@dataclass
class Tally:
    """Figures of a setting, collected peak by peak and instance by instance; IoU in [0, 1]."""
    peaks: list[tuple[float, ...]] = field(default_factory=list)  # drawn, best, vote, draws_50
    instances: list[float] = field(default_factory=list)
    num_peaks: int = 0

    def summary(self) -> dict[str, float]:
        """``drawn``: mean IoU of the drawn mask with the best annotated instance of the class, expected over the
        uniform draw; ``best``: of the best candidate; ``vote``: of the pixels in more than half of the candidates,
        towards which a loss averaged over draws pulls; ``draws_50``: share of draws of IoU 0.5 or more. These four
        over peaks with a candidate. ``recall_50``: share of annotated instances that some candidate of a peak of the
        class covers with IoU 0.5 or more; ``no_candidate``: share of peaks that are dropped. NaN where nothing was
        counted."""
        means = np.mean(self.peaks or [(np.nan, ) * 4], 0).tolist()
        recall = float(np.mean([value >= 0.5 for value in self.instances] or np.nan))
        dropped = 1 - len(self.peaks) / self.num_peaks if self.num_peaks else float('nan')
        return dict(zip(FIGURES, [*means, recall, dropped]), num_peaks=self.num_peaks,
                    num_instances=len(self.instances))


# -------------------------------------------------------------------- images and cues
def annotated_training_set(config: Config, ann_file: str | None = None):
    """The images of training with the pipeline of test, so that masks can be read; never given to a training."""
    train = config.train_dataloader.dataset
    while 'ann_file' not in train and 'dataset' in train:
        train = train.dataset
    test = copy.deepcopy(config.test_dataloader.dataset)
    test.update(data_root=train.get('data_root', test.get('data_root')), ann_file=ann_file or train.ann_file,
                test_mode=True, lazy_init=False)
    return build_dataset(test)


@torch.no_grad()
def training_cues(model, packed: dict) -> InstanceData:
    """The cue of an image with its labels, as in training: ``labels`` (n,), ``prms`` (n, h, w)."""
    inputs, samples = batch_of(model, packed)
    model.cue.train()  # what proposals are matched with
    cues = model.find_cues(inputs, samples, model.image_labels(samples))[2][0].to('cpu')
    height, width = samples[0].img_shape[:2]
    cues.prms = choose_matching_maps(cues)[:, :height, :width]
    return cues


# -------------------------------------------------------------------- candidates and their worth
def all_candidates(cues: InstanceData, proposals: SegmentProposals,
                   settings: Sequence[Setting]) -> Iterator[tuple[Setting, list[np.ndarray]]]:
    """Each setting with the candidates of each map, best first: those of the training's sampler.

    Args:
        cues (InstanceData): ``prms`` (n, h, w), each sums to 1, and, for a class map weight, ``cams`` (n, h, w).
        proposals (SegmentProposals): J proposals of size (h, w).
        settings (Sequence[Setting]): of one source of proposals; those that score alike are scored once.
    """
    areas, scored = proposals.areas() / np.prod(proposals.size), {}
    for setting in settings:
        weights = setting.alpha, setting.rank_weight, setting.class_map_weight
        sampler = ProposalPseudoGTSampler(
            setting.k, setting.alpha, overlap_rule=setting.overlap_rule, overlap_thr=setting.overlap_thr,
            area_range=setting.area_range, rank_weight=setting.rank_weight, class_map_weight=setting.class_map_weight)
        if weights not in scored:
            scored[weights] = sampler.score(cues, proposals)
        yield setting, select_candidates(*scored[weights], areas, **sampler.selection, dedupe_iou=sampler.dedupe_iou,
                                         proposals=proposals)


def add_image(tallies: dict[Setting, Tally], cues: InstanceData, proposals: SegmentProposals, truth: Truth) -> float:
    """Add the peaks and instances of an image to the tally of each setting (of one source of proposals).

    Args:
        tallies (dict): changed in place.
        cues (InstanceData): ``labels``, ``prms`` (n, h, w). Peaks of a class without annotated mask are left out.
        proposals (SegmentProposals): at original size (H, W).
        truth (Truth): annotation.

    Returns:
        float: sum over these peaks of the best IoU that any of the J proposals has: the bound of all settings.
    """
    iou = proposal_iou(truth.masks, proposals, truth.void).numpy()
    cues = cues[torch.tensor([int(label) in truth.labels for label in cues.labels], dtype=torch.bool)]
    labels = cues.labels.tolist()
    by_class = {label: iou[truth.labels == label].max(0) for label in set(labels)}
    for setting, candidates in all_candidates(cues, proposals.resize(cues.prms.shape[-2:]), list(tallies)):
        tally, covered = tallies[setting], np.zeros(len(truth.labels))
        tally.num_peaks += len(labels)
        for label, chosen in zip(labels, candidates):
            if len(chosen):
                values, same = by_class[label][chosen], truth.labels == label
                vote = mask_iou(proposals.masks(chosen).mean(0) > 0.5, truth.masks[same], truth.void).max()
                tally.peaks.append((values.mean(), values.max(), vote, (values >= 0.5).mean()))
                covered[same] = np.maximum(covered[same], iou[same][:, chosen].max(1))
        tally.instances.extend(covered.tolist())
    return float(sum(by_class[label].max(initial=0) for label in labels))


# -------------------------------------------------------------------- the whole
def analyze(config: Config, checkpoint: str, roots: dict[str, Path], settings: Sequence[Setting], num: int,
            ann_file: str | None = None, device: str | None = None, sheet: str | None = None,
            sheet_rows: int = 8) -> dict:
    """Run the cue once an image and rate every setting.

    Args:
        roots (dict[str, Path]): name of a source of proposals -> folder.
        num (int): images, evenly spread over the list; those without annotated mask are passed over.
        sheet (str, optional): picture sheet of the first setting to write.

    Returns:
        dict: ``rows`` (list of dict: the setting and its figures), ``bound`` (name of a source -> mean over peaks of
        the best IoU of all its proposals), ``num_images``.
    """
    dataset = annotated_training_set(config, ann_file)
    model = init_model(config, checkpoint, device, classes=dataset.metainfo['classes'])
    chosen = evenly_spread(len(dataset), num)
    tallies = {name: {s: Tally() for s in settings if s.proposals == name} for name in roots}
    bounds, pictures, used = dict.fromkeys(roots, 0.), [], 0
    drawn = evenly_spread(len(chosen), sheet_rows if sheet else 0)
    for position, index in enumerate(track(chosen, 'analyzing', transient=True)):
        packed = dataset[index]
        sample = packed['data_samples']
        truth = read_truth(sample)
        if not len(truth.masks):
            continue
        used += 1
        cues = training_cues(model, packed)
        for name, root in roots.items():
            proposals = load_proposals(find_proposal_file(root, sample.img_id), size=tuple(sample.ori_shape[:2]))
            bounds[name] += add_image(tallies[name], cues, proposals, truth)
            if position in drawn and name == settings[0].proposals and len(cues):
                pictures.append((sample.img_id, draw_row(sample.img_path, cues, proposals, truth, settings[0])))
    if sheet:
        write_sheet([row for _, row in pictures], ('image', 'PRM', 'candidates', 'ground truth'), sheet,
                    [caption for caption, _ in pictures])
    rows = [dict(s._asdict(), **tallies[s.proposals][s].summary()) for s in settings]
    peaks = {row['proposals']: row['num_peaks'] for row in rows}
    return dict(rows=rows, num_images=used,
                bound={name: total / peaks[name] if peaks[name] else float('nan') for name, total in bounds.items()})


def draw_row(path: str, cues: InstanceData, proposals: SegmentProposals, truth: Truth,
             setting: Setting) -> list[np.ndarray]:
    """Tiles of an image: itself, the map of its strongest peak, that map's candidates, the class's instances."""
    image = read_image(path)
    candidates = next(all_candidates(cues, proposals.resize(cues.prms.shape[-2:]), [setting]))[1][0] \
        if len(proposals) else np.zeros(0, int)
    heat = cues.prms[0] / cues.prms[0].max().clamp(min=1e-12)
    names = [str(rank) for rank in range(1, len(candidates) + 1)]
    return [image, overlay_heatmap(image, heat.sqrt()), overlay_instances(image, proposals.masks(candidates), names),
            overlay_instances(image, truth.masks[truth.labels == int(cues.labels[0])])]


def table(result: dict) -> str:
    """The figures as text, in percent."""
    rows = [['proposals', 'alpha', 'rank', 'map', 'k', 'overlap', 'area', 'drawn', 'best', 'vote',
             'draws >= .5', 'recall@.5', 'no candidate']]
    for row in result['rows']:
        rows.append([row['proposals'], f'{row["alpha"]:g}', f'{row["rank_weight"]:g}',
                     f'{row["class_map_weight"]:g}', row['k'], f'{row["overlap_rule"]} {row["overlap_thr"]:g}',
                     '{:g} .. {:g}'.format(*row['area_range']), *(f'{100 * row[name]:.1f}' for name in FIGURES)])
    bound = ', '.join(f'{name} {100 * value:.1f}' for name, value in result['bound'].items())
    first = result['rows'][0]
    return (f'{first["num_peaks"]} peaks, {first["num_instances"]} instances in {result["num_images"]} images; best of '
            f'all proposals, mean over peaks: {bound}\n' + AsciiTable(rows).table)


def area_range(text: str) -> tuple[float, float]:
    """'2e-5,0.85' -> (2e-5, 0.85)."""
    low, high = (float(value) for value in text.split(','))
    return low, high


@tool
def main(argv=None) -> None:
    parser = make_parser(__doc__, 'config', 'checkpoint', '--device', '--cfg-options', '--json')
    parser.add_argument('--proposals', nargs='+', required=True, metavar='DIR[=NAME]', help='folders of proposals')
    parser.add_argument('--k', nargs='+', type=int, default=[5], help='candidates a map')
    parser.add_argument('--alpha', nargs='+', type=float, default=[0.8], help='weight of the mass inside')
    parser.add_argument('--overlap-rule', nargs='+', choices=['max', 'own'], default=['max'])
    parser.add_argument('--overlap-thr', nargs='+', type=float, default=[0.2])
    parser.add_argument('--area-range', nargs='+', type=area_range, default=[(2e-5, 0.85)], metavar='LOW,HIGH',
                        help='allowed areas as shares of the image, e.g. 2e-5,0.85')
    parser.add_argument('--rank-weight', nargs='+', type=float, default=[0.], help="of the proposals' own ranking")
    parser.add_argument('--class-map-weight', nargs='+', type=float, default=[0.],
                        help='of the IoU with the class response map')
    parser.add_argument('--num', type=int, default=200, help='images, evenly spread over the training list')
    parser.add_argument('--ann-file', help='another list of images below data_root')
    parser.add_argument('--sheet', help='write a picture sheet (PNG) of the first setting here')
    args = parser.parse_args(argv)
    roots = {name or Path(folder).name: Path(folder)
             for folder, _, name in (text.partition('=') for text in args.proposals)}
    settings = [Setting(*values) for values in itertools.product(
        roots, args.alpha, args.k, args.overlap_rule, args.area_range, args.overlap_thr,
        args.rank_weight, args.class_map_weight)]
    result = analyze(given_config(args), args.checkpoint, roots, settings, args.num, args.ann_file, args.device,
                     args.sheet)
    print(table(result))
    if args.json:
        write_json(args.json, result, indent=2)


if __name__ == '__main__':
    sys.exit(main())
