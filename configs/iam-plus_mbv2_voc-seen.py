# Training for the experiment on unseen categories: images with a cat or a horse are used in neither stage, nor in
# validation. iam-plus_mbv2_voc-unseen.py evaluates on these two classes.
_base_ = './iam-plus_mbv2_voc.py'
unseen = ('cat', 'horse')
train_dataloader = dict(dataset=dict(filter_cfg=dict(exclude_classes=unseen)))
val_dataloader = dict(dataset=dict(filter_cfg=dict(exclude_classes=unseen)))
test_dataloader = val_dataloader
