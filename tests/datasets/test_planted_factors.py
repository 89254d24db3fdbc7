"""The planted data as a dataset: ids, lists and scores belong together."""

from __future__ import annotations

import math
import re

import numpy as np
import pytest
import torch

from iedr_geo.datasets import PlantedFactors, plant
from iedr_geo.datasets.planted import CONTEXTS
from iedr_geo.evaluation import evaluate_candidates
from iedr_geo.metrics import NDCG


@pytest.fixture(scope='module')
def data() -> PlantedFactors:
    return PlantedFactors(num_users=60, num_items=40, num_interactions=1500)


def test_rows_are_the_planted_interactions(data):
    log = data.planted.interactions
    assert len(data) == len(log) == 1500
    assert (data.num_users, data.num_items) == (60, 40)
    assert data.user_ids[data.user.numpy()].tolist() == log['user'].tolist()
    assert data.item_ids[data.item.numpy()].tolist() == log['item'].tolist()
    contexts = data.context_frame.iloc[data.context.numpy()]
    for name in CONTEXTS:
        assert contexts[name].tolist() == log[name].tolist()
    assert data.time.tolist() == log['time'].tolist()
    assert data.y is None
    assert data.user_ids.tolist() == data.planted.users['user'].tolist()
    assert data.item_ids.tolist() == data.planted.items['item'].tolist()


def test_nodes_tell_of_the_tables(data):
    """A user has four nodes, a context four, an item three and one for each tag."""
    names = data.schema.names()
    users, items = data.planted.users, data.planted.items
    for row in (0, 7, 1499):
        sample = data[row]
        user, item = users.iloc[int(sample.user_id)], items.iloc[int(sample.item_id)]
        nodes = [names[x] for x in sample.x_user]
        assert nodes == [f'{name}={user[name]}' for name in users]
        # Tags may repeat in the table, but not as nodes.
        tags = [f'tags={tag}' for tag in sorted({*item['tags']})]
        labels = [f'item={item["item"]}', f'category={item["category"]}', *tags]
        *nodes, price = (names[x] for x in sample.x_item)
        assert nodes == labels
        ends = [float(end) for end in re.findall(r'[\d.]+', price)]
        low, high = {'<': (0, *ends), '>': (*ends, math.inf)}.get(price[6], ends)
        assert low <= item['price'] < high
        log = data.planted.interactions.iloc[row]
        context = [f'{name}={log[name]}' for name in CONTEXTS]
        assert [names[x] for x in sample.x_context] == context


def test_passes_arguments_on():
    arguments = {'extrinsic_weight': 0.0, 'temperature': 0.5}
    data = PlantedFactors(20, 12, 200, seed=5, **arguments)
    expected = plant(20, 12, 200, 5, **arguments)
    assert data.planted.interactions.equals(expected.interactions)
    assert data.true_scores(data.user, data.item, data.context).extrinsic.abs().max() == 0


def test_candidates_are_any_others(data):
    """Of the last two of each user's rows by time, and also of items that the user has
    had: it is a log of repeated use.
    """
    train, valid, test, order = data.split()
    assert order == 'time' and len(train) == 1500 - 2 * 60
    for user in range(60):
        times = [part.time[part.user == user] for part in (train, valid, test)]
        assert times[0].max() < times[1].item() < times[2].item()
    for part in ('valid', 'test'):
        item = data.candidates(part, 30).item.view(60, 31)
        rows = getattr(data.split(), part)
        assert torch.equal(item[:, 0], rows.item)
        assert (item[:, 1:] != rows.item.unsqueeze(1)).all()
        users = rows.user.repeat_interleave(30).tolist()
        had = {*zip(data.user.tolist(), data.item.tolist(), strict=True)}
        assert had & {*zip(users, item[:, 1:].flatten().tolist(), strict=True)}


def test_true_scores_are_those_items_were_drawn_by(data):
    scores = data.true_scores(data.user, data.item, data.context)
    assert [len(part) for part in scores] == [1500] * 3
    contexts = data.planted.interactions[list(CONTEXTS)]
    expected = data.planted.scores(data.user.numpy(), data.item.numpy(), contexts)
    assert torch.equal(sum(scores), torch.from_numpy(expected))


def test_oracle(device):
    """Both parts of the true scores help, and popularity does not suffice; the rows of
    the scores align with ids: no other alignment ranks as well.
    """
    gains: dict[str, list[np.ndarray]] = {}
    for seed in range(2):
        data = PlantedFactors(seed=seed)
        train, _, test, _ = data.split()
        counts = torch.bincount(train.item, minlength=data.num_items).double()

        def scores(batch, data=data, shift=0):
            user = (batch.user_id + shift) % data.num_users
            return data.true_scores(user, batch.item_id, batch.context_id)

        for name, model in {
            'oracle': lambda batch: sum(scores(batch)),
            'intrinsic': lambda batch: scores(batch).intrinsic,
            'extrinsic': lambda batch: scores(batch).extrinsic,
            'popularity': lambda batch, counts=counts: counts[batch.item_id.cpu()],
            'chance': lambda batch: torch.rand(len(batch)),
            'misaligned': lambda batch: sum(scores(batch, shift=1)),
        }.items():
            result = evaluate_candidates(
                lambda batch, model=model: model(batch).to(device),
                test.to(device),
                data.candidates('test'),
                [NDCG(10)],
            )
            gains.setdefault(name, []).append(result.per_list['ndcg@10'].to_numpy())
    gain = {name: np.concatenate(parts) for name, parts in gains.items()}
    for better, worse in (
        ('oracle', 'intrinsic'),
        ('oracle', 'extrinsic'),
        ('intrinsic', 'popularity'),
        ('extrinsic', 'popularity'),
        ('popularity', 'chance'),
        ('intrinsic', 'misaligned'),
    ):
        lead = gain[better] - gain[worse]
        assert lead.mean() > 5 * lead.std() / np.sqrt(len(lead)), (better, worse)
    # What the data are made for: room to err above, and a task to learn below.
    assert 0.7 < gain['oracle'].mean() < 0.85
    assert gain['popularity'].mean() < 0.35
