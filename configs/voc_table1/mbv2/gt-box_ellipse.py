_base_ = '../gt-box_ellipse.py'
