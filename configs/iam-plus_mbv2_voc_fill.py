# Only the filling stage of iam-plus_mbv2_voc.py, on a trained classifier: --cfg-options load_from=CHECKPOINT
_base_ = './iam-plus_mbv2_voc.py'
fill_begin = 0
select_begin = 2
max_epochs = 6
train_cfg = dict(max_epochs=max_epochs, val_interval=max_epochs)
optim_wrapper = dict(optimizer=dict(lr=3e-4))  # the rate at which the classifier stage ends there
param_scheduler = [dict(type='PolyLR', power=0.9, begin=0, end=max_epochs, convert_to_iter_based=True)]
custom_hooks = [dict(type='TrainingStageHook', fill_begin=fill_begin, select_begin=select_begin)]
