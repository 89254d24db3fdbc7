"""Any model by any objective, against loops that call it on pairs."""

from __future__ import annotations

import copy
import dataclasses
from typing import NamedTuple

import pytest
import torch
from objectives import OBJECTIVES, had_as_well, plain_loss
from torch import Tensor
from torch.optim import Adam

from iedr_geo.data import UniformNegativeSampler
from iedr_geo.evaluation import evaluate_catalogue
from iedr_geo.loader import EdgeLoader, InteractionBatch, InteractionLoader, UserLoader
from iedr_geo.metrics import Recall
from iedr_geo.nn import (
    DICE,
    IEDR,
    MF,
    BCEObjective,
    Biased,
    BPRObjective,
    LightGCN,
    Popularity,
    SoftmaxObjective,
)
from iedr_geo.nn.generator import Factors
from iedr_geo.training import BipartiteModule, InteractionModule


class Ids(torch.nn.Module):
    """Knows users and items by their numbers, and contexts not at all."""

    def __init__(self, dataset):
        super().__init__()
        # Fewer rows than the schema has: `embedding` is no word of the library's.
        self.embedding = torch.nn.Embedding(dataset.num_users, 4)
        self.item = torch.nn.Embedding(dataset.num_items, 4)

    def forward(self, batch):
        return (self.embedding(batch.user_id) * self.item(batch.item_id)).sum(dim=1)


class Features(torch.nn.Module):
    """A tiny network over the features of all three sides."""

    def __init__(self, dataset):
        super().__init__()
        self.table = torch.nn.EmbeddingBag(dataset.schema.num_embeddings, 4, mode='sum')
        self.network = torch.nn.Sequential(
            torch.nn.Linear(12, 8), torch.nn.ReLU(), torch.nn.Linear(8, 1)
        )

    def forward(self, batch):
        sides = (batch.user, batch.item, batch.context)
        rows = (batch.user_graph, batch.item_graph, batch.context_graph)
        bags = [self.table(side.x, side.ptr[:-1]) for side in sides]
        x = torch.cat([bag[row] for bag, row in zip(bags, rows, strict=True)], dim=1)
        return self.network(x).squeeze(1)


def plain_iedr(dataset):
    weights = {'contrastive_weight': 0.0, 'disentangling_weight': 0.0}
    return IEDR(dataset.schema.num_embeddings, 4, 8, **weights)


class Scores(torch.nn.Module):
    """Scores numbers that broadcast, and can do nothing else."""

    def __init__(self, graph):
        super().__init__()
        self.user = torch.nn.Embedding(graph.num_users, 4)
        self.item = torch.nn.Embedding(graph.num_items, 4)

    def score(self, user, item):
        return torch.einsum('...f,...f->...', self.user(user), self.item(item))


def plain_lightgcn(graph):
    return LightGCN(graph.num_users, graph.num_items, *graph.adjacency(), 4)


def pairs_of(rows: Tensor, candidates: Tensor) -> tuple[Tensor, Tensor]:
    """Each row with each candidate, one after the other."""
    return rows.repeat_interleave(len(candidates)), candidates.repeat(len(rows))


def assert_same_weights(model, expected, tol=1e-9):
    for (name, one), two in zip(
        model.named_parameters(), expected.parameters(), strict=True
    ):
        torch.testing.assert_close(
            one, two, rtol=tol, atol=tol, msg=f'{name}: {{}}'.format
        )


@pytest.mark.parametrize('objective', OBJECTIVES, ids=repr)
@pytest.mark.parametrize('make', [Ids, Features, plain_iedr])
def test_rows(split, run, tmp_path, make, objective):
    train = split.train
    model = make(train).double()
    expected = copy.deepcopy(model)
    arguments = {'batch_size': 48, 'weight_decay': 1e-5, 'seed': 3, 'monitor': 'recall@5'}
    module = InteractionModule(model, train, objective=objective, **arguments)
    result = run(module, tmp_path, max_epochs=1)

    over_batch = objective.over == 'batch'
    grouped = not over_batch and not isinstance(objective, BCEObjective)
    negatives = None if over_batch else UniformNegativeSampler(2)
    loader = InteractionLoader(
        train, 48, negatives, group_negatives=grouped, shuffle=True, seed=3
    )
    adam, losses = Adam(expected.parameters(), lr=1e-3, weight_decay=1e-5), []
    share = torch.bincount(train.item) / len(train)
    queries = zip(train.user.tolist(), train.context.tolist(), strict=True)
    log = set(zip(queries, train.item.tolist(), strict=True))
    for batch in loader:
        if over_batch:
            item, context = batch.item_id, batch.context_id
            candidates = item.unique()
            row, each = pairs_of(torch.arange(len(batch)), candidates)
            users, contexts = batch.user_id[row], context[row]
            pairs = InteractionBatch.from_ids(train, users, each, contexts)
            logits = expected(pairs).view(len(batch), -1)
            queries = list(zip(batch.user_id.tolist(), context.tolist(), strict=True))
            left_out = had_as_well(log, queries, item.tolist(), candidates.tolist())
            y = item.unsqueeze(1) == candidates
            loss = plain_loss(objective, logits, y, left_out, share[candidates].log())
        else:
            columns = 3 if grouped else 1
            logits, y = (x.view(-1, columns) for x in (expected(batch), batch.y))
            loss = plain_loss(objective, logits, y)
        adam.zero_grad()
        loss.backward()
        adam.step()
        losses.append(loss.item())
    assert_same_weights(result.model, expected)
    mean = sum(losses) / len(losses)
    assert result.history[0]['loss'] == pytest.approx(mean, rel=1e-9)
    assert result.history[0]['prediction'] == result.history[0]['loss']


@pytest.mark.parametrize('objective', OBJECTIVES, ids=repr)
@pytest.mark.parametrize('make', [Scores, plain_lightgcn])
def test_edges(clicks, run, tmp_path, make, objective):
    train = clicks.train
    model = make(train).double()
    expected = copy.deepcopy(model)
    over_batch = objective.over == 'batch'
    negatives = None if over_batch else UniformNegativeSampler(2, resample=True)
    module = BipartiteModule(
        model, train, objective=objective, negatives=negatives, batch_size=200, seed=3,
        learning_rate=1e-3, weight_decay=0.0, betas=(0.9, 0.999), amsgrad=False,
    )  # fmt: skip
    result = run(module, tmp_path, max_epochs=1)

    adam = Adam(expected.parameters(), lr=1e-3)
    share = torch.bincount(train.item, minlength=train.num_items) / train.num_edges
    log = set(zip(train.user.tolist(), train.item.tolist(), strict=True))
    for batch in EdgeLoader(train, 200, negatives, shuffle=True, seed=3):
        if over_batch:
            candidates = batch.item.unique()
            user, item = pairs_of(batch.user, candidates)
            logits = expected.score(user, item).view(len(batch.user), -1)
            y = batch.item.unsqueeze(1) == candidates
            numbers = (batch.user, batch.item, candidates)
            left_out = had_as_well(log, *(number.tolist() for number in numbers))
            loss = plain_loss(objective, logits, y, left_out, share[candidates].log())
        else:
            columns = [batch.item, *batch.negative.t()]
            logits = torch.stack([expected.score(batch.user, c) for c in columns], dim=1)
            y = torch.tensor([[True, False, False]]).expand(len(logits), -1)
            loss = plain_loss(objective, logits, y)
        if hasattr(expected, 'extra_losses'):
            loss = loss + sum(expected.extra_losses(batch).values())
        adam.zero_grad()
        loss.backward()
        adam.step()
    assert_same_weights(result.model, expected)


class Losses(NamedTuple):
    loss: Tensor  # A name that a term may have.
    total: Tensor


class AutoEncoder(torch.nn.Module):
    """Reads all items of a user, and says which ones it has read."""

    batches = 'users'

    def __init__(self, graph):
        super().__init__()
        self.graph = graph
        self.encoder = torch.nn.Embedding(graph.num_items, 8)
        self.decoder = torch.nn.Linear(8, graph.num_items)

    def logits(self, size, row, item):
        hidden = self.encoder.weight.new_zeros(size, 8)
        return self.decoder(hidden.index_add(0, row, self.encoder(item)))

    def losses(self, batch):
        logits = self.logits(len(batch.user), batch.row, batch.item)
        total = -logits.log_softmax(dim=1)[batch.row, batch.item].sum() / len(batch.user)
        return Losses(total.detach() * 7, total)

    def score(self, user, item):
        graph = self.graph
        return self.logits(graph.num_users, graph.user, graph.item)[user, item]


def test_users(clicks, run, tmp_path):
    train, valid = clicks.train, clicks.valid
    model = AutoEncoder(train).double()
    expected = copy.deepcopy(model)
    metrics = [Recall(20)]
    module = BipartiteModule(
        model, train, valid, batch_size=16, metrics=metrics, monitor='recall@20', seed=3
    )
    assert module.negatives is None
    result = run(module, tmp_path, max_epochs=3)
    assert result.history[2]['loss'] < result.history[0]['loss']
    scores = evaluate_catalogue(result.model, valid, train, metrics=metrics).metrics
    assert scores == {'recall@20': result.history[result.best_epoch]['recall@20']}

    loader = UserLoader(train, 16, shuffle=True, seed=3)
    adam = Adam(expected.parameters(), lr=0.01, betas=(0.5, 0.99), weight_decay=5e-8,
                amsgrad=True)  # fmt: skip
    for epoch in range(3):
        loader.set_epoch(epoch)
        for batch in loader:
            adam.zero_grad()
            expected.losses(batch).total.backward()
            adam.step()
    last = torch.load(tmp_path / 'last.ckpt', weights_only=True)['state_dict']
    model.load_state_dict({n.removeprefix('model.'): last[n] for n in last})
    assert_same_weights(model, expected)


class Twice(IEDR):
    def forward(self, batch):
        return 2 * super().forward(batch)


class Halved(IEDR):
    def encode(self, batch):
        encoded = super().encode(batch)
        return encoded._replace(logits=encoded.logits / 2)


def others(batch):
    """The same rows, of other users."""
    return dataclasses.replace(batch, user_graph=batch.user_graph.flip(0))


class OnlyForward(torch.nn.Module):
    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, batch):
        return self.model(batch)


@pytest.mark.parametrize('objective', [BCEObjective(), SoftmaxObjective('batch')])
@pytest.mark.parametrize(
    'change', [Twice, Halved, 'hook', 'pre-hook', 'part', 'instance']
)
def test_is_trained_by_its_forward(split, run, tmp_path, change, objective):
    """What a subclass or a hook makes of IEDR's logits is what is trained."""

    def make(change):
        torch.manual_seed(0)
        cls = change if isinstance(change, type) else IEDR
        size = split.train.schema.num_embeddings
        model = cls(size, 4, 8, contrastive_weight=0.0, disentangling_weight=0.0)
        if change == 'hook':
            model.register_forward_hook(lambda *call: 3 * call[2])
        elif change == 'pre-hook':
            model.register_forward_pre_hook(lambda model, args: (others(args[0]),))
        elif change == 'part':
            part = model.generators['item']
            part.register_forward_hook(lambda *call: Factors(*map(torch.square, call[2])))
        elif change == 'instance':
            model.forward = lambda batch: model.encode(batch).logits.tanh()
        return model.double()

    arguments = {'objective': objective, 'batch_size': 64, 'seed': 3}
    models = make(change), OnlyForward(make(change)), make(None)
    found, expected, plain = (
        run(
            InteractionModule(model, split.train, **arguments),
            tmp_path / str(i),
            max_epochs=1,
        )
        for i, model in enumerate(models)
    )
    assert_same_weights(found.model, expected.model)
    assert found.history[0]['loss'] == pytest.approx(expected.history[0]['loss'])
    assert found.history[0]['loss'] != pytest.approx(plain.history[0]['loss'])


class Named(Ids):
    """Calls its terms by names of the module's; its objective has a weight of its own."""

    def extra_losses(self, batch, encoded):
        assert encoded is None
        return {'prediction': self.item.weight.sum() * 0 + 5.0, 'loss': 1.0}


class Tempered(BCEObjective):
    def __init__(self):
        super().__init__()
        self.temperature = torch.nn.Parameter(torch.ones(()))

    def forward(self, logits, y, left_out=None, log_q=None):
        return super().forward(logits * self.temperature, y, left_out, log_q)


def test_terms_and_weights_of_one_s_own(split, run, tmp_path):
    objective = Tempered()
    module = InteractionModule(Named(split.train), split.train, objective=objective)
    [epoch] = run(module, tmp_path, max_epochs=1).history
    assert epoch['loss'] == pytest.approx(epoch['prediction'] + 6)
    assert float(objective.temperature.detach()) != 1


def labelled(train):
    rows = train[:]
    rows.y = torch.ones(len(rows))
    return rows


def rows_module(train, model=Ids, **kwargs):
    return InteractionModule(model(train), train, **kwargs)


def edges_module(train, model=Scores, **kwargs):
    return BipartiteModule(model(train), train, **kwargs)


NEGATIVES = UniformNegativeSampler(2)


class OwnLosses(Scores):
    def losses(self, batch):
        raise NotImplementedError


class NoLosses(Scores):
    batches = 'users'


@pytest.mark.parametrize(
    ('make', 'message'),
    [
        (
            lambda rows, _: rows_module(labelled(rows), objective=SoftmaxObjective()),
            r'SoftmaxObjective\(.*needs positives alone.* rows have labels',
        ),
        (
            lambda rows, _: rows_module(labelled(rows), objective=BCEObjective('batch')),
            r"BCEObjective\(over='batch'\) needs positives alone",
        ),
        (
            lambda rows, _: rows_module(labelled(rows), negatives=NEGATIVES),
            'labels of its own: negatives would contradict them',
        ),
        (
            lambda rows, _: rows_module(
                rows, objective=BPRObjective('batch'), negatives=NEGATIVES
            ),
            r"BPRObjective\(over='batch'\) takes no negatives: leave out Uniform",
        ),
        (
            lambda _, graph: edges_module(
                graph, objective=SoftmaxObjective('batch'), negatives=NEGATIVES
            ),
            'takes no negatives: leave out Uniform',
        ),
        (
            lambda _, graph: edges_module(graph, OwnLosses, objective=BPRObjective()),
            'OwnLosses has `losses` of its own, .*leave out BPRObjective',
        ),
        (
            lambda rows, _: rows_module(rows, lambda _: torch.nn.Dropout()),
            'Dropout has no parameters to train',
        ),
        (
            lambda rows, _: rows_module(rows, Popularity.fit),
            'Popularity has no parameters to train',
        ),
        (
            lambda _, graph: edges_module(graph, NoLosses),
            'NoLosses takes users and needs `losses`',
        ),
        (
            lambda _, graph: edges_module(graph, AutoEncoder, negatives=NEGATIVES),
            'A model of users takes no negatives: leave out Uniform',
        ),
        (
            lambda rows, graph: InteractionModule(AutoEncoder(graph), rows),
            'AutoEncoder takes batches of users, InteractionModule has batches of rows',
        ),
        (
            lambda rows, graph: BipartiteModule(Ids(rows), graph),
            r'BipartiteModule needs a model with `score\(user, item\)`.*Ids',
        ),
        (
            lambda rows, _: rows_module(rows, batch_size=2, objective=BPRObjective()),
            '`batch_size` must be at least 3, a positive and its negatives',
        ),
        (
            lambda rows, _: rows_module(rows, estimator_steps=0),
            '`estimator_steps` must be at least 1',
        ),
        (
            lambda rows, _: InteractionModule(IEDR(5, 4, 8), rows),
            r'schema of the training rows has \d+ embeddings, the model 5',
        ),
    ],
)
def test_what_does_not_fit(split, clicks, make, message):
    with pytest.raises(ValueError, match=message):
        make(split.train, clicks.train)


def test_an_objective_is_an_objective(split):
    with pytest.raises(TypeError, match=r'is an Objective \(got BCEWithLogits'):
        rows_module(split.train, objective=torch.nn.BCEWithLogitsLoss())


class OnePass(NamedTuple):
    logits: Tensor


class Estimated(Features):
    """Its estimator detaches nothing itself."""

    def __init__(self, dataset):
        super().__init__(dataset)
        self.estimator = torch.nn.Linear(1, 1)

    def encode(self, batch):
        return OnePass(super().forward(batch))

    def forward(self, batch):
        return self.encode(batch).logits

    def estimator_parameters(self):
        return self.estimator.parameters()

    def estimator_loss(self, encoded):
        return self.estimator(encoded.logits.unsqueeze(1)).square().mean()


def test_the_estimator_sees_detached_values(split, run, tmp_path):
    """What its loss is changes its own parameters alone."""
    results = []
    for scale in (1.0, 100.0):
        torch.manual_seed(0)
        module = rows_module(split.train, Estimated)
        torch.nn.init.constant_(module.model.estimator.weight, scale)
        trained = run(module, tmp_path / str(scale), max_epochs=1).model
        results.append({n: p for n, p in trained.named_parameters() if 'estim' not in n})
    for name, parameter in results[0].items():
        assert torch.equal(parameter, results[1][name])
    assert not torch.equal(trained.estimator.weight, torch.full((1, 1), 100.0))


class TwoAnswers(Features):
    def encode(self, batch):
        return OnePass(-self.forward(batch))


class NoLogits(Features):
    def encode(self, batch):
        return self.forward(batch)


class HalfAnEstimator(Features):
    def estimator_loss(self, encoded):
        raise NotImplementedError


@pytest.mark.parametrize(
    ('model', 'message'),
    [
        (HalfAnEstimator, 'needs both `estimator_loss` and `estimator_parameters`'),
        (TwoAnswers, 'logits` of TwoAnswers, by which it is trained, are not what'),
        (NoLogits, r'`encode\(batch\)` of NoLogits must return something with `logits`'),
    ],
)
def test_what_is_trained_is_what_ranks(split, model, message):
    with pytest.raises(ValueError, match=message):
        rows_module(split.train, model)


def test_a_backbone_has_no_losses(clicks):
    train = clicks.train
    dice = DICE(MF(train.num_users, train.num_items, 4), train.popularity)
    for make in (Biased, lambda model: DICE(model, train.popularity)):
        with pytest.raises(ValueError, match='DICE has losses of its own, which'):
            make(dice)


class Column(Features):
    def forward(self, batch):
        return super().forward(batch).unsqueeze(1)


@pytest.mark.parametrize('objective', [BCEObjective(), BPRObjective()], ids=repr)
def test_logits_have_the_shape_of_the_rows(split, run, tmp_path, objective):
    module = rows_module(split.train, Column, objective=objective)
    with pytest.raises(ValueError, match=r'Column must return a logit for each'):
        run(module, tmp_path, max_epochs=1)
