"""Trains SDRL on ratings and on the categories of what was rated.

requires: pip install "iedr_geo[train]"

python benchmarks/sdrl.py                               # planted categories
python benchmarks/sdrl.py --variant int+ext             # a variant of the paper
python benchmarks/sdrl.py --dataset ml-latest-small --root FOLDER --label_mask

A fifth of the ratings is to be found. `test` leaves the training items out of the
rankings; `test_unmasked` ranks them, too: the numbers of the paper are consistent with
that alone, and a model loses there by knowing its training items well.

`classification` predicts the categories of a fifth of the items from their vectors. As
in the paper, the model has seen these categories, unless --label_mask withholds them.
"""

import argparse
import warnings
from dataclasses import replace

import torch
from peers import ease
from records import parse, write_json
from training_run import add_run_flags, fit_by_flags, print_metrics, record

from iedr_geo.analysis import label_classification
from iedr_geo.datasets import MovieLensLatestSmall, PlantedClicks
from iedr_geo.evaluation import evaluate_catalogue
from iedr_geo.metrics import F1, NDCG, Precision, Recall
from iedr_geo.nn import SDRL, SDRL_VARIANTS, Popularity
from iedr_geo.training import BipartiteModule

METRICS = [metric(k) for metric in (F1, NDCG, Precision, Recall) for k in (5, 10, 15)]
PAIRED = ['f1@10', 'ndcg@10']
NUM_CATEGORIES, MIN_RATINGS, HELD_OUT = 5, 20, 0.2


def parse_arguments():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        '--dataset', choices=('planted', 'ml-latest-small'), default='planted'
    )
    parser.add_argument('--root', help='folder with the raw files (default: download)')
    parser.add_argument('--variant', choices=SDRL_VARIANTS, default='SDRL')
    parser.add_argument(
        '--label_mask', action='store_true', help='withhold the categories to be found'
    )
    parser.add_argument(
        '--single_pass', action='store_true', help='count ratings before any is left out'
    )
    parser.add_argument('--split_seed', type=int, default=0)
    parser.add_argument('--epochs', type=int, default=200)
    parser.add_argument('--learning_rate', type=float, default=1e-3)
    parser.add_argument('--internal_weight', type=float, default=1.0)
    parser.add_argument('--external_weight', type=float, default=1.0)
    parser.add_argument('--l2', type=float, default=300.0, help='of EASE')
    add_run_flags(parser)
    args = parse(parser)
    args.patience = args.epochs
    return args


def load(args):
    """Returns users and items with enough ratings, and these scaled to 1."""
    if args.dataset == 'planted':
        graph = PlantedClicks(num_categories=NUM_CATEGORIES).graph
        return replace(graph, value=torch.ones(graph.num_edges))
    graph = MovieLensLatestSmall(args.root).graph()
    graph = replace(graph, value=graph.value / 5)
    if not args.single_pass:
        return graph.core(MIN_RATINGS, repeat=True)
    enough = graph.item_degree[graph.item] >= MIN_RATINGS
    enough &= graph.user_degree[graph.user] >= MIN_RATINGS
    return graph.subgraph(enough).core(1)


def split(graph, seed):
    """Returns training and test edges, and the items whose categories are known."""
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(graph.num_edges, generator=generator)
    test, train = order.tensor_split([round(HELD_OUT * graph.num_edges)])
    known = torch.rand(graph.num_items, generator=generator) >= HELD_OUT
    return graph.subgraph(train), graph.subgraph(test), known


def train_model(args, train, known):
    """Returns the settings of training, and its result."""
    model = SDRL(
        train.num_users,
        train.num_items,
        train.edge_index,
        train.value,
        train.item_labels,
        known if args.label_mask else None,
        internal_weight=args.internal_weight,
        external_weight=args.external_weight,
        **SDRL_VARIANTS[args.variant],
    )
    module = BipartiteModule(
        model,
        train,
        batch_size=train.num_users,
        learning_rate=args.learning_rate,
        seed=args.seed,
    )
    mask = 'label_mask' if args.label_mask else None
    names = args.dataset, args.split_seed, f'sdrl-{args.variant}', mask, args.seed
    _, result = fit_by_flags(module, args, *names)
    return module.settings, result


def rank(models, name, train, test):
    """Returns what is found by each model, printed, and the parts of the report."""
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')  # That no pair to be found was seen is known.
        found = {
            each: evaluate_catalogue(model, test, train, METRICS, progress=False)
            for each, model in models.items()
        }
    print_metrics(name, found)
    suffix, content = name.removeprefix('test'), {}
    content[name] = found['sdrl'].metrics
    baselines = {each: one.metrics for each, one in found.items() if each != 'sdrl'}
    content[f'baselines{suffix}'] = baselines
    for each, one in found.items():  # In the order of the users, to be paired.
        values = one.per_list[PAIRED].dropna()
        key = 'users' if each == 'sdrl' else f'users_{each}'
        content[f'{name}_{key}'] = {n: v.round(5).tolist() for n, v in values.items()}
    return content


def classify(model, labels, known):
    """Returns how well each block of the items, and all of them, tell categories."""
    item = model.embeddings()[1].detach()
    columns = {'whole': slice(0, sum(model.blocks.values()))} | {
        name: model.factor_columns[name] for name in model.blocks
    }
    return {
        name: label_classification(item[:, own], labels, known)._asdict()
        for name, own in columns.items()
    }


def main():
    args = parse_arguments()
    parts = train, test, known = split(load(args), args.split_seed)
    print(f'{args.dataset}: {train}')
    torch.manual_seed(args.seed)
    settings, result = train_model(args, train, known)
    model = result.model.cpu()
    content = record(args, settings, result)
    content['data'] = {
        'users': train.num_users,
        'items': train.num_items,
        'edges': train.num_edges + test.num_edges,
    }
    models = {
        'popularity': Popularity.fit(train),
        'ease': ease.EASE(train, args.l2),
        'sdrl': model,
    }
    content |= rank(models, 'test', train, test)
    unmasked = (replace(part, exclude_seen=False) for part in parts[:2])
    content |= rank(models, 'test_unmasked', *unmasked)
    content['classification'] = classify(model, train.item_labels, known)
    print('\nCategories of items')
    for block, values in content['classification'].items():
        print(f'{block:12}', *(f'{name} {value:.3f}' for name, value in values.items()))
    print(f'\n{result.seconds_per_epoch:.2f} s an epoch.')
    if args.json is not None:
        write_json(args.json, content)


if __name__ == '__main__':
    main()
