"""Trains MacridVAE on planted concepts, and says what altering one dimension alters.

requires: pip install "iedr_geo[train]"

Within a concept that was found, the dimension most correlated with a planted attribute is
taken for it. The lists of `Recommender.control` along it are to change this attribute
from one end to the other, and neither another one nor the planted concept. Beside them
are random lists of as many items of the same concept, in random order.

In few dimensions items gather at once around prototypes that are far apart, wherever
these are. The model is therefore trained twice. Its prototypes begin near each other, so
that items are free to gather by who has them; then they are placed at the centres of
clusters of the vectors of items (k-means). No label has a part in it.

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
from sklearn.cluster import KMeans

from iedr_geo.analysis import concept_agreement, independence
from iedr_geo.datasets import PlantedConcepts
from iedr_geo.nn import MacridVAE
from iedr_geo.recommend import Recommender
from iedr_geo.scoring import scorer
from iedr_geo.training import BipartiteModule, fit

parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
)
parser.add_argument('--seeds', type=int, nargs='+', default=[0, 1, 2])
parser.add_argument('--channels', type=int, default=10)
parser.add_argument('--beta', type=float, default=1.0)
parser.add_argument('--sigma', type=float, default=0.3)
parser.add_argument('--epochs', type=int, default=40, help='each time')
parser.add_argument('--learning_rate', type=float, default=0.01)
parser.add_argument('--steps', type=int, default=5, help='items of a list')
parser.add_argument('--gamma', type=float, default=1.0, help='see Recommender.control')
parser.add_argument('--lists', type=int, default=200, help='for each attribute')
args = parse(parser)
APART = 0.1  # Prototypes at the start.
MIN_ITEMS = 4 * args.steps  # Of a concept whose dimensions are looked at.


def vectors_of(model, data):
    """Returns the vectors of items, of length one, and their concepts."""
    concepts = scorer(model, data.graph).concepts()
    return concepts.item.numpy(), concepts.nearest.numpy()


def nmi(concepts, data):
    """Returns how far these are the planted concepts."""
    return concept_agreement(*map(torch.from_numpy, (concepts, data.concept))).nmi


def train(data, seed):
    """Returns the model of a seed, and its agreement with planted concepts on the way."""
    graph = data.graph
    torch.manual_seed(seed)
    arguments = {'channels': args.channels, 'beta': args.beta, 'sigma': args.sigma}
    size = int(data.concept.max()) + 1
    model = MacridVAE(graph.num_items, size, **arguments)
    with torch.no_grad():
        first, *_ = F.normalize(model.prototype, dim=1)
        noise = F.normalize(torch.randn_like(model.prototype), dim=1)
        model.prototype.copy_(first + APART * noise)
    model = train_once(model, graph, seed)
    vectors, nearest = vectors_of(model, data)
    found = {'nmi, trained once': nmi(nearest, data)}
    clusters = KMeans(size, n_init=10, random_state=seed).fit(vectors)
    found['nmi, clusters'] = nmi(clusters.labels_.astype(int), data)
    with torch.no_grad():
        model.prototype.copy_(torch.from_numpy(clusters.cluster_centers_))
    return train_once(model, graph, seed), found


def train_once(model, graph, seed):
    """Trains a model by the epochs of the flags."""
    options = {'learning_rate': args.learning_rate, 'batch_size': 350, 'seed': seed}
    module = BipartiteModule(model, graph, schedule=None, **options)
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
    vectors, nearest = vectors_of(model, data)
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
    return table, {
        'nmi': nmi(nearest, data),
        'largest': float(np.bincount(nearest).max() / len(nearest)),
        'correlation of the best dimension': correlation.round(4).tolist(),
        'independence of items': independence(torch.from_numpy(vectors)),
        'lists': len(rows) // 2,
    }


seeds = {}
for seed in args.seeds:
    data = PlantedConcepts(seed=seed)
    model, on_the_way = train(data, seed)
    table, values = control(model, data, seed)
    values = on_the_way | values
    print(f'seed {seed}: {values}\n{table.round(3).to_string()}', flush=True)
    values['attributes'] = [
        part.droplevel(0).round(4).to_dict('index') for _, part in table.groupby(level=0)
    ]
    seeds[str(seed)] = values
if args.json is not None:
    settings = {k: v for k, v in vars(args).items() if k not in ('json', 'seeds')}
    write_json(args.json, {'settings': settings, 'seeds': seeds})
