"""What pages say follows from the figures of the runs."""

import json
import runpy
from pathlib import Path
from typing import Any

import pytest

BENCHMARKS = Path(__file__).parents[1] / 'benchmarks'
METRICS = 'ndcg@100', 'recall@20', 'recall@50'
USERS = [0.1, 0.3, 0.2, 0.5, 0.4] * 8


@pytest.fixture
def page(tmp_path, monkeypatch):
    """Returns the page on auto-encoders, given by how much the values of each user are
    above others by model, dataset and split.
    """
    monkeypatch.syspath_prepend(BENCHMARKS / 'tables')
    import common

    monkeypatch.setattr(common, 'RESULTS', tmp_path)
    (tmp_path / 'macridvae').mkdir()

    def make(runs: dict[tuple[str, str, int, int], float]) -> str:
        for (dataset, model, split, seed), above in runs.items():
            values = [value + above for value in USERS]
            metrics = dict.fromkeys(METRICS, sum(values) / len(values))
            content: dict[str, Any] = {
                'settings': {'dataset': dataset, 'model': model, 'split_seed': split},
                'test': metrics,
                'test_all_users': metrics,
                'test_users': {'ndcg@100': values},
                'baselines': {'popularity': metrics},
                'data': {'users': 603, 'items': 5697, 'edges': 47922},
                **{'best_epoch': 4 + seed, 'seconds_per_epoch': 1.0, 'commit': 'abc'},
                'history': [{}] * 7,
            }
            arguments = {'training': {'arguments': {'l2': 3.0}}}
            content['settings'] |= {'seed': seed, **arguments}
            name = f'{dataset}-{split}-{model}-{seed}.json'
            (tmp_path / 'macridvae' / name).write_text(json.dumps(content))
        script = str(BENCHMARKS / 'tables' / 'auto_encoders.py')
        text: str = runpy.run_path(script)['page']()
        return text

    return make


def test_without_runs(page):
    text = page({})
    assert 'are missing' in text and '\n## Movie' not in text
    assert '`ml-latest-small-98765-macridvae-0`' in text


@pytest.mark.parametrize(
    ('sign', 'one', 'two'), [(1, 'above', 'below'), (-1, 'below', 'above')]
)
def test_verdicts_follow_from_figures(page, sign, one, two):
    runs = {}
    for number, split in enumerate((98765, 1, 2)):
        # Three seeds of MacridVAE, whose mean and median are that of seed 1.
        level = [0.02 * (number + seed) for seed in range(3)]
        away = sign * (0.02 + 0.001 * number)
        for seed in range(3):
            runs['ml-latest-small', 'macridvae', split, seed] = level[seed]
        runs['ml-latest-small', 'multvae', split, 1] = level[1] - away
        runs['ml-latest-small', 'multdae', split, 0] = level[0]
        runs['ml-latest-small', 'ease', split, 0] = level[1] + away  # One for all seeds.
    text = page(runs)
    said = f'{one} MultVAE; not told apart from MultDAE; {two} EASE'
    assert text.count(said) == 3  # On one split, and over several by both intervals.
    assert f'+{0:.2f} [+0.00, +0.00]' in text
    for each in -2 * sign, 2 * sign:
        assert f'{each:+.2f} [{each:+.2f}, {each:+.2f}]' in text
    highest = 'EASE, 36.10' if sign > 0 else 'MultVAE, 36.10'
    assert f'highest mean over splits is that of {highest}' in text
    assert '| MacridVAE | 0, 1, 2 | 32.00 (30.00 to 34.00) |' in text
    # Of seven epochs the last is the best.
    assert 'may rank better: MacridVAE, MovieLens-latest-small (3).' in text
    assert 'NDCG@100 32.00 is above 28.90' in text and 'R@50 32.00 is below 41.31' in text
