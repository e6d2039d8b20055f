"""The whole method on one screen (Fig. 3): cue -> fill -> refine, and its training.

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
    """Override ``defaults`` by ``given``; raise a ValueError for a key that is not among the defaults."""
    unknown = sorted(set(given or {}) - set(defaults))
    if unknown:
        raise ValueError(f'{name} has no {unknown[0]!r}; its keys are {", ".join(defaults)}')
    return {**defaults, **(given or {})}


@MODELS.register_module()
class IAMNet(BaseDetector):
    """Network that predicts instance masks, trained on image-level labels, by Instance Activation Maps.

    Args:
        backbone (dict): any backbone of mmdet with several outputs.
        peak_head (dict, optional): :class:`PeakStimulationHead`. It may be left out if
            ``cue`` needs no classifier of this network; class scores are then not predicted.
        filler (dict, optional): :class:`InstanceExtentFiller`; None stops at the Peak
            Response Maps (the PRM baseline).
        sampler (dict, optional): :class:`ProposalPseudoGTSampler`, for training only.
        post_processor (dict): turns maps into masks, e.g. :class:`ConvCRFPostProc`.
        cue (dict, optional): source of the cues (docs/cues.md); by default :class:`PeakResponseCue`, as in the paper.
        train_cfg (dict, optional): ``max_instances`` (int) limits how many instances of a batch are
            filled; if there are more, a random subset is taken (default 48). ``cue_batch`` (int) is the number of
            images whose cues are computed at a time (default 4). Both bound the memory.
            ``prompt_ratio`` (float) is the share of the instances that are filled not from their cue but from a
            point or a box on their pseudo mask, such as a user would give (default 0).
        test_cfg (dict, optional): ``baselines`` (dict[str, dict]) are post-processors whose
            predictions are added as ``pred_instances_<name>``. ``return_maps`` (bool) keeps ``maps``, ``prms``,
            ``cams`` and ``iams`` (probabilities) of each instance at input size. ``use_image_labels`` (bool) admits
            only the classes of the image. ``refill`` (float) fills a second time, from cues under which the
            first filled map is laid at this height in (0, 1], and keeps the more certain map of each
            instance; 0 fills once, as in the paper.
        data_preprocessor (dict, optional): ``DetDataPreprocessor`` with bgr_to_rgb=True.

    Raises:
        ValueError: if parts do not fit together, or a key of ``train_cfg`` or ``test_cfg`` is unknown.
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
        self._frozen: list[torch.nn.Parameter] = []  # frozen by stage 'fill', to be trained again in stage 'classify'

    # ---------------------------------------------------------------- the method
    def extract_feat(self, batch_inputs: Tensor) -> tuple[Tensor, ...]:
        """Compute the feature maps of the backbone, from shallow to deep."""
        return self.backbone(batch_inputs)

    def find_cues(self, images: Tensor, data_samples: list[DetDataSample], image_labels=None) -> FoundCues:
        """1. Cue: find incomplete responses, one per instance."""
        return self.cue(self, images, data_samples, image_labels)

    def fill(self, feats: tuple[Tensor, ...], cues: list[InstanceData]) -> list[Tensor]:
        """3. Fill: compute Instance Activation Maps as logits, (n, H, W) for each image."""
        counts = [len(cue) for cue in cues]
        image_index = torch.arange(len(cues)).repeat_interleave(torch.tensor(counts))  # on the CPU, to wait for no GPU
        maps = torch.cat([cue.maps for cue in cues])
        logits = self.filler(feats, maps, image_index)
        if self.test_cfg['refill'] and not self.training:
            wider = widen_cues(maps, logits, self.test_cfg['refill'])
            logits = keep_surer_maps(logits, self.filler(feats, wider, image_index))
        return list(logits.split(counts))

    def predict(self, batch_inputs: Tensor, batch_data_samples: list[DetDataSample]) -> list[DetDataSample]:
        """Cue, fill and refine: set ``pred_instances`` at original size and ``pred_class_scores`` (C,)."""
        labels = self.image_labels(batch_data_samples) if self.test_cfg['use_image_labels'] else None
        filling = self.filler is None or self.stage == 'fill'  # masks mean nothing until then
        feats, scores, cues = self.find_cues(batch_inputs, batch_data_samples, labels) if filling else (
            *self.classify(batch_inputs), [])
        for score, sample in zip(scores if scores is not None else (), batch_data_samples):
            sample.set_field(score, 'pred_class_scores')
        return self.fill_and_refine(batch_inputs, feats, cues, batch_data_samples) if filling else batch_data_samples

    def fill_and_refine(self, batch_inputs: Tensor, feats: tuple[Tensor, ...], cues: list[InstanceData],
                        batch_data_samples: list[DetDataSample]) -> list[DetDataSample]:
        """3. and 4.: turn cues into ``pred_instances``."""
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
        """Compute the loss of the current stage: 'classify' or 'fill' (Sec. 3.3)."""
        if self.stage == 'fill':
            return self.fill_loss(batch_inputs, batch_data_samples)
        targets = one_hot(self.image_labels(batch_data_samples), self.peak_head.num_classes).to(batch_inputs)
        return self.peak_head.loss(self.extract_feat(batch_inputs), targets)

    def fill_loss(self, batch_inputs: Tensor, batch_data_samples: list[DetDataSample]) -> dict[str, Tensor]:
        """2. Draw pseudo ground truth, and compute the loss of the filled maps against it."""
        feats, cues = self.training_cues(batch_inputs, batch_data_samples)
        counts = [[len(options) for options in cue.candidates] for cue in cues]
        report = dict(
            peaks_per_image=sum(map(len, counts)) / len(cues),
            candidates_per_image=sum(map(sum, counts)) / len(cues),
            peaks_dropped_per_image=sum(one.count(0) for one in counts) / len(cues))
        report = {name: torch.tensor(value) for name, value in report.items()}
        cues = self.draw_instances(cues, counts)
        if not any(map(len, cues)):  # keep the graph, so that a process without instances stays in step with the others
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
        """Draw at most ``max_instances`` of the batch's cues that have candidates (``counts`` of each)."""
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
                cue.maps = cue.maps.clone()  # a copy, since the paper's cue shares this tensor with prms
                cue.maps[chosen] = simulate_prompts(torch.as_tensor(masks, device=cue.maps.device)).to(cue.maps)

    @torch.no_grad()
    def training_cues(self, batch_inputs: Tensor, batch_data_samples: list[DetDataSample]):
        """Compute feature maps, and cues of the labeled classes with candidate masks, cached ones if possible."""
        self.check_proposals(batch_data_samples)
        labels = self.image_labels(batch_data_samples)
        cues: list = [self.cue_cache.get(sample, batch_inputs.device) if self.cue_cache is not None else None
                      for sample in batch_data_samples]
        new = [i for i, cue in enumerate(cues) if cue is None]
        feats = None if new else self.extract_feat(batch_inputs)
        for part in [new[i:i + self.train_cfg['cue_batch']] for i in range(0, len(new), self.train_cfg['cue_batch'])]:
            some = [batch_data_samples[i] for i in part]
            found = self.find_cues(batch_inputs[torch.tensor(part)], some, [labels[i] for i in part])
            for i, sample, cue in zip(part, some, found.cues):
                cue.candidates = self.sampler.candidates(cue, sample.segment_proposals)
                if self.cue_cache is not None:
                    self.cue_cache.put(sample, cue)
                cues[i] = cue
            if len(part) == len(batch_inputs):
                feats = found.feats  # the backbone has just run over the whole batch
        for cue in cues:
            if 'maps' not in cue:
                self.cue.draw(cue, batch_inputs)
        if feats is None:
            # Not joined from the parts: last bits may depend on the batch size, and a resumed run finds more cues in
            # the cache than the first run did. Always in parts, a GPU would launch each kernel as many times.
            feats = self.extract_feat(batch_inputs)
        return feats, cues

    def set_stage(self, stage: str) -> None:
        """Set what is trained: backbone and head in 'classify', the filler on a frozen backbone in 'fill'."""
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
        """Set the mode; backbone and head stay in eval mode while the filler is trained."""
        super().train(mode)
        if self.stage == 'fill':
            for part in self.classifier_parts():
                part.eval()
        return self

    # ---------------------------------------------------------------- small print
    def classifier_parts(self) -> list[torch.nn.Module]:
        """Return what stage 'classify' trains: the backbone and, if there is one, the peak_head."""
        return [part for part in (self.backbone, self.peak_head) if part is not None]

    def classify(self, batch_inputs: Tensor) -> tuple[tuple[Tensor, ...], Tensor | None]:
        """Compute feature maps, and class scores (B, C) as raw logits (None without a peak_head), but no cues."""
        feats = self.extract_feat(batch_inputs)
        return feats, None if self.peak_head is None else self.peak_head.find_cues(self.peak_head(feats))[0]

    def cell_offset(self, size: tuple[int, int]) -> tuple[int, int]:
        """See :func:`mmiam.models.backbones.cell_offset`."""
        return cell_offset(self.backbone, size)

    def _forward(self, batch_inputs: Tensor, batch_data_samples=None) -> Tensor:
        """Compute class response maps (B, C, h, w), or feature maps if there is no peak_head."""
        feats = self.extract_feat(batch_inputs)
        return feats if self.peak_head is None else self.peak_head(feats)

    def to_rgb(self, images: Tensor) -> Tensor:
        """See :func:`mmiam.models.detectors.original_image.to_rgb`."""
        return to_rgb(images, self.data_preprocessor)

    def to_original(self, image: Tensor, cue: InstanceData, sample: DetDataSample) -> tuple[Tensor, InstanceData]:
        """Return the image in RGB, [0, 255], at original size, and the cue with its maps cropped to remove padding."""
        height, width = sample.img_shape[:2]
        cropped = cue[:]
        for name in MAPS:
            if name in cropped:
                cropped.set_field(cropped.get(name)[:, :height, :width], name)
        return restore_image(image, sample, self.data_preprocessor, tuple(sample.ori_shape[:2])), cropped

    def drop_maps(self, results: InstanceData) -> InstanceData:
        """Remove the maps unless ``return_maps`` asks for them; IAMs are then returned as probabilities."""
        if self.test_cfg['return_maps']:
            if 'iams' in results:
                results.iams = results.iams.sigmoid()
            return results
        for name in MAPS:
            results.pop(name, None)
        return results

    @staticmethod
    def image_labels(data_samples: list[DetDataSample]) -> list[list[int]]:
        """Return the image-level labels of each sample; raise a KeyError if a sample has none."""
        for sample in data_samples:
            if 'image_labels' not in sample:
                raise KeyError(f'{sample.get("img_path", "a sample")} has no image_labels: use a data set that gives '
                               'them (VOCInstanceDataset) and PackWeakInputs at the end of the pipeline')
        return [sample.image_labels for sample in data_samples]

    @staticmethod
    def check_proposals(data_samples: list[DetDataSample]) -> None:
        """Raise a KeyError that says what to do if a training sample has no segment proposals."""
        for sample in data_samples:
            if 'segment_proposals' not in sample:
                raise KeyError(f'{sample.get("img_path", "a sample")} has no segment proposals: add '
                               'dict(type="LoadSegmentProposals", proposal_root=...) to the training pipeline; '
                               'tools/proposals/generate.py makes them')
