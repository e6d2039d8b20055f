_base_ = '../melm_proposal.py'
