# Table 4, methods other than ours, on MSRA-B: see maps_saliency_ecssd.py.
_base_ = './maps_saliency_ecssd.py'
test_dataloader = dict(
    dataset=dict(data_root='{{$MSRA_B_ROOT:data/MSRA-B}}', data_prefix=dict(img='Imgs', mask='Imgs')))
