"""Times LightGCN's step, negatives and full rankings against other forms of them.

python benchmarks/bipartite.py --root FOLDER --threads 1

All steps see the same batches of Gowalla and have the same loss and optimiser. Three of
them are steps of PyG's `LightGCN`: as it is, which normalises the edges in every layer;
given the normalised weights of the edges; and given a sparse matrix of them. The plain
sampler is a Python loop over rows, the plain ranking one over chunks of users. Without
--root, Gowalla is downloaded.
"""

import random
import resource
import threading
from pathlib import Path

import torch
from timing import make_parser, parse, side_by_side, write_json
from torch_geometric.nn import LightGCN as PyGLightGCN

from iedr_geo.data import PopularityMarginSampler, UniformNegativeSampler
from iedr_geo.datasets import Gowalla
from iedr_geo.evaluation import evaluate_catalogue
from iedr_geo.loader import EdgeLoader
from iedr_geo.nn import LightGCN, bpr_loss

parser = make_parser(__doc__, data='Gowalla', repeats=5)
parser.add_argument('--layers', type=int, default=3)
parser.add_argument('--users', type=int, help='how many to evaluate (default: all)')
args, device = parse(parser)
torch.manual_seed(0)

data = Gowalla(args.root)
graph = data.train.to(device)
size = graph.num_users, graph.num_items
print(f'{graph}\n')

loader = EdgeLoader(
    graph, 2048, UniformNegativeSampler(1, 'seen', resample=True), shuffle=True
)
batch = next(iter(loader))
users, items, negatives = batch.user, batch.item, batch.negative.squeeze(1)
adjacency, weight = graph.adjacency()
model = LightGCN(
    *size, adjacency, weight, channels=64, num_layers=args.layers, std=0.1, l2=1e-4
).to(device)


def adam(model):
    return torch.optim.Adam(model.parameters(), lr=1e-3, fused=True)


optimizer = adam(model)


def step():
    score = model.score(users.unsqueeze(1), batch.candidates)
    loss = bpr_loss(score[:, 0], score[:, 1:])
    loss = loss + sum(model.extra_losses(batch).values())
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss


def pyg_step(edges, weight=None, **kwargs):
    """Returns what takes the same step by a form of PyG's model."""
    other = PyGLightGCN(sum(size), 64, args.layers, **kwargs).to(device)
    vectors = torch.cat([model.user.weight, model.item.weight])
    other.embedding.weight.data = vectors.detach().clone()
    with torch.no_grad():  # The same vectors, scaled by the number of layers.
        mean = model.propagate() / (args.layers + 1)
        torch.testing.assert_close(other.get_embedding(edges, weight), mean)
    optimizer = adam(other)
    nodes = torch.cat([users, items + size[0], negatives + size[0]])

    def step():
        out = other.get_embedding(edges, weight)
        user, item, negative = out[nodes].chunk(3)
        # PyG's regularisation is not halved.
        loss = other.recommendation_loss(
            (user * item).sum(dim=1), (user * negative).sum(dim=1), nodes, 0.5e-4
        )
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss

    return step


edge_index = adjacency.as_tensor()
matrix = torch.sparse_coo_tensor(edge_index, weight, [sum(size)] * 2).to_sparse_csr()
forms = {
    'lightgcn_step_plain': pyg_step(edge_index),
    'lightgcn_step_weights': pyg_step(edge_index, weight, normalize=False),
    'lightgcn_step_matrix': pyg_step(matrix, normalize=False),
    'lightgcn_step': step,
}
losses = [each() for each in forms.values()]
for loss in losses[1:]:
    torch.testing.assert_close(loss, losses[0])  # The same work.
milliseconds = side_by_side(forms, args.repeats, device, warm_up=1)

sampler = PopularityMarginSampler().for_graph(graph)
popularity = graph.popularity.tolist()
sorted_items = sorted(range(size[1]), key=popularity.__getitem__)
known = {user: set(graph.positives(user).tolist()) for user in set(users.tolist())}


def sample_row(user, item, draw):
    """One row of the same sampler, as the authors of DICE draw it."""
    p = popularity[item]
    free = [other for other in sorted_items if other not in known[user]]
    above = [other for other in free if popularity[other] > p + sampler.margin]
    below = [other for other in free if popularity[other] < p / 2]
    drawn = []
    while len(drawn) < sampler.num_negatives:
        if len(above) < sampler.min_pool:
            pool = below if len(below) >= sampler.num_negatives else free
        elif len(below) < sampler.min_pool:
            pool = above
        else:
            pool = above if draw.random() < 0.5 else below
        other = draw.choice(pool)
        if other not in drawn:
            drawn.append(other)
    return drawn


def sample_plain(rows=20):
    draw = random.Random(0)
    for user, item in zip(users[:rows].tolist(), items[:rows].tolist(), strict=True):
        sample_row(user, item, draw)


drawing = side_by_side(
    {'plain': sample_plain, 'ours': lambda: sampler.sample(graph, users, items)},
    args.repeats,
    device,
)
plain_rows = drawing['plain'] * len(users) / 20  # As long for every row.

milliseconds |= {'pnsm_plain': plain_rows, 'pnsm': drawing['ours']}
for name, value in milliseconds.items():
    ratio = value / milliseconds['pnsm' if 'pnsm' in name else 'lightgcn_step']
    print(f'{name:22}{value:12.2f} ms{ratio:9.2f} x')


class Peak:
    """The most memory held at a time, in GiB beyond what was held before."""

    def __enter__(self):
        self.start = self.peak = self._now()
        self.done = threading.Event()
        self.thread = threading.Thread(target=self._watch)
        self.thread.start()
        return self

    def _now(self):
        if device.type == 'cuda':
            return torch.cuda.max_memory_allocated()
        pages = int(Path('/proc/self/statm').read_text().split()[1])
        return pages * resource.getpagesize()

    def _watch(self):
        while not self.done.wait(0.005):
            self.peak = max(self.peak, self._now())

    def __exit__(self, *_):
        self.done.set()
        self.thread.join()
        self.peak = max(self.peak, self._now())

    @property
    def gib(self):
        return (self.peak - self.start) / 2**30


num_users = size[0] if args.users is None else min(args.users, size[0])
test = data.test.to(device)
test = test.subgraph(test.user < num_users)
CHUNK = (1 << 23) // size[1]  # Users whose scores take 32 MiB together.


def edges_of_chunks(graph):
    """Rows and items of the edges of each chunk of users."""
    user, order = graph.user.sort(stable=True)
    begins = torch.arange(0, num_users + CHUNK, CHUNK, device=device).clamp(max=num_users)
    sizes = torch.searchsorted(user, begins).diff().tolist()
    kept = slice(sum(sizes))
    return zip(
        (user[kept] % CHUNK).split(sizes),
        graph.item[order[kept]].split(sizes),
        strict=True,
    )


@torch.no_grad()
def rank_plain():
    """Recall, hit ratio and NDCG at 20 and 50 of users who all have something to find."""
    user_vector, item_vector = model.embeddings()
    discount = 1 / torch.arange(2, 52, device=device).double().log2()
    ideal = discount.cumsum(0)
    values = []
    chunks = zip(
        user_vector[:num_users].split(CHUNK),
        edges_of_chunks(graph),
        edges_of_chunks(test),
        strict=True,
    )
    for vector, (row, item), wanted in chunks:
        scores = vector @ item_vector.t()
        scores[row, item] = -torch.inf
        target = torch.zeros_like(scores, dtype=torch.bool)
        target[wanted] = True
        hits = target.gather(1, scores.topk(50).indices).double()
        relevant = torch.bincount(wanted[0], minlength=len(vector))
        for k in (20, 50):
            found = hits[:, :k].sum(dim=1)
            gain = hits[:, :k] @ discount[:k]
            best = ideal[relevant.clamp(max=k) - 1]
            values += [found / relevant, (found > 0).double(), gain / best]
    return torch.stack([torch.cat(values[i::6]) for i in range(6)], dim=1)


def rank():
    return evaluate_catalogue(model, test, graph, progress=False)


with Peak() as peak:
    per_user = rank().per_list.drop(columns='user').to_numpy(copy=True)
same = torch.from_numpy(per_user[:num_users])
torch.testing.assert_close(rank_plain().cpu(), same, atol=1e-9, rtol=0)
ranking = side_by_side({'plain': rank_plain, 'ours': rank}, args.repeats, device, 0)
milliseconds |= {'evaluation': ranking['ours'], 'evaluation_plain': ranking['plain']}
ratio = ranking['plain'] / ranking['ours']
print(
    f'\nFull rankings of {num_users} users in {ranking["ours"] / 1e3:.1f} s with '
    f'{peak.gib:.2f} GiB of extra memory; plain loop {ranking["plain"] / 1e3:.1f} s: '
    f'{ratio:.2f} x'
)
evaluation = {'users': num_users, 'extra_gib': peak.gib, 'ratio': ratio}
write_json(args, device, milliseconds=milliseconds, evaluation=evaluation)
