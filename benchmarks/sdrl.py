"""Trains SDRL on ratings and the categories of items: what each of its blocks knows.

requires: pip install "iedr_geo[train]"

python benchmarks/sdrl.py                               # planted categories
python benchmarks/sdrl.py --label_mask                  # those of tested items withheld
python benchmarks/sdrl.py --variant whole               # one block, no categories
python benchmarks/sdrl.py --dataset ml-latest-small --root FOLDER --model ease

A fifth of the ratings is to be found. `test` leaves out of the rankings what a user has
rated in training; `test_unmasked` ranks it, too, as the paper must have: there, a model
that knows well what users have rated finds that again in the place of what is to be
found. Of F1, a user's value is that of the user's own precision and recall.
"""

import argparse
import time
from dataclasses import replace

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from peers import ease
from peers.network_embedding import netmf, prone
from records import parse, write_json
from training_run import add_run_flags, fit_by_flags, record

from iedr_geo.analysis import class_probe, label_classification, value_probe
from iedr_geo.data import BipartiteGraph
from iedr_geo.datasets import MovieLens1M, MovieLensLatestSmall, PlantedConcepts
from iedr_geo.evaluation import evaluate_catalogue
from iedr_geo.metrics import F1, NDCG, Precision, Recall
from iedr_geo.nn import SDRL, SDRL_VARIANTS, MacridVAE, MultVAE, Popularity
from iedr_geo.training import BipartiteModule, TrainingResult

DATASETS = 'planted', 'ml-latest-small', 'ml-1m'
TRAINED = 'sdrl', 'multvae', 'macridvae'
MODELS = *TRAINED, 'ease', 'popularity', 'netmf', 'prone'
OF_SDRL = 'variant', 'label_mask', 'internal_weight', 'external_weight'
TRAINING = {'epochs': 200, 'learning_rate': 1e-3}
# SDRL takes all users at once, as in its paper, unless they and items have more cells.
FULL_BATCH, LARGE_BATCH = 10_000_000, 2048
# Of the planted data: where users follow categories more, the external block has to know
# them, too, as nothing but the ratings is asked of it.
SIZES = {'num_users': 600, 'num_items': 200, 'num_interactions': 18_000}
CONCEPT_WEIGHT = 0.1
METRICS = [metric(k) for metric in (F1, NDCG, Precision, Recall) for k in (5, 10, 15)]
OF_EACH_USER = 'f1@10', 'ndcg@10'
L2 = (10.0, 30.0, 100.0, 300.0, 1000.0, 3000.0)
MIN_RATINGS = 20


def parse_arguments():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--dataset', choices=DATASETS, default='planted')
    parser.add_argument('--root', help='folder with the raw files (default: download)')
    parser.add_argument('--model', choices=MODELS, default='sdrl')
    parser.add_argument('--variant', choices=SDRL_VARIANTS, help='of SDRL: SDRL')
    parser.add_argument(
        '--label_mask',
        action='store_true',
        help='withhold the categories of the items whose classification is tested',
    )
    parser.add_argument('--split_seed', type=int, default=0)
    parser.add_argument(
        '--single_pass',
        action='store_true',
        help='of MovieLens: count ratings before any is left out, not until all have '
        f'{MIN_RATINGS}',
    )
    parser.add_argument(
        '--concept_weight',
        type=float,
        help=f'of planted: how much users keep to categories ({CONCEPT_WEIGHT})',
    )
    parser.add_argument('--internal_weight', type=float, help='of SDRL: 1')
    parser.add_argument('--external_weight', type=float, help='of SDRL: 1')
    parser.add_argument('--epochs', type=int, help='default: 200')
    parser.add_argument('--learning_rate', type=float, help='default: 0.001')
    parser.add_argument(
        '--batch_size',
        type=int,
        help=f'users (default: 350; of SDRL all, or {LARGE_BATCH} of large data)',
    )
    add_run_flags(parser)
    args = parse(parser)
    for flag in OF_SDRL:
        if getattr(args, flag) and args.model != 'sdrl':
            parser.error(f'{args.model} has no --{flag}')
    for name in ('epochs', 'learning_rate', 'batch_size'):
        if args.model not in TRAINED and getattr(args, name) is not None:
            parser.error(f'{args.model} has no --{name}')
        if args.model in TRAINED and getattr(args, name) is None:
            setattr(args, name, TRAINING.get(name))
    if args.model == 'sdrl':
        args.variant = args.variant or 'SDRL'
        internal = 'internal' in SDRL_VARIANTS[args.variant].get('blocks', ['internal'])
        if args.label_mask and not internal:
            parser.error(f'--label_mask: {args.variant} sees no categories')
        if internal and args.dataset == 'ml-1m':
            parser.error(
                f'{args.variant} has an internal block, and the ratings of ml-1m come '
                f'without categories: pass --variant ext+oth or whole'
            )
    if args.dataset == 'planted':
        if args.single_pass:
            parser.error('planted has no --single_pass')
        if args.concept_weight is None:
            args.concept_weight = CONCEPT_WEIGHT
    elif args.concept_weight is not None:
        parser.error(f'{args.dataset} has no --concept_weight')
    args.patience = args.epochs  # There is no validation part: the last epoch counts.
    return args


def planted(args):
    """Returns the planted data, and their graph with ratings by the true score."""
    weight = args.concept_weight
    data = PlantedConcepts(**SIZES, concept_weight=weight, shared_preferences=True)
    graph = data.graph
    score = sum(data.true_scores(graph.user, graph.item)).numpy()
    noise = np.random.default_rng(data.seed).normal(size=len(score))
    score = score + 0.5 * score.std() * noise
    fifths = np.quantile(score, [0.2, 0.4, 0.6, 0.8])
    rating = torch.from_numpy(1 + np.searchsorted(fifths, score)).float()
    labels = F.one_hot(torch.from_numpy(data.concept)).bool()
    return data, replace(graph, value=rating, item_labels=labels)


def movielens(args):
    """Returns the graph of ratings."""
    if args.dataset == 'ml-1m':
        data = MovieLens1M(args.root)[0]
        edges = data['user', 'rates', 'movie']
        size = data['user'].num_nodes, data['movie'].num_nodes
        value = edges.rating.float()
        graph = BipartiteGraph(*edges.edge_index, *size, value=value)
    else:
        graph = MovieLensLatestSmall(args.root).graph()
    if args.single_pass:
        kept = (
            (degree >= MIN_RATINGS).nonzero().view(-1)
            for degree in (graph.user_degree, graph.item_degree)
        )
        return graph.among(*kept)
    return graph.core(MIN_RATINGS, repeat=True)


def divide(graph, share, seed):
    """Returns the graphs of most edges and of a share of them, both with the popularity
    of the former.
    """
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(graph.num_edges, generator=generator)
    first = graph.subgraph(order[round(share * graph.num_edges) :])
    graph = replace(graph, popularity=first.item_degree)
    last = graph.subgraph(order[: round(share * graph.num_edges)])
    return replace(first, popularity=first.item_degree), last


def known_labels(graph, seed):
    """Returns which items have their categories known, to those that classify them."""
    if graph.item_labels is None:
        return None
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(graph.num_items, generator=generator)
    return order >= round(0.2 * graph.num_items)


def make_model(args, train, known):
    if args.model == 'sdrl':
        weights = ('internal_weight', 'external_weight')
        given = {n: getattr(args, n) for n in weights if getattr(args, n) is not None}
        return SDRL(
            train.num_users,
            train.num_items,
            train.edge_index,
            train.value / 5,
            train.item_labels,
            known if args.label_mask else None,
            **SDRL_VARIANTS[args.variant],
            **given,
        )
    if args.model == 'macridvae':
        return MacridVAE(train.num_items)
    return MultVAE(train.num_items, channels=100, hidden=100)


def trained(args, train, known):
    """Returns settings and result of a model that is trained."""
    torch.manual_seed(args.seed)
    if args.batch_size is None:
        args.batch_size = 350
        if args.model == 'sdrl':
            large = train.num_users * train.num_items > FULL_BATCH
            args.batch_size = LARGE_BATCH if large else train.num_users
    module = BipartiteModule(
        make_model(args, train, known),
        train,
        batch_size=args.batch_size,
        learning_rate=args.learning_rate,
        seed=args.seed,
    )
    names = args.dataset, args.split_seed, args.model, args.variant, args.seed
    _, result = fit_by_flags(module, args, *names)
    return module.settings, result


def made(args, train):
    """Returns settings and result of a model that has a closed form.

    A tenth of the training ratings chooses the regularisation of EASE, which then is
    made of all of them.
    """
    start = time.perf_counter()
    if args.model == 'ease':
        first, held_out = divide(train, 0.1, args.split_seed)
        settings, tried = ease.tuned(
            lambda l2: ease.EASE(first, l2),
            lambda model: evaluate_catalogue(
                model, held_out, first, METRICS, progress=False
            ),
            L2,
            'ndcg@10',
        )
        l2 = settings['arguments']['l2']
        return settings, replace(tried, model=ease.EASE(train, l2))
    if args.model == 'popularity':
        model = Popularity.fit(train)
    else:
        model = netmf(train) if args.model == 'netmf' else prone(train)
    seconds, device = time.perf_counter() - start, train.device
    return {'model': args.model}, TrainingResult(model, [{}], 0, seconds, device)


def ranked(model, train, test):
    """Returns the metrics of each user with something to be found."""
    seen = train if test.exclude_seen else None
    found = evaluate_catalogue(model, test, seen, METRICS, history=train, progress=False)
    return found.per_list.drop(columns='user').dropna()


def item_vectors(model):
    """Returns the vectors of all items by the name of the block, and whole."""
    with torch.no_grad():
        if hasattr(model, 'item'):
            return {'whole': model.item.weight.detach()}
        if not hasattr(model, 'embeddings'):
            return {}
        vectors = model.embeddings()[1].cpu()
    columns = {n: c for n, c in model.factor_columns.items() if n != 'bias'}
    if not columns:
        return {'whole': vectors}
    whole = vectors[:, : sum(model.blocks.values())]
    return {name: vectors[:, own] for name, own in columns.items()} | {'whole': whole}


def read_planted(data, vectors, known):
    """Returns what a linear model reads of the planted category and of the rest.

    Of categories, it is read on the items whose labels were withheld, if any were.
    """
    category = torch.from_numpy(data.concept)
    tested = slice(None) if known is None else ~known
    found = {}
    for name, vector in vectors.items():
        probe = class_probe(vector[tested], category[tested])
        found[name] = {'category': probe.value, 'chance': probe.chance}
        for number, attribute in enumerate(data.attributes.T, 1):
            target = torch.from_numpy(attribute)
            value = value_probe(vector, target, num_shuffles=1).value
            found[name][f'attribute {number}'] = value
    return found


def main():
    args = parse_arguments()
    data, graph = planted(args) if args.dataset == 'planted' else (None, movielens(args))
    train, test = divide(graph, 0.2, args.split_seed)
    print(f'{args.dataset}: {train}')
    known = known_labels(graph, args.split_seed)
    if args.model in TRAINED:
        settings, result = trained(args, train, known)
    else:
        settings, result = made(args, train)
    model = result.model.cpu()
    content = record(args, settings, result)
    size = graph.num_users, graph.num_items, graph.num_edges
    content['data'] = dict(zip(('users', 'items', 'edges'), size, strict=True))
    masked = ranked(model, train, test)
    unmasked = ranked(model, train, replace(test, exclude_seen=False))
    frame = pd.DataFrame({'test': masked.mean(), 'test_unmasked': unmasked.mean()})
    print(frame.round(4).to_string())
    content |= frame.to_dict()
    content['test_users'] = {  # In the order of the users, for paired comparisons.
        name: masked[name].round(5).tolist() for name in OF_EACH_USER
    }
    vectors = item_vectors(model)
    content['classification'] = {
        name: label_classification(vector, graph.item_labels, known)._asdict()
        for name, vector in vectors.items()
        if known is not None
    }
    if data is not None:
        withheld = known if args.label_mask else None
        content['planted'] = read_planted(data, vectors, withheld)
    for name in ('classification', 'planted'):
        if content.get(name):
            found = pd.DataFrame(content[name]).T
            print(f'\n{name}\n{found.round(3).to_string()}')
    if args.model in TRAINED:
        print(f'\n{len(result.history)} epochs, {result.seconds_per_epoch:.2f} s each.')
    if args.json is not None:
        write_json(args.json, content)


if __name__ == '__main__':
    main()
