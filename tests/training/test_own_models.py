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
from training_runs import CLICKS, SIZE, SPLIT, load, run

from iedr_geo.data import BipartiteGraph, UniformNegativeSampler
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

ADAM = {'learning_rate': 1e-3, 'betas': (0.9, 0.999), 'weight_decay': 1e-5}


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


def all_pairs(model, user, context, candidates: Tensor) -> Tensor:
    """The logits of each row with each candidate, one after the other."""
    row = torch.arange(len(user)).repeat_interleave(len(candidates))
    item = candidates.repeat(len(user))
    if hasattr(model, 'score'):
        logits = model.score(user[row], item)
    else:
        ids = user[row], item, context[row]
        logits = model(InteractionBatch.from_ids(SPLIT.train, *ids))
    return logits.view(len(user), -1)


def assert_same_weights(model, expected, tol=1e-9):
    for (name, one), two in zip(
        model.named_parameters(), expected.parameters(), strict=True
    ):
        torch.testing.assert_close(
            one, two, rtol=tol, atol=tol, msg=f'{name}: {{}}'.format
        )


MODELS = [Features, Ids, plain_iedr, Scores, plain_lightgcn]
CORNERS = [Features, Scores], [OBJECTIVES[0], OBJECTIVES[-1]]
CASES = [
    pytest.param(
        make,
        objective,
        marks=[] if make in CORNERS[0] or objective in CORNERS[1] else pytest.mark.full,
    )
    for make in MODELS
    for objective in OBJECTIVES
]


@pytest.mark.parametrize(('make', 'objective'), CASES)
def test_equals_a_plain_loop(tmp_path, make, objective):
    rows = make in MODELS[:3]
    train = SPLIT.train if rows else CLICKS.train
    model = make(train).double()
    expected = copy.deepcopy(model)
    over_batch = objective.over == 'batch'
    grouped = not over_batch and not isinstance(objective, BCEObjective)
    negatives = None if over_batch else UniformNegativeSampler(2)
    arguments = {'shuffle': True, 'seed': 3}
    if rows:
        module = InteractionModule(
            model, train, objective=objective, batch_size=48, seed=3, monitor='recall@5'
        )
        loader = InteractionLoader(
            train, 48, negatives, group_negatives=grouped, **arguments
        )
    else:
        module = BipartiteModule(
            model, train, objective=objective, negatives=negatives, batch_size=48,
            amsgrad=False, seed=3, **ADAM,
        )  # fmt: skip
        loader = EdgeLoader(train, 48, negatives, **arguments)
    result = run(module, tmp_path, max_epochs=1)

    adam, losses = Adam(expected.parameters(), lr=1e-3, weight_decay=1e-5), []
    share = torch.bincount(train.item, minlength=train.num_items) / len(train.item)
    contexts = train.context if rows else torch.zeros_like(train.user)
    log = zip(train.user.tolist(), contexts.tolist(), train.item.tolist(), strict=True)
    log = {((user, context), item) for user, context, item in log}
    for batch in loader:
        if over_batch:
            item = batch.item_id if rows else batch.item
            user = batch.user_id if rows else batch.user
            context = batch.context_id if rows else torch.zeros_like(user)
            candidates = item.unique()
            logits = all_pairs(expected, user, context, candidates)
            queries = list(zip(user.tolist(), context.tolist(), strict=True))
            left_out = had_as_well(log, queries, item.tolist(), candidates.tolist())
            y = item.unsqueeze(1) == candidates
            loss = plain_loss(objective, logits, y, left_out, share[candidates].log())
        elif rows:
            columns = 3 if grouped else 1
            logits, y = (x.view(-1, columns) for x in (expected(batch), batch.y))
            loss = plain_loss(objective, logits, y)
        else:
            columns = [batch.item, *batch.negative.t()]
            logits = torch.stack([expected.score(batch.user, c) for c in columns], dim=1)
            y = torch.tensor([[True, False, False]]).expand(len(logits), -1)
            loss = plain_loss(objective, logits, y)
        prediction = loss
        if make is plain_lightgcn:
            loss = loss + sum(expected.extra_losses(batch).values())
        adam.zero_grad()
        loss.backward()
        adam.step()
        losses.append([loss.item(), prediction.item()])
    assert_same_weights(result.model, expected)
    means = torch.tensor(losses, dtype=torch.double).mean(dim=0).tolist()
    found = [result.history[0][name] for name in ('loss', 'prediction')]
    assert found == pytest.approx(means, rel=1e-9)


class Losses(NamedTuple):
    scaled: Tensor
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


def test_users(tmp_path):
    train, valid = CLICKS.train, CLICKS.valid
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
    last = load(tmp_path)['state_dict']
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


@pytest.mark.parametrize(
    ('change', 'objective'),
    [
        *[(it, BCEObjective()) for it in (Twice, 'hook', 'pre-hook', 'part', 'instance')],
        *[(it, SoftmaxObjective('batch')) for it in (Halved, 'pre-hook', 'instance')],
    ],
)
def test_is_trained_by_its_forward(tmp_path, change, objective):
    """What a subclass or a hook makes of IEDR's logits is what is trained."""

    def make(change):
        torch.manual_seed(0)
        cls = change if isinstance(change, type) else IEDR
        size = SPLIT.train.schema.num_embeddings
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
            InteractionModule(model, SPLIT.train, **arguments),
            tmp_path / str(i),
            max_epochs=1,
        )
        for i, model in enumerate(models)
    )
    assert_same_weights(found.model, expected.model)
    assert found.history[0]['loss'] == pytest.approx(expected.history[0]['loss'])
    assert found.history[0]['loss'] != pytest.approx(plain.history[0]['loss'])


class Named(Ids):
    """Calls a term by a name of its own; its objective has a weight of its own."""

    term = 'five'

    def extra_losses(self, batch, encoded):
        assert encoded is None
        return {self.term: self.item.weight.sum() * 0 + 5.0, 'one': torch.ones(())}


class Tempered(BCEObjective):
    def __init__(self):
        super().__init__()
        self.temperature = torch.nn.Parameter(torch.ones(()))

    def forward(self, logits, y, left_out=None, log_q=None):
        return super().forward(logits * self.temperature, y, left_out, log_q)


def test_terms_and_weights_of_one_s_own(tmp_path, monkeypatch):
    module = rows_of(Named, objective=Tempered())
    [epoch] = run(module, tmp_path, max_epochs=1).history
    assert epoch['loss'] == pytest.approx(epoch['prediction'] + 6)
    assert (epoch['five'], epoch['one']) == (5, 1)
    assert float(module.objective.temperature.detach()) != 1
    for name in ('prediction', 'loss', 'epoch', 'seconds', 'ndcg@10'):
        monkeypatch.setattr(Named, 'term', name)
        module = rows_of(Named, valid=SPLIT.valid)
        with pytest.raises(
            ValueError, match=f'Named has terms .* history: rename {name}'
        ):
            run(module, tmp_path / name, max_epochs=1)


def rows_of(model, train=SPLIT.train, **kwargs):
    return InteractionModule(model(SPLIT.train), train, **kwargs)


def edges_of(model, train=CLICKS.train, **kwargs):
    return BipartiteModule(model(CLICKS.train), train, **kwargs)


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


def test_the_estimator_sees_detached_values(tmp_path):
    """What its loss is changes its own parameters alone."""
    results = []
    for scale in (1.0, 100.0):
        torch.manual_seed(0)
        module = rows_of(Estimated)
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


class OwnLosses(Scores):
    def losses(self, batch):
        raise NotImplementedError


class NoLosses(Scores):
    batches = 'users'


class Column(Features):
    def forward(self, batch):
        return super().forward(batch).unsqueeze(1)


def dice(graph):
    return DICE(MF(*SIZE, 4), graph.popularity)


NEGATIVES = UniformNegativeSampler(2)
SMALL = BipartiteGraph(torch.tensor([0]), torch.tensor([0]), 1, 3)
EMPTY = CLICKS.train.subgraph(torch.zeros(CLICKS.train.num_edges, dtype=torch.bool))
LABELLED = SPLIT.train[:]
LABELLED.y = torch.ones(len(LABELLED))


@pytest.mark.parametrize(
    ('make', 'model', 'arguments', 'message'),
    [
        (rows_of, Ids, {'train': LABELLED, 'objective': SoftmaxObjective()},
         r'SoftmaxObjective\(.*needs positives alone.* rows have labels'),
        (rows_of, Ids, {'train': LABELLED, 'objective': BCEObjective('batch')},
         r"BCEObjective\(over='batch'\) needs positives alone"),
        (rows_of, Ids, {'train': LABELLED, 'negatives': NEGATIVES},
         'labels of its own: negatives would contradict them'),
        (rows_of, Ids, {'objective': BPRObjective('batch'), 'negatives': NEGATIVES},
         r"BPRObjective\(over='batch'\) takes no negatives: leave out Uniform"),
        (rows_of, Ids, {'batch_size': 2, 'objective': BPRObjective()},
         '`batch_size` must be at least 3, a positive and its negatives'),
        (rows_of, Ids, {'estimator_steps': 0}, '`estimator_steps` must be at least 1'),
        (rows_of, Ids, {'lists': object()}, '`lists` needs `valid`'),
        (rows_of, Ids, {'valid': SPLIT.valid, 'monitor': 'ndcg@3'},
         "'ndcg@3', which is none of .*ndcg@10"),
        (rows_of, lambda _: torch.nn.Dropout(), {}, 'Dropout has no parameters to train'),
        (rows_of, Popularity.fit, {}, 'Popularity has no parameters to train'),
        (rows_of, lambda _: AutoEncoder(CLICKS.train), {},
         'AutoEncoder takes batches of users, InteractionModule has batches of rows'),
        (rows_of, lambda _: IEDR(5, 4, 8), {},
         r'schema of the training rows has \d+ embeddings, the model 5'),
        (rows_of, HalfAnEstimator, {},
         'needs both `estimator_loss` and `estimator_parameters`'),
        (rows_of, TwoAnswers, {},
         'logits` of TwoAnswers, by which it is trained, are not what'),
        (rows_of, NoLogits, {},
         r'`encode\(batch\)` of NoLogits must return something with `logits`'),
        (edges_of, Scores,
         {'objective': SoftmaxObjective('batch'), 'negatives': NEGATIVES},
         'takes no negatives: leave out Uniform'),
        (edges_of, OwnLosses, {'objective': BPRObjective()},
         'OwnLosses has `losses` of its own, .*leave out BPRObjective'),
        (edges_of, NoLosses, {}, 'NoLosses takes users and needs `losses`'),
        (edges_of, AutoEncoder, {'negatives': NEGATIVES},
         'A model of users takes no negatives: leave out Uniform'),
        (edges_of, lambda _: Ids(SPLIT.train), {},
         r'BipartiteModule needs a model with `score\(user, item\)`.*Ids'),
        (edges_of, Scores, {'train': EMPTY}, 'training part is empty'),
        (edges_of, Scores, {'valid': EMPTY}, 'validation part is empty.*valid=None'),
        (edges_of, lambda _: MF(3, 4), {}, 'training part has 60 .*the model 3 and 4'),
        (edges_of, lambda _: MF(1, 3),
         {'train': SMALL, 'valid': SMALL, 'metrics': [Recall(3)]},
         "recall@50', which is none of recall@3$"),
        (edges_of, lambda graph: Biased(dice(graph)), {}, 'DICE has losses of its own'),
        (edges_of, lambda graph: DICE(dice(graph), graph.popularity), {},
         'DICE has losses of its own, which'),
    ],
)  # fmt: skip
def test_what_does_not_fit(make, model, arguments, message):
    with pytest.raises(ValueError, match=message):
        make(model, **arguments)


def test_what_is_refused_otherwise(tmp_path):
    with pytest.raises(TypeError, match=r'is an Objective \(got BCEWithLogits'):
        rows_of(Ids, objective=torch.nn.BCEWithLogitsLoss())
    for make in (rows_of, edges_of):
        with pytest.raises(TypeError, match="unexpected keyword argument 'learning_rat'"):
            make(Ids if make is rows_of else Scores, learning_rat=0.1)
    for objective in (BCEObjective(), BPRObjective()):
        with pytest.raises(ValueError, match=r'Column must return a logit for each'):
            run(rows_of(Column, objective=objective), tmp_path, max_epochs=1)
