"""Writes docs/disentanglement.md from the reports in docs/results/disentanglement.

python docs/disentanglement.py
"""

from pathlib import Path
from statistics import mean, stdev

import pandas as pd
from tables import row

from iedr_geo.analysis import DisentanglementReport
from iedr_geo.analysis.report import GROUPS

HERE = Path(__file__).parent
VARIANTS = ('IEDR', 'noDis', 'noCL', 'noCIED', 'Linear')

INTRODUCTION = """# Are the factors disentangled?

This page is written by `python docs/disentanglement.py` from the reports in
`docs/results/disentanglement`, one for each run:

```bash
python examples/iedr.py --variant VARIANT --seed SEED --run runs/VARIANT-SEED
python examples/disentanglement_report.py --model runs/VARIANT-SEED/model --json FILE
```

**Protocol.** The embedded planted-factor data, whose true scores are known; each variant
of IEDR trained with seeds 0, 1 and 2 as the example trains it; the report on 2,000 rows,
the parts of the score on the test lists. Means over seeds ± standard deviation. *Chance*
is the same measure where there is nothing to find. *noDis* is without the mutual-information
bound, *noCL* without the contrastive loss, *noCIED* without both, *Linear* has the
generator that can fall into a trivial solution. In the rows of the truth, 1 is what a
perfect model would reach in the part of the same name, and 0 in the other.
"""

READING = """
## Reading

- *What the contrastive loss does is seen by everything.* Without it (noCL, noCIED) a
  user's intrinsic factor varies with the context, and follows the true intrinsic scores less.
- *The truth is told apart in part.* IEDR's intrinsic part follows the true intrinsic
  scores and hardly the true extrinsic ones; much of what it knows of the extrinsic scores
  is in the cross term, which belongs to neither factor.
- *What does not separate the variants:* linear probes of the context fields, which find
  next to nothing in any factor, since contexts move each user differently; and the
  dependence of the factors of users, which is high for all: both factors tell who the
  user is. The bound on the mutual information does not change that measurably here.
- The trivial solution of *Linear* is one in which the extrinsic factor depends on the
  context alone. It looks disentangled by the invariance of its factors; the recovery of
  the truth and the ranking by one part show what it costs.
"""


def read_reports():
    reports = {}
    for path in sorted(HERE.glob('results/disentanglement/*.json')):
        variant, _, seed = path.stem.rpartition('-')
        report = DisentanglementReport.from_json(path.read_text())
        keys = ['group', 'side', 'measure', 'factor']
        reports.setdefault(variant, {})[int(seed)] = report.table.set_index(keys)
    return reports


def cell(values):
    values = [value for value in values if value == value]
    if not values:
        return ''
    spread = f' ± {stdev(values):.2f}' if len(values) > 1 else ''
    return f'{mean(values):.2f}{spread}'


def page():
    reports = read_reports()
    lines = [INTRODUCTION]
    names = [name for name in VARIANTS if name in reports]
    seeds = ', '.join(f'{name}: {sorted(reports[name])}' for name in names)
    lines.append(f'Seeds: {seeds}.\n')
    first = next(iter(reports[names[0]].values()))
    for group, rows in first.groupby(level='group', sort=False):
        title, text = GROUPS[str(group)]
        lines += [f'## {title}\n', f'{text}\n']
        lines += [row(['', 'factor', *names, 'chance']), '|---' * (len(names) + 3) + '|']
        for key, values in rows.iterrows():
            _, side, measure, factor = key
            cells = [
                cell(
                    [
                        float(table['value'].get(key, float('nan')))
                        for table in reports[name].values()
                    ]
                )
                for name in names
            ]
            chance = '' if pd.isna(values['baseline']) else f'{values["baseline"]:.2f}'
            lines.append(row([f'{side}: {measure}', factor, *cells, chance]))
        lines.append('')
    return '\n'.join([*lines, READING.strip(), ''])


if __name__ == '__main__':
    (HERE / 'disentanglement.md').write_text(page())
