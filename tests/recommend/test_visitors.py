"""Users who are known by the items that they have had, of the log or not."""

import pandas as pd
import pytest
import torch
from shop import IDS, SALES, bought, make_graph, make_model, make_shop
from torch import Tensor

from iedr_geo.loader import UserBatch
from iedr_geo.nn import MF, MacridVAE, MultDAE
from iedr_geo.recommend import Recommender

GRAPH = make_graph()


def make() -> Recommender:
    return Recommender(MacridVAE(len(IDS), 3, 4), GRAPH)


def score_by_hand(model: MacridVAE, history: list) -> Tensor:
    item = torch.tensor(sorted(map(IDS.index, history)), dtype=torch.long)
    with torch.no_grad():
        batch = UserBatch(torch.zeros(1), torch.zeros_like(item), item)
        return model.decode(model.encode(batch))[0]


def ranked(model: MacridVAE, history: list, left_out: set) -> pd.Series:
    scores = pd.Series(score_by_hand(model, history).numpy(), IDS)
    return scores.drop([*left_out]).sort_values(ascending=False, kind='stable')


@pytest.mark.parametrize('history', [[40, 7], ['7', 40, 7.0], [], [31]])
@pytest.mark.parametrize('user', [None, 4])
def test_history(history, user):
    """Alone says what is recommended; it is left out, and so is what a user has had."""
    recommender, k = make(), len(IDS)
    own = {int(float(item)) for item in history}
    had = set() if user is None else bought(user)
    table = recommender.recommend(user, k=k, history=history)
    expected = ranked(recommender.model, [*own], own | had)
    assert table[recommender.item_name].tolist() == expected.index.tolist()
    assert table['score'].tolist() == pytest.approx(expected.tolist(), rel=1e-5)
    parts = table[[*recommender.parts]].sum(axis=1)
    assert parts.tolist() == pytest.approx(expected.tolist(), rel=1e-5)
    table = recommender.recommend(user, k=k, history=history, exclude_seen=False)
    assert len(table) == k
    some = [IDS[3], IDS[8], 40]
    few = recommender.recommend(user, k=k, history=history, candidates=some)
    assert set(few[recommender.item_name]) == {*some} - own - had


def test_users_of_the_log_are_what_they_have_had():
    """Whether their items are said or not, and whatever their number is."""
    recommender = make()
    for user in (30, 4, 17):
        known = recommender.recommend(user, k=5, exclude_seen=False)
        said = recommender.recommend(history=[*bought(user)], k=5, exclude_seen=False)
        pd.testing.assert_frame_equal(known, said)
        item = known[recommender.item_name][1]
        assert recommender.score(user, item) == known['score'][1]
        by_history = recommender.score(None, item, history=[*bought(user)])
        assert by_history == pytest.approx(known['score'][1])
    assert SALES is not None


def test_explanation():
    """An item less at a time, the largest differences first."""
    recommender = make()
    history, item = [40, 7, 112], IDS[5]
    for user, given in ((None, history), (30, None), (4, [9])):
        had = sorted(bought(user)) if given is None else given
        found = recommender.explain(user, item, history=given)
        place = IDS.index(item)
        whole = score_by_hand(recommender.model, had)[place].item()
        assert found.score == pytest.approx(whole, rel=1e-5)
        assert sum(found.parts.values()) == pytest.approx(whole, rel=1e-5)
        differences = {
            one: whole
            - score_by_hand(recommender.model, [o for o in had if o != one])[place].item()
            for one in had
        }
        table = found.history.set_index(recommender.item_name)['difference']
        assert table.to_dict() == pytest.approx(differences, rel=1e-3, abs=1e-4)
        assert (table.abs().diff().dropna() <= 0).all()
        assert set(found.history['part']) <= {*recommender.parts}
        assert f'{table.iloc[0]:+.3f}  {recommender.item_name} {table.index[0]}' in str(
            found
        )
    nothing = recommender.explain(None, item, history=[])
    assert nothing.history.empty and str(nothing).startswith('score')
    plain = Recommender(MultDAE(len(IDS), 4), GRAPH).explain(30, item)
    assert plain.parts == {} and 'part' not in plain.history


def test_saved_and_loaded(tmp_path):
    recommender = make()
    recommender.save(tmp_path / 'model')
    again = Recommender.load(tmp_path / 'model')
    for arguments in ({'user': 4}, {'history': [40]}):
        pd.testing.assert_frame_equal(
            again.recommend(**arguments), recommender.recommend(**arguments)
        )


def test_bad_input():
    recommender = make()
    with pytest.raises(ValueError, match='no user None'):
        recommender.recommend()
    with pytest.raises(
        ValueError, match=r"2 of 3 items of the history .*'article'.* 999"
    ):
        recommender.recommend(history=[999, 40, 'x'])
    with pytest.raises(ValueError, match='no user 99'):
        recommender.recommend(99, history=[40])
    shop = make_shop()
    for model, data in ((MF(5, len(IDS), 4), GRAPH), (make_model(shop.schema), shop)):
        message = f'{type(model).__name__} cannot use `history`.*MacridVAE.*MultVAE'
        other = Recommender(model, data)
        with pytest.raises(ValueError, match=message):
            other.recommend(4, history=[40])
        with pytest.raises(ValueError, match=message):
            other.explain(None, 40, history=[40])
    with pytest.raises(ValueError, match='10 items, the history 12'):
        Recommender(MultDAE(10, 4), GRAPH)
