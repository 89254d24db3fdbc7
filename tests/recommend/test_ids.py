"""What has no id is nobody, whatever ids there are."""

import numpy as np
import pandas as pd
import pytest

from iedr_geo.data import BipartiteGraph
from iedr_geo.nn import MF
from iedr_geo.recommend import Recommender
from iedr_geo.recommend.ids import id_tokens

LOG = pd.DataFrame({'user': ['None', 'nan', '<NA>', '7'], 'item': ['a', 'b', 'c', 'a']})


@pytest.mark.parametrize('missing', [None, np.nan, pd.NA, pd.NaT])
def test_missing_id_is_no_id(missing: object):
    assert id_tokens([missing, 7, '7', 7.0, {'age': 3}, True]).tolist() == [
        *(None, '7', '7', '7', None, 'True')
    ]
    graph = BipartiteGraph.from_pandas(LOG)
    recommender = Recommender(MF(graph.num_users, graph.num_items, 4), graph)
    assert len(recommender.recommend('None', k=3)) == 2
    with pytest.raises(ValueError, match='The model has no user'):
        recommender.recommend(missing)
