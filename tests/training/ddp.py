"""Trains on two processes; each writes what it saw and what it has learned.

Lightning starts the second process with this script's own command line.
"""

import logging
import sys
from pathlib import Path

import torch

from iedr_geo.data import CandidateLists
from iedr_geo.datasets import PlantedFactors
from iedr_geo.nn import IEDR
from iedr_geo.training import IEDRModule, fit

torch.set_num_threads(1)
logging.getLogger('lightning.pytorch').setLevel(logging.WARNING)
folder = Path(sys.argv[1])

dataset = PlantedFactors(num_users=20, num_items=12, num_interactions=200)
train, valid, _, _ = dataset.split()
lists = CandidateLists.sample(valid, num_negatives=8)
rows = []


class Reader(IEDRModule):
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
    result = fit(
        module,
        folder / 'run',
        max_epochs=epochs,
        resume=True,
        progress=False,
        accelerator='cpu',
        devices=2,
        strategy='ddp_find_unused_parameters_true',
    )

last = torch.load(folder / 'run' / 'last.ckpt', weights_only=True)
assert last['epoch'] == 1
names = ('epoch', 'ndcg@10', 'auc', 'estimator')
saved = {
    'before': before,
    'best': result.model.state_dict(),
    'last': last['state_dict'],
    'rows': torch.cat(rows),
    'metrics': [{name: epoch[name] for name in names} for epoch in result.history],
}
torch.save(saved, folder / f'rank{module.global_rank}.pt')
