"""Any model by any objective, against loops that call it on pairs."""

import copy
import re
from collections import namedtuple
from dataclasses import replace
from functools import partial

import pytest
import torch
from changed import changed, of_result
from every_model import Attention, AutoEncoder, Distance, lightgcn
from objectives import OBJECTIVES, had_as_well, plain_loss
from torch import Tensor
from torch.optim import Adam
from torch.utils._pytree import tree_map_only
from training_runs import CLICKS, SIZE, SPLIT, run

from iedr_geo import nn
from iedr_geo.data import BipartiteGraph, PopularityMarginSampler, UniformNegativeSampler
from iedr_geo.data.randomness import derive_seed
from iedr_geo.loader import (
    Curriculum,
    EdgeLoader,
    InteractionBatch,
    InteractionLoader,
    UserLoader,
)
from iedr_geo.metrics import Recall
from iedr_geo.training import BipartiteModule, InteractionModule


def iedr(dataset, cls=nn.IEDR):
    return cls(dataset.schema.num_embeddings, 4, 8, num_negatives=4)


class Watched(nn.IEDR):
    """Is encoded once a batch; its estimator sees detached values."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.encoded = []

    def encode(self, batch):
        if torch.is_grad_enabled():  # In training.
            assert all(batch is not one for one in self.encoded)
            self.encoded.append(batch)
        return super().encode(batch)

    def estimator_loss(self, encoded):
        assert not encoded.logits.requires_grad
        return super().estimator_loss(encoded)


def watched(dataset):
    return iedr(dataset, Watched)


def twice(dataset):
    """What a subclass makes of IEDR's logits is what is trained."""
    return iedr(dataset, changed(nn.IEDR, 'forward', of_result(lambda out: 2 * out)))


def hooked(dataset):
    """So is what a hook makes of them."""
    model = iedr(dataset)
    model.register_forward_hook(lambda module, args, out: 3 * out)
    return model


def dice(graph):
    return nn.DICE(nn.MF(*SIZE, 4), graph.popularity)


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


ON_ROWS = [Attention, watched, iedr, twice, hooked]
BCE, SOFTMAX = nn.BCEObjective(), nn.SoftmaxObjective('batch')
AFTER = {'estimator_first': False, 'estimator_steps': 3, 'group_negatives': True}
CASES = [
    *(
        (make, objective, {})
        for make in (Attention, Distance)
        for objective in OBJECTIVES
    ),
    *((make, SOFTMAX, {}) for make in (iedr, twice, hooked, lightgcn)),
    *((make, BCE, {}) for make in (watched, twice, hooked, lightgcn)),
    (watched, BCE, AFTER),
    (AutoEncoder, None, {}),
    (dice, None, {}),
]


@pytest.mark.parametrize(('make', 'objective', 'arguments'), CASES)
def test_equals_a_plain_loop(tmp_path, make, objective, arguments):
    """IEDR by Algorithm 1: estimator, then main step on the same encoding; or the
    reverse. Nothing but the seed decides on batches and on what models draw.
    """
    rows, train = make in ON_ROWS, (SPLIT if make in ON_ROWS else CLICKS).train
    model = make(train).double()
    expected = copy.deepcopy(model)
    if make is watched:
        expected.__class__ = nn.IEDR
    over_batch = objective is not None and objective.over == 'batch'
    negatives = UniformNegativeSampler(2)
    if over_batch or make is AutoEncoder:
        negatives = None
    elif make is dice:
        negatives = PopularityMarginSampler(2, margin=5, min_pool=4)
    shuffled = {'shuffle': True, 'seed': 3}
    if rows:
        module = InteractionModule(
            model, train, objective=objective, batch_size=48, seed=3, monitor='recall@5',
            **arguments,
        )  # fmt: skip
        grouped = not over_batch and not isinstance(objective, nn.BCEObjective)
        grouped |= arguments is AFTER
        loader = InteractionLoader(
            train, 48, negatives, group_negatives=grouped, **shuffled
        )
        adam = partial(Adam, lr=1e-3, weight_decay=1e-5)
    else:
        module = BipartiteModule(
            model, train, objective=objective, negatives=negatives, batch_size=48, seed=3
        )
        # As DICE was trained.
        curriculum, betas = Curriculum(0.9), (0.5, 0.99)
        loader = EdgeLoader(train, 48, negatives, curriculum=curriculum, **shuffled)
        adam = partial(Adam, lr=1e-2, betas=betas, weight_decay=5e-8, amsgrad=True)
        if make is AutoEncoder:
            loader, adam = UserLoader(train, 48, **shuffled), Adam
    result = run(module, tmp_path, max_epochs=1 if over_batch else 2)

    own = list(expected.estimator_parameters()) if isinstance(expected, nn.IEDR) else []
    estimator = adam(own) if own else None
    rest = {id(p) for p in expected.parameters()} - {id(p) for p in own}
    main = adam([p for p in expected.parameters() if id(p) in rest])
    share = torch.bincount(train.item, minlength=train.num_items) / len(train.item)
    contexts = train.context if rows else torch.zeros_like(train.user)
    log = zip(train.user.tolist(), contexts.tolist(), train.item.tolist(), strict=True)
    log = {((user, context), item) for user, context, item in log}

    def estimate(encoded):
        detached = tree_map_only(Tensor, Tensor.detach, encoded)
        for _ in range(arguments.get('estimator_steps', 1)):
            loss = expected.estimator_loss(detached)
            estimator.zero_grad()
            loss.backward()
            estimator.step()
        spread = [  # The loss of predicting the mean, in both directions.
            (factor - factor.mean(0)).square().mean() / 2
            for side in detached.factors
            for factor in side
        ]
        return {'estimator': loss, 'estimator_variance': sum(spread)}

    def losses_of(batch, encoded):
        if objective is None:
            return expected.losses(batch)._asdict()
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
            columns = 3 if grouped and objective.grouped else 1
            logits, y = (x.view(-1, columns) for x in (expected(batch), batch.y))
            loss = plain_loss(objective, logits, y)
        else:
            columns = [batch.item, *batch.negative.t()]
            logits = torch.stack([expected.score(batch.user, c) for c in columns], dim=1)
            y = torch.tensor([[True, False, False]]).expand(len(logits), -1)
            loss = plain_loss(objective, logits, y)
        extra = {}
        if hasattr(expected, 'extra_losses'):
            extra = expected.extra_losses(batch, encoded)
        return {'prediction': loss, **extra, 'total': loss + sum(extra.values())}

    for epoch, found in enumerate(result.history):
        loader.set_epoch(epoch)
        batches, history = list(loader), []
        torch.manual_seed(derive_seed(3, epoch, 2, 0))
        for batch in batches:
            encoded = expected.encode(batch) if isinstance(expected, nn.IEDR) else None
            first = estimator and arguments is not AFTER
            estimated = estimate(encoded) if first else {}
            losses = losses_of(batch, encoded)
            main.zero_grad()
            losses['total'].backward()
            main.step()
            if estimator and not first:
                estimated = estimate(encoded)
            losses |= estimated
            history.append([loss.item() for loss in losses.values()])
        means = torch.tensor(history, dtype=torch.double).mean(dim=0).tolist()
        wanted = dict(zip(losses, means, strict=True))
        wanted['loss'] = wanted.pop('total')
        wanted |= {'epoch': epoch, 'learning_rate': main.param_groups[0]['lr']}
        wanted |= {name: found[name] for name in ('seconds', 'training_seconds')}
        assert found == pytest.approx(wanted, rel=1e-9)
    for name, parameter in result.model.state_dict().items():
        other = expected.state_dict()[name]
        torch.testing.assert_close(parameter, other, rtol=1e-9, atol=1e-9)


class Tempered(nn.BCEObjective):
    """Has a weight of its own."""

    def __init__(self):
        super().__init__()
        self.temperature = torch.nn.Parameter(torch.ones(()))

    def forward(self, logits, y, left_out=None, log_q=None):
        return super().forward(logits * self.temperature, y, left_out, log_q)


def with_term(name):
    """A model that calls a term by a name of its own."""
    terms = {name: torch.tensor(5.0), 'one': torch.ones(())}
    return changed(Attention, 'extra_losses', lambda self, call, batch, encoded: terms)


def test_terms_and_weights_of_one_s_own(tmp_path):
    module = rows_of(with_term('five'), objective=Tempered())
    [epoch] = run(module, tmp_path, max_epochs=1).history
    assert epoch['loss'] == pytest.approx(epoch['prediction'] + 6)
    assert (epoch['five'], epoch['one']) == (5, 1)
    assert float(module.objective.temperature.detach()) != 1
    for name in ('prediction', 'loss', 'epoch', 'seconds', 'ndcg@10'):
        module = rows_of(with_term(name), valid=SPLIT.valid)
        with pytest.raises(
            ValueError, match=f'Attention has terms .* history: rename {name}'
        ):
            run(module, tmp_path / name, max_epochs=1)


FLAT = replace(CLICKS.train, popularity=torch.ones(SIZE[1], dtype=torch.long))


def flat_dice(**kwargs):
    return lambda _: nn.DICE(nn.MF(*SIZE, 4), FLAT.popularity, **kwargs)


class Idle(nn.MF):
    """Has a term that is zero, though it has parameters, and one that has none."""

    def extra_losses(self, batch, encoded=None):
        return {'idle': 0 * self.user.weight.sum(), 'off': torch.zeros(())}


@pytest.mark.parametrize(
    ('model', 'train', 'message'),
    [
        (flat_dice(), FLAT, r"'interest'.* 0 in all of epoch 0.*more popular.*margin=1"),
        (flat_dice(alpha=0, beta=0), FLAT, None),
        (dice, CLICKS.train, None),
        (lambda _: Idle(*SIZE, 4), CLICKS.train, r"'idle' of the loss was.*look at what"),
    ],
)
def test_terms_that_do_nothing(tmp_path, recwarn, model, train, message):
    """It is said once; of what weighs nothing, never."""
    module = edges_of(model, train)
    [epoch, _] = run(module, tmp_path, max_epochs=2).history
    said = [str(one.message) for one in recwarn if 'of the loss was' in str(one.message)]
    assert len(said) == (message is not None)
    assert message is None or re.search(message, said[0])
    if model is dice:  # By quantiles: nothing has forty items above.
        assert epoch['interest'] > 0.05 and module.negatives.margin < 40


OnePass = namedtuple('OnePass', 'logits')


def rows_of(model, train=SPLIT.train, **kwargs):
    return InteractionModule(model(SPLIT.train), train, **kwargs)


def edges_of(model, train=CLICKS.train, **kwargs):
    return BipartiteModule(model(CLICKS.train), train, **kwargs)


def encodes(change):
    """A model whose `encode` returns what is made of its logits."""
    return changed(Attention, 'encode', lambda self, call, batch: change(self(batch)))


class UsersWithoutLosses(Distance):
    batches = 'users'


column = changed(Attention, 'forward', of_result(lambda out: out.unsqueeze(1)))


NEGATIVES = UniformNegativeSampler(2)
SMALL = BipartiteGraph(torch.tensor([0]), torch.tensor([0]), 1, 3)
OTHER = BipartiteGraph(torch.tensor([0]), torch.tensor([1]), 1, 3)
EMPTY = CLICKS.train.subgraph(torch.zeros(CLICKS.train.num_edges, dtype=torch.bool))
LABELLED = SPLIT.train[:]
LABELLED.y = torch.ones(len(LABELLED))


@pytest.mark.parametrize(
    ('make', 'model', 'arguments', 'message'),
    [
        (rows_of, Attention, {'train': LABELLED, 'objective': nn.SoftmaxObjective()},
         r'SoftmaxObjective\(.*needs positives alone.* rows have labels'),
        (rows_of, Attention, {'train': LABELLED, 'objective': nn.BCEObjective('batch')},
         r"BCEObjective\(over='batch'\) needs positives alone"),
        (rows_of, Attention, {'train': LABELLED, 'negatives': NEGATIVES},
         'labels of its own: negatives would contradict them'),
        (rows_of, Attention,
         {'objective': nn.BPRObjective('batch'), 'negatives': NEGATIVES},
         r"BPRObjective\(over='batch'\) takes no negatives: leave out Uniform"),
        (rows_of, Attention, {'batch_size': 2, 'objective': nn.BPRObjective()},
         '`batch_size` must be at least 3, a positive and its negatives'),
        (rows_of, Attention, {'estimator_steps': 0}, '`estimator_steps` must be at lea'),
        (rows_of, Attention, {'lists': object()}, '`lists` needs `valid`'),
        (rows_of, Attention, {'valid': SPLIT.valid, 'monitor': 'ndcg@3'},
         "'ndcg@3', which is none of .*ndcg@10"),
        (rows_of, lambda _: torch.nn.Dropout(), {}, 'Dropout has no parameters to train'),
        (rows_of, lambda _: AutoEncoder(CLICKS.train), {},
         'AutoEncoder takes batches of users, InteractionModule has batches of rows'),
        (rows_of, lambda _: nn.IEDR(5, 4, 8), {},
         r'schema of the training rows has \d+ embeddings, the model 5'),
        (rows_of, changed(Attention, 'estimator_loss', None), {},
         'needs both `estimator_loss` and `estimator_parameters`'),
        (rows_of, encodes(lambda logits: OnePass(-logits)), {},
         'logits` of Attention, by which it is trained, are not what'),
        (rows_of, encodes(torch.Tensor.detach), {},
         r'`encode\(batch\)` of Attention must return something with `logits`'),
        (edges_of, changed(Distance, 'losses', None), {'objective': nn.BPRObjective()},
         'Distance has `losses` of its own, .*leave out BPRObjective'),
        (edges_of, UsersWithoutLosses, {}, 'takes users and needs `losses`'),
        (edges_of, AutoEncoder, {'negatives': NEGATIVES},
         'A model of users takes no negatives: leave out Uniform'),
        (edges_of, lambda _: Attention(SPLIT.train), {},
         r'BipartiteModule needs a model with `score\(user, item\)`.*Attention'),
        (edges_of, Distance, {'train': EMPTY}, 'training part is empty'),
        (edges_of, Distance, {'valid': EMPTY}, 'validation part is empty.*valid=None'),
        (edges_of, Distance, {'valid': CLICKS.train}, 'to be found is `seen` itself'),
        (rows_of, Attention, {'valid': SPLIT.train}, 'a training part is no validation'),
        (edges_of, lambda _: nn.MF(3, 4), {}, 'training part has 60 .*the model 3 and 4'),
        (edges_of, lambda _: nn.MF(1, 3),
         {'train': SMALL, 'valid': OTHER, 'metrics': [Recall(3)]},
         "recall@50', which is none of recall@3$"),
        (edges_of, lambda graph: nn.Biased(dice(graph)), {}, 'DICE has losses of its o'),
        (edges_of, lambda graph: nn.DICE(dice(graph), graph.popularity), {},
         'DICE has losses of its own, which'),
    ],
)  # fmt: skip
def test_what_does_not_fit(make, model, arguments, message):
    with pytest.raises(ValueError, match=message):
        make(model, **arguments)


def test_what_is_refused_otherwise(tmp_path):
    with pytest.raises(TypeError, match=r'is an Objective \(got BCEWithLogits'):
        rows_of(Attention, objective=torch.nn.BCEWithLogitsLoss())
    for make in (rows_of, edges_of):
        with pytest.raises(TypeError, match="unexpected keyword argument 'learning_rat'"):
            make(Attention if make is rows_of else Distance, learning_rat=0.1)
    for objective in (nn.BCEObjective(), nn.BPRObjective()):
        with pytest.raises(ValueError, match=r'Attention must return a logit for each'):
            run(rows_of(column, objective=objective), tmp_path, max_epochs=1)
