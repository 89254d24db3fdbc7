"""Trains on two processes; each writes what it saw and what it has learned.

Lightning starts the second process with this script's own command line.
"""

import logging
import sys
import warnings
from pathlib import Path

import torch
from training_runs import CLICKS, METRICS, SIZE, load, rows_module, run

from iedr_geo.nn import MF, SoftmaxObjective
from iedr_geo.training import BipartiteModule, InteractionModule

torch.set_num_threads(1)
warnings.filterwarnings('error', '.*sync_dist.*')
logging.getLogger('lightning.pytorch').setLevel(logging.WARNING)
folder = Path(sys.argv[1])
rows = []


class Reader(InteractionModule):
    def training_step(self, batch, batch_idx):
        epoch = torch.full_like(batch.user_id, self.current_epoch)
        columns = (epoch, batch.user_id, batch.item_id, batch.context_id, batch.y.long())
        rows.append(torch.stack(columns).t())
        super().training_step(batch, batch_idx)


for epochs in (1, 2):  # The second epoch is that of a resumed run.
    module = rows_module(Reader, batch_size=32)
    before = {name: tensor.clone() for name, tensor in module.model.state_dict().items()}
    result = run(module, folder / 'run', max_epochs=epochs, resume=True, devices=2)

torch.manual_seed(0)
arguments = {'objective': SoftmaxObjective('batch'), 'metrics': METRICS}
of_clicks = BipartiteModule(
    MF(*SIZE, 8), CLICKS.train, CLICKS.valid, monitor='recall@5', **arguments
)
clicks = run(of_clicks, folder / 'clicks', max_epochs=2, devices=2)

names = ('epoch', 'ndcg@10', 'auc', 'estimator')
saved = {
    'before': before,
    'best': result.model.state_dict(),
    'last': load(folder / 'run')['state_dict'],
    'rows': torch.cat(rows),
    'metrics': [{name: epoch[name] for name in names} for epoch in result.history],
    'clicks': clicks.model.state_dict(),
    'recall': clicks.history[clicks.best_epoch]['recall@5'],
}
torch.save(saved, folder / f'rank{module.global_rank}.pt')
