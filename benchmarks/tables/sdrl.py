"""Writes docs/sdrl.md from the JSON files of the runs in benchmarks/results/sdrl.

python benchmarks/tables/sdrl.py
"""

from statistics import mean

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
    read_runs,
    table,
    values,
    write,
)

FOLDER = 'sdrl'
TOP = 5, 10, 15
METRICS = tuple(f'{name}@{k}' for name in ('f1', 'ndcg') for k in TOP)
DECIDES = 'ndcg@10'
REFERENCE, MASKED = 'SDRL', 'SDRL (label mask)'
VARIANTS = tuple(f'SDRL ({name})' for name in ('int+ext', 'int+oth', 'ext+oth', 'whole'))
MODELS = {
    'popularity': 'popularity',
    'ease': 'EASE',
    'multvae': 'MultVAE',
    'macridvae': 'MacridVAE',
    'netmf': 'NetMF',
    'prone': 'ProNE',
}
# The same whatever the seed.
CLOSED = tuple(MODELS[name] for name in ('popularity', 'ease', 'netmf', 'prone'))
ORDINARY = {
    'epochs': 200,
    'learning_rate': 0.001,
    'variant': 'SDRL',
}
WEAK = 0.1  # The weight of planted categories if it is not given.
CHOICE = ('dataset', 'model', 'split_seed', 'seed', 'single_pass', 'concept_weight')
BLOCKS = 'internal', 'external', 'other', 'whole'
CLASSIFICATION = 'recall', 'precision', 'micro_f1'
TITLES = {
    ('ml-latest-small', False): 'MovieLens-latest-small',
    ('ml-latest-small', True): 'MovieLens-latest-small, filtered once',
    ('ml-1m', False): 'MovieLens-1M',
    ('planted', False): 'Planted categories',
    ('planted', True): 'Planted categories that users follow',
}
DESCRIPTIONS = {
    ('ml-latest-small', False): 'Users and items with fewer than 20 ratings are left out '
    'until all have as many.',
    ('ml-latest-small', True): 'Users and items with fewer than 20 ratings are left out '
    'at once: some of those that stay have fewer among themselves.',
    ('ml-1m', False): 'The ratings alone: there are no categories at hand, so that only '
    'the variants without an internal block are trained.',
    ('planted', False): 'The embedded data: 600 users, and 200 items of five '
    'categories, each of which has two attributes. Users follow the attributes strongly '
    'and the category weakly, and rate by the score that they follow. How weakly was '
    'chosen on these data, so that ratings say next to nothing of the category: what '
    'happens otherwise is below. Chance of a category is a fifth.',
    ('planted', True): 'Drawn as those above, but for a concept weight of 0.5.',
}
# Of MovieLens-latest-small, in percent.
PAPER = {
    'NetMF': ('2.96', '4.78', '5.16', '3.79', '5.27', '6.91'),
    'ProNE': ('3.05', '4.53', '5.31', '3.81', '5.24', '7.01'),
    'VAECF': ('5.56', '7.74', '8.97', '8.72', '9.82', '11.37'),
    'MacridVAE': ('5.16', '7.39', '8.52', '8.05', '9.05', '10.63'),
    REFERENCE: ('7.23', '9.90', '11.25', '10.50', '12.36', '14.65'),
    'SDRL (int+ext)': ('6.96', '9.72', '11.13', '9.81', '12.03', '14.50'),
    'SDRL (int+oth)': ('7.13', '9.90', '11.30', '10.25', '12.29', '14.81'),
    'SDRL (ext+oth)': ('6.76', '9.28', '10.59', '9.52', '11.51', '13.99'),
    'SDRL (whole)': ('6.22', '9.15', '10.41', '12.80', '13.18', '13.86'),
}
PAPER_CLASSIFICATION = {
    'NetMF': ('50.35', '59.86', '54.70'),
    'ProNE': ('53.16', '62.73', '57.55'),
    REFERENCE: ('59.79', '71.29', '65.04'),
    'SDRL (int+ext)': ('62.17', '74.26', '67.68'),
    'SDRL (int+oth)': ('61.90', '73.84', '67.35'),
    'SDRL (ext+oth)': ('52.56', '62.05', '56.91'),
    'SDRL (whole)': ('39.99', '42.10', '41.02'),
}

INTRODUCTION = """# SDRL: results

This page is written by `python benchmarks/tables/sdrl.py` from the JSON files in
`benchmarks/results/sdrl`, each of which a run has left there with its settings, commit,
machine, history and the values of each user. `benchmarks/run_queue.py` runs those of
`benchmarks/sdrl_runs.py` that are not there yet. Metrics are in percent.
"""

PROTOCOL = """## Protocol

The ratings are split at random, a fifth of them to be found; a split is that of its seed.
A user's F1 is that of the user's own precision and recall, and all metrics are means over
the users who have something to be found. Ties count as the expectation over tied orders.

*Masked*, a ranking leaves out what the user has rated in training. *Unmasked*, it does
not, and what was rated in training takes the place of what is to be found: the better a
model knows what users have rated, the less of it is found. The paper does not say which
it did, but its figures are in reach of unmasked rankings alone, and stand beside those
here. For recommendation the masked ones count.

SDRL is trained as the paper says as far as it does: 128 channels, internal, external and
other ones as 2 : 1 : 1, in variants of two blocks as 1 : 1, all losses of one weight. The
rest is our choice: Adam with a rate of 0.001, 200 epochs, in each of which all users are
one batch. Nothing is held out to choose an epoch, so the last one counts, also of MultVAE
and MacridVAE, which are trained as on [their page](auto_encoders.md). The regularisation
of EASE is chosen on a tenth of the training ratings, by NDCG@10. NetMF and ProNE embed
the graph of users and items in 128 channels, in the forms that their papers give. All but
SDRL read that there is a rating, not which.

*Less SDRL* is in points of NDCG@10, masked, paired over users, with a 95 % bootstrap
interval over them.

Items are classified by scikit-learn's `MLPClassifier`, fitted to the categories of 80 %
of them and tested on the rest; recall, precision and F1 are over all pairs of an item and
a category. Read literally, the paper's protocol leaks: SDRL is trained on the categories
of the tested items, too. By *label mask* these are withheld from it. *Whole* are all
blocks side by side, and of MultVAE and MacridVAE the vectors by which items are
recommended.
"""


def marks(settings):
    """Returns the settings that are not ordinary, by name."""
    known = (*CHOICE, 'batch_size', 'patience', 'threads', 'device', *SILENT)
    return changed(settings, known, ORDINARY)


def label(settings):
    given = marks(settings)
    own = [given.pop('variant')] if 'variant' in given else []
    own += in_words(given)
    name = MODELS.get(settings['model'], REFERENCE)
    return name + (f' ({", ".join(own)})' if own else '')


def in_order(models):
    """Returns what is there by label, SDRL and its variants first."""
    known = (REFERENCE, MASKED, *VARIANTS, *MODELS.values())
    return ordered(models, known)


def pair_of(models, name):
    """Returns the evaluations of a model and of SDRL on the same users."""
    if name == REFERENCE or not {name, REFERENCE} <= models.keys():
        return None
    runs, reference = models[name], models[REFERENCE]
    if name in CLOSED:
        runs = dict.fromkeys(reference, next(iter(runs.values())))
    return paired(runs, reference, 'test_users', DECIDES)


def rankings(models, part, reported=()):
    """Returns the table of the rankings of a split, those of a paper first."""
    compared = part == 'test'
    head = ['model', 'seeds', *(f'F1@{k}' for k in TOP), *(f'NDCG@{k}' for k in TOP)]
    head += ['less SDRL'] * compared
    lines = [[f'{name}, the paper', '', *reported[name]] for name in reported]
    for name, runs in in_order(models).items():
        seeds = '' if name in CLOSED else ', '.join(map(str, sorted(runs)))
        cells = [name, seeds, *(cell(values(runs, part, metric)) for metric in METRICS)]
        pair = pair_of(models, name) if compared else None
        lines.append(cells + [interval(*apart(pair, DECIDES)) if pair else ''] * compared)
    return table(head, lines)


def classification(models, reported=()):
    """Returns the table of what blocks know of the categories."""
    head = ['model', 'vectors', 'recall', 'precision', 'micro-F1']
    lines = [[f'{name}, the paper', 'whole', *reported[name]] for name in reported]
    for name, runs in in_order(models).items():
        for block in BLOCKS:
            found = [values(runs, 'classification', block, it) for it in CLASSIFICATION]
            if any(found):
                lines.append([name, block, *map(cell, found)])
    return table(head, lines) if lines else []


def planted(models):
    """Returns the table of what a linear model reads of planted factors."""
    head = ['model', 'vectors', 'category', 'chance', 'attribute 1', 'attribute 2']
    lines = []
    for name, runs in in_order(models).items():
        for block in BLOCKS:
            found = [values(runs, 'planted', block, it.lower()) for it in head[2:]]
            if any(found):
                lines.append([name, block, *(cell(each, 1) for each in found)])
    return table(head, lines) if lines else []


def labels(splits):
    """Returns the labels of the runs of all splits."""
    return in_order({name: None for models in splits.values() for name in models})


def ranks(models, name):
    """Returns the NDCG@10 of a model on a split, in percent, if it is there."""
    found = values(models.get(name, {}), 'test', DECIDES)
    return 100 * mean(found) if found else None


def results_over_splits(splits):
    """Returns the table of NDCG@10, masked, over splits."""
    head = ['NDCG@10', *(f'split {split}' for split in splits), 'mean']
    head += ['less SDRL, over users', 'over splits']
    lines = []
    for name in labels(splits):
        each = [ranks(models, name) for models in splits.values()]
        cells = [name, *('' if value is None else f'{value:.2f}' for value in each)]
        cells.append('' if None in each else f'{mean(each):.2f}')
        found = over_pairs([pair_of(models, name) for models in splits.values()], DECIDES)
        cells += ['', ''] if found is None else map(lambda it: interval(*it), found[1:])
        lines.append(cells)
    return table(head, lines)


def side(low, high):
    """Says on which side of zero an interval is."""
    if low <= 0 <= high:
        return 'not told apart from'
    return 'above' if low > 0 else 'below'


def reading(sections):
    """Says what follows from the figures."""
    for key, splits in sections.items():
        models, compared = next(iter(splits.values())), {}
        for name in in_order(models):
            pair = pair_of(models, name)
            if pair is not None and name != MASKED:
                _, low, high = apart(pair, DECIDES)
                compared.setdefault(side(-high, -low), []).append(name)
        if compared:
            each = '; '.join(f'{how} {", ".join(of)}' for how, of in compared.items())
            yield (
                f'- *{TITLES[key]}*, masked, on split {next(iter(splits))}: by the '
                f'intervals over users, SDRL is {each}.'
            )
        yield from reading_of_classification(TITLES[key], models)
        yield from reading_of_planted(TITLES[key], models)
    reference = values(first(sections).get(REFERENCE, {}), 'test_unmasked', DECIDES)
    if reference:
        masked = values(first(sections)[REFERENCE], 'test', DECIDES)
        yield (
            f'- *Against the paper*: unmasked, SDRL has an NDCG@10 of '
            f'{100 * mean(reference):.2f}, the paper has {PAPER[REFERENCE][4]}. The same '
            f'model has {100 * mean(masked):.2f} where what was rated is left out: '
            f'whether it is tells more than which model it is.'
        )


def reading_of_classification(title, models):
    """Says how far the internal block is above the external one."""
    for name in (REFERENCE, MASKED):
        blocks = {
            block: values(models.get(name, {}), 'classification', block, 'micro_f1')
            for block in ('internal', 'external')
        }
        if all(blocks.values()):
            each = ', '.join(f'{100 * mean(v):.1f} {b}' for b, v in blocks.items())
            yield f'- *Categories*, {title}, {name}: a micro-F1 of {each}.'


def reading_of_planted(title, models):
    """Says which of the planted factors the blocks tell."""
    runs = models.get(REFERENCE, {})
    if not values(runs, 'planted'):
        return
    inner, outer, chance = (
        mean(values(runs, 'planted', *path))
        for path in (
            ('internal', 'category'),
            ('external', 'category'),
            ('external', 'chance'),
        )
    )
    rest = mean(
        mean(values(runs, 'planted', 'external', f'attribute {number}'))
        for number in (1, 2)
    )
    apart_or_not = 'They are told apart, as users follow the categories weakly'
    if outer > chance + 0.1:
        apart_or_not = 'They are not told apart, as users follow the categories'
    yield (
        f'- *{title}*: the internal block tells {inner:.2f} of the categories, the '
        f'external one {outer:.2f} (chance: {chance:.2f}), which has {rest:.2f} of the '
        f'variance of the attributes. {apart_or_not}: what ratings say of a category, '
        f'the external block has, too.'
    )


def first(sections):
    """Returns the runs of the paper's data, on their first split."""
    return next(iter(sections.get(('ml-latest-small', False), {0: {}}).values()))


def command(settings):
    names = 'dataset', 'model', 'single_pass'
    flags = {name: settings[name] for name in names} | marks(settings)
    if settings.get('concept_weight') not in (None, WEAK):
        flags['concept_weight'] = settings['concept_weight']
    words = (
        f'--{n}' if v is True else f'--{n} {v}'
        for n, v in flags.items()
        if v is not False
    )
    return ' '.join(['python benchmarks/sdrl.py', *words])


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
            settings = runs[0]['settings']
            yield f'- `{command(settings)}`, {"; ".join(seeds)} ({", ".join(commits)})'


def data_of(settings):
    """Returns the data of a run: their name, and whether they are not as usual."""
    others = settings['single_pass'] or settings.get('concept_weight') not in (None, WEAK)
    return settings['dataset'], others, settings['split_seed']


def read_sections():
    """Returns the runs by data, split, label and seed."""
    found = read_runs(FOLDER, data_of, label)
    sections = {}
    for key in TITLES:
        own = {
            split: models for (*of, split), models in found.items() if tuple(of) == key
        }
        if own:
            sections[key] = own
    return sections


def section(key, splits):
    """Returns the lines of a section."""
    models = next(iter(splits.values()))
    data = next(iter(next(iter(models.values())).values()))['data']
    is_paper = key == ('ml-latest-small', False)
    yield f'## {TITLES[key]}\n'
    yield f'{DESCRIPTIONS[key]}\n'
    yield (
        f'{data["users"]:,} users, {data["items"]:,} items, {data["edges"]:,} ratings. '
        f'Split {next(iter(splits))}, masked:\n'
    )
    yield from rankings(models, 'test')
    if len(splits) > 1:
        yield from results_over_splits(splits)
    yield 'Unmasked' + (', as the paper seems to have ranked:\n' if is_paper else ':\n')
    yield from rankings(models, 'test_unmasked', PAPER if is_paper else ())
    found = classification(models, PAPER_CLASSIFICATION if is_paper else ())
    if found:
        yield 'Categories of items from their vectors:\n'
        yield from found
    found = planted(models)
    if found:
        yield (
            'What a linear model reads of the planted category (accuracy) and of the '
            'rest (the share of its variance), over folds; with a label mask, of the '
            'category of the items whose label was withheld:\n'
        )
        yield from found


def page():
    sections = read_sections()
    lines = [INTRODUCTION]
    for key, splits in sections.items():
        lines += section(key, splits)
    lines += [PROTOCOL, '## Reading\n', *reading(sections)]
    lines += ['', '## The runs\n', 'With `--split_seed` and `--seed` as given:\n']
    lines += [*commands(sections), *missing('sdrl_runs', FOLDER)]
    return '\n'.join([*lines, ''])


if __name__ == '__main__':
    write('sdrl', page())
