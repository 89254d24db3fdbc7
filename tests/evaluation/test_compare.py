"""Several models in one table."""

import itertools

import numpy as np
import pandas as pd
import pytest

from iedr_geo.evaluation.compare import compare
from iedr_geo.evaluation.evaluation import Evaluation

METRICS = ['recall@1', 'ndcg@3']
ARGUMENTS = {'level': 0.9, 'num_samples': 40, 'seed': 3}
OWN = ['mean', 'low', 'high']
DIFFERENCE = ['difference', 'difference_low', 'difference_high']


def make(values, **columns) -> Evaluation:
    """An evaluation of lists with these values of two metrics."""
    values = np.asarray(values, dtype=float)
    per_list = pd.DataFrame({'user': [f'u{i}' for i in range(len(values))]})
    per_list['context'] = np.arange(len(values)) % 3
    return Evaluation(
        {'auc': 0.7}, per_list.assign(**{METRICS[0]: values, METRICS[1]: values**2})
    )


@pytest.fixture
def evaluations() -> dict[str, Evaluation]:
    """Three models that are better by more and more."""
    draws = np.random.default_rng(0)
    base = draws.random(60)
    base[::7] = np.nan  # Nothing to be found.
    noise = 0.25 * draws.standard_normal((4, 60))
    return {
        name: make(base + gain + noise[i])
        for i, (name, gain) in enumerate(
            {'mf': 0.0, 'iedr': 0.08, 'dice': 0.05, 'ips': 0.2}.items()
        )
    }


@pytest.mark.parametrize('reference', [None, 'dice'])
def test_columns_are_those_of_the_evaluations(evaluations, reference):
    table = compare(evaluations, reference, **ARGUMENTS)
    assert table.index.names == ['metric', 'model']
    assert table.index.tolist() == [(m, name) for m in METRICS for name in evaluations]
    assert list(table) == [*OWN, *DIFFERENCE, 'p', 'p_corrected']
    base = evaluations[reference or 'mf']
    for (metric, name), row in table.iterrows():
        evaluation = evaluations[name]
        own = evaluation.confidence_intervals(**ARGUMENTS).loc[metric]
        assert row[OWN].tolist() == own.tolist()
        assert row['mean'] == pytest.approx(evaluation.per_list[metric].mean(), 1e-12)
        if evaluation is base:
            assert row[[*DIFFERENCE, 'p', 'p_corrected']].isna().all()
            continue
        difference = evaluation.difference(base, **ARGUMENTS).loc[metric]
        assert row[DIFFERENCE].tolist() == difference.tolist()
        direct = evaluation.per_list[metric].mean() - base.per_list[metric].mean()
        assert row['difference'] == pytest.approx(direct, rel=1e-12)


def holm(p: list[float]) -> list[float]:
    """Each hypothesis is kept until all that are less likely have been rejected."""
    return [max(min(1, x * sum(y >= x for y in p)) for x in p if x <= own) for own in p]


def test_holm():
    draws = np.random.default_rng(1)
    base = draws.random(50)
    gains = {'base': 0, 'a': 0.15, 'b': 0.05, 'c': 0.051, 'd': 0, 'e': 0.001, 'f': 0.001}
    noise = 0.2 * draws.permuted(np.tile(np.linspace(-1, 1, 50), (7, 1)), axis=1)
    models = {n: make(base + g + noise[i]) for i, (n, g) in enumerate(gains.items())}
    table = compare(models, num_samples=5).drop(index='base', level='model')
    for metric in METRICS:
        part = table.loc[metric]
        assert part['p_corrected'].tolist() == pytest.approx(holm(part['p'].tolist()))
    p = table.loc[METRICS[0]]['p'].sort_values()
    alone = p * np.arange(len(p), 0, -1)
    assert alone.max() > 1  # None is more than certain,
    assert not alone.clip(upper=1).is_monotonic_increasing  # nor out of order.
    # Only the models that are compared count.
    two = compare({name: models[name] for name in ('base', 'a')}, num_samples=5)
    one = two.xs('a', level='model')
    assert one['p_corrected'].tolist() == one['p'].tolist()
    assert one['p'].tolist() == table.xs('a', level='model')['p'].tolist()


@pytest.mark.parametrize('gain', [0.0, 0.1, 0.2, 0.4])
def test_p_is_that_of_all_permutations(gain):
    """Had the models been swapped on any lists: how often would they differ as much?"""
    draws = np.random.default_rng(2)
    one, other = draws.random(13), draws.random(13)
    one += gain
    difference = one - other
    signs = np.array(list(itertools.product([-1, 1], repeat=13)))
    exact = (abs(signs @ difference) >= abs(difference.sum()) - 1e-12).mean()
    p = compare({'other': make(other), 'one': make(one)}, num_samples=5)['p']
    assert p[METRICS[0], 'one'] == pytest.approx(exact, rel=0.25, abs=0.003)


def test_few_and_equal_differences():
    """A t-test would find an infinite ratio, or none."""
    base = np.arange(5) / 10
    table = compare(
        {
            'base': make(base),
            'same': make(base),
            'more': make(base + 0.1),  # On all lists, but for rounding.
        },
        num_samples=5,
    ).loc[METRICS[0]]
    assert table.loc['same', ['difference', 'p', 'p_corrected']].tolist() == [0, 1, 1]
    assert table.loc['more', 'p'] == 2 / 2**5  # All up, or all down.
    alone = compare({'base': make([0.1]), 'more': make([0.3])}, num_samples=5)
    assert (alone.xs('more', level='model')['p'] == 1).all()


def test_nothing_to_be_found():
    nothing = make([np.nan, np.nan])
    table = compare({'a': nothing, 'b': nothing}, num_samples=5)
    assert table[[*OWN, *DIFFERENCE]].isna().all(axis=None)
    assert (table.xs('b', level='model')['p_corrected'] == 1).all()


def test_choice_of_models_and_metrics(evaluations):
    whole = compare(evaluations, 'mf', **ARGUMENTS)
    turned = dict(reversed(evaluations.items()))
    other = compare(turned, 'mf', metrics=METRICS[::-1], **ARGUMENTS)
    assert other.index.tolist() == [(m, name) for m in METRICS[::-1] for name in turned]
    pd.testing.assert_frame_equal(other.reindex(whole.index), whole)
    table = compare({'mf': evaluations['mf']}, **ARGUMENTS)
    assert table.index.tolist() == [(metric, 'mf') for metric in METRICS]
    assert table[OWN].notna().all(axis=None)
    assert list(table.columns[table.isna().all()]) == [*DIFFERENCE, 'p', 'p_corrected']
    # Those that all have.
    evaluations['dice'].per_list.insert(2, 'mrr', 0.5)
    del evaluations['ips'].per_list['ndcg@3']
    less = compare(evaluations, 'dice', **ARGUMENTS)
    assert less.index.unique('metric').tolist() == ['recall@1']
    with pytest.raises(ValueError, match=r"'ips' has no metric 'ndcg@3'.*recall@1"):
        compare(evaluations, metrics=METRICS)


def test_errors(evaluations):
    with pytest.raises(ValueError, match='no evaluation'):
        compare({})
    with pytest.raises(ValueError, match="'gru' is none of 'mf', 'iedr', 'dice', 'ips'"):
        compare(evaluations, 'gru')
    per_list = evaluations['dice'].per_list.iloc[::-1].reset_index(drop=True)
    evaluations['dice'] = Evaluation({}, per_list)
    with pytest.raises(ValueError, match=r"'dice' and 'mf'.*same lists.*60 and 60"):
        compare(evaluations)
