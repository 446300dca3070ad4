"""Associative embedding: tags alike within a person, different between persons.

Shapes: B images, P persons of the batch, J joints of the batch, K joint types, L tag
dimensions, H, W map.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ..errors import DataError, ShapeError
from ..registry import MODELS
from .checks import check_choice, check_flags, check_floating, check_numbers, may_read
from .reduction import in_float

FORMS = ('openmmlab', 'paper')


def associative_embedding(
    tags: Tensor,
    person: Tensor,
    image_of_person: Tensor,
    num_images: int,
    *,
    joint_weight: Tensor | None = None,
    person_weight: Tensor | None = None,
    form: str = 'openmmlab',
    sigma: float | None = None,
    diagonal: bool = True,
    max_persons: int | None = None,
) -> tuple[Tensor, Tensor]:
    """The pull and the push term of each image, two tensors ``(B,)``.

    Of an image with N persons, h the tag of a joint and m_n the mean tag of person n:

    * ``'openmmlab'``: pull ``1/N sum_n mean_k (h_nk - m_n)^2``, push
      ``sum_nn' exp(-(m_n - m_n')^2) / (N (N - 1))``, 0 for one person, summed over L;
    * ``'paper'``: pull ``1/N sum_n sum_k (h_nk - m_n)^2``, push
      ``1/N^2 sum_nn' exp(-(m_n - m_n')^2 / (2 sigma^2))``; A. Newell et al., Associative
      Embedding (2017), the grouping loss.

    The sum over n' holds n itself in both, which makes far apart persons cost 1 and
    1 / N. That adds no gradient; ``diagonal=False`` leaves it out.

    Args:
        tags: ``(J, L)`` tags at the joints.
        person: ``(J,)`` int64 in [0, P), whose joint it is.
        image_of_person: ``(P,)`` int64 in [0, B).
        num_images: B.
        joint_weight: ``(J,)``, 0 for joints that are not visible; a person without
            weight does not exist.
        person_weight: ``(P,)`` how much a person counts; a pair counts by the product.
        form: ``'openmmlab'`` or ``'paper'``.
        sigma: Width of the push term; by default the form's (``sqrt(1/2)`` and 1).
        diagonal: Whether a person is pushed from itself.
        max_persons: At least the most persons of an image, with and without weight; None
            finds it out, which waits for the device. Memory grows with its square for each
            image, not with that of all persons.
    """
    _check_form('associative_embedding', form, sigma)
    check_floating('tags', tags)
    if tags.dim() != 2:
        raise ShapeError(f'tags: expected (J, L), got {tuple(tags.shape)}')
    j, p = tags.shape[:1], image_of_person.shape
    for name, part, shape in (
        ('person', person, j),
        ('joint_weight', joint_weight, j),
        ('image_of_person', image_of_person, p[:1]),
        ('person_weight', person_weight, p),
    ):
        if part is not None and part.shape != shape:
            raise ShapeError(f'{name}: expected {tuple(shape)}, got {tuple(part.shape)}')
    for name, part, count in (
        ('person', person, p[0]),
        ('image_of_person', image_of_person, num_images),
    ):
        if may_read(part) and part.numel() and not 0 <= int(part.min()) <= int(part.max()) < count:
            raise DataError(
                f'{name}: expected 0 to {count - 1}, got {int(part.min())} to {int(part.max())}'
            )
    tags = in_float(tags)
    num_persons, length = image_of_person.shape[0], tags.shape[1]
    joint = tags.new_ones(tags.shape[0]) if joint_weight is None else joint_weight.to(tags.dtype)
    total = tags.new_zeros(num_persons).index_add(0, person, joint)
    exists = (total > 0).to(tags.dtype)
    safe = torch.where(total > 0, total, 1)
    mean = tags.new_zeros(num_persons, length).index_add(0, person, tags * joint[:, None])
    mean = mean / safe[:, None]  # (P, L)
    spread = (tags - mean[person]).square().sum(1) * joint
    pull = tags.new_zeros(num_persons).index_add(0, person, spread)
    if form == 'openmmlab':
        pull = pull / (safe * length)
    weight = exists if person_weight is None else exists * person_weight.to(tags.dtype)
    pull = _per_image(pull * weight, weight, image_of_person, num_images)
    push = _push(mean, weight, image_of_person, num_images, form, sigma, diagonal, max_persons)
    return pull, push


def _check_form(owner: object, form: str, sigma: float | None) -> None:
    check_choice(owner, 'form', form, FORMS)
    if sigma is not None:
        check_numbers(owner, low=0, above=True, sigma=sigma)


def _per_image(value: Tensor, weight: Tensor, image: Tensor, num_images: int) -> Tensor:
    """``(B,)`` sums over the persons of an image, over their weights."""
    zeros = value.new_zeros(num_images)
    count = zeros.index_add(0, image, weight)
    return zeros.index_add(0, image, value) / torch.where(count > 0, count, 1)


def _push(
    mean: Tensor,
    weight: Tensor,
    image: Tensor,
    num_images: int,
    form: str,
    sigma: float | None,
    diagonal: bool,
    room: int | None,
) -> Tensor:
    """``(B,)`` push terms. Only persons of one image are compared: N is the most of an image."""
    if sigma is None:
        sigma = 0.5**0.5 if form == 'openmmlab' else 1.0
    mean, weight = _by_image(mean, weight, image, num_images, room)  # (B, N, L), (B, N)
    gap = (mean[:, :, None] - mean[:, None]).square()  # (B, N, N, L)
    if form == 'openmmlab':
        near = torch.exp(gap * (-0.5 / sigma**2)).sum(-1)
    else:
        near = torch.exp(gap.sum(-1) * (-0.5 / sigma**2))
    total, squares = weight.sum(1), weight.square().sum(1)
    between = total * total - squares  # N (N - 1) for weights of 1
    if not diagonal:
        near = near * (1 - torch.eye(near.shape[1], dtype=near.dtype, device=near.device))
    pushed = torch.einsum('bi,bij,bj->b', weight, near, weight)
    if diagonal and form == 'openmmlab':
        # A person alone in its image has nobody to be pushed from.
        pushed = pushed * (between > 0)
    norm = between + 1e-6 if form == 'openmmlab' else total * total
    return pushed / torch.where(norm > 0, norm, 1)


def _by_image(
    mean: Tensor, weight: Tensor, image: Tensor, num_images: int, room: int | None
) -> tuple[Tensor, Tensor]:
    """The persons of each image, padded by such of no weight: ``(B, N, L)``, ``(B, N)``."""
    count = torch.zeros(num_images, dtype=torch.long, device=image.device)
    count = count.index_add(0, image, torch.ones_like(image))
    if room is None:
        room = int(count.max()) if count.numel() else 0  # sync: the most persons of an image
    image, order = torch.sort(image, stable=True)
    first = count.cumsum(0) - count
    place = image * room + torch.arange(len(image), device=image.device) - first[image]
    means = mean.new_zeros(num_images * room, mean.shape[1])
    means = means.index_copy(0, place, mean[order])
    weights = weight.new_zeros(num_images * room).index_copy(0, place, weight[order])
    return means.view(num_images, room, mean.shape[1]), weights.view(num_images, room)


def _check_list(name: str, parts: object) -> None:
    """Refuse what is no list of tensors."""
    if isinstance(parts, Tensor) and parts.dim() > 0:
        return
    if not isinstance(parts, Sequence) or not all(isinstance(part, Tensor) for part in parts):
        raise ShapeError(f'{name}: expected a tensor for each image, got {parts!r}')


def _check_indices(parts: Sequence[Tensor] | Tensor, channels: int, size: int) -> int:
    """K, once the indices of each image are ``(N, K, 2)`` of places within its maps."""
    k = parts[0].shape[1] if parts[0].dim() == 3 else 0
    for part in parts:
        if part.dim() != 3 or part.shape[1:] != (k, 2) or part.is_floating_point():
            raise ShapeError(
                f'keypoint_indices: expected int (N, {k or "K"}, 2) for each image, got '
                f'{part.dtype} {tuple(part.shape)}'
            )
        place = part[..., 0]
        if may_read(place) and place.numel():
            low, high = int(place.min()), int(place.max())
            if low < 0 or high >= k * size:
                raise DataError(
                    f'keypoint_indices: expected places from 0 to {k * size - 1} (K H W - 1), got '
                    f'{low} to {high}'
                )
    if k == 0 or channels % k:
        raise ShapeError(f'tags: expected a multiple of K = {k} channels, got {channels}')
    return k


@MODELS.register_module()
class AssociativeEmbeddingLoss(nn.Module):
    """:func:`associative_embedding` of tag maps, summed over the images of a batch.

    A head gives the tags at its joints to :meth:`grouped`; :meth:`forward` takes whole
    maps, as in MMPose; MMDetection's loss of this name is CornerNet's, of matched corners,
    with other arguments.

    Plain formula: ``associative_embedding`` in ``testing/reference/losses/pose.py``.

    Args:
        loss_weight: Both terms are multiplied by it.
        push_loss_factor: The push term is multiplied by it too.
        form: ``'openmmlab'`` or ``'paper'``.
        sigma: Width of the push term; the form's by default.
        diagonal: Whether a person is pushed from itself, which costs but moves nothing.
    """

    kinds = ('embedding',)
    kind = 'embedding'
    activation = 'identity'

    def __init__(
        self,
        loss_weight: float = 1.0,
        push_loss_factor: float = 0.5,
        *,
        form: str = 'openmmlab',
        sigma: float | None = None,
        diagonal: bool = True,
    ) -> None:
        super().__init__()
        _check_form(self, form, sigma)
        check_numbers(self, low=0, loss_weight=loss_weight, push_loss_factor=push_loss_factor)
        check_flags(self, diagonal=diagonal)
        self.loss_weight = loss_weight
        self.push_loss_factor = push_loss_factor
        self.form = form
        self.sigma = sigma
        self.diagonal = diagonal

    def forward(
        self,
        tags: Tensor,
        keypoint_indices: Sequence[Tensor] | Tensor,
        person_weights: Sequence[Tensor] | None = None,
    ) -> tuple[Tensor, Tensor]:
        """The pull and the push term.

        Args:
            tags: ``(B, L * K, H, W)``.
            keypoint_indices: For each image ``(N, K, 2)`` int64: the place of a person's
                joint in the flattened map, ``y W + x`` or that plus ``k H W``, and whether
                it is visible.
            person_weights: For each image ``(N,)``.
        """
        check_floating('tags', tags)
        _check_list('keypoint_indices', keypoint_indices)
        if tags.dim() != 4 or len(keypoint_indices) != tags.shape[0]:
            raise ShapeError(
                'tags and keypoint_indices: expected (B, L * K, H, W) and B tensors, got '
                f'{tuple(tags.shape)} and {len(keypoint_indices)}'
            )
        b, channels, h, w = tags.shape
        if b == 0:
            return tags.sum(), tags.sum()
        k = _check_indices(keypoint_indices, channels, h * w)
        index = torch.cat(list(keypoint_indices))
        counts = [part.shape[0] for part in keypoint_indices]
        p = index.shape[0]
        images = torch.arange(len(counts)).repeat_interleave(torch.tensor(counts))
        images = images.to(tags.device)
        place = index[..., 0] % (h * w)  # with or without the offset of the joint's map
        joint = torch.arange(k, device=tags.device)
        maps = tags.reshape(b, channels // k, k, h * w)
        at = maps[images[:, None], :, joint[None], place]  # (P, K, L)
        weights = None
        if person_weights is not None:
            _check_list('person_weights', person_weights)
            weights = torch.cat(list(person_weights))
        return self.grouped(
            at.reshape(p * k, channels // k),
            torch.arange(p, device=tags.device).repeat_interleave(k),
            images,
            b,
            joint_weight=index[..., 1].reshape(-1),
            person_weight=weights,
            max_persons=max(counts),
        )

    def grouped(
        self,
        tags: Tensor,
        person: Tensor,
        image_of_person: Tensor,
        num_images: int,
        *,
        joint_weight: Tensor | None = None,
        person_weight: Tensor | None = None,
        max_persons: int | None = None,
    ) -> tuple[Tensor, Tensor]:
        """The pull and the push term of tags at joints; see :func:`associative_embedding`."""
        with torch.autocast(tags.device.type, enabled=False):
            pull, push = associative_embedding(
                tags,
                person,
                image_of_person,
                num_images,
                joint_weight=joint_weight,
                person_weight=person_weight,
                form=self.form,
                sigma=self.sigma,
                diagonal=self.diagonal,
                max_persons=max_persons,
            )
        return (
            self.loss_weight * pull.sum(),
            self.loss_weight * self.push_loss_factor * push.sum(),
        )
