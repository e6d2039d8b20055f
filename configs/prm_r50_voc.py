# The PRM baseline (Zhou et al., CVPR 2018): the classifier alone, masks by proposal retrieval at test time.
_base_ = './voc_table1/prm_proposal-retrieval.py'
