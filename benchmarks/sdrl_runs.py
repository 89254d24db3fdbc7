"""The runs of the page on SDRL: commands by the name of their JSON in benchmarks/results,
the most telling first.
"""

from iedr_geo.nn import SDRL_VARIANTS

SPLITS = range(5)
PEERS = 'popularity', 'ease', 'multvae', 'macridvae', 'netmf', 'prone'
RUNS = {}


def add(dataset, name, flags, seeds=(0,), split=0):
    """Adds a run for each seed."""
    for seed in seeds:
        RUNS[f'sdrl/{dataset}-{split}-{name}-{seed}'] = (
            f'sdrl.py --dataset {dataset} --split_seed {split} {flags} --seed {seed}'
        )


def add_variant(dataset, variant, **kwargs):
    """Adds runs of SDRL or of one of its variants."""
    name = variant.lower().replace('+', '-')
    add(dataset, name, f'--model sdrl --variant {variant}', **kwargs)


small = 'ml-latest-small'
add_variant(small, 'SDRL')
for name in PEERS[:2]:
    add(small, name, f'--model {name}')
add(small, 'sdrl-label-mask', '--model sdrl --label_mask')
for variant in SDRL_VARIANTS:
    add_variant(small, variant)
for name in PEERS[2:]:
    add(small, name, f'--model {name}')
add_variant('planted', 'SDRL', seeds=range(3))
add('planted', 'sdrl-label-mask', '--model sdrl --label_mask', range(3))
more = '--concept_weight 0.5'
add('planted', 'sdrl-weight-0.5', f'--model sdrl {more}')
add('planted', 'sdrl-label-mask-weight-0.5', f'--model sdrl --label_mask {more}')
add('planted', 'whole', '--model sdrl --variant whole')
for name in PEERS[:2]:
    add('planted', name, f'--model {name}')
for split in SPLITS[1:]:
    for variant in SDRL_VARIANTS:
        add_variant(small, variant, split=split)
    for name in PEERS[:2]:
        add(small, name, f'--model {name}', split=split)
add(small, 'sdrl-single-pass', '--model sdrl --single_pass')
for name in PEERS[:2]:
    add(small, f'{name}-single-pass', f'--model {name} --single_pass')
for variant in ('ext+oth', 'whole'):
    add_variant('ml-1m', variant)
for name in PEERS[:2]:
    add('ml-1m', name, f'--model {name}')
