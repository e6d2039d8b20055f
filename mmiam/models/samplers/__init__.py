from .proposal_pseudo_gt_sampler import ProposalPseudoGTSampler, PseudoGT

__all__ = ['ProposalPseudoGTSampler', 'PseudoGT']
