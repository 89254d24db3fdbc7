"""Writes docs/speed.md from what the benchmarks left in benchmarks/results/speed.

python benchmarks/tables/speed.py
"""

from common import read, table, write

TARGETS = {
    'build': 'tables of encoded features until the loader is ready',
    'sign': 'SIGN, forward and backward, shuffled rows',
    'sign_grouped': 'the same, grouped rows',
    'step': 'training step, shuffled rows',
    'step_grouped': 'the same, grouped rows',
    'step_bf16': 'training step in bfloat16, shuffled rows',
    'step_grouped_bf16': 'the same, grouped rows',
}
PLAIN = {'step_bf16': 'step', 'step_grouped_bf16': 'step_grouped'}

LIGHTGCN = {
    'plain': 'PyG, as it is: edges normalised in every layer',
    'weights': 'PyG, `normalize=False`, given the normalised weights',
    'matrix': 'PyG, `normalize=False`, given a `torch.sparse_csr` adjacency',
}
PIECES = {
    'contrastive': 'the gradient of the contrastive loss written out: by autograd',
    'pairs': 'distinct pairs of features: SIGN edge by edge',
    'queries': 'users in their contexts once for a group of 17 rows: for each row',
    'onednn': "products by oneDNN: by torch's own choice",
    'onednn_scores': 'the same, for scores of all items',
    'distances': "DICE's distance correlation, its gradient written out: by autograd",
}

INTRODUCTION = """# Speed

This page is written by `python benchmarks/tables/speed.py` from what the benchmarks left
in `benchmarks/results/speed`. Each section names its script, *e.g.*,

```bash
python benchmarks/large.py --threads 1 --json benchmarks/results/speed/large.json
```

All forms of one work are measured in turns in one run; times are medians. Each section
says what ours is compared with.

## Against the plain form

The other form is the library's own without what makes it fast: a `Data` object a sample,
collated by `Batch.from_data_list`, `SIGNConv` (a `MessagePassing` of PyG) edge by edge,
the contrastive loss by autograd over all rows at once. Frappe, 1,024 rows a batch, both
steps of Algorithm 1, batches included (SIGN: without batches). By
`benchmarks/feature_graphs.py`.
"""

READING = """What makes the difference:

- A batch holds every distinct user, item and context once, and SIGN evaluates every
  distinct pair of features once, whatever the direction of its edges.
- The gradient of the contrastive loss is written out, so that each block of rows is done
  while it is in the cache. Rows with the same user and the same context are contrasted
  once and weigh as many: with grouped rows a positive and its negatives are such rows.
- Matrix products of the contrastive loss and of the scorer go through oneDNN where the
  CPU has AVX-512. Blocks have one size, because oneDNN compiles a kernel for every size.

Each of these is tested against the plain form, values and gradients. In bfloat16, the
matrix products are; similarities, softmax and sums stay in float32.
"""

STEP_WITHOUT = """## A step without it

The whole training step, with everything and without one of the pieces: what stands in its
place is named after it. Frappe, {batch_size:,} shuffled rows a batch, both steps of
Algorithm 1; as many positives, each with 16 negatives beside it, for the variant
*separate*; all items for 2,000 rows of Frappe; DICE over MF, 1,024 edges of {edges}.
Batches are made before. A piece that is under 1.15 everywhere is not worth its lines. By
`benchmarks/pieces.py`.
"""

OBJECTIVES = """## A softmax over the batch

Both forms are ours. Planted data, 128 positives a step. By BCE each has four negatives of
its own, which makes 640 rows, shuffled or grouped with their positive; by
`SoftmaxObjective('batch')` all distinct items of the batch are its candidates. Steps of
`InteractionModule`, an IEDR without its contrastive and disentangling losses, batches not
included; ratios are times of the softmax over times of BCE. Hidden layers of all pairs
take megabytes at a time: the softmax takes up to a half longer where the allocator gives
them back after each step (`MALLOC_TRIM_THRESHOLD_` and `MALLOC_MMAP_THRESHOLD_` of glibc
make it keep them). By `benchmarks/objectives.py`.
"""

WIDE = """## SIGN on wide graphs

Forward and backward on {graphs} complete graphs of random features: edge by edge, by the
distinct pairs of features, and by these but with the message of each edge at hand before
edges are summed. By pairs the sums are a sparse product, which holds no message of an
edge: on wide graphs that is most of the time and the memory. Memory is the peak of a
process beyond what it held before. Edge by edge is `SIGNConv`, a `MessagePassing` of PyG;
the others are ours. Machine: {machine}, {threads} thread(s). By
`benchmarks/wide_graphs.py`.
"""

LARGE = """## Ten million interactions

Planted data of a million users, 100 thousand items and ten million interactions: reading
the tables, building the dataset, 300 training steps and the lists of 1,000 users. There
is no other form. By `benchmarks/large.py`.
"""

BIPARTITE = """## LightGCN, negatives and full rankings

Gowalla, by `benchmarks/bipartite.py`. The steps have the same batch, loss and optimiser.
Those of others call `LightGCN.get_embedding` of PyG, in each form that its `edge_index`
may have; ours takes the gradient by the same symmetric matrix.
"""

RANKINGS = """The other sampler is a loop over rows, as in the code of DICE's authors (20
of them are timed). The other ranking is a loop over chunks of users in plain PyTorch: a
product of vectors, minus infinity by index where an item was seen, `topk`, hits by index;
recall, hit ratio and NDCG at 20 and 50 of every user are the same.
"""

RECOMMEND = """## Recommendations

Frappe, an IEDR of the paper's sizes, whose registered scorer encodes users and items once
and a context at most once, and is made beforehand. The forward pass is what a model
without such a scorer takes: its own on batches of 16,328 candidates, which looks at each
distinct graph once and is far faster than one by samples. By `benchmarks/recommend.py`.

| | ms |
|---|---|
| one user in one context, 4,082 apps | {one_pair:.1f} |
| the same in a context that is new | {one_pair_new_context:.1f} |
| {rows:,} rows with {contexts:,} contexts, top 10 | {many:,.0f} |
| the hidden layers of their items alone | {hidden:,.0f} |
| a forward pass over all their candidates | {many_plain:,.0f} |
| evaluation of the rows, {rankings:,} full rankings | {evaluate:,.0f} |
| making the scorer | {scorer:.1f} |
| one user in one context, a million items | {million:.0f} |

The rows are {ratios[many]:.0f} times as fast as the forward pass. What limits them is the
hidden layer of the generator, which meets every item in every context: the product of its
matrices, {hidden_gigaflops:.0f} GFLOP/s by oneDNN at this shape, takes {share:.0%} of
their time. With everything else free they would be {ratios[hidden]:.0f} times as fast.

To evaluate the same rows takes {ratios[evaluate]:.2f} times as long as to recommend for
them; a user who recurs in a context is ranked in it once.

The first ranking of a million items reads them all and takes {million_first:,.0f} ms; the
process holds {million_peak_gib:.1f} GiB at most.
"""


AUTO_ENCODERS = """## Auto-encoders

MacridVAE of 7 concepts and 100 channels. The encoder reads 256 users of 80 items each of
a catalogue of {items:,}, forward and backward: by blocks of rows that are about as long,
by a `torch.sparse.mm` with a prepared `torch.sparse_csr` matrix for each concept, and by
dense rows of all items. The training step has 350 users and 5,697 items, Adam included;
without the pieces, items are read edge by edge, or the scores of all items by each
concept are kept for the gradient. By `benchmarks/auto_encoders.py`.
"""

LARGE_CATALOGUE = """A step of 256 users and a catalogue of {num_items:,} items, of which
8,192 are drawn, takes {milliseconds:,.0f} ms; the process holds {gib:.1f} GiB at most.
"""


def against_plain(report):
    times, ratios = report['milliseconds'], report['ratios']
    lines = []
    for name in TARGETS:
        if name in ratios:
            plain = times[f'{PLAIN.get(name, name)}_plain']
            values = f'{plain:,.1f}', f'{times[name]:.1f}', f'{ratios[name]:.1f}'
            lines.append([TARGETS[name], *values])
    machine = 'Machine: {machine}, {threads} thread(s), torch {torch}.\n'
    return [machine.format(**report), *table(['', 'plain, ms', 'ms', 'ratio'], lines)]


def step_without(report):
    lines = []
    for name, times in report['milliseconds'].items():
        cells = [f'{times[form]:.1f}' for form in ('without', 'with')]
        lines.append([PIECES[name], *cells, f'{times["without"] / times["with"]:.2f}'])
    head = ['piece: in its place', 'without, ms', 'with, ms', 'ratio']
    return [STEP_WITHOUT.format(**report), *table(head, lines)]


def objectives(report):
    lines = []
    for name, times in report['milliseconds'].items():
        cells = [f'{times[form]:.1f}' for form in ('bce', 'bce_grouped', 'softmax')]
        cells += [f'{ratio:.1f}' for ratio in report['ratios'][name].values()]
        lines.append([name, *cells])
    head = ['generator', 'BCE, ms', 'BCE, grouped, ms', 'softmax, ms', 'ratio']
    return [OBJECTIVES, *table([*head, 'ratio to grouped'], lines)]


def wide_graphs(report):
    sizes = {'nodes': 'nodes a graph', 'features': 'features', 'edges': 'edges'}
    sizes['pairs'] = 'distinct pairs'
    forms = {'edges': 'by edges', 'gathered': 'gathered', 'pairs': 'by pairs'}
    units = {'milliseconds': 'ms', 'mebibytes': 'MiB'}
    digits = {'milliseconds': ',.1f', 'mebibytes': ',.0f'}
    head = [*sizes.values()]
    head += [f'{form}, {unit}' for unit in units.values() for form in forms.values()]
    lines = [
        [f'{row[name]:,}' for name in sizes]
        + [f'{row[unit][form]:{digits[unit]}}' for unit in units for form in forms]
        for row in report['rows']
    ]
    return [WIDE.format(**report), *table(head, lines)]


def large(report):
    lines = [
        [name, f'{phase["seconds"]:.0f}', f'{phase["peak_gib"]:.2f}']
        for name, phase in report.items()
        if name != 'sizes'
    ]
    return [LARGE, *table(['phase', 's', 'peak resident memory so far, GiB'], lines)]


def bipartite(report):
    times, ranking = report['milliseconds'], report['evaluation']
    ours = times['lightgcn_step']
    forms = {name: times.get(f'lightgcn_step_{name}') for name in LIGHTGCN}
    lines = [
        [LIGHTGCN[name], f'{value:,.0f}', f'{value / ours:.2f}']
        for name, value in forms.items()
        if value is not None
    ]
    head = ['training step, 3 layers, 2,048 edges', 'ms', 'times ours']
    steps = table(head, [*lines, ['ours', f'{ours:,.0f}', '1']])
    lines = []
    for name, label in (
        ('pnsm', 'four negatives with a popularity margin for 2,048 edges'),
        ('evaluation', f'full rankings of {ranking["users"]:,} users, 40,981 items'),
    ):
        plain, fast = times[f'{name}_plain'], times[name]
        ratio = f'{plain / fast:,.{0 if plain > 10 * fast else 2}f}'
        lines.append([label, f'{plain:,.0f}', f'{fast:,.1f}', ratio])
    extra = (
        f'The rankings take {ranking["extra_gib"]:.2f} GiB beyond what was held before.'
    )
    rankings = table(['', 'loop, ms', 'ms', 'ratio'], lines)
    return [BIPARTITE, *steps, RANKINGS, *rankings, extra]


def recommend(report):
    times = report['milliseconds']
    share = times['hidden'] / times['many']
    return [RECOMMEND.format(**report, **times, share=share)]


def auto_encoders(report):
    encoder, step = report['encoder']['milliseconds'], report['step']['milliseconds']
    labels = {
        'padded': 'encoder: blocks of rows',
        'csr': 'encoder: a sparse product for each concept',
        'dense': 'encoder: dense rows',
        'blocks': 'training step',
        'edges': 'training step, reading edge by edge',
        'scores': 'training step, keeping all scores',
    }
    peaks = report['step']['peak_bytes']
    lines = []
    for times, first in ((encoder, 'padded'), (step, 'blocks')):
        for name, value in times.items():
            peak = f'{peaks[name] / 2**20:,.0f}' if name in peaks else ''
            ratio = f'{value / times[first]:.2f}'
            lines.append([labels[name], f'{value:,.0f}', ratio, peak])
    gib = report['large']['resident_bytes'] / 2**30
    head = ['', 'ms', 'times ours', 'peak of the step, MiB']
    return [
        AUTO_ENCODERS.format(items=report['encoder']['num_items']),
        *table(head, lines),
        LARGE_CATALOGUE.format(**report['large'], gib=gib),
    ]


def page():
    reports = read('speed')
    lines = [
        INTRODUCTION,
        *against_plain(reports['feature_graphs']),
        f'{READING.strip()}\n',
    ]
    if 'pieces' in reports:
        lines += step_without(reports['pieces'])
    for section in (objectives, wide_graphs, large, bipartite, auto_encoders, recommend):
        lines += section(reports[section.__name__])
    return '\n'.join(lines)


if __name__ == '__main__':
    write('speed', page())
