# Table 4, methods other than ours, on MSRA-B: see maps_saliency_ecssd.py.
_base_ = './maps_saliency_ecssd.py'
import os  # noqa: E402

test_dataloader = dict(
    dataset=dict(data_root=os.environ.get('MSRA_B_ROOT') or 'data/MSRA-B', data_prefix=dict(img='Imgs', mask='Imgs')))
