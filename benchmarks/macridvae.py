"""Trains auto-encoders over the graph of users and items, on users who are held out.

requires: pip install "iedr_geo[train,plot]"

python benchmarks/macridvae.py                          # MacridVAE, planted concepts
python benchmarks/macridvae.py --num_concepts 1         # one vector a user
python benchmarks/macridvae.py --model ease             # the closed form
python benchmarks/macridvae.py --dataset ml-latest-small --root FOLDER

The recall of the test users is truncated as by Liang et al. (2018): hits over what fits
in the top, min(k, number of targets). Users with nothing to be found are left out of
`test` and count as zero in `test_all_users`, as in the code of MacridVAE's authors.
"""

import argparse
import inspect

import torch
from peers import ease
from records import parse, write_json
from training_run import add_run_flags, fit_by_flags, print_metrics, record

from iedr_geo.analysis import concept_agreement
from iedr_geo.data import BipartiteGraph, strong_generalisation_split
from iedr_geo.datasets import (
    MovieLens1M,
    MovieLens100K,
    MovieLensLatestSmall,
    PlantedConcepts,
    read_coo_split,
)
from iedr_geo.evaluation import evaluate_catalogue
from iedr_geo.metrics import NDCG, TruncatedRecall
from iedr_geo.nn import MacridVAE, MultDAE, MultVAE, Popularity
from iedr_geo.training import BipartiteModule

MODELS = {
    'macridvae': MacridVAE,
    'multvae': MultVAE,
    'multdae': MultDAE,
    'ease': ease.EASE,
}
# About as many parameters as MacridVAE has, as in its paper.
ARGUMENTS = {'multvae': {'channels': 100, 'hidden': 100}, 'multdae': {'channels': 100}}
FLAGS = {
    'num_concepts': int,
    'channels': int,
    'tau': float,
    'sigma': float,
    'beta': float,
    'dropout': float,
    'similarity': str,
}
TRAINING = {'epochs': 200, 'batch_size': 350, 'learning_rate': 1e-3, 'weight_decay': 0.0}
# Of MacridVAE on planted concepts: chosen by the validation users of another split.
PLANTED = {'channels': 32, 'tau': 0.2, 'learning_rate': 0.02, 'epochs': 40}
HELD_OUT = {
    'planted': 200,
    'ml-latest-small': 50,
    'ml-100k': 50,
    'ml-1m': 500,
    'coo': 500,
}
# With these, the numbers of users, items and edges are those in the paper's Table 2, for
# ml-latest-small as its ML-100k, and for ml-1m.
MIN_RATING = {'ml-latest-small': 4, 'ml-100k': 4, 'ml-1m': 3}
METRICS = NDCG(100), TruncatedRecall(20), TruncatedRecall(50)
L2 = (1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1000.0, 3000.0)


def parse_arguments():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--dataset', choices=HELD_OUT, default='planted')
    parser.add_argument('--root', help='folder with the raw files (default: download)')
    parser.add_argument('--model', choices=MODELS, default='macridvae')
    parser.add_argument('--split_seed', type=int, default=98765)
    parser.add_argument(
        '--num_held_out',
        type=int,
        help=f'validation users, and test users (default: {_by_dataset(HELD_OUT)})',
    )
    parser.add_argument(
        '--min_rating',
        type=float,
        help=f'of MovieLens (default: {_by_dataset(MIN_RATING)})',
    )
    for name, kind in FLAGS.items():
        parser.add_argument(f'--{name}', type=kind, help='of the model, as in its paper')
    parser.add_argument(
        '--hard_assignment', action='store_true', default=None, help='in evaluation'
    )
    for name, value in TRAINING.items():
        parser.add_argument(f'--{name}', type=type(value), help=f'default: {value}')
    parser.add_argument('--patience', type=int, help='default: all epochs are trained')
    parser.add_argument(
        '--valid_only', action='store_true', help='leave the test users unread, to choose'
    )
    add_run_flags(parser)
    args = parse(parser)
    for flag, by_dataset in (('num_held_out', HELD_OUT), ('min_rating', MIN_RATING)):
        default = by_dataset.get(args.dataset)
        if getattr(args, flag) is None:
            setattr(args, flag, default)
        elif default is None:
            parser.error(f'{args.dataset} has no --{flag}')
    if args.dataset == 'coo' and args.root is None:
        parser.error('--dataset coo needs --root')
    trained = {} if args.model == 'ease' else TRAINING  # It has a closed form.
    known = {*inspect.signature(MODELS[args.model]).parameters, *trained}
    arguments = dict(ARGUMENTS.get(args.model, {}))
    defaults = dict(trained)
    if (args.dataset, args.model) == ('planted', 'macridvae'):
        defaults |= PLANTED
    for name in (*FLAGS, *TRAINING, 'hard_assignment'):
        if getattr(args, name) is None:
            setattr(args, name, defaults.get(name))
        elif name not in known:
            parser.error(f'{args.model} has no --{name}')
        value = getattr(args, name)
        if value is not None and name not in TRAINING:
            arguments[name] = value
    if args.patience is None:
        args.patience = args.epochs
    return args, arguments


def _by_dataset(values):
    return ', '.join(f'{value} of {dataset}' for dataset, value in values.items())


def load(args):
    """Returns the split, and of planted data the concept of each item."""
    if args.dataset == 'planted':
        data = PlantedConcepts()
        split = data.split(args.num_held_out, seed=args.split_seed)
        return split, data.concept[split.train.item_ids]
    if args.dataset == 'coo':
        parts = read_coo_split(args.root)
        pairs = (
            torch.cat([getattr(part, n) for part in parts]) for n in ('user', 'item')
        )
        graph = BipartiteGraph(*pairs, parts.train.num_users, parts.train.num_items)
    elif args.dataset == 'ml-1m':
        graph = MovieLens1M(args.root).graph(args.min_rating, min_records=1)
    else:
        kind = MovieLens100K if args.dataset == 'ml-100k' else MovieLensLatestSmall
        graph = BipartiteGraph.from_dataset(kind(args.root, min_rating=args.min_rating))
    return strong_generalisation_split(graph, args.num_held_out, args.split_seed), None


def evaluate(model, part):
    return evaluate_catalogue(model, part.targets, part.history, METRICS, progress=False)


def concepts(model, planted):
    """Returns how items are divided among concepts, and how well these are the planted
    ones.
    """
    nearest = model.assignment().argmax(dim=1).cpu()
    known = nearest if planted is None else torch.from_numpy(planted)
    found = concept_agreement(nearest, known)
    names = ('largest',) if planted is None else ('largest', 'nmi', 'purity')
    return {name: round(getattr(found, name), 5) for name in names}


def main():
    args, arguments = parse_arguments()
    split, planted = load(args)
    train, valid, test = split
    print(f'{args.dataset}: {train}')
    torch.manual_seed(args.seed)
    if args.model == 'ease':
        settings, result = ease.tuned(
            lambda l2: ease.EASE(train, l2),
            lambda model: evaluate(model, valid),
            L2,
            METRICS[0].name,
        )
    else:
        module = BipartiteModule(
            MODELS[args.model](train.num_items, **arguments),
            train,
            valid.targets,
            history=valid.history,
            metrics=METRICS,
            batch_size=args.batch_size,
            learning_rate=args.learning_rate,
            weight_decay=args.weight_decay,
            seed=args.seed,
        )
        names = args.dataset, args.split_seed, args.model, args.seed
        _, result = fit_by_flags(module, args, *names)
        settings = module.settings
    content = record(args, settings, result)
    content['data'] = {
        'users': train.num_users,
        'items': train.num_items,
        'edges': sum(g.num_edges for g in (train, *valid, *test)),
    }
    if args.model == 'macridvae':
        content['concepts'] = concepts(result.model, planted)
        print('\nConcepts', *(f'{n} {v:.3f}' for n, v in content['concepts'].items()))
    best = result.history[result.best_epoch]
    content['valid'] = {metric.name: best[metric.name] for metric in METRICS}
    if not args.valid_only:
        content |= rank_test_users(args, result.model, split)
    print(
        f'\nBest epoch {result.best_epoch + 1} of {len(result.history)}, '
        f'{result.seconds_per_epoch:.2f} s an epoch.'
    )
    if args.json is not None:
        write_json(args.json, content)


def rank_test_users(args, model, split):
    """Returns what is found of the test users' targets, by a model and by popularity."""
    evaluations = {
        name: evaluate(each, split.test)
        for name, each in (
            ('popularity', Popularity.fit(split.train)),
            (args.model, model),
        )
    }
    print_metrics('test', evaluations)
    popularity, mine = evaluations.values()
    of_users = mine.per_list.dropna()
    share = len(of_users) / args.num_held_out
    # Recall is truncated in all of these.
    return {
        'test': _short(mine.metrics),
        'test_all_users': {n: share * v for n, v in _short(mine.metrics).items()},
        'test_users': {  # In the order of the users, for paired comparisons.
            name: values.round(5).tolist()
            for name, values in _short(of_users.drop(columns='user')).items()
        },
        'num_test_users': len(of_users),
        'baselines': {'popularity': _short(popularity.metrics)},
    }


def _short(values):
    return {name.removeprefix('truncated_'): value for name, value in values.items()}


if __name__ == '__main__':
    main()
