_base_ = '../gt-box_rect.py'
