# Table 4, methods other than ours, on THUR15K (maps in one folder per class, <class>/<number>.png): see
# maps_saliency_ecssd.py.
_base_ = './maps_saliency_ecssd.py'
import os  # noqa: E402

test_dataloader = dict(
    dataset=dict(
        data_root=os.environ.get('THUR_ROOT') or 'data/THUR15000',
        data_prefix=dict(img='*/Src', mask='*/Src'),
        without_mask='skip'))
