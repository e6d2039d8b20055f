"""Training of the classifier first and the filling module second, in one run (Sec. 3.3)."""
from __future__ import annotations

from mmdet.registry import HOOKS
from mmengine.dist import get_world_size
from mmengine.hooks import Hook
from mmengine.model import BaseTTAModel, is_model_wrapper
from torch import nn

from mmiam.engine.cue_caching import open_cue_cache
from mmiam.utils.checkpoints import reads_own_head


def unwrap_model(runner) -> nn.Module:
    """Return a runner's model, without the wrappers for distributed training and test-time augmentation."""
    wrapped = is_model_wrapper(runner.model) or isinstance(runner.model, BaseTTAModel)
    return runner.model.module if wrapped else runner.model


@HOOKS.register_module()
class TrainingStageHook(Hook):
    """Hook that switches :class:`IAMNet` from stage 'classify' to stage 'fill'.

    The stage depends only on the epoch, so a resumed run is in the right one.

    Args:
        fill_begin (int): first epoch (counted from 0) of the filling stage. With 0, the filling
            module is trained on a classifier given by ``load_from``.
        select_begin (int, optional): first epoch (counted from 0) of self-selection, in which pseudo masks are chosen
            by their agreement with the filling module's own maps, see :class:`ProposalPseudoGTSampler`.
            None, as in the paper, draws them at random throughout.
        cache_cues (bool): keep the cues of the frozen classifier and their
            candidate proposals in ``<work_dir>/cue_cache`` instead of computing them in each epoch. They are
            assumed to depend only on image, size and flip, so switch the cache off if there is other
            random augmentation.
        cache_gb (float): size that the cache may grow to, for all processes together.
    """

    priority = 'VERY_HIGH'

    def __init__(self, fill_begin: int, select_begin: int | None = None, cache_cues: bool = True,
                 cache_gb: float = 20.):
        if select_begin is not None and select_begin < fill_begin:
            raise ValueError(f'select_begin={select_begin} lies before fill_begin={fill_begin}: until then there are '
                             'no maps of the filling module to select by')
        self.fill_begin = fill_begin
        self.select_begin = select_begin
        self.cache_cues = cache_cues
        self.cache_gb = cache_gb

    def before_train(self, runner) -> None:
        """Refuse a wrong number of classes, and the filling stage on an untrained classifier."""
        model = unwrap_model(runner)
        own_classifier = model.peak_head is not None and reads_own_head(model)
        outputs = getattr(model.peak_head, 'num_classes', None)
        classes = runner.train_dataloader.dataset.metainfo.get('classes')
        if own_classifier and classes and len(classes) != outputs:
            raise ValueError(f'model.peak_head.num_classes is {outputs}, and the data set has the {len(classes)} '
                             f'classes {classes}; set one to the other')
        if self.fill_begin == 0 and own_classifier and not runner._has_loaded:
            raise ValueError('fill_begin=0 trains the filling module alone, on a trained classifier: give its '
                             'checkpoint, --cfg-options load_from=CHECKPOINT')

    def before_train_epoch(self, runner) -> None:
        model = unwrap_model(runner)
        stage = 'classify' if runner.epoch < self.fill_begin else 'fill'
        first = getattr(self, '_announced', None) != stage
        if first:
            runner.logger.info(f'Training stage "{stage}" (epoch {runner.epoch + 1} of {runner.max_epochs}; '
                               f'the filling module is trained from epoch {self.fill_begin + 1} on)')
            self._announced = stage
        if runner.epoch == self.fill_begin:  # otherwise the log averages the losses of both stages
            history = runner.message_hub.log_scalars
            for name in [name for name in history if name.startswith('train/') and 'loss' in name]:
                del history[name]
        model.set_stage(stage)
        if self.select_begin is not None:
            model.sampler.self_selecting = runner.epoch >= self.select_begin
        if first and stage == 'fill' and self.cache_cues:
            model.cue_cache = open_cue_cache(model, runner.cfg, runner.work_dir, self.cache_gb, get_world_size())

    def after_train_epoch(self, runner) -> None:
        cache = getattr(unwrap_model(runner), 'cue_cache', None)
        if cache is not None:
            runner.logger.info(f'cue cache: {cache.hits} read, {cache.misses} computed, '
                               f'{max(cache.bytes_left, 0) / 2**30:.2f} GB left')
            cache.hits = cache.misses = 0
