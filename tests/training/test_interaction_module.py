"""The two steps of a batch against a loop written out in plain PyTorch."""

from __future__ import annotations

from collections import Counter

import pytest
import torch
import torch.nn.functional as F
from pairs import distinct_rows_and_counts
from torch.optim.optimizer import (
    register_optimizer_step_post_hook,
    register_optimizer_step_pre_hook,
)

from iedr_geo.data import UniformNegativeSampler
from iedr_geo.data.randomness import derive_seed
from iedr_geo.datasets import PlantedFactors
from iedr_geo.evaluation import evaluate_candidates
from iedr_geo.loader import InteractionLoader
from iedr_geo.nn import IEDR, IEDR_VARIANTS
from iedr_geo.training import IEDRModule

EPOCHS = 2


def reference(schema, split, lists, *, order, steps=1, **loader_arguments):
    """Algorithm 1: estimator, then main step on the same encoding; or the reverse."""
    torch.manual_seed(0)
    model = IEDR(schema.num_embeddings, 8, 16, num_negatives=4).double()
    estimators = model.disentangling
    is_estimator = {id(parameter) for parameter in estimators.parameters()}
    rest = [p for p in model.parameters() if id(p) not in is_estimator]
    adam = {'lr': 0.01, 'weight_decay': 1e-5}
    main = torch.optim.Adam(rest, **adam)
    estimator = torch.optim.Adam(estimators.parameters(), **adam)
    loader = InteractionLoader(split.train, 64, shuffle=True, seed=3, **loader_arguments)
    history = []
    for epoch in range(EPOCHS):
        loader.sampler.set_epoch(epoch)
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

            if order == 'estimator first':
                estimator_step()
            prediction = F.binary_cross_entropy_with_logits(
                encoded.logits, batch.y.double()
            )
            contrastive = disentangling = 0
            for side in ('user', 'item'):
                entity_id = getattr(batch, f'{side}_id')
                rows, counts = distinct_rows_and_counts(entity_id, batch.context_id)
                contrastive = contrastive + model.contrastive(
                    model.generators[side],
                    getattr(encoded, side),
                    encoded.context,
                    rows=rows,
                    row_weight=counts,
                )
                factors = getattr(encoded.factors, side)
                disentangling = disentangling + estimators[side](*factors)
            loss = prediction + 0.1 * contrastive + 0.1 * disentangling
            main.zero_grad()
            loss.backward()
            main.step()
            if order == 'main first':
                estimator_step()
            sums['loss'] += loss.item()
            sums['prediction'] += prediction.item()
            sums['contrastive'] += contrastive.item()
            sums['disentangling'] += disentangling.item()
        losses = {name: total / len(batches) for name, total in sums.items()}
        valid = evaluate_candidates(model, split.valid, lists).metrics
        history.append({'epoch': epoch, **losses, **valid})
    return model, history


@pytest.mark.parametrize('order', ['estimator first', 'main first'])
@pytest.mark.parametrize(('steps', 'grouped'), [(1, False), (3, True)])
def test_equals_a_plain_loop(
    planted,
    split,
    lists,
    make_module,
    run,
    without_times,
    tmp_path,
    order,
    steps,
    grouped,
):
    arguments = {
        'negatives': UniformNegativeSampler(3, resample=grouped),
        'group_negatives': grouped,
    }
    module = make_module(
        estimator_first=order == 'estimator first', estimator_steps=steps, **arguments
    )
    module.model.double()  # Else the last digits depend on how products are summed.
    before = [parameter.clone() for parameter in module.model.parameters()]
    result = run(module, tmp_path, max_epochs=EPOCHS)
    model, history = reference(
        planted.schema, split, lists, order=order, steps=steps, **arguments
    )
    last = torch.load(tmp_path / 'last.ckpt', weights_only=True)['state_dict']
    trained = 0
    for (name, expected), old in zip(model.named_parameters(), before, strict=True):
        assert torch.equal(last[f'model.{name}'], expected), name
        trained += int((expected - old).abs().max() > 1e-3)
    assert trained == len(before)
    for epoch, expected in zip(without_times(result.history), history, strict=True):
        assert epoch == pytest.approx(expected, rel=1e-5, abs=1e-7)


@pytest.mark.parametrize('steps', [1, 3])
@pytest.mark.parametrize('first', [True, False])
def test_each_step_changes_its_own_parameters(make_module, run, tmp_path, first, steps):
    """The estimator step trains the estimator alone, the main step all the rest."""
    module = make_module(estimator_first=first, estimator_steps=steps)
    parameters = dict(module.model.named_parameters())
    estimator = {name for name in parameters if name.startswith('disentangling.')}
    copies = {name: p.detach().clone() for name, p in parameters.items()}
    changes = []

    def changed():
        names = {n for n, p in parameters.items() if not torch.equal(p, copies[n])}
        copies.update({name: parameters[name].detach().clone() for name in names})
        return names

    def before_step(*args):
        assert not changed()  # Nothing happens to parameters between two steps.

    def after_step(*args):
        changes.append(changed())

    hooks = [
        register_optimizer_step_pre_hook(before_step),
        register_optimizer_step_post_hook(after_step),
    ]
    try:
        run(module, tmp_path, max_epochs=1)
    finally:
        for hook in hooks:
            hook.remove()
    kinds = ['estimator' if names <= estimator else 'main' for names in changes]
    one = ['estimator'] * steps + ['main'] if first else ['main'] + ['estimator'] * steps
    batches = len(module.train_dataloader())
    assert kinds == one * batches
    for names, kind in zip(changes, kinds, strict=True):
        assert names.isdisjoint(estimator) == (kind == 'main')
    own = set(parameters) - estimator
    assert set.union(*changes) == own | estimator


@pytest.mark.parametrize('first', [True, False])
def test_encodes_each_batch_once(make_module, run, tmp_path, monkeypatch, first):
    module = make_module(estimator_first=first, estimator_steps=5)
    encode, batches = IEDR.encode, []

    def counting(self, batch):
        if torch.is_grad_enabled():  # Not the evaluation.
            batches.append(batch)
        return encode(self, batch)

    monkeypatch.setattr(IEDR, 'encode', counting)
    run(module, tmp_path, max_epochs=2)
    assert len(batches) == 2 * len(module.train_dataloader())
    assert len({id(batch) for batch in batches}) == len(batches)


def test_an_epoch_holds_each_row_with_its_negatives(
    split, make_module, run, tmp_path, monkeypatch
):
    module = make_module(negatives=UniformNegativeSampler(3))
    training_step, rows = type(module).training_step, []

    def reading(self, batch, batch_idx):
        columns = (batch.user_id, batch.item_id, batch.context_id, batch.y)
        rows.extend(zip(*(column.tolist() for column in columns), strict=True))
        return training_step(self, batch, batch_idx)

    monkeypatch.setattr(type(module), 'training_step', reading)
    run(module, tmp_path, max_epochs=1)
    train = split.train
    columns = (train.user, train.item, train.context)
    positives = list(zip(*(column.tolist() for column in columns), strict=True))
    assert Counter(row[:3] for row in rows if row[3] == 1) == Counter(positives)
    places = Counter((user, context) for user, _, context in positives)
    drawn = Counter((row[0], row[2]) for row in rows if row[3] == 0)
    assert drawn == Counter({place: 3 * n for place, n in places.items()})


def test_default_negatives(make_module, split, planted):
    """Two for each row; none where the rows have labels."""
    sampler = make_module().negatives
    assert (sampler.num_negatives, sampler.exclude, sampler.resample) == (
        2,
        'positive',
        False,
    )
    labelled = split.train[:]
    labelled.y = torch.ones(len(labelled))
    assert make_module(train=labelled).negatives is None


def test_labels_in_place_of_negatives(split, make_module, run, tmp_path, monkeypatch):
    """The loss is that of the labels."""
    labelled = split.train[:]
    labelled.y = (labelled.item % 2).float()
    module = make_module(train=labelled, batch_size=len(labelled))
    training_step, labels = type(module).training_step, []

    def reading(self, batch, batch_idx):
        labels.append(torch.stack([batch.item_id.float(), batch.y]))
        return training_step(self, batch, batch_idx)

    monkeypatch.setattr(type(module), 'training_step', reading)
    run(module, tmp_path, max_epochs=1)
    [seen] = labels
    assert torch.equal(seen[0] % 2, seen[1])
    assert seen.size(1) == len(labelled)


@pytest.mark.parametrize('variant', IEDR_VARIANTS)
def test_variants_run(make_module, run, tmp_path, variant):
    module = make_module(model=IEDR_VARIANTS[variant])
    result = run(module, tmp_path, max_epochs=2)
    [_, epoch] = result.history
    assert all(torch.isfinite(torch.tensor(value)) for value in epoch.values())
    estimates = variant not in ('noDis', 'noCIED')
    assert ('estimator' in epoch) == estimates
    assert (epoch['disentangling'] != 0) == estimates
    assert (epoch['contrastive'] != 0) == (variant not in ('noCL', 'noCIED'))
    expected = epoch['prediction'] + 0.1 * (epoch['contrastive'] + epoch['disentangling'])
    assert epoch['loss'] == pytest.approx(expected, rel=1e-5)


def test_same_seed_same_run(make_module, run, tmp_path, without_times, assert_same_state):
    results = []
    for i, seed in enumerate((3, 3, 4)):
        torch.manual_seed(1000 + i)  # What went before does not matter ...
        torch.rand(i)
        module = make_module(seed=seed)
        torch.rand(i)  # ... nor what is drawn in between.
        results.append(run(module, tmp_path / str(i), max_epochs=2))
    one, two, other = results
    assert_same_state(one.model.state_dict(), two.model.state_dict())
    assert without_times(one.history) == without_times(two.history)
    assert without_times(one.history) != without_times(other.history)
    weights = (result.model.embedding.weight for result in (one, other))
    assert not torch.equal(*weights)


@pytest.mark.filterwarnings('ignore::DeprecationWarning')
def test_workers_change_nothing(
    make_module, run, tmp_path, without_times, assert_same_state
):
    results = [
        run(make_module(num_workers=workers), tmp_path / str(workers), max_epochs=2)
        for workers in (0, 2)
    ]
    assert_same_state(*(result.model.state_dict() for result in results))
    one, two = (without_times(result.history) for result in results)
    assert one == two


def test_mixed_precision(make_module, run, tmp_path, monkeypatch):
    """Steps run in bfloat16, weights and evaluation stay in single precision."""
    encode, dtypes = IEDR.encode, {True: set(), False: set()}

    def reading(self, batch):
        encoded = encode(self, batch)
        dtypes[torch.is_grad_enabled()].add(encoded.factors.user.intrinsic.dtype)
        return encoded

    monkeypatch.setattr(IEDR, 'encode', reading)
    half = run(make_module(), tmp_path / '16', max_epochs=3, precision='bf16-mixed')
    assert dtypes == {True: {torch.bfloat16}, False: {torch.float32}}
    assert {p.dtype for p in half.model.parameters()} == {torch.float32}
    full = run(make_module(), tmp_path / '32', max_epochs=3)
    for one, two in zip(half.history, full.history, strict=True):
        assert one['loss'] == pytest.approx(two['loss'], rel=0.02)


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason='needs a CUDA device')
@pytest.mark.filterwarnings('ignore::DeprecationWarning')
def test_cuda_is_close_to_cpu(make_module, run, tmp_path):
    """A worker builds the batches on the CPU, so both train on the same ones."""
    results = {
        device: run(
            make_module(num_workers=1, model=IEDR_VARIANTS['noCIED']),
            tmp_path / device,
            max_epochs=1,
            accelerator=device,
        )
        for device in ('cpu', 'gpu')
    }
    one, two = (results[device].history[0] for device in ('cpu', 'gpu'))
    assert two['prediction'] == pytest.approx(one['prediction'], rel=1e-3)
    assert two['auc'] == pytest.approx(one['auc'], abs=0.02)


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason='needs a CUDA device')
def test_cuda(make_module, run, tmp_path):
    """Batches and draws are made on the device: another run of the same kind."""
    one, two = (
        run(make_module(), tmp_path / device, max_epochs=1, accelerator=device)
        for device in ('cpu', 'gpu')
    )
    assert two.model.embedding.weight.device.type in ('cpu', 'cuda')
    for name in ('loss', 'prediction', 'contrastive'):
        assert two.history[0][name] == pytest.approx(one.history[0][name], rel=0.15)


def test_learns(run, tmp_path):
    """More than popularity, on data where there is more to learn."""
    dataset = PlantedFactors(num_users=30, num_items=15, num_interactions=1500)
    train, valid, test, _ = dataset.split()
    lists, held_out = (dataset.candidates(part, 10) for part in ('valid', 'test'))
    torch.manual_seed(0)
    model = IEDR(dataset.schema.num_embeddings, 16, 32, num_negatives=4)
    module = IEDRModule(model, train, valid, lists, batch_size=128, learning_rate=0.01)
    result = run(module, tmp_path, max_epochs=5)

    def popularity(batch):
        return torch.bincount(train.item, minlength=train.num_items)[batch.item_id]

    learned = evaluate_candidates(result.model, test, held_out).metrics['auc']
    assert learned > evaluate_candidates(popularity, test, held_out).metrics['auc'] + 0.05


def test_needs_an_estimator_step(make_module):
    with pytest.raises(ValueError, match='`estimator_steps` must be at least 1'):
        make_module(estimator_steps=0)


def test_learning_rate_falls_along_half_a_cosine(make_module, run, tmp_path):
    module = make_module(learning_rate=0.01, decay_epochs=4)
    rates = []

    def before_step(optimizer, args, kwargs):
        rates.append((module.current_epoch, optimizer.param_groups[0]['lr']))

    hook = register_optimizer_step_pre_hook(before_step)
    try:
        run(module, tmp_path, max_epochs=6)
    finally:
        hook.remove()
    expected = [0.01, 0.01 * (2 + 2**0.5) / 4, 0.005, 0.01 * (2 - 2**0.5) / 4, 0, 0]
    assert len(rates) > 2 * 6  # Both optimizers, in every epoch.
    for epoch, rate in rates:
        assert rate == pytest.approx(expected[epoch], abs=1e-12)


def test_decay_must_take_an_epoch(make_module):
    with pytest.raises(ValueError, match=r'`decay_epochs`.*0'):
        make_module(decay_epochs=0)
