"""Every example runs, is short, and says what a reader gets."""

import ast
import re

import pytest
from scripts import ROOT, run

EXAMPLES = ROOT / 'examples'
SCRIPTS = {
    path.relative_to(EXAMPLES).with_suffix('').as_posix(): path.read_text()
    for path in EXAMPLES.rglob('*.py')
}
HELPERS = {'quick_model', 'recipes/shared'}  # The others import them.
PRINTED = {
    'train_iedr': ('IEDR: ndcg@5', 'popularity: ndcg@5', 'p_corrected'),
    'train_dice': ('popularity: recall', 'interest: recall', 'conformity: recall'),
    'iedr_own_loop': ('Epoch: 000, Loss: ', 'Test: ndcg@5'),
    'recommend_in_context': ('noon, tue, work', 'enters', 'leaves', 'do not add up'),
}
COMPARED = {
    'recipes/biclub_own_embeddings': 2,
    'recipes/contrastive_own_augmentation': 3,
    'recipes/iedr_user_over_lightgcn': 3,
    'recipes/lightgcn_pnsm': 2,
    'recipes/two_tower_sign': 3,
}


def test_every_example_is_tested():
    assert SCRIPTS.keys() == {*PRINTED, *COMPARED, *HELPERS}


@pytest.mark.parametrize('name', SCRIPTS)
def test_example_is_short(name):
    assert SCRIPTS[name].count('\n') < 100
    assert 'A reader gets ' in ast.get_docstring(ast.parse(SCRIPTS[name]))


@pytest.mark.parametrize('name', PRINTED)
def test_example(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    out = run(f'examples/{name}.py', '--epochs', 1)
    assert [text for text in PRINTED[name] if text not in out] == []


@pytest.mark.parametrize('name', COMPARED)
def test_recipe(name):
    lines = run(f'examples/{name}.py', '--epochs', 1).splitlines()
    assert sum('Epoch: 000' in line for line in lines) == COMPARED[name]
    results = [line for line in lines if line.startswith('Test, ')]
    assert len(results) == len(set(results)) == COMPARED[name]
    # Even one epoch ranks better than chance: 0.045 in lists of 100.
    values = [float(re.search(r'ndcg@[12]0 (\S+)', line)[1]) for line in results]
    assert max(values) > 0.06
