"""Trains MacridVAE on planted concepts, and says what altering one dimension alters.

requires: pip install "iedr_geo[train]"

Within a concept that was found, the dimension most correlated with a planted attribute is
taken for it. The lists of `Recommender.control` along it are to change this attribute
from one end to the other, and neither another one nor the planted concept. Beside them
are random lists of as many items of the same concept, in random order.

The prototypes begin near each other: in few dimensions items are of one concept or
another at once where they are far apart, and stay there.

python benchmarks/concept_control.py --json FILE
"""

import argparse
import tempfile

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from records import parse, write_json
from scipy.stats import rankdata

from iedr_geo.analysis import concept_agreement, independence
from iedr_geo.datasets import PlantedConcepts
from iedr_geo.nn import MacridVAE
from iedr_geo.recommend import Recommender
from iedr_geo.training import BipartiteModule, fit

parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
)
parser.add_argument('--seeds', type=int, nargs='+', default=[0, 1, 2])
parser.add_argument('--channels', type=int, default=8)
parser.add_argument('--beta', type=float, default=1.0)
parser.add_argument('--sigma', type=float, default=0.3)
parser.add_argument('--epochs', type=int, default=150)
parser.add_argument('--learning_rate', type=float, default=0.01)
parser.add_argument('--apart', type=float, default=0.1, help='prototypes at the start')
parser.add_argument('--steps', type=int, default=5, help='items of a list')
parser.add_argument('--gamma', type=float, default=1.0, help='see Recommender.control')
parser.add_argument('--lists', type=int, default=200, help='for each attribute')
args = parse(parser)
MIN_ITEMS = 4 * args.steps  # Of a concept whose dimensions are looked at.


def train(data, seed):
    """Returns the model of a seed."""
    graph = data.graph
    torch.manual_seed(seed)
    model = MacridVAE(
        graph.num_items,
        int(data.concept.max()) + 1,
        args.channels,
        beta=args.beta,
        sigma=args.sigma,
    )
    with torch.no_grad():
        first, *_ = F.normalize(model.prototype, dim=1)
        noise = F.normalize(torch.randn_like(model.prototype), dim=1)
        model.prototype.copy_(first + args.apart * noise)
    module = BipartiteModule(
        model, graph, learning_rate=args.learning_rate, seed=seed, batch_size=350
    )
    with tempfile.TemporaryDirectory() as folder:
        kwargs = {'max_epochs': args.epochs, 'accelerator': 'cpu', 'progress': False}
        return fit(module, folder, **kwargs).model


def following(vectors, attributes):
    """Returns the dimension most correlated with each attribute, and how far."""
    size = vectors.shape[1]
    correlation = np.corrcoef(vectors.T, attributes.T)[:size, size:]
    dimension = np.abs(correlation).argmax(axis=0)
    return dimension, correlation[dimension, np.arange(len(dimension))]


def read(items, attribute, sign, data):
    """Returns what there is to say of a list, whose attribute is to rise by a sign."""
    values = sign * data.attributes[items, attribute]
    others = np.delete(data.attributes[items], attribute, axis=1)
    counts = np.bincount(data.concept[items])
    return {
        'rank correlation': np.corrcoef(rankdata(values), np.arange(len(items)))[0, 1],
        'change of the attribute': values[-1] - values[0],
        'change of others': np.abs(others[-1] - others[0]).mean(),
        'spread of the attribute': values.std(),
        'spread of others': others.std(axis=0).mean(),
        'of one concept': counts.max() / len(items),
    }


def control(model, data, seed):
    """Returns what lists are like, and how well dimensions follow attributes."""
    recommender = Recommender(model, data.graph)
    vectors = recommender.embeddings('item')['vector'].to_numpy()
    nearest = recommender.scorer.concepts().nearest.numpy()
    rng, rows, found = np.random.default_rng(seed), [], {}
    for concept in np.unique(nearest):
        items = (nearest == concept).nonzero()[0]
        if len(items) >= MIN_ITEMS:
            found[concept] = following(vectors[items], data.attributes[items])
    starts = np.isin(nearest, list(found)).nonzero()[0]
    for start in rng.permutation(starts)[: args.lists]:
        same = (nearest == nearest[start]).nonzero()[0]
        for attribute, dimension in enumerate(found[nearest[start]][0]):
            sign = np.sign(found[nearest[start]][1][attribute])
            table = recommender.control(
                start, int(dimension), args.steps, gamma=args.gamma
            )
            chosen = table['item'].to_numpy()
            if len(chosen) < 3:
                continue
            lists = {
                'controlled': chosen,
                'random': rng.choice(same, len(chosen), replace=False),
            }
            for kind, each in lists.items():
                values = read(each, attribute, sign, data)
                rows.append({'list': kind, 'attribute': attribute, **values})
    table = pd.DataFrame(rows).groupby(['attribute', 'list']).mean()
    correlation = np.abs([signed for _, signed in found.values()]).mean(axis=0)
    agreement = concept_agreement(
        torch.from_numpy(nearest), torch.from_numpy(data.concept)
    )
    return table, {
        'nmi': agreement.nmi,
        'largest': agreement.largest,
        'correlation of the best dimension': correlation.round(4).tolist(),
        'independence of items': independence(torch.from_numpy(vectors)),
        'lists': len(rows) // 2,
    }


seeds = {}
for seed in args.seeds:
    data = PlantedConcepts(seed=seed)
    table, values = control(train(data, seed), data, seed)
    print(f'seed {seed}: {values}\n{table.round(3).to_string()}', flush=True)
    values['attributes'] = [
        part.droplevel(0).round(4).to_dict('index') for _, part in table.groupby(level=0)
    ]
    seeds[str(seed)] = values
if args.json is not None:
    settings = {k: v for k, v in vars(args).items() if k not in ('json', 'seeds')}
    write_json(args.json, {'settings': settings, 'seeds': seeds})
