"""Trains IEDR or a peer, evaluates it on candidate lists, and saves it.

requires: pip install "iedr_geo[train]"

python benchmarks/iedr.py                                  # planted data, about a minute
python benchmarks/iedr.py --preset paper                   # what the paper has
python benchmarks/iedr.py --dataset frappe --root FOLDER   # or ml-100k, depaul, sts
python benchmarks/iedr.py --dataset frappe --model deepfm  # a peer
"""

import argparse
import inspect
import os.path as osp

import torch
from iedr_presets import ARGUMENTS, DATASETS, DEFAULTS, VARIANT
from peers import PEERS, tuned_ease
from records import parse, write_json
from training_run import add_run_flags, fit_by_flags, print_metrics, record, run_folder

from iedr_geo.data import UniformNegativeSampler
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

OBJECTIVES = {'bce': BCEObjective, 'softmax': SoftmaxObjective, 'bpr': BPRObjective}

CLASSES = {'iedr': IEDR, **PEERS}
FLAGS = {
    'encoder': str,
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
parser.add_argument('--dataset', choices=DATASETS, default='planted')
parser.add_argument('--root', help='folder with the raw files (default: download)')
parser.add_argument('--preset', choices=DEFAULTS, default='best')
parser.add_argument('--model', choices=CLASSES, default='iedr')
parser.add_argument('--variant', choices=IEDR_VARIANTS, help="of IEDR: the preset's")
for name, kind in FLAGS.items():
    parser.add_argument(f'--{name}', type=kind, help="of the model: the preset's or its")
parser.add_argument('--objective', choices=OBJECTIVES, help='of the prediction')
parser.add_argument('--bce_weight', type=float, help='of BCE beside a softmax')
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
parser.add_argument(
    '--valid_only', action='store_true', help='leave the test part unread, to choose'
)
add_run_flags(parser)
parser.add_argument('--devices', type=int, default=1, help='how many')
parser.add_argument('--precision', default='32-true', help='as in Lightning')
args = parse(parser)
if args.model == 'iedr':
    args.variant = args.variant or VARIANT[args.preset]
elif args.variant is not None:
    parser.error(f'--variant is of IEDR, not of {args.model}')
label = args.variant or args.model
names = args.dataset, args.preset, label, args.objective, args.over, args.seed
arguments = {n: getattr(args, n) for n in FLAGS if getattr(args, n) is not None}
for name in arguments.keys() - inspect.signature(CLASSES[args.model]).parameters:
    parser.error(f'{args.model} has no --{name}')
for name, default in DEFAULTS[args.preset][args.dataset].items():
    # EASE has no epochs, batches or negatives.
    if getattr(args, name) is None and args.model != 'ease':
        setattr(args, name, default)

dataset = DATASETS[args.dataset](args.root)
train, valid, test, order = dataset.split()
print(f'{dataset}: {len(train)} training rows, split by order of {order}')

torch.manual_seed(args.seed)
valid_lists = dataset.candidates('valid')
over_batch = args.over == 'batch'
if args.model == 'ease':
    run = run_folder(args, *names)
    settings, result = tuned_ease(train, valid, valid_lists)
else:
    if args.model == 'iedr':
        arguments = (
            ARGUMENTS[args.preset][args.dataset] | IEDR_VARIANTS[args.variant] | arguments
        )
        model = IEDR(dataset.schema.num_embeddings, **arguments)
    else:
        model = PEERS[args.model](train, **arguments)
    over = args.over or 'negatives'
    if args.objective == 'softmax':
        objective = SoftmaxObjective(over, bce_weight=args.bce_weight)
    else:
        objective = OBJECTIVES[args.objective](over)
    module = InteractionModule(
        model,
        train,
        valid,
        valid_lists,
        objective=objective,
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
if hasattr(dataset, 'true_scores'):
    models['oracle'] = oracle
metrics = *DEFAULT_METRICS, ListAUC()
part, rows = ('valid', valid) if args.valid_only else ('test', test)
lists = dataset.candidates(part)
evaluations = {
    name: evaluate_candidates(each, rows, lists, metrics) for name, each in models.items()
}

print_metrics(part, evaluations, ListAUC.label)
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
    mine = {part: evaluations.pop(label)}
    if not args.valid_only:
        mine['valid'] = evaluate_candidates(result.model, valid, valid_lists, metrics)
    content = {name: each.metrics for name, each in mine.items()}
    content |= {f'{name}_lists': values(each) for name, each in mine.items()}
    content['baselines'] = {name: each.metrics for name, each in evaluations.items()}
    write_json(args.json, record(args, settings, result) | content)
