"""AssociativeEmbeddingLoss: a naive loop, by property; its plain formula."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.autograd import gradcheck
from torch.utils._python_dispatch import TorchDispatchMode

import registry_losses.losses as losses
from registry_losses.testing.reference.losses import pose

seeds = st.integers(0, 10**6)
few = settings(max_examples=15, deadline=None)


def random(seed, *shape):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@given(
    seed=seeds,
    counts=st.lists(st.integers(0, 4), min_size=1, max_size=3),
    form=st.sampled_from(['openmmlab', 'paper']),
    diagonal=st.booleans(),
)
@few
def test_associative_embedding(seed, counts, form, diagonal):
    k, size = 3, 4
    tags = random(seed, len(counts), k, size, size) * 3
    generator = torch.Generator().manual_seed(seed)
    indices = []
    for n in counts:
        place = torch.randint(0, size * size, (n, k), generator=generator)
        seen = torch.randint(0, 2, (n, k), generator=generator)
        indices.append(torch.stack((place, seen), -1))
    pull = push = 0.0
    for i, part in enumerate(indices):
        means, spread = [], 0.0
        for person in part:
            own = [tags[i, j, y // size, y % size].item() for j, (y, s) in enumerate(person) if s]
            if own:
                mean = sum(own) / len(own)
                means.append(mean)
                square = sum((h - mean) ** 2 for h in own)
                spread += square / len(own) if form == 'openmmlab' else square
        n = len(means)
        if n:
            pull += spread / n
        pairs = [(a, b) for a in range(n) for b in range(n) if diagonal or a != b]
        width = 1.0 if form == 'openmmlab' else 2.0
        near = sum(math.exp(-((means[a] - means[b]) ** 2) / width) for a, b in pairs)
        if form == 'paper' and n:
            push += near / n**2
        elif form == 'openmmlab' and n > 1:
            push += near / (n * (n - 1))
    loss = losses.AssociativeEmbeddingLoss(push_loss_factor=0.5, form=form, diagonal=diagonal)
    got = loss(tags, indices)
    assert got[0].item() == pytest.approx(pull, rel=1e-5, abs=1e-7)
    assert got[1].item() == pytest.approx(0.5 * push, rel=1e-5, abs=1e-7)


def test_embedding_gradcheck():
    tags = random(5, 2, 3, 2, 2).requires_grad_()
    index = torch.tensor([[[0, 1], [1, 1], [2, 1]], [[3, 1], [0, 0], [1, 1]]])
    loss = losses.AssociativeEmbeddingLoss()
    assert gradcheck(lambda v: sum(loss(v, [index, index[:1]])), (tags,))


def test_the_function_equals_the_class():
    tags = random(0, 2, 3, 2, 2) * 3
    index = [torch.tensor([[[0, 1], [1, 1], [2, 0]], [[3, 1], [0, 1], [1, 1]]])] * 2
    loss = losses.AssociativeEmbeddingLoss(loss_weight=2.0, push_loss_factor=0.3, form='paper')
    at = torch.stack([tags[b, [0, 1, 2], :, :].flatten(1) for b in (0, 1)])  # (B, K, H * W)
    joints = torch.cat(
        [at[b, torch.arange(3), person[:, 0]] for b in (0, 1) for person in index[b]]
    )
    person = torch.arange(4).repeat_interleave(3)
    pull, push = losses.associative_embedding(
        joints[:, None],
        person,
        torch.tensor([0, 0, 1, 1]),
        2,
        joint_weight=torch.cat(index)[..., 1].flatten(),
        form='paper',
    )
    torch.testing.assert_close(loss(tags, index)[0], 2 * pull.sum())
    torch.testing.assert_close(loss(tags, index)[1], 2 * 0.3 * push.sum())


def test_equals_the_plain_formula():
    persons = [[0.1, 0.3, 0.2], [1.5, 1.7], [0.9]]
    tags = [tag for tags in persons for tag in tags]
    tags = torch.tensor(tags, dtype=torch.float64)[:, None]
    owner = torch.tensor([0, 0, 0, 1, 1, 2])
    got = losses.associative_embedding(tags, owner, torch.zeros(3, dtype=torch.long), 1)
    want = pose.associative_embedding(persons)
    assert [float(part) for part in got] == pytest.approx(want, rel=1e-5)


def test_five_hundred_persons_an_image_cost_little_memory():
    """Persons are compared within their image: no tensor holds all pairs of the batch."""
    persons, images = 500, 4
    tags = torch.randn(persons * images, 1, generator=torch.Generator().manual_seed(0))
    image = torch.arange(images).repeat_interleave(persons)
    shuffled = torch.randperm(len(image), generator=torch.Generator().manual_seed(1))
    with Largest() as largest:
        tags.requires_grad_()
        _, push = losses.associative_embedding(
            tags[shuffled], torch.arange(len(image)), image[shuffled], images
        )
        push.sum().backward()
    assert largest.numel <= images * persons**2
    gap = (tags.detach().double() - tags.detach().double().T).square()
    near = torch.exp(-gap)
    pairs = persons * (persons - 1)
    want = torch.stack([
        near[i * persons : (i + 1) * persons, i * persons : (i + 1) * persons].sum() / pairs
        for i in range(images)
    ])  # fmt: skip
    torch.testing.assert_close(push.detach().double(), want, rtol=1e-5, atol=0)


class Largest(TorchDispatchMode):
    """Notes the largest tensor that any operation makes."""

    numel = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        made = func(*args, **(kwargs or {}))
        for part in made if isinstance(made, (tuple, list)) else [made]:
            if isinstance(part, torch.Tensor):
                self.numel = max(self.numel, part.numel())
        return made
