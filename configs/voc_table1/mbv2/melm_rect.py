_base_ = '../melm_rect.py'
