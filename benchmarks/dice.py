"""Trains recommenders on the graph of users and items: interest and conformity apart.

requires: pip install "iedr_geo[train]"

python benchmarks/dice.py                                  # DICE over MF, planted clicks
python benchmarks/dice.py --model base                     # MF alone
python benchmarks/dice.py --dataset coo --root FOLDER      # a split in DICE's file layout
python benchmarks/dice.py --dataset ml-1m --backbone lightgcn
"""

import argparse

import torch
from records import parse, write_json
from training_run import add_run_flags, fit_by_flags, print_metrics, record

from iedr_geo.analysis import popularity_overlap
from iedr_geo.data import (
    InterventionSplit,
    PopularityMarginSampler,
    PopularityNegativeSampler,
    UniformNegativeSampler,
    intervened_split,
)
from iedr_geo.datasets import Gowalla, MovieLens1M, PlantedClicks, read_coo_split
from iedr_geo.evaluation import evaluate_catalogue
from iedr_geo.loader import Curriculum
from iedr_geo.nn import DICE, IPS, MF, Biased, CausE, LightGCN, Popularity
from iedr_geo.training import BipartiteModule

DATASETS = ('planted', 'ml-1m', 'gowalla', 'coo')
MODELS = (
    *('base', 'dice', 'ips', 'ips-c', 'ips-cn', 'ips-cnsr', 'cause', 'pnsm'),
    *('bias-u', 'bias-i', 'bias-ui'),
)
# What a flag is if it is not given: as in the papers, with DICE's learning rate for the
# larger batch; Gowalla as the authors of LightGCN train on it.
DEFAULTS = {
    'epochs': 500,
    'patience': 4,
    'batch_size': 1024,
    'learning_rate': 0.01,
    'channels': 128,
    'layers': 2,
    'num_negatives': 4,
    'decay': 0.9,
}
GOWALLA = DEFAULTS | {
    'epochs': 1000,
    'batch_size': 2048,
    'learning_rate': 1e-3,
    'channels': 64,
    'layers': 3,
    'num_negatives': 1,
}
OFFICIAL = {'batch_size': 128}


def parse_arguments(**defaults):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--dataset', choices=DATASETS, default='planted')
    parser.add_argument('--root', help='folder with the raw files (default: download)')
    parser.add_argument('--backbone', choices=['mf', 'lightgcn'], default='mf')
    parser.add_argument('--model', choices=MODELS, default='dice')
    parser.add_argument('--official', action='store_true', help="as the authors' code")
    parser.add_argument('--epochs', type=int, help='at most (early stopping)')
    parser.add_argument('--patience', type=int)
    parser.add_argument('--batch_size', type=int)
    parser.add_argument('--learning_rate', type=float)
    parser.add_argument('--channels', type=int, help='of all factors together')
    parser.add_argument('--layers', type=int, help='of LightGCN')
    parser.add_argument('--num_negatives', type=int, help='for each positive')
    parser.add_argument(
        '--negatives',
        choices=['uniform', 'popularity', 'margin'],
        help='default: margin for dice and pnsm, uniform for the others',
    )
    parser.add_argument('--margin', type=float, help="default: the sampler's")
    parser.add_argument('--alpha', type=float, default=0.1)
    parser.add_argument('--beta', type=float, default=0.01)
    parser.add_argument('--discrepancy', choices=['dcor', 'l1', 'l2'], default='dcor')
    parser.add_argument('--decay', type=float, help='of the curriculum')
    parser.add_argument('--decay_every', choices=['epoch', 'step'], default='epoch')
    parser.add_argument('--cap', type=float, default=0.9, help='of the intervened split')
    parser.add_argument(
        '--valid_share', type=float, help='of the training edges of gowalla (default: 0)'
    )
    add_run_flags(parser)
    parser.set_defaults(**defaults)
    args = parse(parser)
    if args.valid_share is not None and args.dataset != 'gowalla':
        parser.error(f'--valid_share is for gowalla: {args.dataset} has a part')
    if args.dataset == 'coo' and args.root is None:
        parser.error('--dataset coo needs --root')
    chosen = GOWALLA if args.dataset == 'gowalla' else DEFAULTS
    if args.official:
        chosen = chosen | OFFICIAL
        chosen['learning_rate'] = 1e-3 if args.model == 'dice' else 1e-2
    for name, value in chosen.items():
        if getattr(args, name) is None:
            setattr(args, name, value)
    if args.negatives is None:
        args.negatives = 'margin' if args.model in ('dice', 'pnsm') else 'uniform'
    return args


def load(args):
    mode = 'percentile' if args.official else 'probability'
    if args.dataset == 'coo':
        return read_coo_split(args.root)
    if args.dataset == 'planted':
        return PlantedClicks().split(cap=args.cap, cap_mode=mode)
    if args.dataset == 'ml-1m':
        graph = MovieLens1M(args.root).graph(min_rating=5, min_records=11)
        return intervened_split(graph, cap=args.cap, cap_mode=mode, seed=args.seed)
    data = Gowalla(args.root)
    if not args.valid_share:
        return data.train, None, data.test
    generator = torch.Generator().manual_seed(0)
    held_out = torch.rand(data.train.num_edges, generator=generator) < args.valid_share
    train, valid = (data.train.subgraph(part) for part in (~held_out, held_out))
    return train, valid, data.test


def make_model(args, train):
    arguments = {'channels': args.channels}
    if args.dataset == 'gowalla':
        arguments |= {'std': 0.1, 'l2': 1e-4}
    elif args.model == 'dice':
        arguments['bound'] = (args.channels / 2) ** -0.5  # Each half is a table.
    if args.model == 'cause':
        arguments['channels'] = args.channels // 2  # There are two tables of items.
    size = train.num_users, train.num_items
    if args.backbone == 'lightgcn':
        adjacency = train.adjacency(self_loops=args.official)
        arguments |= {'num_layers': args.layers, 'dropout': 0.2 * args.official}
        backbone = LightGCN(*size, *adjacency, **arguments)
    else:
        backbone = MF(*size, **arguments)
    kind, _, suffix = args.model.partition('-')
    if kind == 'dice':
        return DICE(backbone, train.popularity, args.alpha, args.beta, args.discrepancy)
    if kind == 'ips':
        return IPS(backbone, train.item_degree, suffix or 'plain')
    if kind == 'cause':
        return CausE(backbone)
    if kind == 'bias':
        return Biased(backbone, user='u' in suffix, item='i' in suffix)
    return backbone


def make_sampler(args):
    if args.negatives == 'uniform':
        return UniformNegativeSampler(args.num_negatives, exclude='seen', resample=True)
    if args.negatives == 'popularity':
        return PopularityNegativeSampler(args.num_negatives)
    exclude = 'part' if args.official else 'seen'
    return PopularityMarginSampler(args.num_negatives, args.margin, exclude=exclude)


def main(**defaults):
    args = parse_arguments(**defaults)
    train, valid, test = load(args)
    print(f'{args.dataset}: {train}')
    if valid is not None:
        print(InterventionSplit(train, valid, test).report().round(2).to_string())

    torch.manual_seed(args.seed)
    model = make_model(args, train)
    plain_adam = {
        'betas': (0.9, 0.999),
        'amsgrad': False,
        'weight_decay': 0.0,
        'schedule': None,
    }
    module = BipartiteModule(
        model,
        train,
        valid,
        negatives=make_sampler(args),
        batch_size=args.batch_size,
        curriculum=Curriculum(args.decay, args.decay_every),
        learning_rate=args.learning_rate,
        seed=args.seed,
        **(plain_adam if args.dataset == 'gowalla' else {}),
    )
    names = args.dataset, args.backbone, args.model, args.seed
    _, result = fit_by_flags(module, args, *names)

    evaluations = {
        'popularity': evaluate_catalogue(Popularity.fit(train), test, train),
        args.model: evaluate_catalogue(result.model, test, train),
    }
    for factor in result.model.factor_columns:
        evaluations[factor] = evaluate_catalogue(result.model, test, train, part=factor)
    overlap = {
        name: popularity_overlap(result.model, train, 50, factor)
        for name, factor in (
            ('model', None),
            *((f, f) for f in result.model.factor_columns),
        )
    }
    print_metrics('test', evaluations)
    print('\nOverlap of the top 50 with the 50 most popular items')
    print('  '.join(f'{name} {value:.3f}' for name, value in overlap.items()))
    print(
        f'\nBest epoch {result.best_epoch + 1} of {len(result.history)}, '
        f'{result.seconds_per_epoch:.1f} s an epoch.'
    )
    if args.json is None:
        return
    chosen = evaluations[args.model]
    content = {
        'test': chosen.metrics,
        'test_all_users': chosen.over_all_lists,
        'test_users': {  # In the order of the users, for paired comparisons.
            'recall@20': chosen.per_list['recall@20'].dropna().round(5).tolist()
        }
        if args.dataset != 'gowalla'  # Of which there are many.
        else {},
        'test_factors': {
            factor: evaluations[factor].over_all_lists
            for factor in result.model.factor_columns
        },
        'iou@50': {
            name: overlap.get(name) for name in ('model', 'interest', 'conformity')
        },
        'baselines': {'popularity': evaluations['popularity'].over_all_lists},
    }
    write_json(args.json, record(args, module.settings, result) | content)


if __name__ == '__main__':
    main()
