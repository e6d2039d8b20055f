# Table 4: salient objects of THUR15K, with one folder per class; 6,233 of its 15,000 images have a mask.
_base_ = './iam_r50_saliency_ecssd.py'
import os  # noqa: E402

test_dataloader = dict(
    dataset=dict(
        data_root=os.environ.get('THUR_ROOT') or 'data/THUR15000',
        data_prefix=dict(img='*/Src', mask='*/Src'),
        without_mask='skip'))
val_dataloader = test_dataloader
