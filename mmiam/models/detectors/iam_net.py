"""The method on one screen (Fig. 3): cue -> fill -> refine, and its training.

Legend: B images, I instances over all images, n instances of one image, C classes,
H x W network input size, H0 x W0 original image size.
"""
from __future__ import annotations

import torch
from mmdet.models.detectors.base import BaseDetector
from mmdet.registry import MODELS, TASK_UTILS
from mmdet.structures import DetDataSample
from mmengine.structures import InstanceData
from torch import Tensor

from mmiam.models.backbones import cell_offset
from mmiam.models.cues import CueCache, FoundCues, simulate_prompts
from mmiam.models.fillers import keep_surer_maps, widen_cues
from mmiam.models.heads.peak_stimulation_head import one_hot

from .original_image import restore_image, to_rgb

STAGES = ('classify', 'fill')
MAPS = ('maps', 'prms', 'cams', 'iams')
TRAIN_CFG = dict(max_instances=48, cue_batch=4, prompt_ratio=0.)
TEST_CFG = dict(baselines={}, return_maps=False, use_image_labels=False, refill=0.)


def merge_known(defaults: dict, given: dict | None, name: str) -> dict:
    """``defaults`` overridden by ``given``, whose keys must be among them."""
    unknown = sorted(set(given or {}) - set(defaults))
    if unknown:
        raise ValueError(f'{name} has no {unknown[0]!r}; its keys are {", ".join(defaults)}')
    return {**defaults, **(given or {})}


@MODELS.register_module()
class IAMNet(BaseDetector):
    """Instance masks from image-level labels by Instance Activation Maps.

    Args:
        backbone (dict): any backbone of mmdet with several outputs.
        peak_head (dict, optional): :class:`PeakStimulationHead`. May be left out where
            ``cue`` needs no classifier of this network; then no class scores are predicted.
        filler (dict, optional): :class:`InstanceExtentFiller`; None stops at the Peak
            Response Maps (the PRM baseline).
        sampler (dict, optional): :class:`ProposalPseudoGTSampler`, for training only.
        post_processor (dict): maps -> masks, e.g. :class:`ConvCRFPostProc`.
        cue (dict, optional): what gives the cues (docs/cues.md); by default :class:`PeakResponseCue`, the paper's.
        train_cfg (dict, optional): ``max_instances`` (int) bounds the instances of a
            batch that are filled, a random subset is taken (default 48), ``cue_batch`` (int)
            the images that the backbone sees at a time in stage 'fill' (default 4); both bound the memory.
            ``prompt_ratio`` (float): share of the instances that are filled from a point or a box of
            their pseudo mask, as a user gives them, in place of their cue (default 0).
        test_cfg (dict, optional): ``baselines`` (dict[str, dict]), post-processors whose
            predictions ride along as ``pred_instances_<name>``; ``return_maps`` (bool)
            keeps ``maps``, ``prms``, ``cams`` and ``iams`` (probabilities) of each instance at
            input size; ``use_image_labels`` (bool) admits only the classes of the image; ``refill`` (float) fills
            again from cues that have the map filled first beneath them at this height in (0, 1], and keeps the
            surer map of each instance; 0 fills once, as in the paper.
        data_preprocessor (dict, optional): ``DetDataPreprocessor`` with bgr_to_rgb=True.

    Raises:
        ValueError: for parts that do not go together, or an unknown key of ``train_cfg`` or ``test_cfg``.
    """

    def __init__(self, backbone, peak_head=None, filler=None, sampler=None, post_processor=None, cue=None,
                 train_cfg=None, test_cfg=None, data_preprocessor=None, init_cfg=None):
        super().__init__(data_preprocessor, init_cfg)
        self.backbone = MODELS.build(backbone)
        self.peak_head = MODELS.build(peak_head) if peak_head else None
        self.filler = MODELS.build(filler) if filler else None
        self.sampler = TASK_UTILS.build(sampler) if sampler else None
        self.post_processor = MODELS.build(post_processor) if post_processor else None
        self.cue = MODELS.build(cue or dict(type='PeakResponseCue'))
        self.train_cfg = merge_known(TRAIN_CFG, train_cfg, 'IAMNet: train_cfg')
        self.test_cfg = merge_known(TEST_CFG, test_cfg, 'IAMNet: test_cfg')
        if not 0 <= self.test_cfg['refill'] <= 1:
            raise ValueError(f'test_cfg.refill is a height in [0, 1], got {self.test_cfg["refill"]}')
        self.baselines = torch.nn.ModuleDict(
            {name: MODELS.build(config) for name, config in self.test_cfg['baselines'].items()})
        if filler is None and getattr(self.post_processor, 'needs_iam', False):
            raise ValueError(f'{type(self.post_processor).__name__} refines Instance Activation Maps: '
                             'give the model a filler, or a post_processor that reads Peak Response Maps')
        if peak_head is None and (filler is None or getattr(self.cue, 'needs_peak_head', False)):
            raise ValueError('without peak_head the model needs a filler and a cue that brings its own classifier or '
                             'needs none: ClassifierCue, PromptCue')
        self.stage = 'fill' if filler else 'classify'
        self.cue_cache: CueCache | None = None
        self._frozen: list[torch.nn.Parameter] = []  # what stage 'fill' froze, for stage 'classify' to train again

    # ---------------------------------------------------------------- the method
    def extract_feat(self, batch_inputs: Tensor) -> tuple[Tensor, ...]:
        """Feature maps of the backbone, from shallow to deep."""
        return self.backbone(batch_inputs)

    def find_cues(self, images: Tensor, data_samples: list[DetDataSample], image_labels=None) -> FoundCues:
        """1. Cue: incomplete responses, one an instance."""
        return self.cue(self, images, data_samples, image_labels)

    def fill(self, feats: tuple[Tensor, ...], cues: list[InstanceData]) -> list[Tensor]:
        """3. Fill: Instance Activation Maps as logits, (n, H, W) for each image."""
        counts = [len(cue) for cue in cues]
        image_index = torch.arange(len(cues)).repeat_interleave(torch.tensor(counts))  # on the CPU: no GPU is asked
        maps = torch.cat([cue.maps for cue in cues])
        logits = self.filler(feats, maps, image_index)
        if self.test_cfg['refill'] and not self.training:
            wider = widen_cues(maps, logits, self.test_cfg['refill'])
            logits = keep_surer_maps(logits, self.filler(feats, wider, image_index))
        return list(logits.split(counts))

    def predict(self, batch_inputs: Tensor, batch_data_samples: list[DetDataSample]) -> list[DetDataSample]:
        """Cue, fill, refine: ``pred_instances`` at original size and ``pred_class_scores`` (C,)."""
        labels = self.image_labels(batch_data_samples) if self.test_cfg['use_image_labels'] else None
        filling = self.filler is None or self.stage == 'fill'  # before, masks would mean nothing
        feats, scores, cues = self.find_cues(batch_inputs, batch_data_samples, labels) if filling else (
            *self.classify(batch_inputs), [])
        for score, sample in zip(scores if scores is not None else (), batch_data_samples):
            sample.set_field(score, 'pred_class_scores')
        return self.fill_and_refine(batch_inputs, feats, cues, batch_data_samples) if filling else batch_data_samples

    def fill_and_refine(self, batch_inputs: Tensor, feats: tuple[Tensor, ...], cues: list[InstanceData],
                        batch_data_samples: list[DetDataSample]) -> list[DetDataSample]:
        """3. and 4.: from cues to ``pred_instances``."""
        if self.filler is not None:
            for cue, iams in zip(cues, self.fill(feats, cues)):
                cue.iams = iams
        for image, cue, sample in zip(batch_inputs, cues, batch_data_samples):
            image, cue = self.to_original(image, cue, sample)
            sample.pred_instances = self.drop_maps(self.post_processor(cue, image, sample))
            for name, baseline in self.baselines.items():
                sample.set_field(self.drop_maps(baseline(cue, image, sample)), f'pred_instances_{name}')
        return batch_data_samples

    # ---------------------------------------------------------------- training
    def loss(self, batch_inputs: Tensor, batch_data_samples: list[DetDataSample]) -> dict[str, Tensor]:
        """Loss of the current stage: 'classify' or 'fill' (Sec. 3.3)."""
        if self.stage == 'fill':
            return self.fill_loss(batch_inputs, batch_data_samples)
        targets = one_hot(self.image_labels(batch_data_samples), self.peak_head.num_classes).to(batch_inputs)
        return self.peak_head.loss(self.extract_feat(batch_inputs), targets)

    def fill_loss(self, batch_inputs: Tensor, batch_data_samples: list[DetDataSample]) -> dict[str, Tensor]:
        """2. Pseudo GT, then the loss of the filled maps against it."""
        feats, cues = self.training_cues(batch_inputs, batch_data_samples)
        counts = [[len(options) for options in cue.candidates] for cue in cues]
        report = dict(
            peaks_per_image=sum(map(len, counts)) / len(cues),
            candidates_per_image=sum(map(sum, counts)) / len(cues),
            peaks_dropped_per_image=sum(one.count(0) for one in counts) / len(cues))
        report = {name: torch.tensor(value) for name, value in report.items()}
        cues = self.draw_instances(cues, counts)
        if not any(map(len, cues)):  # keeps the graph, so that a process without instances stays in step with others
            idle = [*self.fill(feats, cues), *self.filler.parameters()]
            return dict(loss_fill=sum(one.sum() for one in idle) * 0, **report)
        if self.train_cfg['prompt_ratio']:
            self.replace_by_prompts(cues, batch_data_samples)
        iams = self.fill(feats, cues)
        drawn = [self.sampler.draw(cue.candidates, sample.segment_proposals, batch_inputs.device, logits)
                 for cue, sample, logits in zip(cues, batch_data_samples, iams)]
        logits, masks = torch.cat(iams), torch.cat([gt.masks for gt in drawn])
        if self.sampler.self_selecting:
            agreement = torch.cat([gt.agreement for gt in drawn])
            report['agreement'] = agreement.mean()
            trusted = self.sampler.trusted(agreement)
            logits, masks = logits[trusted], masks[trusted]
        return dict(**self.filler.loss(logits, masks), **report)

    def draw_instances(self, cues: list[InstanceData], counts: list[list[int]]) -> list[InstanceData]:
        """Of the cues with candidates (``counts`` of each), a random ``max_instances`` of the batch."""
        images = [(image, i) for image, one in enumerate(counts) for i, count in enumerate(one) if count]
        chosen = torch.randperm(len(images))[:self.train_cfg['max_instances']].tolist()
        kept = [sorted(images[c][1] for c in chosen if images[c][0] == image) for image in range(len(cues))]
        return [cue if len(index) == len(cue) else cue[torch.tensor(index, dtype=torch.long, device=cue.maps.device)]
                for cue, index in zip(cues, kept)]

    def replace_by_prompts(self, cues: list[InstanceData], data_samples: list[DetDataSample]) -> None:
        """Give a share of the instances the map of a click or a box on their best candidate mask."""
        for cue, sample in zip(cues, data_samples):
            chosen = (torch.rand(len(cue)) < self.train_cfg['prompt_ratio']).nonzero().flatten().tolist()
            if chosen:
                for i in chosen:  # a prompt stands for one mask: the others would contradict it
                    cue.candidates[i] = cue.candidates[i][:1]
                masks = sample.segment_proposals.masks([int(cue.candidates[i][0]) for i in chosen])
                cue.maps = cue.maps.clone()  # those of the paper's cue are its Peak Response Maps
                cue.maps[chosen] = simulate_prompts(torch.as_tensor(masks, device=cue.maps.device)).to(cue.maps)

    @torch.no_grad()
    def training_cues(self, batch_inputs: Tensor, batch_data_samples: list[DetDataSample]):
        """Feature maps, and cues of the image labels' classes with their candidate masks, cached ones where there are.
        """
        self.check_proposals(batch_data_samples)
        labels = self.image_labels(batch_data_samples)
        cues: list = [self.cue_cache.get(sample, batch_inputs.device) if self.cue_cache is not None else None
                      for sample in batch_data_samples]
        feats = []
        # always in these parts, also where all cues are there: bits may depend on the number of images at a time, and a
        # resumed run finds more of them than the first one did
        for part in torch.arange(len(cues)).split(self.train_cfg['cue_batch']):
            new = [i for i in part.tolist() if cues[i] is None]
            if new:
                some = [batch_data_samples[i] for i in new]
                found = self.find_cues(batch_inputs[torch.tensor(new)], some, [labels[i] for i in new])
                for i, sample, cue in zip(new, some, found.cues):
                    cue.candidates = self.sampler.candidates(cue, sample.segment_proposals)
                    if self.cue_cache is not None:
                        self.cue_cache.put(sample, cue)
                    cues[i] = cue
            feats.append(found.feats if len(new) == len(part) else self.extract_feat(batch_inputs[part]))
        for cue in cues:
            if 'maps' not in cue:
                self.cue.draw(cue, batch_inputs)
        return tuple(map(torch.cat, zip(*feats))), cues

    def set_stage(self, stage: str) -> None:
        """'classify' trains backbone and head, 'fill' the filler on a frozen backbone."""
        if stage not in STAGES:
            raise ValueError(f'stage must be one of {STAGES}, got {stage!r}')
        if stage == 'fill' and self.filler is None:
            raise ValueError('stage "fill" needs a filler in the model')
        if stage == 'classify' and self.peak_head is None:
            raise ValueError('stage "classify" needs a peak_head in the model')
        if stage == 'fill' and not self._frozen:
            self._frozen = [p for part in self.classifier_parts() for p in part.parameters() if p.requires_grad]
        for parameter in self._frozen:
            parameter.requires_grad_(stage != 'fill')
        if stage == 'classify':
            self._frozen = []
        self.stage = stage
        self.train(self.training)

    def train(self, mode: bool = True):
        """Backbone and head stay in eval mode while the filler is trained."""
        super().train(mode)
        if self.stage == 'fill':
            for part in self.classifier_parts():
                part.eval()
        return self

    # ---------------------------------------------------------------- small print
    def classifier_parts(self) -> list[torch.nn.Module]:
        """What stage 'classify' trains: backbone and, where there is one, peak_head."""
        return [part for part in (self.backbone, self.peak_head) if part is not None]

    def classify(self, batch_inputs: Tensor) -> tuple[tuple[Tensor, ...], Tensor | None]:
        """Feature maps, and class scores (B, C) as raw logits (None without a peak_head); no cues."""
        feats = self.extract_feat(batch_inputs)
        return feats, None if self.peak_head is None else self.peak_head.find_cues(self.peak_head(feats))[0]

    def cell_offset(self, size: tuple[int, int]) -> tuple[int, int]:
        """As of :func:`mmiam.models.backbones.cell_offset`."""
        return cell_offset(self.backbone, size)

    def _forward(self, batch_inputs: Tensor, batch_data_samples=None) -> Tensor:
        """Class response maps, has shape (B, C, h, w); feature maps without a peak_head."""
        feats = self.extract_feat(batch_inputs)
        return feats if self.peak_head is None else self.peak_head(feats)

    def to_rgb(self, images: Tensor) -> Tensor:
        """As of :func:`mmiam.models.detectors.original_image.to_rgb`."""
        return to_rgb(images, self.data_preprocessor)

    def to_original(self, image: Tensor, cue: InstanceData, sample: DetDataSample) -> tuple[Tensor, InstanceData]:
        """RGB image in [0, 255] at original size, and maps without what padding added."""
        height, width = sample.img_shape[:2]
        cropped = cue[:]
        for name in MAPS:
            if name in cropped:
                cropped.set_field(cropped.get(name)[:, :height, :width], name)
        return restore_image(image, sample, self.data_preprocessor, tuple(sample.ori_shape[:2])), cropped

    def drop_maps(self, results: InstanceData) -> InstanceData:
        """Leave out the maps unless asked for; IAMs leave as probabilities."""
        if self.test_cfg['return_maps']:
            if 'iams' in results:
                results.iams = results.iams.sigmoid()
            return results
        for name in MAPS:
            results.pop(name, None)
        return results

    @staticmethod
    def image_labels(data_samples: list[DetDataSample]) -> list[list[int]]:
        """Image-level labels of each sample."""
        for sample in data_samples:
            if 'image_labels' not in sample:
                raise KeyError(f'{sample.get("img_path", "a sample")} has no image_labels: use a data set that gives '
                               'them (VOCInstanceDataset) and PackWeakInputs at the end of the pipeline')
        return [sample.image_labels for sample in data_samples]

    @staticmethod
    def check_proposals(data_samples: list[DetDataSample]) -> None:
        """Raise a KeyError that says what to do for a training sample without segment proposals."""
        for sample in data_samples:
            if 'segment_proposals' not in sample:
                raise KeyError(f'{sample.get("img_path", "a sample")} has no segment proposals: add '
                               'dict(type="LoadSegmentProposals", proposal_root=...) to the training pipeline; '
                               'tools/proposals/generate.py makes them')
