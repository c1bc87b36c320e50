import numpy as np
import pytest

from minivlm.nn.lora import lora_parameters
from minivlm.ops.losses import IGNORE
from minivlm.tensor import Tensor
from minivlm.train import stages
from minivlm.train.parallel import Replicas
from minivlm.train.stages import Texts, steps
from tests.models.test_llava import llava

SET_UP = {
    "reading": lambda model, lr: stages.reading(model, lr),
    "alignment": lambda model, lr: stages.alignment(model, lr),
    "instruction": lambda model, lr: stages.instruction(model, lr),
    "instruction by lora": lambda model, lr: stages.instruction_by_lora(
        model, lr, rank=2, alpha=4, rng=np.random.default_rng(1)
    ),
}
MOVES = {
    "reading": ["decoder"],
    "alignment": ["projector"],
    "instruction": ["projector", "decoder"],
}


def some_texts(model, learnt=(1, 1, 4), pictures=True):
    """Texts of a picture each, at whose ends a few tokens are learnt."""
    rng = np.random.default_rng(0)
    image = [model.config.image_token] * (model.config.image_tokens * pictures)
    ids = np.array([[1, *image, *rng.integers(6, 30, 6)] for _ in learnt])
    labels = np.full_like(ids, IGNORE)
    for row, count in enumerate(learnt):
        labels[row, -1 - count : -1] = ids[row, -count:]
    pixels = rng.standard_normal((len(learnt), 3, 16, 16)).astype(model.vision.positions.dtype)
    return Texts(ids, labels, model.see(pixels).data if pictures else None)


def rows(texts, some):
    seen = None if texts.seen is None else texts.seen[some]
    return Texts(texts.ids[some], texts.labels[some], seen)


def loss(model, texts):
    return model.loss(texts.ids, texts.labels, None if texts.seen is None else Tensor(texts.seen))


def taken(stage, model, batches, **options):
    """The steps that a stage takes, with as many replicas as a batch has parts."""
    replicas = Replicas(model, len(batches[0]))
    happened = list(steps(stage, replicas, batches, **{"count": len(batches)} | options))
    replicas.close()
    return happened, replicas.models


def trained(name, model, count=3, lr=0.02, **texts):
    """A stage after some steps on the same texts, and what happened in them."""
    stage = SET_UP[name](model, lr)
    batch = [some_texts(model, pictures=name != "reading", **texts)]
    return stage, taken(stage, model, [batch] * count)[0]


def snapshot(model):
    return {name: array.copy() for name, array in model.state_dict().items()}


def moved(before, model):
    """The names of all arrays of which any bit has changed."""
    after = model.state_dict()
    assert before.keys() == after.keys()
    return {name for name in before if before[name].tobytes() != after[name].tobytes()}


def names(model, *parts):
    return {name for name in model.state_dict() if name.split(".")[0] in parts}


def gradients(model):
    return {name: p.grad for name, p in model.named_parameters().items() if p.grad is not None}


@pytest.mark.parametrize("name", MOVES)
def test_a_stage_moves_all_of_its_parts_and_no_bit_of_the_others(name):
    model = llava()
    before = snapshot(model)
    stage, _ = trained(name, model)
    assert moved(before, model) == names(model, *MOVES[name])
    assert stage.optimizer.parameters.keys() == names(model, *MOVES[name])


def test_lora_moves_detours_and_projector_and_no_bit_of_the_language_model():
    model = llava()
    stage = SET_UP["instruction by lora"](model, 0.02)
    detours = {f"decoder.{name}" for name in lora_parameters(model.decoder)}
    assert len(detours) == 2 * 7 * model.config.decoder.layers  # seven matrices in each block
    before = snapshot(model)
    taken(stage, model, [[some_texts(model)]] * 3)
    assert moved(before, model) == detours | names(model, "projector")
    assert stage.optimizer.parameters.keys() == detours | names(model, "projector")


def test_setting_up_lora_changes_no_number_that_was_there():
    plain, model = llava(), llava()
    SET_UP["instruction by lora"](model, 0.02)
    base = {name.replace(".base", ""): array for name, array in model.state_dict().items()}
    for name, array in plain.state_dict().items():
        assert np.array_equal(array, base[name]), name


def test_a_stage_frees_what_the_one_before_had_frozen():
    model = llava()
    for name in ("alignment", "reading", "instruction"):
        before = snapshot(model)
        trained(name, model)
        assert moved(before, model) == names(model, *MOVES[name])


@pytest.mark.parametrize("name", SET_UP)
def test_no_gradient_of_what_is_frozen_is_computed_in_any_replica(name):
    model = llava()
    stage = SET_UP[name](model, 0.02)
    texts = some_texts(model, pictures=name != "reading")
    _, models = taken(stage, model, [[rows(texts, slice(2)), rows(texts, slice(2, 3))]])
    assert len(models) == 2
    for replica in models:
        assert gradients(replica).keys() == stage.optimizer.parameters.keys()


@pytest.mark.parametrize("name", SET_UP)
def test_a_stage_says_in_words_which_weights_it_moves_and_what_to_expect(name):
    stage = SET_UP[name](llava(), 0.02)
    free = stage.optimizer.parameters
    assert ("projector" in stage.moves) == ("projector.first.weight" in free)
    assert ("detours of rank 2" in stage.moves) == ("decoder.blocks.0.mlp.gate.down" in free)
    assert ("language model" in stage.moves) == ("decoder.tokens.weight" in free)
    assert stage.name == name.split()[0]
    assert ["reading", "alignment", "instruction"][stage.number] == stage.name
    assert stage.expect.startswith("The loss falls")
    assert stage.expect.endswith(".")


@pytest.mark.parametrize("name", SET_UP)
def test_parts_on_two_replicas_give_the_loss_and_gradient_of_the_whole_batch(name):
    whole, parted = (llava(dtype=np.float64) for _ in range(2))
    SET_UP[name](whole, 0.02)
    stage = SET_UP[name](parted, 0.02)
    whole.astype(np.float64)  # for detours begin in float32
    parted.astype(np.float64)
    texts = some_texts(whole, pictures=name != "reading")
    expected = loss(whole, texts)
    expected.backward()
    grads = gradients(whole)
    length = np.sqrt(sum((grad**2).sum() for grad in grads.values()))

    parts = [rows(texts, slice(2)), rows(texts, slice(2, 3))]  # 2 learnt tokens and 4
    nats = [loss(whole, part).item() for part in parts]
    stage.optimizer.update = lambda *ignored: None  # what is wanted is the gradient, not the step
    (step,), _ = taken(stage, parted, [parts])
    assert step.loss == pytest.approx(expected.item(), rel=1e-12)
    assert step.loss == pytest.approx((2 * nats[0] + 4 * nats[1]) / 6, rel=1e-12)
    assert abs(step.loss - np.mean(nats)) > 1e-3  # what equal weights would give
    assert step.grad_norm == pytest.approx(length, rel=1e-10)
    assert gradients(parted).keys() == grads.keys()
    for parameter, grad in gradients(parted).items():
        clipped = grads[parameter] / max(1, length)
        np.testing.assert_allclose(grad, clipped, rtol=1e-8, atol=1e-12, err_msg=parameter)


def test_texts_with_and_without_pictures_share_a_batch():
    model = llava(dtype=np.float64)
    stage = SET_UP["instruction"](model, 0.02)
    parts = [some_texts(model, (2,)), some_texts(model, (3,), pictures=False)]
    nats = [loss(model, part).item() for part in parts]
    (step,), _ = taken(stage, model, [parts])
    assert step.loss == pytest.approx((2 * nats[0] + 3 * nats[1]) / 5, rel=1e-12)


def test_a_stage_that_goes_on_keeps_its_count_and_its_schedule():
    whole, parted = llava(), llava()
    _, expected = trained("alignment", whole, count=4)
    stage = SET_UP["alignment"](parted, 0.02)
    batch, happened = [some_texts(parted)], []
    for start, count in ((0, 1), (1, 3)):
        happened += taken(stage, parted, [batch] * count, start=start, count=4)[0]
    assert [step.number for step in happened] == [0, 1, 2, 3]
    assert [(step.loss, step.factor) for step in happened] == [
        (step.loss, step.factor) for step in expected
    ]
    assert not moved(snapshot(whole), parted)


@pytest.mark.parametrize(
    ("name", "share"),
    [
        ("reading", 0.1),
        ("alignment", 0.8),  # what words may a picture be to a model that knows none?
        ("instruction", 0.1),
        ("instruction by lora", 0.2),
    ],
)
def test_a_few_texts_are_learnt_by_heart(name, share):
    _, happened = trained(name, llava(), count=40, lr=0.1, learnt=(2, 2, 2))
    assert happened[-1].loss < share * happened[0].loss
