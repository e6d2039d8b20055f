_base_ = '../gt-box_proposal.py'
