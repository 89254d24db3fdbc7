"""The runs of the pages of results on IEDR: commands by the name of their JSON in
benchmarks/results.

The most telling come first, so that the queue may be stopped at any time.
"""

SEEDS = 0, 1, 2
PEERS = 'deepfm', 'dcnv2', 'autoint', 'wdl', 'fm', 'twotower', 'lightgcn', 'ease'
BF16 = '--precision bf16-mixed'
# IEDR with both losses, its own factors and the recipe of the variant.
SAME_RECIPE = '--variant IEDR --contrastive_weight 0.3 --disentangling_weight 0.3'
RUNS = {}


def add(name, flags, seeds=SEEDS):
    """Adds a run for each seed; EASE has no use for one."""
    for seed in seeds[:1] if '--model ease' in flags else seeds:
        RUNS[f'{name}-{seed}'] = f'iedr.py {flags} --seed {seed}'


planted, frappe = '--dataset planted', '--dataset frappe'
add('models/planted-separate', planted)
add('models/frappe-separate', f'{frappe} {BF16}')
few = '--objective bce --negatives 5 --batch_size 2046 --weight_decay 0'
add('models/frappe-deepfm-bce', f'{frappe} --model deepfm {few} {BF16}')
add('models/frappe-deepfm', f'{frappe} --model deepfm {BF16}')
add('models/planted-deepfm', f'{planted} --model deepfm')
add('models/planted-noCIED', f'{planted} --variant noCIED')
add('models/planted-IEDR', f'{planted} {SAME_RECIPE}')
add('models/planted-separate-without-bound', f'{planted} --disentangling_weight 0')
add('models/outings-separate', '--dataset outings')
add('models/outings-noCIED', '--dataset outings --variant noCIED')
add('models/outings-deepfm', '--dataset outings --model deepfm')
add('models/planted-separate-mean', f'{planted} --encoder mean')
for peer in PEERS[1:]:
    add(f'models/planted-{peer}', f'{planted} --model {peer}')
add('models/frappe-separate-mean', f'{frappe} --encoder mean {BF16}', [0])
add('models/frappe-noCIED', f'{frappe} --variant noCIED {BF16}', [0])
add('models/frappe-IEDR', f'{frappe} {SAME_RECIPE} {BF16}', [0])
for peer in PEERS[1:]:
    # The layers of the two grow with the square of the channels.
    small = ' --channels 32' if peer in ('dcnv2', 'autoint') else ''
    add(f'models/frappe-{peer}', f'{frappe} --model {peer}{small} {BF16}', [0])
for dataset, seeds in (('ml-latest-small', [0]), ('ml-100k', SEEDS)):
    flags = f'--dataset {dataset} {BF16}'
    add(f'models/{dataset}-separate', flags, seeds)
    for peer in PEERS:
        add(f'models/{dataset}-{peer}', f'{flags} --model {peer}', seeds)
# The authors' recipe with and without its losses, until patience ends. The result of
# seed 0 that is there was cut at 50 epochs: it has to make way for a run of today's code.
paper = f'--dataset frappe --preset paper {BF16}'
NO_LOSS = '--contrastive_weight 0 --disentangling_weight 0'
add('iedr/frappe-paper-released', f'{paper} --variant released')
add('iedr/frappe-paper-released-noCIED', f'{paper} --variant released {NO_LOSS}')
add(
    'iedr/frappe-paper-released-noDis',
    f'{paper} --variant released --disentangling_weight 0',
)
add(
    'iedr/frappe-paper-released-noCL',
    f'{paper} --variant released --contrastive_weight 0',
)
# Small logs of contexts that people told.
for dataset in ('depaul', 'sts'):
    flags = f'--dataset {dataset}'
    add(f'models/{dataset}-separate', flags)
    for peer in PEERS:
        add(f'models/{dataset}-{peer}', f'{flags} --model {peer}')
