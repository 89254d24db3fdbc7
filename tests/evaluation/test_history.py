"""Rankings for users whom a model makes of their items, by hand."""

import pytest
import torch
from clicks import NUM_ITEMS, NUM_USERS
from training_runs import run

from iedr_geo.data import BipartiteGraph
from iedr_geo.evaluation import evaluate_catalogue
from iedr_geo.loader import UserBatch
from iedr_geo.metrics import HitRatio, Recall
from iedr_geo.nn import MacridVAE, MultVAE
from iedr_geo.training import BipartiteModule

METRICS = (Recall(3), HitRatio(1))
# Users 0 to 2 are trained on, the others are new: what they had, and what is to be found.
TRAIN = [(0, 1), (0, 2), (0, 3), (1, 2), (1, 4), (2, 5), (2, 6), (2, 7), (2, 0)]
HISTORY = [(3, 1), (3, 2), (4, 5)]
TARGETS = [(3, 0), (3, 6), (4, 7), (5, 4)]  # User 5 has nothing to be known by.


def graph(pairs, **kwargs) -> BipartiteGraph:
    user, item = torch.tensor(pairs).unbind(1)
    return BipartiteGraph(user, item, NUM_USERS, NUM_ITEMS, **kwargs)


def recall(model, made_of, left_out) -> list[float]:
    values = []
    for user in (3, 4, 5):
        batch = UserBatch.from_graph(made_of, torch.tensor([user]))
        with torch.no_grad():
            scores = model.eval().decode(model.encode(batch))[0]
        scores[[i for u, i in left_out if u == user]] = -torch.inf
        targets = {i for u, i in TARGETS if u == user}
        top = set(scores.topk(3).indices.tolist())
        values.append(len(top & targets) / len(targets))
    return values


@pytest.mark.parametrize('seed', range(3))
def test_users_are_made_of_their_history(seed):
    """What they have seen, or else what is said; what they have seen is left out."""
    torch.manual_seed(seed)
    model, history = MacridVAE(NUM_ITEMS, 2, 4), graph(HISTORY)
    found = evaluate_catalogue(model, graph(TARGETS), history, METRICS)
    kept = found.per_list['recall@3'].dropna().tolist()
    assert kept == recall(model, history, HISTORY)
    # Users 0 to 2 are of another part: three others count.
    assert found.strangers == 3
    assert found.over_all_lists['recall@3'] == pytest.approx(sum(kept) / 3)
    less = evaluate_catalogue(model, graph(TARGETS[:2]), history, METRICS)
    assert less.strangers == 4  # User 4 has had something, user 5 nothing.
    assert less.over_all_lists['recall@3'] == pytest.approx(kept[0] / 2)
    other = graph([(3, 5), (4, 1), (5, 2), (5, 3)])
    found = evaluate_catalogue(
        model, graph(TARGETS), history, METRICS, history=other, progress=False
    )
    kept = found.per_list['recall@3'].dropna().tolist()
    assert kept == recall(model, other, HISTORY)


def test_never_of_what_is_to_be_found():
    """A log of repeated use has no need of what was seen, but the model has."""
    model = MultVAE(NUM_ITEMS, 3, 4)
    held_out = graph(TARGETS, exclude_seen=False)
    with pytest.raises(ValueError, match=r'MultVAE makes users of .* `history`'):
        evaluate_catalogue(model, held_out, metrics=METRICS)
    history = graph(HISTORY, exclude_seen=False)
    found = evaluate_catalogue(model, held_out, metrics=METRICS, history=history)
    assert found.per_list['recall@3'].dropna().tolist() == recall(model, history, [])
    with pytest.raises(TypeError, match='history'):
        evaluate_catalogue(model, held_out, metrics=METRICS, history=[history])
    strangers = BipartiteGraph(history.user, history.item, NUM_USERS, NUM_ITEMS + 1)
    with pytest.raises(ValueError, match='items'):
        evaluate_catalogue(model, held_out, metrics=METRICS, history=strangers)


def test_validation_of_new_users(tmp_path):
    """By their history, which is left out; of users of the training part by that."""
    train, targets = graph(TRAIN), graph(TARGETS)
    for history in (graph(HISTORY), None):
        torch.manual_seed(0)
        module = BipartiteModule(
            MacridVAE(NUM_ITEMS, 2, 4),
            train,
            targets,
            history=history,
            metrics=METRICS,
            monitor='recall@3',
            batch_size=2,
        )
        folder = tmp_path / str(history is None)
        result = run(module, folder, max_epochs=3)
        seen = train if history is None else history
        found = evaluate_catalogue(result.model, targets, seen, METRICS)
        best = result.history[result.best_epoch]
        assert best['recall@3'] == pytest.approx(found.metrics['recall@3'])
