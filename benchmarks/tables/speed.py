"""Writes docs/speed.md from the JSON files of the benchmarks in docs/benchmarks.

python docs/speed.py
"""

import json
from pathlib import Path

HERE = Path(__file__).parent
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

INTRODUCTION = """# Speed

This page is written by `python docs/speed.py` from what the benchmarks left in
`docs/benchmarks`. Repeat them with

```bash
cd docs/benchmarks
python ../../examples/benchmarks/feature_graphs.py --threads 1 --json feature_graphs.json
python ../../examples/benchmarks/large.py --threads 1 --json large.json
```

## Against the plain form

Both forms are measured in turns in one run; times are medians. The plain form is the
library's own without what makes it fast: a `Data` object a sample, collated by
`Batch.from_data_list`, `SIGNConv` edge by edge, the contrastive loss by autograd over all
rows at once. Frappe, 1,024 rows a batch, both steps of Algorithm 1, batches included
(SIGN: without batches).
"""

READING = """
What makes the difference:

- A batch holds every distinct user, item and context once, and SIGN evaluates every
  distinct pair of features once. On complete graphs a pair counts for both directions.
- The gradient of the contrastive loss is written out, so that each block of rows is done
  while it is in the cache. Rows with the same user and the same context are contrasted
  once and weigh as many: with grouped rows a positive and its negatives are such rows.
- Matrix products with a side of 32 go through oneDNN, which takes half the time of MKL on
  AVX-512. Blocks have one size, because oneDNN compiles a kernel for every size.

Each of these is tested against the plain form, values and gradients. In bfloat16, the
matrix products are; similarities, softmax and sums stay in float32.
"""

OBJECTIVES = """
## A softmax over the batch

Planted data, 128 positives a step. By BCE each has four negatives of its own, which makes
640 rows, shuffled or grouped with their positive; by `SoftmaxObjective('batch')` all
distinct items of the batch are its candidates. Steps of `InteractionModule`, an IEDR
without its contrastive and disentangling losses, batches not included; ratios are times
of the softmax over times of BCE. Hidden layers of all pairs take megabytes at a time: the
softmax takes up to a half longer where the allocator gives them back after each step
(`MALLOC_TRIM_THRESHOLD_` and `MALLOC_MMAP_THRESHOLD_` of glibc make it keep them). Repeat
it with
`python ../../examples/benchmarks/objectives.py --threads 1 --json objectives.json`.

| generator | BCE, ms | BCE, grouped, ms | softmax, ms | ratio | ratio to grouped |
|---|---|---|---|---|---|"""

WIDE = """
## SIGN on wide graphs

Forward and backward on {graphs} complete graphs of random features: edge by edge, by the
distinct pairs of features of any edges, and by those of graphs known to be complete. Time
follows the distinct pairs: features are paired by counting, not by sorting, as long as a
table of all pairs is not far larger than the edges. Memory is the peak of a process
beyond what it held before. Machine: {machine}, {threads} thread(s). Repeat it with
`python ../../examples/benchmarks/wide_graphs.py --threads 1 --json wide_graphs.json`.

| nodes a graph | features | edges | distinct pairs | by edges, ms | by pairs, ms | \
complete, ms | by edges, MiB | by pairs, MiB | complete, MiB |
|---|---|---|---|---|---|---|---|---|---|"""

LARGE = """
## Ten million interactions

Planted data of a million users, 100 thousand items and ten million interactions: reading
the tables, building the dataset, 300 training steps and the lists of 1,000 users.
"""

BIPARTITE = """
## LightGCN, negatives and full rankings

Gowalla. The plain step calls PyG's `LightGCN.get_embedding`, which normalises the edges
in every layer, with the same batch, loss and optimiser; ours has them normalised once,
and takes the gradient by the same symmetric matrix. The plain sampler is a loop over rows
(20 of them are timed). The plain ranking is a loop over chunks of users: a product of
vectors, minus infinity by index where an item was seen, `topk`, hits by index; recall,
hit ratio and NDCG at 20 and 50 of every user are the same. Repeat it with
`python ../../examples/benchmarks/bipartite.py --threads 1 --json bipartite.json`.
"""

RECOMMEND = """
## Recommendations

Frappe, an IEDR of the paper's sizes, whose registered scorer encodes users and items once
and a context at most once, and is made beforehand. The forward pass is what a model
without such a scorer takes: its own on batches of 16,328 candidates, which looks at each
distinct graph once and is far faster than one by samples. Repeat it with
`python ../../examples/benchmarks/recommend.py --threads 1 --json recommend.json`.

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


def page():
    lines = [INTRODUCTION]
    report = json.loads((HERE / 'benchmarks/feature_graphs.json').read_text())
    times, ratios = report['milliseconds'], report['ratios']
    lines.append(
        f'Machine: {report["machine"]}, {report["threads"]} thread(s), torch '
        f'{report["torch"]}.\n'
    )
    lines += ['| | plain, ms | ms | ratio |', '|---|---|---|---|']
    for name, label in TARGETS.items():
        if name in ratios:
            plain = times[f'{PLAIN.get(name, name)}_plain']
            lines.append(
                f'| {label} | {plain:,.1f} | {times[name]:.1f} | {ratios[name]:.1f} |'
            )
    lines += [READING.rstrip(), OBJECTIVES]
    report = json.loads((HERE / 'benchmarks/objectives.json').read_text())
    for name, times in report['milliseconds'].items():
        cells = [f'{times[form]:.1f}' for form in ('bce', 'bce_grouped', 'softmax')]
        cells += [f'{ratio:.1f}' for ratio in report['ratios'][name].values()]
        lines.append(f'| {name} | {" | ".join(cells)} |')
    wide = json.loads((HERE / 'benchmarks/wide_graphs.json').read_text())
    lines.append(WIDE.format(**wide))
    for row in wide['rows']:
        sizes = [row[name] for name in ('nodes', 'features', 'edges', 'pairs')]
        forms = ('edges', 'pairs', 'complete')
        cells = [f'{size:,}' for size in sizes]
        cells += [f'{row["milliseconds"][form]:,.1f}' for form in forms]
        cells += [f'{row["mebibytes"][form]:,.0f}' for form in forms]
        lines.append(f'| {" | ".join(cells)} |')
    large = json.loads((HERE / 'benchmarks/large.json').read_text())
    lines += [LARGE, '| phase | s | peak resident memory so far, GiB |', '|---|---|---|']
    for name, phase in large.items():
        if name != 'sizes':
            lines.append(f'| {name} | {phase["seconds"]:.0f} | {phase["peak_gib"]:.2f} |')
    graph = json.loads((HERE / 'benchmarks/bipartite.json').read_text())
    lines += [BIPARTITE, '| | plain, ms | ms | ratio |', '|---|---|---|---|']
    ranking = graph['evaluation']
    for name, label in (
        ('lightgcn_step', 'training step of LightGCN, 3 layers, 2,048 edges'),
        ('pnsm', 'four negatives with a popularity margin for 2,048 edges'),
        ('evaluation', f'full rankings of {ranking["users"]:,} users, 40,981 items'),
    ):
        plain, fast = (graph['milliseconds'][key] for key in (f'{name}_plain', name))
        ratio = f'{plain / fast:,.{0 if plain > 10 * fast else 2}f}'
        lines.append(f'| {label} | {plain:,.0f} | {fast:,.1f} | {ratio} |')
    lines.append(
        f'\nThe rankings take {ranking["extra_gib"]:.2f} GiB beyond what was held before.'
    )
    use = json.loads((HERE / 'benchmarks/recommend.json').read_text())
    times = use['milliseconds']
    share = times['hidden'] / times['many']
    lines.append(RECOMMEND.format(**use, **times, share=share))
    return '\n'.join(lines)


if __name__ == '__main__':
    (HERE / 'speed.md').write_text(page())
