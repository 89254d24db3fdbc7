"""The runs of the page of results: flags of benchmarks/iedr.py by the name of their JSON.

The most telling come first, so that the queue may be stopped at any time.
"""

SEEDS = 0, 1, 2
PEERS = 'deepfm', 'dcnv2', 'autoint', 'wdl', 'fm', 'twotower', 'lightgcn', 'ease'
BF16 = '--precision bf16-mixed'
# IEDR with both losses, its own factors and the recipe of the variant.
SAME_RECIPE = '--variant IEDR --contrastive_weight 0.3 --disentangling_weight 0.3'
RUNS = {}


def add(name, flags, seeds=SEEDS):
    """Adds a run for each seed."""
    for seed in seeds:
        RUNS[f'{name}-{seed}'] = f'{flags} --seed {seed}'


planted, frappe = '--dataset planted', '--dataset frappe'
add('planted-separate', planted)
add('frappe-separate', f'{frappe} {BF16}')
few = '--objective bce --negatives 5 --batch_size 2046 --weight_decay'
add('frappe-deepfm-bce', f'{frappe} --model deepfm {few} 0 {BF16}')
add('frappe-deepfm', f'{frappe} --model deepfm {BF16}')
add('planted-deepfm', f'{planted} --model deepfm')
add('planted-noCIED', f'{planted} --variant noCIED')
add('planted-IEDR', f'{planted} {SAME_RECIPE}')
add('planted-separate-without-bound', f'{planted} --disentangling_weight 0')
for peer in PEERS[1:]:
    add(f'planted-{peer}', f'{planted} --model {peer}')
add('frappe-noCIED', f'{frappe} --variant noCIED {BF16}', [0])
add('frappe-IEDR', f'{frappe} {SAME_RECIPE} {BF16}', [0])
for peer in PEERS[1:]:
    # The layers of the two grow with the square of the channels.
    small = ' --channels 32' if peer in ('dcnv2', 'autoint') else ''
    add(f'frappe-{peer}', f'{frappe} --model {peer}{small} {BF16}', [0])
for dataset, seeds in (('ml-latest-small', [0]), ('ml-100k', SEEDS)):
    flags = f'--dataset {dataset} {BF16}'
    add(f'{dataset}-separate', flags, seeds)
    for peer in PEERS:
        add(f'{dataset}-{peer}', f'{flags} --model {peer}', seeds)
# The authors' recipe with and without its losses, until patience ends.
paper = f'--dataset frappe --preset paper {BF16}'
NO_LOSS = '--contrastive_weight 0 --disentangling_weight 0'
add('frappe-released', f'{paper} --variant released')
add('frappe-released-noCIED', f'{paper} --variant released {NO_LOSS}')
add('frappe-released-noDis', f'{paper} --variant released --disentangling_weight 0')
add('frappe-released-noCL', f'{paper} --variant released --contrastive_weight 0')
