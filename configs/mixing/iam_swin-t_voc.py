# A transformer of mmdet. Attention has no rule of peak back-propagation: its plain gradient is used, and a warning says
# so once. Not tuned: the thresholds of the peaks are those of ResNet-50.
_base_ = '../iam_r50_voc.py'
model = dict(
    backbone=dict(
        _delete_=True,
        type='SwinTransformer',
        embed_dims=96,
        depths=(2, 2, 6, 2),
        num_heads=(3, 6, 12, 24),
        window_size=7,
        drop_path_rate=0.2,
        out_indices=(0, 1, 2, 3),
        convert_weights=True,
        init_cfg=dict(
            type='Pretrained', checkpoint='{{$MMIAM_SWIN_T_WEIGHTS:weights/swin_tiny_patch4_window7_224.pth}}')),
    peak_head=dict(in_channels=768),
    filler=dict(in_channels=(96, 192, 384)))
