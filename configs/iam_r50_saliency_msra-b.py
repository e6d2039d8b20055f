# Table 4: salient objects of MSRA-B, with images and masks in one folder. To evaluate only the 2,000 test images in a
# list: --cfg-options test_dataloader.dataset.ann_file=test.txt
_base_ = './iam_r50_saliency_ecssd.py'
import os  # noqa: E402

test_dataloader = dict(
    dataset=dict(data_root=os.environ.get('MSRA_B_ROOT') or 'data/MSRA-B', data_prefix=dict(img='Imgs', mask='Imgs')))
val_dataloader = test_dataloader
