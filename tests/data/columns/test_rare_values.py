"""Values that few rows have, against a count over the rows of the log."""

from collections import Counter

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from iedr_geo.data import Categorical, FeatureSchema, InteractionDataset, MultiCategorical

USERS = pd.DataFrame(
    {'user': range(4), 'town': ['x', 'x', 'y', None], 'likes': list('ABCA')}
)
ITEMS = pd.DataFrame(
    {
        'item': range(5),
        'tags': ['p|q', 'q|q', '', 'r|p', 'r'],
        'year': [1, '1', 1.0, 2, None],
    }
)
ROWS = st.tuples(
    st.integers(0, 3),
    st.integers(0, 4),
    st.none() | st.sampled_from('mt'),
    st.lists(st.sampled_from('kl'), max_size=3),
)


def make_schema(count: int) -> FeatureSchema:
    return FeatureSchema(
        [Categorical('user', count), Categorical('town', min_count=count)],
        [MultiCategorical('tags', '|', count), Categorical('year', min_count=count)],
        [Categorical('day', count), MultiCategorical('with', min_count=count)],
    )


def values_of_rows(rows: list) -> dict[tuple[str, str], list[set[str]]]:
    """Which values of each field each row of the log has."""
    out: dict = {}
    for user, item, day, company in rows:
        towns, tags = USERS['town'][user], ITEMS['tags'][item]
        year = ITEMS['year'][item]
        for side, field, values in (
            ('user', 'user', [str(user)]),
            ('user', 'town', [] if pd.isna(towns) else [towns]),
            ('item', 'tags', [tag for tag in tags.split('|') if tag]),
            ('item', 'year', [] if pd.isna(year) else [str(int(year))]),
            ('context', 'day', [] if day is None else [day]),
            ('context', 'with', company),
        ):
            out.setdefault((side, field), []).append(set(values))
    return out


@settings(max_examples=25)
@given(st.lists(ROWS, min_size=1, max_size=10), st.integers(2, 4))
def test_counted_over_the_log(rows: list, count: int):
    log = pd.DataFrame(rows, columns=['user', 'item', 'day', 'with']).astype(
        {'day': object}
    )
    schema = make_schema(count)
    dataset = InteractionDataset.from_pandas(log, USERS, ITEMS, schema)
    for (side, field), values in values_of_rows(rows).items():
        counts = Counter(value for row in values for value in row)
        kept = sorted(value for value, n in counts.items() if n >= count)
        assert schema.vocabulary[side][field] == kept, field
        # In every row, the others are unknown.
        first = schema.offsets(side)[field]
        last = first + 2 + len(kept)
        graphs = getattr(dataset, f'{side}s')
        for row, mine in zip(getattr(dataset, side).tolist(), values, strict=True):
            nodes = [x - first for x in graphs[row].x.tolist() if first <= x < last]
            known = {2 + kept.index(value) for value in mine & {*kept}}
            expected = known | ({0} if mine - {*kept} else set()) if mine else {1}
            assert set(nodes) == expected


def test_default_keeps_values_without_a_row():
    log = pd.DataFrame({'user': [0], 'item': [0], 'day': ['m'], 'with': [['k']]})
    schema = make_schema(1)
    InteractionDataset.from_pandas(log, USERS, ITEMS, schema)
    assert schema.vocabulary['user'] == {'user': list('0123'), 'town': ['x', 'y']}
    assert schema.vocabulary['item'] == {'tags': ['p', 'q', 'r'], 'year': ['1', '2']}


def test_schema_alone_counts_rows_of_tables():
    contexts = pd.DataFrame({'day': ['m', 'm', 't'], 'with': [['k', 'k'], ['l'], ['l']]})
    schema = make_schema(2).fit({'user': USERS, 'item': ITEMS, 'context': contexts})
    assert schema.vocabulary == {
        'user': {'user': [], 'town': ['x']},
        'item': {'tags': ['p', 'q', 'r'], 'year': ['1']},
        'context': {'day': ['m'], 'with': ['l']},
    }
    copied = FeatureSchema.from_json(schema.to_json())
    assert copied == schema
    assert copied.item[0] == MultiCategorical('tags', '|', min_count=2)


def test_counts_weigh_rows():
    frames = {
        'user': USERS,
        'item': ITEMS,
        'context': pd.DataFrame({'day': ['m'], 'with': [[]]}),
    }
    schema = make_schema(3).fit(frames, {'user': pd.Series([0, 3, 1, 9]).to_numpy()})
    assert schema.vocabulary['user'] == {'user': ['1', '3'], 'town': ['x']}


@pytest.mark.parametrize('kind', [Categorical, MultiCategorical])
@pytest.mark.parametrize('count', [0, -1])
def test_bad_count(kind: type, count: int):
    with pytest.raises(
        ValueError, match=rf"`min_count` of 'f' must be .* \(got {count}\)"
    ):
        kind('f', min_count=count)
