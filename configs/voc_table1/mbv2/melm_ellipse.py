_base_ = '../melm_ellipse.py'
