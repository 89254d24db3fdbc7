"""What the page on SDRL says follows from the figures of the runs."""

import json
import runpy
from pathlib import Path
from typing import Any

import pytest

BENCHMARKS = Path(__file__).parents[1] / 'benchmarks'
METRICS = [f'{name}@{k}' for name in ('f1', 'ndcg') for k in (5, 10, 15)]
USERS = [0.1, 0.3, 0.2, 0.5, 0.4] * 8
ORDINARY = {'variant': 'SDRL', 'epochs': 200, 'learning_rate': 0.001, 'label_mask': False}


def run_of(above: float, micro_f1: dict[str, float], **settings: Any) -> dict[str, Any]:
    """Returns a run whose users' values are above others."""
    values = [value + above for value in USERS]
    metrics = dict.fromkeys(METRICS, sum(values) / len(values))
    shares = {'recall': 0.5, 'precision': 0.7}
    plain = {'dataset': 'ml-latest-small', 'single_pass': False, 'model': 'sdrl'}
    return {
        'settings': plain | settings,
        'test': metrics,
        'test_unmasked': {name: value / 3 for name, value in metrics.items()},
        'test_users': {'ndcg@10': values},
        'classification': {k: shares | {'micro_f1': v} for k, v in micro_f1.items()},
        'data': {'users': 566, 'items': 1286, 'edges': 67020},
        'commit': 'abc',
    }


@pytest.fixture
def page(tmp_path, monkeypatch):
    """Returns the page of some runs."""
    monkeypatch.syspath_prepend(BENCHMARKS / 'tables')
    import common

    monkeypatch.setattr(common, 'RESULTS', tmp_path)
    (tmp_path / 'sdrl').mkdir()

    def make(*runs: dict[str, Any]) -> str:
        for number, run in enumerate(runs):
            (tmp_path / 'sdrl' / f'{number}.json').write_text(json.dumps(run))
        text: str = runpy.run_path(str(BENCHMARKS / 'tables' / 'sdrl.py'))['page']()
        return text

    return make


def test_without_runs(page):
    text = page()
    assert 'are missing' in text and '`ml-latest-small-0-sdrl-0`' in text
    assert '\n## Movie' not in text


@pytest.mark.parametrize(
    ('sign', 'one', 'two'), [(1, 'above', 'below'), (-1, 'below', 'above')]
)
def test_verdicts_follow_from_figures(page, sign, one, two):
    known = {'internal': 0.66, 'external': 0.4}
    runs = []
    for split in range(3):
        level, away = 0.02 * split, sign * (0.02 + 0.001 * split)
        of = {'split_seed': split, 'seed': 0}
        runs += [
            run_of(level, known, **of, **ORDINARY),
            run_of(level, {'whole': 0.5}, **of, **ORDINARY | {'variant': 'whole'}),
            run_of(level - away, {}, **of, model='popularity'),
            run_of(level + away, {}, **of, model='ease'),
        ]
    masked = {'internal': 0.61, 'external': 0.3}
    of = ORDINARY | {'label_mask': True, 'split_seed': 0, 'seed': 0}
    text = page(*runs, run_of(0, masked, **of))
    said = [f'{one} popularity', 'not told apart from SDRL (whole)', f'{two} EASE']
    line = next(line for line in text.splitlines() if 'masked, on split 0' in line)
    assert all(each in line for each in said) and 'label mask' not in line
    for each in -2.1 * sign, 2.1 * sign:  # Over the splits' users.
        assert f'| {each:+.2f} [' in text
    assert '| SDRL | 30.00 | 32.00 | 34.00 | 32.00 |' in text
    # Of one split alone, there is no mean.
    assert '| SDRL (label mask) | 30.00 |  |  |  |  |  |' in text
    assert 'SDRL: a micro-F1 of 66.0 internal, 40.0 external' in text
    assert 'SDRL (label mask): a micro-F1 of 61.0 internal, 30.0 external' in text
    assert 'has an NDCG@10 of 10.00, the paper has 12.36' in text
    assert '| SDRL (whole) | whole | 50.00 | 70.00 | 50.00 |' in text
    assert 'python benchmarks/sdrl.py --dataset ml-latest-small --model ease`, 0: 0;' in (
        text
    )


def test_what_blocks_tell_of_planted_factors(page):
    runs = []
    for seed, away in enumerate((-0.02, 0, 0.02)):
        block = {'category': 0.3 + away, 'chance': 0.2}
        block |= {'attribute 1': 0.9 + away, 'attribute 2': 0.8 + away}
        run = run_of(0, {}, **ORDINARY, split_seed=0, seed=seed)
        run['settings'] |= {'dataset': 'planted', 'concept_weight': 0.1}
        run['planted'] = {'external': block, 'internal': block | {'category': 0.97}}
        runs.append(run)
    text = page(*runs)
    assert 'tells 0.97 of the categories, the external one 0.30 (chance: 0.20)' in text
    assert 'which has 0.85 of the variance of the attributes' in text
    assert '| SDRL | external | 0.30 (0.28 to 0.32) |' in text


def test_two_runs_of_one_kind(page):
    of = {'split_seed': 0, 'seed': 0, 'model': 'ease'}
    with pytest.raises(ValueError, match='1 is a second run of EASE'):
        page(run_of(0, {}, **of), run_of(0.1, {}, **of))
