"""Trains IEDR or a peer, evaluates it on candidate lists, and saves it.

requires: pip install "iedr_geo[train]"

python benchmarks/iedr.py                                   # planted data, about a minute
python benchmarks/iedr.py --dataset frappe --root FOLDER    # Frappe
python benchmarks/iedr.py --dataset frappe --preset best    # what ranks best on it
python benchmarks/iedr.py --dataset ml-100k --preset best   # or ml-latest-small
python benchmarks/iedr.py --dataset frappe --preset best --model deepfm     # a peer
"""

import argparse
import inspect
import os.path as osp

import torch
from peers import PEERS, tuned_ease
from records import parse, write_json
from training_run import add_run_flags, fit_by_flags, print_metrics, record, run_folder

from iedr_geo.data import UniformNegativeSampler
from iedr_geo.datasets import Frappe, MovieLens100K, MovieLensLatestSmall, PlantedFactors
from iedr_geo.evaluation import DEFAULT_METRICS, compare, evaluate_candidates
from iedr_geo.metrics import ListAUC
from iedr_geo.nn import (
    IEDR,
    IEDR_VARIANTS,
    BCEObjective,
    BPRObjective,
    ContextPopularity,
    Popularity,
    Repeat,
    SoftmaxObjective,
)
from iedr_geo.recommend import Recommender
from iedr_geo.training import CosineRate, InteractionModule

DATASETS = {
    'frappe': Frappe,
    'ml-100k': MovieLens100K,
    'ml-latest-small': MovieLensLatestSmall,
}
OBJECTIVES = {'bce': BCEObjective, 'softmax': SoftmaxObjective, 'bpr': BPRObjective}

# By dataset and preset: what a flag is if it is not given, and arguments of the model.
# paper: Section 7.1.3. The others were chosen on validation lists: planted for a good
# ranking within a minute or so, best for the best ranking of Frappe, and of MovieLens
# within some minutes.
PAPER = {
    'epochs': 200,
    'decay_epochs': None,
    'batch_size': 1024,
    'negatives': 2,
    'resample': False,
    'exclude': 'context',
    'group_negatives': False,
    'learning_rate': 1e-3,
    'weight_decay': 1e-5,
}
BEST = {
    'epochs': 12,
    'decay_epochs': 12,
    'batch_size': 2048,
    'negatives': 5,
    'resample': True,
    'exclude': 'positive',
    'group_negatives': True,
    'learning_rate': 3e-3,
    'weight_decay': 0.0,
}
SHORT = BEST | {
    'epochs': 5,
    'decay_epochs': 5,
    'batch_size': 1024,
    'negatives': 2,
    'learning_rate': 6e-3,
}
DEFAULTS = {
    ('frappe', 'paper'): PAPER,
    ('frappe', 'best'): BEST,
    ('ml-100k', 'paper'): PAPER,
    ('ml-100k', 'best'): SHORT,
    ('ml-latest-small', 'paper'): PAPER,
    ('ml-latest-small', 'best'): SHORT,
    ('planted', 'paper'): PAPER
    | {
        'epochs': 12,
        'batch_size': 512,
        'negatives': 4,
        'resample': True,
        'exclude': 'positive',
        'learning_rate': 3e-3,
    },
}
RESIDUAL = {'generator': 'residual', 'num_negatives': 5, 'contrastive_weight': 0.01}
MODELS = {
    ('frappe', 'paper'): {},
    ('frappe', 'best'): RESIDUAL | {'channels': 64},
    ('ml-100k', 'paper'): {},
    ('ml-100k', 'best'): RESIDUAL,
    ('ml-latest-small', 'paper'): {},
    ('ml-latest-small', 'best'): RESIDUAL,
    ('planted', 'paper'): {'num_negatives': 8, 'contrastive_weight': 0.01},
}
CLASSES = {'iedr': IEDR, **PEERS}
ARGUMENTS = {
    'contrastive_weight': float,
    'disentangling_weight': float,
    'channels': int,
    'hidden_channels': int,
    'num_layers': int,
}

parser = argparse.ArgumentParser(
    description=__doc__.splitlines()[0],
    formatter_class=argparse.ArgumentDefaultsHelpFormatter,
)
parser.add_argument('--dataset', choices=['planted', *DATASETS], default='planted')
parser.add_argument('--root', help='folder with the raw files (default: download)')
parser.add_argument('--preset', choices=['paper', 'best'], default='paper')
parser.add_argument('--model', choices=CLASSES, default='iedr')
parser.add_argument('--variant', choices=IEDR_VARIANTS, help='of IEDR: IEDR')
for name, kind in ARGUMENTS.items():
    parser.add_argument(f'--{name}', type=kind, help="of the model: the preset's or its")
parser.add_argument('--objective', choices=OBJECTIVES, help='of the prediction: bce')
parser.add_argument(
    '--over', choices=['negatives', 'batch'], help="an objective's candidates: negatives"
)
parser.add_argument('--epochs', type=int, help='at most (early stopping)')
parser.add_argument('--patience', type=int, default=10)
parser.add_argument('--batch_size', type=int)
parser.add_argument('--negatives', type=int, help='for each positive row')
parser.add_argument(
    '--resample',
    action=argparse.BooleanOptionalAction,
    help='new negatives in each epoch',
)
parser.add_argument(
    '--exclude', choices=UniformNegativeSampler.excludes, help='what is no negative'
)
parser.add_argument('--learning_rate', type=float)
parser.add_argument(
    '--decay_epochs', type=int, help='until the learning rate is zero (a cosine)'
)
parser.add_argument('--weight_decay', type=float)
parser.add_argument(
    '--group_negatives',
    action=argparse.BooleanOptionalAction,
    help='a positive and its negatives in one batch',
)
add_run_flags(parser)
parser.add_argument('--devices', type=int, default=1, help='how many')
parser.add_argument('--precision', default='32-true', help='as in Lightning')
args = parse(parser)
choice = args.dataset, args.preset
if choice not in DEFAULTS:
    parser.error(f'There is no preset {args.preset!r} for {args.dataset}')
if args.model == 'iedr':
    args.variant = args.variant or 'IEDR'
elif args.variant is not None:
    parser.error(f'--variant is of IEDR, not of {args.model}')
arguments = {n: getattr(args, n) for n in ARGUMENTS if getattr(args, n) is not None}
for name in arguments.keys() - inspect.signature(CLASSES[args.model]).parameters:
    parser.error(f'{args.model} has no --{name}')
for name, default in DEFAULTS[choice].items():
    # EASE has no epochs, batches or negatives.
    if getattr(args, name) is None and args.model != 'ease':
        setattr(args, name, default)

if args.dataset == 'planted':
    dataset = PlantedFactors()
else:
    dataset = DATASETS[args.dataset](args.root)
train, valid, test, order = dataset.split()
print(f'{dataset}: {len(train)} training rows, split by order of {order}')

torch.manual_seed(args.seed)
valid_lists = dataset.candidates('valid')
over_batch = args.over == 'batch'
label = args.variant or args.model
names = *choice, label, args.objective, args.over, args.seed
if args.model == 'ease':
    run = run_folder(args, *names)
    settings, result = tuned_ease(train, valid, valid_lists)
else:
    if args.model == 'iedr':
        arguments = MODELS[choice] | IEDR_VARIANTS[args.variant] | arguments
        model = IEDR(dataset.schema.num_embeddings, **arguments)
    else:
        model = PEERS[args.model](train, **arguments)
    module = InteractionModule(
        model,
        train,
        valid,
        valid_lists,
        objective=OBJECTIVES[args.objective or 'bce'](args.over or 'negatives'),
        negatives=None
        if over_batch
        else UniformNegativeSampler(args.negatives, args.exclude, args.resample),
        batch_size=args.batch_size,
        group_negatives=args.group_negatives and not over_batch,
        learning_rate=args.learning_rate,
        schedule=None if args.decay_epochs is None else CosineRate(args.decay_epochs),
        weight_decay=args.weight_decay,
        estimator_first=args.variant != 'released',
        estimator_steps=5 if args.variant == 'released' else 1,
        seed=args.seed,
    )
    run, result = fit_by_flags(
        module, args, *names, devices=args.devices, precision=args.precision
    )
    settings = module.settings
Recommender(result.model, dataset).save(run / 'model')


def oracle(batch):
    return sum(dataset.true_scores(batch.user_id, batch.item_id, batch.context_id))


models = {
    'popularity': Popularity.fit(train),
    'in context': ContextPopularity.fit(train),
    'repeat': Repeat.fit(train),
    label: result.model,
}
if args.dataset == 'planted':
    models['oracle'] = oracle
lists = dataset.candidates('test')
metrics = *DEFAULT_METRICS, ListAUC()
evaluations = {
    name: evaluate_candidates(each, test, lists, metrics) for name, each in models.items()
}

print_metrics(evaluations, ListAUC.label)
print(f'\nNDCG@10 of {len(lists)} lists, 95 % intervals, difference from {label}')
table = compare(evaluations, label).loc['ndcg@10'].drop(columns='p')
print(table.rename_axis(None).to_string(float_format='{:.4f}'.format, na_rep=''))
print(
    f'\nBest epoch {result.best_epoch + 1} of {len(result.history)}, '
    f'{result.seconds_per_epoch:.1f} s an epoch. Model: {osp.relpath(run)}/model'
)


def values(evaluation):  # In the order of the lists, for paired comparisons.
    return {'ndcg@10': evaluation.per_list['ndcg@10'].round(6).tolist()}


if args.json is not None:
    of_valid = evaluate_candidates(result.model, valid, valid_lists, metrics)
    of_test = evaluations.pop(label)
    content = {
        'valid': of_valid.metrics,
        'test': of_test.metrics,
        'valid_lists': values(of_valid),
        'test_lists': values(of_test),
        'baselines': {name: each.metrics for name, each in evaluations.items()},
    }
    write_json(args.json, record(args, settings, result) | content)
