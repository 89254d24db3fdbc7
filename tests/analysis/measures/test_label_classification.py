"""What a perceptron reads of labels from vectors that hold known ones."""

import pytest
import torch
from sklearn.metrics import precision_recall_fscore_support
from sklearn.neural_network import MLPClassifier

from iedr_geo.analysis import label_classification

I, C = 150, 4  # noqa: E741


def draw():
    """Labels, of which some items have none, and vectors that hold two of them."""
    labels = torch.rand(I, C) < 0.4
    labels[::10] = False
    held = labels.double()
    held[:, 2:] = 0
    return 3 * held @ torch.randn(C, 6).double() + torch.randn(I, 6).double(), labels


@pytest.mark.filterwarnings('ignore::sklearn.exceptions.ConvergenceWarning')
def test_equals_scikit_learn(device):
    x, labels = draw()
    known, some = torch.arange(I) % 3 > 0, labels.any(1)
    model = MLPClassifier(random_state=7).fit(x[known & some], labels[known & some])
    left = ~known & some
    expected = precision_recall_fscore_support(
        labels[left], model.predict(x[left]), average='micro'
    )
    tensors = (t.to(device) for t in (x, labels, known))
    found = label_classification(*tensors, seed=7)
    assert found == pytest.approx((expected[1], expected[0], expected[2]))
    assert 0.5 < found.micro_f1 < 0.95  # Half of the labels are not to be read.
    x[~some] = 1e6  # Items without labels have no say.
    assert label_classification(x, labels, known, 7) == found


def test_default_draw_and_nothing_predicted():
    x, labels = draw()
    one, again, other = (label_classification(x, labels, seed=s) for s in (1, 1, 2))
    assert one == again != other
    rare = torch.zeros(I, 60).bool()  # Each label but a few times.
    rare[torch.arange(I), torch.arange(I) % 60] = True
    assert label_classification(0 * x, rare) == (0, 0, 0)


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        ({'x': torch.ones(I)}, r'got shapes \(150,\), \(150, 4\), \(150,\)'),
        ({'x': torch.ones(2, 3)}, r'got shapes \(2, 3\)'),
        ({'known': torch.ones(3).bool()}, r'\(3,\)\)$'),
        ({'x': torch.full((I, 2), torch.nan)}, 'not finite'),
        ({'known': torch.ones(I).bool()}, r'got 4 labels, \d+ and 0 items'),
        ({'known': torch.zeros(I).bool()}, r'got 4 labels, 0 and \d+ items'),
        ({'labels': torch.ones(I, 1).bool()}, 'must be two labels'),
    ],
)
def test_bad_arguments(change, message):
    x, labels = draw()
    arguments = {'x': x, 'labels': labels, 'known': torch.arange(I) > 20, **change}
    with pytest.raises(ValueError, match=message):
        label_classification(**arguments)
