"""The steps of IEDR against a loop written out in plain PyTorch."""

from __future__ import annotations

from collections import Counter

import pytest
import torch
import torch.nn.functional as F
from pairs import distinct_rows_and_counts
from training_runs import (
    LISTS,
    PLANTED,
    SPLIT,
    assert_same_result,
    load,
    make_module,
    rows_module,
    run,
    without_times,
)

from iedr_geo.data import UniformNegativeSampler
from iedr_geo.data.randomness import derive_seed
from iedr_geo.evaluation import evaluate_candidates
from iedr_geo.loader import InteractionLoader
from iedr_geo.nn import IEDR, IEDR_VARIANTS

EPOCHS = 2


def reference(first, steps, **loader_arguments):
    """Algorithm 1: estimator, then main step on the same encoding; or the reverse."""
    torch.manual_seed(0)
    model = IEDR(PLANTED.schema.num_embeddings, 8, 16, num_negatives=4).double()
    estimators = model.disentangling
    is_estimator = {id(parameter) for parameter in estimators.parameters()}
    rest = [p for p in model.parameters() if id(p) not in is_estimator]
    adam = {'lr': 0.01, 'weight_decay': 1e-5}
    main = torch.optim.Adam(rest, **adam)
    estimator = torch.optim.Adam(estimators.parameters(), **adam)
    loader = InteractionLoader(SPLIT.train, 64, shuffle=True, seed=3, **loader_arguments)
    history = []
    for epoch in range(EPOCHS):
        loader.set_epoch(epoch)
        batches = list(loader)
        torch.manual_seed(derive_seed(3, epoch, 2, 0))
        sums = Counter()
        for batch in batches:
            encoded = model.encode(batch)

            def estimator_step(factors=encoded.factors, sums=sums):
                for _ in range(steps):
                    loss = 0
                    for side in ('user', 'item'):
                        o_in, o_ex = (x.detach() for x in getattr(factors, side))
                        q = estimators[side]
                        one = F.mse_loss(q.to_extrinsic(o_in), o_ex)
                        two = F.mse_loss(q.to_intrinsic(o_ex), o_in)
                        loss = loss + (one + two) / 2
                    estimator.zero_grad()
                    loss.backward()
                    estimator.step()
                sums['estimator'] += loss.item()

            if first:
                estimator_step()
            prediction = F.binary_cross_entropy_with_logits(
                encoded.logits, batch.y.double()
            )
            contrastive = disentangling = 0
            for side in ('user', 'item'):
                entity_id = getattr(batch, f'{side}_id')
                rows, counts = distinct_rows_and_counts(entity_id, batch.context_id)
                contrastive = contrastive + 0.1 * model.contrastive(
                    model.generators[side],
                    getattr(encoded, side),
                    encoded.context,
                    rows=rows,
                    row_weight=counts,
                )
            for side in ('user', 'item'):
                factors = getattr(encoded.factors, side)
                disentangling = disentangling + 0.1 * estimators[side](*factors)
            loss = prediction + contrastive + disentangling
            main.zero_grad()
            loss.backward()
            main.step()
            if not first:
                estimator_step()
            sums['loss'] += loss.item()
            sums['prediction'] += prediction.item()
            sums['contrastive'] += contrastive.item()
            sums['disentangling'] += disentangling.item()
        losses = {name: total / len(batches) for name, total in sums.items()}
        valid = evaluate_candidates(model, SPLIT.valid, LISTS).metrics
        history.append({'epoch': epoch, 'learning_rate': 0.01, **losses, **valid})
    return model, history


@pytest.mark.parametrize(
    ('first', 'steps', 'grouped'),
    [
        (True, 1, False),
        (False, 3, True),
        pytest.param(False, 1, False, marks=pytest.mark.full),
        pytest.param(True, 3, True, marks=pytest.mark.full),
    ],
)
def test_equals_a_plain_loop(tmp_path, monkeypatch, first, steps, grouped):
    """And each batch is encoded once."""
    arguments = {
        'negatives': UniformNegativeSampler(3, resample=grouped),
        'group_negatives': grouped,
    }
    module = rows_module(estimator_first=first, estimator_steps=steps, **arguments)
    module.model.double()  # Else the last digits depend on how products are summed.
    before = [parameter.clone() for parameter in module.model.parameters()]
    encode, estimator_loss, batches = IEDR.encode, IEDR.estimator_loss, []

    def counting(self, batch):
        if torch.is_grad_enabled():  # Not the evaluation.
            batches.append(batch)
        return encode(self, batch)

    def detached(self, encoded):  # Also for a model that detaches nothing itself.
        assert not encoded.logits.requires_grad
        return estimator_loss(self, encoded)

    with monkeypatch.context() as patch:
        patch.setattr(IEDR, 'encode', counting)
        patch.setattr(IEDR, 'estimator_loss', detached)
        result = run(module, tmp_path, max_epochs=EPOCHS)
    assert len({id(batch) for batch in batches}) == len(batches)
    assert len(batches) == EPOCHS * len(module.train_dataloader())
    model, history = reference(first, steps, **arguments)
    last = load(tmp_path)['state_dict']
    for (name, expected), old in zip(model.named_parameters(), before, strict=True):
        torch.testing.assert_close(
            last[f'model.{name}'], expected, rtol=1e-10, atol=1e-10
        )
        assert (expected - old).abs().max() > 1e-3, name
    for epoch, expected in zip(without_times(result.history), history, strict=True):
        assert epoch == pytest.approx(expected, rel=1e-5, abs=1e-7)


def test_labels_in_place_of_negatives(tmp_path):
    """Two negatives for each row by default; none where the rows have labels."""
    assert rows_module().negatives == UniformNegativeSampler(2)
    labelled = SPLIT.train[:]
    labelled.y = (labelled.item % 2).float()
    module = rows_module(
        train=labelled, batch_size=len(labelled), model=IEDR_VARIANTS['noCIED']
    )
    assert module.negatives is None
    [batch] = module.train_dataloader()
    assert torch.equal(batch.y, (batch.item_id % 2).float())
    expected = F.binary_cross_entropy_with_logits(module.model(batch), batch.y).item()
    result = run(module, tmp_path, max_epochs=1)
    assert result.history[0]['loss'] == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize('kind', ['rows', 'dice-lightgcn'])
def test_same_seed_same_run(tmp_path, kind):
    results = []
    for i, seed in enumerate((3, 3, 4)):
        torch.manual_seed(1000 + i)  # What went before does not matter ...
        module = make_module(kind, seed=seed)
        torch.rand(i)  # ... nor what is drawn in between.
        results.append(run(module, tmp_path / str(i), max_epochs=1))
    one, two, other = results
    assert_same_result(one, two)
    assert without_times(one.history) != without_times(other.history)
    weights = (next(result.model.parameters()) for result in (one, other))
    assert not torch.equal(*weights)


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason='needs a CUDA device')
@pytest.mark.filterwarnings('ignore::DeprecationWarning')
@pytest.mark.parametrize('workers', [0, 1])
def test_cuda(tmp_path, workers):
    """A worker builds the batches on the CPU, so both train on the same ones; without,
    they are drawn on the device: another run of the same kind.
    """
    model = IEDR_VARIANTS['noCIED'] if workers else {}
    one, two = (
        run(
            rows_module(num_workers=workers, model=model),
            tmp_path / device,
            max_epochs=1,
            accelerator=device,
        )
        for device in ('cpu', 'gpu')
    )
    assert two.device == two.model.embedding.weight.device == torch.device('cuda', 0)
    tolerance = 1e-3 if workers else 0.15
    for name in ('loss', 'prediction'):
        assert two.history[0][name] == pytest.approx(one.history[0][name], rel=tolerance)
