"""Writes docs/disentanglement.md from the reports in benchmarks/results/disentanglement.

python benchmarks/tables/disentanglement.py
"""

import json

import pandas as pd
from common import read, summary, table, write

from iedr_geo.analysis import DisentanglementReport
from iedr_geo.analysis.report import GROUPS

VARIANTS = ('IEDR', 'noDis', 'noCL', 'noCIED', 'Linear', 'split')
BEST = ('separate', 'IEDR', 'noCIED', 'split_of_noCIED', 'split_of_DeepFM')

INTRODUCTION = """# Are the factors disentangled?

This page is written by `python benchmarks/tables/disentanglement.py` from the
reports in `benchmarks/results/disentanglement`, one for each run:

```bash
python benchmarks/iedr.py --variant VARIANT --seed SEED --run runs/VARIANT-SEED
python benchmarks/disentanglement_report.py --model runs/VARIANT-SEED/model --json FILE
```

**Protocol.** The embedded planted-factor data, whose true scores are known; the report on
2,000 rows, the parts of the score on the test lists. Means over seeds ± standard
deviation. *Chance* is the same measure where there is nothing to find. In the rows of the
truth, 1 is what a perfect model would reach in the part of the same name, and 0 in the
other.

A **split** is the control: *any* score has a mean over the training contexts and a rest
(the report with `--split`). Such parts cost no loss and no structure, and have no
factors. What a model with factors claims, it has to show against them.
"""

OF_BEST = """## One recipe for all

The preset *best*: a softmax over 16 negatives with a share of binary cross-entropy (the
runs are those of [Results](results.md)). *separate* is the variant whose factors share
nothing; *IEDR* has the residual generator and both losses (weights 0.3), *noCIED* the
same generator and neither. *split_of_noCIED* and *split_of_DeepFM* are the control.
"""

OF_OUTINGS = """## A second world

`PlantedOutings` shares no rule with the planted factors: interests in a tree of topics,
contexts of numbers of which no two are the same, users who tend to contexts of their own,
a tenth of the interactions repeats, a twentieth noise. The same variant and recipe. Both
parts follow the truth of their name and next to nothing of the other, but less closely.
Some of the true intrinsic score is in the pointwise part: that many find an outing too
dear is a matter of the item.
"""

OF_PAPER = """## The paper's model and its ablations

As the preset *paper* trains them (`--preset paper`), by the report as it was then:
mutual information in nats, and limits of rows in random order. *noDis* is without the
mutual-information bound, *noCL* without the contrastive loss, *noCIED* without both,
*Linear* has the generator that can fall into a trivial solution. *split* is the control
on noCIED, one seed.
"""

READING_OF_BEST = """### Reading

- *separate* has what the others lack: each part of its score follows the truth of its
  name and next to nothing of the other, and its factors depend on each other no more than
  chance does. That its intrinsic factors are the same in all contexts is by construction,
  and no finding.
- *Against the control.* The split of a model without structure has parts that are told
  apart as cleanly, at the price of a score in each context, but follows the truth less:
  what *separate* adds is that both parts are learned better, and that there are vectors.
- *IEDR*, trained by the same recipe, has an intrinsic part nearly as good. Of the
  extrinsic truth its cross term holds more than its extrinsic part: that belongs to no
  one factor.
- *noCIED* mixes both, as one expects of it.
- *What an item has to offer to contexts does not change with them*, and *separate* adds
  it to the item's extrinsic factor as it is. So that factor tells which item it is, and
  the rows of invariance and of *which item* do not separate items. It is independent of
  the intrinsic factor all the same.
"""

READING = """
### Reading

- *IEDR is told from its ablations, by most measures.* Without both losses (noCIED) the
  two factors are copies of each other: each part of the score ranks as well as the whole,
  and their distance correlation is 1. With both, the intrinsic factor of a user is the
  same in every context, its part of the score follows the true intrinsic scores and
  hardly the extrinsic ones, and the two factors depend on each other least.
- *The contrastive loss* is what makes intrinsic factors invariant: without it (noCL) the
  shares of the variance and the recovery of the true intrinsic scores fall.
- *The upper bound on the mutual information* parts the factors: without it (noDis) the
  extrinsic factor tells the user or item as well as the intrinsic one does, and the
  factors depend on each other about as much as without both losses.
- *It is disentanglement in part.* Even IEDR's factors of users are far from independent,
  its extrinsic factor still tells who the user is, and much of what it knows of the true
  extrinsic scores is in the cross term, which belongs to neither factor. Without any of
  the losses the whole model knows as much of the true extrinsic scores.
- *Linear* looks the most disentangled by the invariance of its intrinsic factors and by
  the probes of the contexts: its factors are sums of a part of the user and a part of the
  context, which is the trivial solution. It knows next to nothing of the true extrinsic
  scores, and ranks worst.
- *The control* (split, one seed) has no loss to thank. Its extrinsic part follows the
  true extrinsic scores far better than that of IEDR does, and no other. But its intrinsic
  part is popularity: without the losses this model has not learned the true intrinsic
  scores, and no split finds what was not learned. These are what IEDR is ahead by.
- *What does not separate IEDR from its ablations:* the linear probes of the context
  fields, which are near chance for all but Linear, as contexts move each user
  differently; the cosine in the same context; and the ranking of the whole model.
"""


def read_reports(folder):
    """Returns the table of each report of a folder by variant and seed."""
    reports = {}
    for name, content in read(folder).items():
        variant, _, seed = name.rpartition('-')
        report = DisentanglementReport.from_json(json.dumps(content))
        keys = ['group', 'side', 'measure', 'factor']
        reports.setdefault(variant, {})[int(seed)] = report.table.set_index(keys)
    return reports


def cell(reports, key):
    values = (table['value'].get(key, float('nan')) for table in reports.values())
    values = [float(value) for value in values if pd.notna(value)]
    return summary(values) if values else ''


def section(folder, variants, explained=False, groups=GROUPS):
    """Returns the lines of the tables of some variants."""
    reports = read_reports(folder)
    names = [name for name in variants if name in reports]
    seeds = ', '.join(f'{name}: {sorted(reports[name])}' for name in names)
    lines = [f'Seeds: {seeds}.\n']
    first = next(iter(reports[names[0]].values()))
    for group, rows in first.groupby(level='group', sort=False):
        if group not in groups:
            continue
        title, text = GROUPS[str(group)]
        lines += [f'### {title}\n', *([f'{text}\n'] if explained else [])]
        cells = []
        for key, values in rows.iterrows():
            _, side, measure, factor = key
            chance = '' if pd.isna(values['baseline']) else f'{values["baseline"]:.2f}'
            each = (cell(reports[name], key) for name in names)
            cells.append([f'{side}: {measure}', factor, *each, chance])
        titles = [name.replace('_', ' ') for name in names]
        lines += table(['', 'factor', *titles, 'chance'], cells)
    return lines


def page():
    best = section('disentanglement/best', BEST, explained=True)
    lines = [INTRODUCTION, OF_BEST, *best, READING_OF_BEST, OF_OUTINGS]
    lines += section('disentanglement/outings', BEST, groups=('dependence', 'truth'))
    lines.append(OF_PAPER)
    lines += section('disentanglement', VARIANTS)
    return '\n'.join([*lines, READING.strip(), ''])


if __name__ == '__main__':
    write('disentanglement', page())
