"""Segment proposals at test time for the one baseline that needs them, and for nobody else."""
from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from mmdet.registry import MODELS
from mmdet.structures import DetDataSample
from mmengine.model import BaseModule
from mmengine.structures import InstanceData
from torch import Tensor

from mmiam.proposals import SegmentProposals
from mmiam.proposals.io import find_proposal_file, load_proposals


@MODELS.register_module()
class WithProposals(BaseModule):
    """Run a post-processor on a copy of the sample that has the image's segment proposals.

    The sample itself gets none: methods that are evaluated in the same pass, IAM above all, cannot see them.

    Args:
        proposal_root (str): folder with one proposal file an image, of any known format.
        post_processor (dict): what needs them: :class:`ProposalRetrieval`, or :class:`BoxToMask` with
            ``mask='proposal'``.
    """

    def __init__(self, proposal_root: str, post_processor: dict, init_cfg=None):
        super().__init__(init_cfg)
        self.proposal_root = proposal_root
        self.post_processor = MODELS.build(post_processor)
        self.needs_iam = getattr(self.post_processor, 'needs_iam', False)

    def forward(self, cues: InstanceData, image: Tensor, data_sample: DetDataSample) -> InstanceData:
        """As of the post-processor inside.

        Raises:
            FileNotFoundError: if the image has no proposal file.
            ValueError: if the file is broken or of another size than the image.
        """
        proposals = proposals_of_image(self.proposal_root, data_sample.img_path, tuple(image.shape[-2:]))
        equipped = DetDataSample(metainfo=data_sample.metainfo)
        equipped.set_field(proposals, 'segment_proposals')
        return self.post_processor(cues, image, equipped)


@lru_cache(maxsize=1)
def proposals_of_image(proposal_root: str, image_path: str, size: tuple[int, int]) -> SegmentProposals:
    """Proposals of the last image asked for; several baselines in a row read the file once."""
    try:
        return load_proposals(find_proposal_file(proposal_root, Path(image_path).stem), size=size)
    except FileNotFoundError as error:
        raise FileNotFoundError(f'{error}. Make them with tools/proposals/generate.py, or set proposal_root') from None
