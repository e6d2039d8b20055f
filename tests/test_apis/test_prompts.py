import pytest
import torch
from mmcv.transforms import Compose
from mmdet.registry import MODELS

from mmiam.apis import PromptSession


@pytest.fixture
def path(folder):
    return str(folder / 'color.jpg')


def test_prompts_give_instances_at_original_size(model, path):
    model.post_processor.nms_iou = None
    session = PromptSession(model, path)
    result = session([dict(point=(4, 5), label=2), dict(box=(10, 2, 28, 18), label=1)])
    assert result.masks.shape == (2, 20, 30) and result.bboxes.shape == (2, 4)
    assert dict(zip(result.prompt_index.tolist(), result.labels.tolist())) == {0: 2, 1: 1}
    assert len(session([])) == 0


def test_one_backbone_pass_and_no_back_propagation(model, path, monkeypatch):
    monkeypatch.setattr('mmiam.models.cues.peak_cues.Trace', None)
    passes, fillings = [], []
    model.backbone.register_forward_hook(lambda *args: passes.append(1))
    model.filler.register_forward_hook(lambda *args: fillings.append(1))
    session = PromptSession(model, path)
    for x in (3, 12, 25):
        session([dict(point=(x, 10))])
    assert len(passes) == 1 and len(fillings) == 3


def test_the_session_gives_what_a_model_with_a_prompt_cue_does(model, path, tiny_config):
    """Prompts in the data sample, packed by PackWeakInputs."""
    cfg = tiny_config().model
    cfg.update(cue=dict(type='PromptCue'), peak_head=None)
    whole = MODELS.build(cfg).eval()
    whole.load_state_dict(model.state_dict(), strict=False)
    keys = ('img_path', 'ori_shape', 'img_shape', 'prompts')
    pipeline = [*model.cfg.test_dataloader.dataset.pipeline[:-1], dict(type='PackWeakInputs', meta_keys=keys)]
    data = Compose(pipeline)(dict(img_path=path, prompts=[dict(point=(7, 9))]))
    with torch.no_grad():
        result, = whole.test_step(dict(inputs=[data['inputs']], data_samples=[data['data_samples']]))
    session = PromptSession(model, path)([dict(point=(7, 9))])
    assert torch.equal(result.pred_instances.masks, session.masks)
    torch.testing.assert_close(result.pred_instances.scores, session.scores)


def test_errors_name_image_and_prompt(model, path):
    with pytest.raises(ValueError, match='color.jpg: prompt 0: point .* lies outside'):
        PromptSession(model, path)([dict(point=(30.5, 3))])
    with pytest.raises(FileNotFoundError):
        PromptSession(model, 'none.png')
    model.filler = None
    with pytest.raises(ValueError, match='needs a filler'):
        PromptSession(model, path)
