"""The runs of the page on auto-encoders: commands by the name of their JSON in
benchmarks/results, the most telling first.
"""

SPLIT = 98765  # It gives the paper's numbers of users, items and edges.
OTHER_SPLITS = 1, 2, 3, 4
MODELS = {
    'macridvae': '--model macridvae',
    'macridvae-k1': '--model macridvae --num_concepts 1',
    'multvae': '--model multvae',
    'multdae': '--model multdae',
    'ease': '--model ease',
}
# These two still gain after the 200 epochs of all.
LONG = '--epochs 1000 --patience 100'
LONGER = {f'{it}-long': f'{MODELS[it]} {LONG}' for it in ('multvae', 'multdae')}
SEEDS = {'macridvae': 5, 'macridvae-k1': 3, 'multvae': 3, 'multdae': 3, 'ease': 1}
RUNS = {}


def add(dataset, name, flags, seeds=(0,), split=SPLIT):
    """Adds a run for each seed."""
    for seed in seeds:
        RUNS[f'macridvae/{dataset}-{split}-{name}-{seed}'] = (
            f'macridvae.py --dataset {dataset} --split_seed {split} {flags} --seed {seed}'
        )


small = 'ml-latest-small'
for seed in range(max(SEEDS.values())):
    for name, flags in MODELS.items():
        add(small, name, flags, [seed] if seed < SEEDS[name] else [])
for split in OTHER_SPLITS:
    for name, flags in MODELS.items():
        add(small, name, flags, split=split)
for split in (SPLIT, *OTHER_SPLITS):
    for name, flags in LONGER.items():
        add(small, name, flags, split=split)
add('planted', 'macridvae', MODELS['macridvae'], range(3))
of_five = f'{MODELS["macridvae"]} --num_concepts 5'
add('planted', 'macridvae-k5', of_five, range(3))
add('planted', 'macridvae-k5-dot', f'{of_five} --similarity dot', range(3))
of_paper = '--channels 100 --tau 0.1 --learning_rate 0.001 --epochs 200'
add('planted', 'macridvae-paper', f'{MODELS["macridvae"]} {of_paper}')
add('planted', 'macridvae-k1', MODELS['macridvae-k1'])
add('planted', 'ease', MODELS['ease'])
for name, flags in LONGER.items():
    add('planted', name, flags)
add(small, 'macridvae-hard', f'{MODELS["macridvae"]} --hard_assignment')
add(small, 'macridvae-dot', f'{MODELS["macridvae"]} --similarity dot')
for dataset in ('ml-100k', 'ml-1m'):
    for name, flags in (MODELS | LONGER).items():
        add(dataset, name, flags)
