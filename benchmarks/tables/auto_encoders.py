"""Writes docs/auto_encoders.md from the JSON files of the runs in
benchmarks/results/macridvae.

python benchmarks/tables/auto_encoders.py
"""

from statistics import mean, median, stdev

from common import (
    SILENT,
    apart,
    cell,
    changed,
    in_words,
    interval,
    missing,
    ordered,
    over_pairs,
    paired,
    read,
    read_runs,
    table,
    values,
    write,
)

FOLDER = 'macridvae'
SPLIT = 98765
METRICS = ('ndcg@100', 'recall@20', 'recall@50')
DECIDES = METRICS[0]
REFERENCE, ONE = 'MacridVAE', 'MacridVAE (K = 1)'
MODELS = {'macridvae': REFERENCE, 'multvae': 'MultVAE', 'multdae': 'MultDAE'}
CLOSED = 'EASE'
PEERS = ONE, 'MultVAE', 'MultDAE', CLOSED
# What a flag is if it is not given.
ORDINARY = {
    'epochs': 200,
    'batch_size': 350,
    'learning_rate': 0.001,
    'weight_decay': 0.0,
}
OF_DATASET = {
    'planted': {
        'epochs': 40,
        'learning_rate': 0.02,
        'tau': 0.2,
        'channels': 32,
        'num_concepts': 7,
    }
}
CHOICE = ('dataset', 'model', 'split_seed', 'seed')
LAST_EPOCHS = 0.95
BY_DATASET = ('num_held_out', 'min_rating')  # The defaults in all runs.
TITLES = {
    'ml-latest-small': 'MovieLens-latest-small',
    'ml-1m': 'MovieLens-1M',
    'ml-100k': 'MovieLens-100K',
    'planted': 'Planted concepts',
}
DESCRIPTIONS = {
    'ml-latest-small': 'The paper calls these data ML-100k: by seed 98765, users, items '
    'and edges are as many as in its Table 2.',
    'ml-1m': 'The ratings from three up. The paper says four, but with three, users, '
    'items and edges are as many as in its Table 2.',
    'ml-100k': 'The ratings from four up of the data that have this name elsewhere: they '
    'are not those of the paper. 50 users are held out for each part as there.',
    'planted': 'The embedded data: 2,000 users, and 600 items of five concepts, each of '
    'which has two attributes. NMI and purity compare the nearest prototype of items '
    'with their planted concept; 1 is perfect. MacridVAE has 32 '
    'channels, and is trained for 40 epochs with a rate of 0.02 and τ = 0.2, as '
    'validation users of another split chose; a row has the settings of the paper.',
}
# In percent, with the standard error over users.
PAPER = {
    'ml-latest-small': {
        'MultDAE': ('24.49 ± 2.74', '23.79 ± 3.61', '32.28 ± 4.07'),
        'MultVAE': ('27.48 ± 2.88', '24.84 ± 3.29', '35.27 ± 3.93'),
        REFERENCE: ('28.90 ± 2.74', '30.95 ± 3.81', '41.31 ± 4.50'),
    },
    'ml-1m': {
        'MultDAE': ('40.45 ± 0.80', '34.38 ± 0.96', '46.78 ± 1.03'),
        'MultVAE': ('40.56 ± 0.81', '33.96 ± 0.92', '45.83 ± 1.04'),
        REFERENCE: ('42.74 ± 0.79', '36.05 ± 0.95', '49.04 ± 1.03'),
    },
}

INTRODUCTION = """# Auto-encoders on held-out users: results

This page is written by `python benchmarks/tables/auto_encoders.py` from the JSON files in
`benchmarks/results/macridvae`, each of which a run has left there with its settings,
commit, machine, history and the values of each user. `benchmarks/run_queue.py` runs those
of `benchmarks/macridvae_runs.py` that are not there yet. Metrics are in percent.
"""

PROTOCOL = """## Protocol

Strong generalisation: users with at least five items are shuffled by a seed, and the last
ones are held out, for test, those before them for validation; there are the items of
training users alone. Of a held-out user, a fifth of the items is to be found by the rest,
which is left out of the ranking. The other users alone are trained on. The validation
users choose the epoch (NDCG@100), of EASE the regularisation; the test users are ranked
once. `R@k` is the recall of Liang et al. (2018): hits over what fits in the top, min(k,
number of targets). Ties count as the expectation over tied orders. Users with nothing to
be found are left out; *all users* has them as zeros, as the code of the paper's authors
has.

Where no more is said, all are trained as the paper's code does by default: K = 7, 100
channels, Adam with a rate of 0.001, batches of 350 users, 200 epochs, σ₀ = 0.075, β =
0.2, dropout 0.5. MultVAE and MultDAE have about as many parameters, with 100 channels.
The paper tuned each method by 200 trials on validation users; we did not. Rows with
*epochs 1000, patience 100* are of models that still gain after 200 epochs: they end when
100 epochs have brought nothing. EASE has a closed form, and one number to choose.

With several seeds of training, a cell is their median, and in brackets the lowest and the
highest. *Less MacridVAE* is in points of NDCG@100, paired over the test users, of whose
values we take the mean over the seeds that both have (EASE has no use for one), with a
95 % bootstrap interval over users: it says nothing about other splits. *Largest* is the
share of the items in the concept that has the most. Times are of one thread on machines
that had other work.
"""


def marks(settings):
    """Returns the settings that are not ordinary, by name: flags that were given."""
    known = (*CHOICE, *BY_DATASET, 'threads', 'device', 'valid_only', *SILENT)
    # If it is not given, no run ends early.
    ordinary = ORDINARY | {'patience': settings.get('epochs')}
    if settings['model'] == 'macridvae':
        ordinary |= OF_DATASET.get(settings['dataset'], {})
    return changed(settings, known, ordinary)


def label(settings):
    given = marks(settings)
    own = [f'K = {given.pop("num_concepts")}'] if 'num_concepts' in given else []
    own += in_words(given)
    return MODELS.get(settings['model'], CLOSED) + (f' ({", ".join(own)})' if own else '')


def command(run):
    settings = run['settings']
    flags = {'dataset': settings['dataset'], 'model': settings['model']} | marks(settings)
    words = (f'--{n}' if v is True else f'--{n} {v}' for n, v in flags.items())
    return ' '.join(['python benchmarks/macridvae.py', *words])


def in_order(models):
    """Returns runs by label, the models of the paper first."""
    return ordered(models, (REFERENCE, *PEERS))


def pair_of(models, name, metric=DECIDES):
    """Returns the evaluations of a model and of MacridVAE on the same test users."""
    if name == REFERENCE or not {name, REFERENCE} <= models.keys():
        return None
    runs, reference = models[name], models[REFERENCE]
    if name == CLOSED:  # The same whatever the seed.
        runs = dict.fromkeys(reference, next(iter(runs.values())))
    return paired(runs, reference, 'test_users', metric)


def over_splits(splits, name):
    """Returns what all splits say of the difference between a model and MacridVAE."""
    return over_pairs([pair_of(models, name) for models in splits.values()], DECIDES)


def results(dataset, models):
    """Returns the table of a split."""
    recovered = dataset == 'planted'
    head = ['model', 'seeds', 'NDCG@100', 'R@20', 'R@50', 'all users', 'less MacridVAE']
    head += ['NMI', 'purity'] * recovered + ['largest', 'best epoch', 's / epoch']
    lines = []
    for name, reported in PAPER.get(dataset, {}).items():
        lines.append([f'{name}, the paper', '', *reported, *[''] * (len(head) - 5)])
    first = next(iter(next(iter(models.values())).values()))
    reached = (first['baselines']['popularity'][metric] for metric in METRICS)
    cells = [f'{100 * value:.2f}' for value in reached]
    lines.append(['popularity', '', *cells, *[''] * (len(head) - 5)])
    for name, runs in in_order(models).items():
        pair = pair_of(models, name)
        is_closed = name == CLOSED
        cells = [name, '' if is_closed else ', '.join(map(str, sorted(runs)))]
        cells += [cell(values(runs, 'test', metric)) for metric in METRICS]
        cells.append(cell(values(runs, 'test_all_users', DECIDES)))
        cells.append('' if pair is None else interval(*apart(pair, DECIDES)))
        for measure in (['nmi', 'purity'] if recovered else []) + ['largest']:
            cells.append(cell(values(runs, 'concepts', measure), 1))
        cells += of_closed_form(runs) if is_closed else of_epochs(runs)
        lines.append(cells)
    return table(head, lines)


def of_closed_form(runs):
    l2 = {run['settings']['training']['arguments']['l2'] for run in runs.values()}
    return [', '.join(f'λ = {value:g}' for value in l2), '']


def of_epochs(runs):
    best = [str(run['best_epoch'] + 1) for run in runs.values()]
    seconds = median(run['seconds_per_epoch'] for run in runs.values())
    return [', '.join(best), f'{seconds:.2f}']


def labels(splits):
    """Returns the labels of the runs of all splits, the models of the paper first."""
    return in_order({name: None for models in splits.values() for name in models})


def results_over_splits(splits):
    """Returns the table of NDCG@100 over splits."""
    head = ['NDCG@100', *(f'split {split}' for split in splits), 'mean']
    head += ['less MacridVAE, over users', 'over splits']
    lines = []
    for name in labels(splits):
        each = [ranks(models, name) for models in splits.values()]
        cells = [name, *('' if value is None else f'{value:.2f}' for value in each)]
        cells.append('' if None in each else f'{mean(each):.2f}')
        found = over_splits(splits, name)
        cells += ['', ''] if found is None else [interval(*i) for i in found[1:]]
        lines.append(cells)
    return table(head, lines)


def ranks(models, name, metric=DECIDES, middle=mean):
    """Returns what a model reaches in percent, if it was run."""
    found = values(models.get(name, {}), 'test', metric)
    return 100 * middle(found) if found else None


# The text that depends on the figures.


def verdict(low, high):
    """Returns what an interval of a difference says."""
    if low > 0:
        return 'above'
    return 'below' if high < 0 else 'not told apart from'


def against_paper(dataset, models):
    """Says how the median of MacridVAE compares with what the paper reports."""
    for metric, reported in zip(METRICS, PAPER[dataset][REFERENCE], strict=True):
        ours, theirs = ranks(models, REFERENCE, metric, median), reported.split()[0]
        where = 'above' if ours > float(theirs) else 'below'
        yield f'{metric.upper().replace("RECALL", "R")} {ours:.2f} is {where} {theirs}'


def compared(differences):
    """Says of which models MacridVAE is above, below or not told apart."""
    found = {}
    for name, (_, low, high) in differences.items():
        found.setdefault(verdict(-high, -low), []).append(name)
    return '; '.join(f'{where} {", ".join(names)}' for where, names in found.items())


def reading(sections):
    """Returns a list of what the figures say, as far as they are there."""
    lines = []
    for dataset in PAPER:
        models = sections.get(dataset, {}).get(SPLIT, {})
        if REFERENCE in models:
            said = ', '.join(against_paper(dataset, models))
            number = len(models[REFERENCE])
            seeds = f'the median of {number} seeds' if number > 1 else 'one seed'
            lines.append(
                f'- *Against the paper*, {TITLES[dataset]}, MacridVAE, {seeds}: {said}. '
                f'The standard errors that the paper gives are of users alone.'
            )
    for dataset, splits in sections.items():
        models = splits.get(SPLIT, {})
        pairs = {name: pair_of(models, name) for name in labels(splits)}
        each = {n: apart(pair, DECIDES) for n, pair in pairs.items() if pair is not None}
        if each:
            lines.append(
                f'- *{TITLES[dataset]}*, on the split by seed {SPLIT}: by the intervals '
                f'over users MacridVAE is {compared(each)}.'
            )
        pooled_over = {name: over_splits(splits, name) for name in labels(splits)}
        pooled_over = {n: found for n, found in pooled_over.items() if found is not None}
        if pooled_over:
            lines += reading_over_splits(splits, pooled_over)
    lines += reading_of_concepts(sections.get('planted', {}).get(SPLIT, {}))
    return [*lines, *reading_of_epochs(sections)]


def reading_over_splits(splits, found):
    """Says what several splits say."""
    number = max(len(each) for each, *_ in found.values())
    over_users = {name: interval for name, (_, interval, _) in found.items()}
    over = {name: interval for name, (*_, interval) in found.items()}
    yield (
        f'- *Over {number} splits*, by the intervals over the users of all, MacridVAE is '
        f'{compared(over_users)}; by those over splits, {compared(over)}. Splits share '
        f'most of their training users, and some of their test users, so that both '
        f'intervals are rather too narrow.'
    )
    reached = {name: [ranks(m, name) for m in splits.values()] for name in labels(splits)}
    whole = {name: mean(v) for name, v in reached.items() if None not in v}
    if whole:
        best = max(whole, key=whole.__getitem__)
        yield f'- The highest mean over splits is that of {best}, {whole[best]:.2f}.'
    spread = [value for value in reached[REFERENCE] if value is not None]
    if ONE in found:
        gain = -mean(found[ONE][0])
        larger = 'more' if stdev(spread) > abs(gain) else 'less'
        yield (
            f'- *One split says little.* MacridVAE differs from split to split by '
            f'{stdev(spread):.2f} points (standard deviation), which is {larger} than '
            f'what K = 7 adds to K = 1 on the same users, {gain:+.2f}.'
        )


def reading_of_concepts(models):
    """Says which runs find the planted concepts."""
    nmi = {name: values(runs, 'concepts', 'nmi') for name, runs in models.items()}
    nmi = {name: mean(each) for name, each in nmi.items() if any(each)}
    if nmi:
        each = ', '.join(f'{value:.2f} ({name})' for name, value in nmi.items())
        yield f'- *Planted concepts* are found with a mean NMI of {each}.'


def reading_of_epochs(sections):
    """Says which runs ended before they stopped gaining."""
    cut = {}
    for dataset, splits in sections.items():
        for models in splits.values():
            for name, runs in models.items():
                for run in runs.values() if name != CLOSED else ():
                    number = len(run['history'])
                    if run['best_epoch'] + 1 > LAST_EPOCHS * number:
                        cut.setdefault(f'{name}, {TITLES[dataset]}', []).append(number)
    if cut:
        each = '; '.join(f'{name} ({len(runs)})' for name, runs in cut.items())
        yield (
            f'- *Cut short.* In these runs, whose number is in brackets, the best epoch '
            f'is among the last twentieth, so that more epochs may rank better: {each}.'
        )


def commands(sections):
    """Returns the commands that gave the runs, with their splits, seeds and commits."""
    for splits in sections.values():
        for name in labels(splits):
            runs = [run for m in splits.values() for run in m.get(name, {}).values()]
            seeds = (
                f'{split}: {", ".join(map(str, sorted(models[name])))}'
                for split, models in splits.items()
                if name in models
            )
            commits = sorted({str(run['commit']) for run in runs})
            yield f'- `{command(runs[0])}`, {"; ".join(seeds)} ({", ".join(commits)})'


def read_sections():
    """Returns the runs by dataset, split, label and seed."""
    found = read_runs(FOLDER, lambda s: (s['dataset'], s['split_seed']), label)
    sections = {}
    for dataset in TITLES:
        own = {
            split: models for (name, split), models in found.items() if name == dataset
        }
        if own:  # The split of the paper's seed first.
            order = sorted(own, key=lambda split: (split != SPLIT, split))
            sections[dataset] = {split: own[split] for split in order}
    return sections


CONTROL = """## User control

What `Recommender.control` changes on planted concepts, whose two attributes are known, by
`benchmarks/concept_control.py`: {lists} lists of {steps} items a seed, seeds {seeds}, a
model of {channels} channels with β = {beta} and σ₀ = {sigma}. Its prototypes begin near
each other, are placed at clusters of items (k-means, no labels) after {epochs} epochs,
and it is trained again: items are divided as the planted concepts by an NMI of {once}
before, and {nmi} after. The dimension is the one most correlated with the attribute
within the concept ({correlation}). Beside them, random lists of the same concept. Means
over seeds; attributes are from 0 to 1.
"""

SETTINGS = 'steps', 'channels', 'beta', 'sigma', 'epochs'
CONTROLLED = {
    'rank correlation': 'rank correlation of position and attribute',
    'change of the attribute': 'change of the attribute, first to last',
    'change of others': 'change of the other attribute, either way',
    'spread of others': 'standard deviation of the other attribute',
    'of one concept': 'lists of a single planted concept',
}


def control():
    """Returns the section on what altering one dimension alters."""
    report = read('concept_control').get('planted')
    if report is None:
        return []
    seeds = report['seeds']
    of_seed = list(seeds.values())
    heads, columns = [], []
    for number in range(len(of_seed[0]['attributes'])):
        for kind in ('controlled', 'random'):
            heads.append(f'attribute {number + 1}, {kind}')
            each = [seed['attributes'][number][kind] for seed in of_seed]
            columns.append([mean(one[name] for one in each) for name in CONTROLLED])
    lines = [
        [label, *(f'{column[row]:.2f}' for column in columns)]
        for row, label in enumerate(CONTROLLED.values())
    ]
    best = zip(
        *(seed['correlation of the best dimension'] for seed in of_seed), strict=True
    )
    text = CONTROL.format(
        **{name: report['settings'][name] for name in SETTINGS},
        lists=of_seed[0]['lists'],
        seeds=', '.join(seeds),
        once=f'{mean(seed["nmi, trained once"] for seed in of_seed):.2f}',
        nmi=f'{mean(seed["nmi"] for seed in of_seed):.2f}',
        correlation=' and '.join(f'{mean(each):.2f}' for each in best),
    )
    return [text, *table(['', *heads], lines)]


def page():
    sections = read_sections()
    lines = [INTRODUCTION]
    for dataset, splits in sections.items():
        lines += [f'## {TITLES[dataset]}\n', f'{DESCRIPTIONS[dataset]}\n']
        if SPLIT in splits:
            data = next(iter(next(iter(splits[SPLIT].values())).values()))['data']
            lines.append(
                f'The split by seed {SPLIT}: {data["users"]:,} users, {data["items"]:,} '
                f'items, {data["edges"]:,} edges.\n'
            )
            lines += results(dataset, splits[SPLIT])
        if len(splits) > 1:
            lines += results_over_splits(splits)
    lines += control()
    lines += [PROTOCOL, '## Reading\n', *reading(sections)]
    lines += ['', '## The runs\n', 'With `--split_seed` and `--seed` as given:\n']
    lines += [*commands(sections), *missing('macridvae_runs', FOLDER)]
    return '\n'.join([*lines, ''])


if __name__ == '__main__':
    write('auto_encoders', page())
