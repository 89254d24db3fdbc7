"""Trains on two processes; each writes what it saw and what it has learned.

Lightning starts the second process with this script's own command line.
"""

import logging
import sys
import warnings
from pathlib import Path

import torch
from lightning.pytorch import Trainer

from iedr_geo.data import CandidateLists
from iedr_geo.datasets import PlantedClicks, PlantedFactors
from iedr_geo.metrics import Recall
from iedr_geo.nn import IEDR, MF, SoftmaxObjective
from iedr_geo.training import BipartiteModule, InteractionModule, fit

torch.set_num_threads(1)
warnings.filterwarnings('error', '.*sync_dist.*')
logging.getLogger('lightning.pytorch').setLevel(logging.WARNING)
folder = Path(sys.argv[1])

dataset = PlantedFactors(num_users=20, num_items=12, num_interactions=200)
train, valid, _, _ = dataset.split()
lists = CandidateLists.sample(valid, num_negatives=8)
rows = []
quietly = {'progress': False, 'accelerator': 'cpu', 'devices': 2}


class Reader(InteractionModule):
    def training_step(self, batch, batch_idx):
        epoch = torch.full_like(batch.user_id, self.current_epoch)
        columns = (epoch, batch.user_id, batch.item_id, batch.context_id, batch.y.long())
        rows.append(torch.stack(columns).t())
        super().training_step(batch, batch_idx)


for epochs in (1, 2):  # The second epoch is that of a resumed run.
    torch.manual_seed(0)
    model = IEDR(dataset.schema.num_embeddings, 8, 16, num_negatives=4)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    arguments = {'batch_size': 32, 'learning_rate': 0.01, 'seed': 3}
    module = Reader(model, train, valid, lists, **arguments)
    result = fit(module, folder / 'run', max_epochs=epochs, resume=True, **quietly)

torch.manual_seed(0)
model = IEDR(dataset.schema.num_embeddings, 8, 16, num_negatives=4)
plain = InteractionModule(model, train, valid, lists, **arguments)
Trainer(
    max_epochs=1,
    strategy='ddp_find_unused_parameters_true',
    logger=False,
    enable_checkpointing=False,
    enable_progress_bar=False,
    accelerator='cpu',
    devices=2,
).fit(plain)
if plain.global_rank == 0:  # Whose history the resumed run has read.
    for name in ('loss', 'ndcg@10', 'auc'):
        assert plain.history[0][name] == result.history[0][name]

last = torch.load(folder / 'run' / 'last.ckpt', weights_only=True)
assert last['epoch'] == 1

clicks = PlantedClicks(num_users=60, num_items=50, num_clicks=900).split()
torch.manual_seed(0)
objective = SoftmaxObjective('batch')
arguments = {'metrics': [Recall(5)], 'monitor': 'recall@5', 'batch_size': 64}
size = clicks.train.num_users, clicks.train.num_items
module = BipartiteModule(
    MF(*size, 8), clicks.train, clicks.valid, objective=objective, **arguments
)
of_clicks = fit(module, folder / 'clicks', max_epochs=2, **quietly)

names = ('epoch', 'ndcg@10', 'auc', 'estimator')
saved = {
    'before': before,
    'best': result.model.state_dict(),
    'last': last['state_dict'],
    'rows': torch.cat(rows),
    'metrics': [{name: epoch[name] for name in names} for epoch in result.history],
    'clicks': of_clicks.model.state_dict(),
    'recall': of_clicks.history[of_clicks.best_epoch]['recall@5'],
}
torch.save(saved, folder / f'rank{module.global_rank}.pt')
