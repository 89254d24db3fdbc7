"""A report says of true factors that they are told apart, and of no others."""

import numpy as np
import pandas as pd
import pytest
import torch
from handmade import Handmade, verdicts

from iedr_geo.analysis import disentanglement_report
from iedr_geo.datasets import PlantedFactors
from iedr_geo.loader import InteractionBatch
from iedr_geo.nn import Factors

SIZES = {'num_users': 40, 'num_items': 30, 'num_interactions': 1500}


class Oracle(Handmade):
    """Factors whose products are true scores.

    Of the extrinsic ones, what each context does is in directions of its own.

    Args:
        data: What has the contexts.
        world: What has the truth.
        mix: How much of each true score, intrinsic and extrinsic, is in each factor.
    """

    def __init__(self, data: PlantedFactors, world: PlantedFactors, mix: list) -> None:
        super().__init__(data, 'oracle')
        planted, items = world.planted, np.arange(data.num_items)
        user = np.arange(data.num_users)[:, None]
        likes = torch.from_numpy(planted.intrinsic_scores(user, items))
        frame = data.context_frame
        rows = user.repeat(len(frame), axis=0)
        contexts = pd.concat([frame] * data.num_users)
        needs = torch.from_numpy(planted.extrinsic_scores(rows, items, contexts))
        self.needs = (needs / needs.std()).view(data.num_users, len(frame), -1)
        u, s, v = torch.linalg.svd(likes / likes.std(), full_matrices=False)
        self.likes = {'user': u * s.sqrt(), 'item': v.T * s.sqrt()}
        self.items = torch.eye(len(items)).double() - 1 / len(items)
        self.mix = torch.tensor(mix).double()
        generator = torch.Generator().manual_seed(0)
        turns = torch.randn(len(frame), *self.items.shape, generator=generator).double()
        self.turns = torch.linalg.qr(turns)[0]

    def factors(self, side: str, batch: InteractionBatch) -> Factors:
        who, where = getattr(batch, f'{side}_id'), batch.context_id
        need = self.needs[who, where] if side == 'user' else self.items[who]
        need = (need.unsqueeze(1) @ self.turns[where]).squeeze(1)
        truths = self.likes[side][who], need
        parts = [
            torch.cat([w.sqrt() * t for w, t in zip(row, truths, strict=True)], 1)
            for row in self.mix
        ]
        # The context itself, which meets nothing; nor does a factor the other.
        code = [4 * self.contexts[where].double()]
        code.insert(side == 'user', torch.zeros_like(code[0]))
        parts = [parts[0], torch.cat([parts[1], *code], 1)]
        apart = [torch.zeros_like(part) for part in parts]
        intrinsic, extrinsic = [parts[0], apart[1]], [apart[0], parts[1]]
        return Factors(torch.cat(intrinsic, 1), torch.cat(extrinsic, 1))


@pytest.fixture(scope='module')
def data() -> PlantedFactors:
    return PlantedFactors(**SIZES)


def found(data: PlantedFactors, world: PlantedFactors, mix: list) -> dict:
    lists = data.candidates('test', 25)
    model = Oracle(data, world, mix)
    report = disentanglement_report(model, data, lists, 400, num_permutations=20)
    return verdicts(report)


def of_truth(verdicts: dict) -> set[str]:
    return {each for key, each in verdicts.items() if key[0] == 'truth'}


def test_the_truth(data):
    """Every measure says so; of the factors, of the ranking and of the truth."""
    separates = found(data, data, [[1, 0], [0, 1]])
    assert {key: each for key, each in separates.items() if each != 'yes'} == {}
    groups = {'invariance', 'variance', 'probe', 'dependence', 'ranking', 'truth'}
    assert {group for group, *_ in separates} == groups


def test_less_than_the_truth(data):
    assert 'yes' not in of_truth(found(data, data, [[1, 0.3], [0.3, 1]]))
    swapped = found(data, data, [[0, 1], [1, 0]])
    assert of_truth(swapped) == {'no'}
    assert swapped['invariance', 'auc', 'user'] == 'no'


def test_the_truth_of_another_world(data):
    """The factors are apart, but none is a factor of these data."""
    separates = found(data, PlantedFactors(**SIZES, seed=1), [[1, 0], [0, 1]])
    assert of_truth(separates) == {'no'}
    assert separates['ranking', 'ndcg@10, gain', 'score'] == 'no'
    assert separates['invariance', 'auc', 'user'] == 'yes'
