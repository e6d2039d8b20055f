# Sec. 3.3: the classifier with a learning rate of 0.01, then the filling module with 0.1. The paper does not state
# epochs, decay and warm-up; 20 epochs without decay for the classifier follow the PRM reference.
fill_begin = 20
max_epochs = 40
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=max_epochs, val_interval=5)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='SGD', lr=0.01, momentum=0.9, weight_decay=1e-4),
    paramwise_cfg=dict(custom_keys={
        'backbone': dict(lr_mult=0.01),  # fine-tuned at 1e-4, as in the PRM reference
        'filler': dict(lr_mult=10.)  # 0.1
    }))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, begin=fill_begin, end=fill_begin + 1, convert_to_iter_based=True),
    dict(type='PolyLR', power=0.9, begin=fill_begin + 1, end=max_epochs, convert_to_iter_based=True),
]
custom_hooks = [dict(type='TrainingStageHook', fill_begin=fill_begin)]
auto_scale_lr = dict(enable=False, base_batch_size=16)
