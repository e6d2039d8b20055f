# Test-time augmentation by tiles: the whole image and four windows with 0.6 of its sides (docs/experiments.md).
tta_model = dict(type='MaskTTAModel')
tta_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(
        type='TestTimeAug',
        transforms=[[
            dict(type='CropTile', window=window)
            for window in ((0, 0, 1, 1), (0, 0, .6, .6), (.4, 0, 1, .6), (0, .4, .6, 1), (.4, .4, 1, 1))
        ], [dict(type='Resize', scale=(320, 320), keep_ratio=False)], [dict(type='PackWeakInputs')]])
]
