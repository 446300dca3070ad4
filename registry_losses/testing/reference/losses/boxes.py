"""Losses of boxes by their overlap. Boxes are ``(K, 4)``, xyxy, of positive size.

``p`` is the prediction, ``t`` the target; every function gives ``(K,)``.
"""

import math

import torch
from torch import Tensor


def _sides(box: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Centre x and y, width and height."""
    x1, y1, x2, y2 = box.unbind(1)
    return (x1 + x2) / 2, (y1 + y2) / 2, x2 - x1, y2 - y1


def _overlap(p: Tensor, t: Tensor) -> Tensor:
    """Area of the intersection."""
    width = torch.minimum(p[:, 2], t[:, 2]) - torch.maximum(p[:, 0], t[:, 0])
    height = torch.minimum(p[:, 3], t[:, 3]) - torch.maximum(p[:, 1], t[:, 1])
    return torch.clamp(width, min=0) * torch.clamp(height, min=0)


def _union(p: Tensor, t: Tensor) -> Tensor:
    """Area of the union."""
    (_, _, pw, ph), (_, _, tw, th) = _sides(p), _sides(t)
    return pw * ph + tw * th - _overlap(p, t)


def _hull(p: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
    """Width and height of the smallest box around both."""
    width = torch.maximum(p[:, 2], t[:, 2]) - torch.minimum(p[:, 0], t[:, 0])
    height = torch.maximum(p[:, 3], t[:, 3]) - torch.minimum(p[:, 1], t[:, 1])
    return width, height


def _centre_share(p: Tensor, t: Tensor) -> Tensor:
    """Squared distance of the centres over the squared diagonal of the hull."""
    (px, py, _, _), (tx, ty, _, _) = _sides(p), _sides(t)
    width, height = _hull(p, t)
    return ((px - tx) ** 2 + (py - ty) ** 2) / (width**2 + height**2)


def intersection_over_union(p: Tensor, t: Tensor) -> Tensor:
    """The IoU."""
    return _overlap(p, t) / _union(p, t)


def iou(p: Tensor, t: Tensor, mode: str = 'log') -> Tensor:
    """J. Yu et al., UnitBox (2016) (log)."""
    value = intersection_over_union(p, t)
    return {'log': -torch.log(value), 'linear': 1 - value, 'square': 1 - value**2}[mode]


def giou(p: Tensor, t: Tensor) -> Tensor:
    """H. Rezatofighi et al. (2019), algorithm 1."""
    width, height = _hull(p, t)
    hull = width * height
    return 1 - intersection_over_union(p, t) + (hull - _union(p, t)) / hull


def diou(p: Tensor, t: Tensor) -> Tensor:
    """Z. Zheng et al., Distance-IoU Loss (2020)."""
    return 1 - intersection_over_union(p, t) + _centre_share(p, t)


def ciou(p: Tensor, t: Tensor, threshold: float | None = 0.5) -> Tensor:
    """Z. Zheng et al. (2020), the CIoU loss; alpha is a constant to gradients."""
    (_, _, pw, ph), (_, _, tw, th) = _sides(p), _sides(t)
    value = intersection_over_union(p, t)
    v = 4 / math.pi**2 * (torch.atan(tw / th) - torch.atan(pw / ph)) ** 2
    alpha = (v / (1 - value + v)).detach()
    if threshold is not None:
        alpha = alpha * (value > threshold)
    return diou(p, t) + alpha * v


def extended_iou(p: Tensor, t: Tensor, smooth_point: float = 0.1) -> Tensor:
    """H. Peng and S. Yu (2021): the intersection goes on below 0."""
    left, top = torch.minimum(p[:, 0], t[:, 0]), torch.minimum(p[:, 1], t[:, 1])
    x1, y1 = torch.maximum(p[:, 0], t[:, 0]) - left, torch.maximum(p[:, 1], t[:, 1]) - top
    x2, y2 = torch.minimum(p[:, 2], t[:, 2]) - left, torch.minimum(p[:, 3], t[:, 3]) - top
    low_x, high_x = torch.minimum(x1, x2), torch.maximum(x1, x2)
    low_y, high_y = torch.minimum(y1, y2), torch.maximum(y1, y2)
    overlap = x2 * y2 + low_x * low_y - x1 * high_y - high_x * y1
    (_, _, pw, ph), (_, _, tw, th) = _sides(p), _sides(t)
    loss = 1 - overlap / (pw * ph + tw * th - overlap)
    near = loss**2 / (2 * smooth_point)
    return torch.where(loss < smooth_point, near, loss - smooth_point / 2)


def efficient_iou(p: Tensor, t: Tensor) -> Tensor:
    """Y.-F. Zhang et al. (2022), the EIoU loss."""
    (_, _, pw, ph), (_, _, tw, th) = _sides(p), _sides(t)
    width, height = _hull(p, t)
    return diou(p, t) + (pw - tw) ** 2 / width**2 + (ph - th) ** 2 / height**2


def siou(p: Tensor, t: Tensor, sign: float = -1.0, theta: float = 4.0) -> Tensor:
    """Z. Gevorgyan, SIoU Loss (2022); the paper's sign is -1."""
    (px, py, pw, ph), (tx, ty, tw, th) = _sides(p), _sides(t)
    dx, dy = torch.abs(tx - px), torch.abs(ty - py)
    width, height = _hull(p, t)
    sine = dy / torch.sqrt(dx**2 + dy**2)
    angle = 1 - 2 * torch.sin(torch.arcsin(sine) - math.pi / 4) ** 2
    gamma = 2 - angle
    distance = 2 - sum(
        torch.exp(sign * gamma * (d / side) ** 2) for d, side in ((dx, width), (dy, height))
    )
    shape = sum(
        (1 - torch.exp(-torch.abs(a - b) / torch.maximum(a, b))) ** theta
        for a, b in ((pw, tw), (ph, th))
    )
    return 1 - intersection_over_union(p, t) + (distance + shape) / 2


def nwd(p: Tensor, t: Tensor, constant: float = 12.8, mode: str = 'linear') -> Tensor:
    """J. Wang et al., Normalized Gaussian Wasserstein Distance (2021)."""
    (px, py, pw, ph), (tx, ty, tw, th) = _sides(p), _sides(t)
    squared = (px - tx) ** 2 + (py - ty) ** 2 + ((pw - tw) ** 2 + (ph - th) ** 2) / 4
    distance = torch.sqrt(squared) / constant
    return 1 - torch.exp(-distance) if mode == 'linear' else distance


def bounded_iou(p: Tensor, t: Tensor, beta: float = 0.2) -> Tensor:
    """``(K, 4)`` of x, y, w, h; L. Tychsen-Smith and L. Petersson, bounded IoU (2018)."""
    (px, py, pw, ph), (tx, ty, tw, th) = _sides(p), _sides(t)
    bounds = [
        torch.clamp((side - 2 * torch.abs(d)) / (side + 2 * torch.abs(d)), min=0)
        for d, side in ((px - tx, tw), (py - ty, th))
    ]
    bounds += [torch.minimum(a / b, b / a) for a, b in ((pw, tw), (ph, th))]
    loss = 1 - torch.stack(bounds, dim=1)
    return torch.where(loss < beta, loss**2 / (2 * beta), loss - beta / 2)


def alpha_iou(p: Tensor, t: Tensor, alpha: float = 3.0) -> Tensor:
    """alpha-CIoU: J. He et al. (2021); the weight of v is a constant to gradients."""
    (_, _, pw, ph), (_, _, tw, th) = _sides(p), _sides(t)
    value = intersection_over_union(p, t)
    v = 4 / math.pi**2 * (torch.atan(tw / th) - torch.atan(pw / ph)) ** 2
    beta = (v / (1 - value + v)).detach()
    return 1 - value**alpha + _centre_share(p, t) ** alpha + (beta * v) ** alpha


def mpdiou(p: Tensor, t: Tensor, image_size: tuple[float, float] = (640, 640)) -> Tensor:
    """S. Ma and Y. Xu, MPDIoU (2023)."""
    diagonal = image_size[0] ** 2 + image_size[1] ** 2
    upper_left = (p[:, 0] - t[:, 0]) ** 2 + (p[:, 1] - t[:, 1]) ** 2
    lower_right = (p[:, 2] - t[:, 2]) ** 2 + (p[:, 3] - t[:, 3]) ** 2
    return 1 - (intersection_over_union(p, t) - upper_left / diagonal - lower_right / diagonal)


def inner_iou(p: Tensor, t: Tensor, ratio: float = 0.7) -> Tensor:
    """Inner-CIoU: H. Zhang et al. (2023)."""
    inner = []
    for box in (p, t):
        x, y, w, h = _sides(box)
        w, h = ratio * w, ratio * h
        inner.append(torch.stack((x - w / 2, y - h / 2, x + w / 2, y + h / 2), dim=1))
    return ciou(p, t) + intersection_over_union(p, t) - intersection_over_union(*inner)


def shape_iou(p: Tensor, t: Tensor, scale: float = 0.0, theta: float = 4.0) -> Tensor:
    """H. Zhang and S. Zhang, Shape-IoU (2023)."""
    (px, py, pw, ph), (tx, ty, tw, th) = _sides(p), _sides(t)
    width, height = _hull(p, t)
    diagonal = width**2 + height**2
    ww = 2 * tw**scale / (tw**scale + th**scale)
    hh = 2 * th**scale / (tw**scale + th**scale)
    distance = hh * (px - tx) ** 2 / diagonal + ww * (py - ty) ** 2 / diagonal
    omega_w = hh * torch.abs(pw - tw) / torch.maximum(pw, tw)
    omega_h = ww * torch.abs(ph - th) / torch.maximum(ph, th)
    shape = (1 - torch.exp(-omega_w)) ** theta + (1 - torch.exp(-omega_h)) ** theta
    return 1 - intersection_over_union(p, t) + distance + 0.5 * shape


def focal_eiou(p: Tensor, t: Tensor, gamma: float = 0.5) -> Tensor:
    """Y.-F. Zhang et al. (2022), focal EIoU; the factor is a constant to gradients."""
    return intersection_over_union(p, t).detach() ** gamma * efficient_iou(p, t)


def powerful_iou(p: Tensor, t: Tensor, focus: float = 1.3) -> Tensor:
    """PIoU v2: C. Liu et al. (2024), its factor without a gradient."""
    _, _, tw, th = _sides(t)
    dx = torch.abs(p[:, 0] - t[:, 0]) + torch.abs(p[:, 2] - t[:, 2])
    dy = torch.abs(p[:, 1] - t[:, 1]) + torch.abs(p[:, 3] - t[:, 3])
    gap = (dx / tw + dy / th) / 4
    attention = focus * torch.exp(-gap.detach())
    piou = 1 - intersection_over_union(p, t) + 1 - torch.exp(-(gap**2))
    return 3 * attention * torch.exp(-(attention**2)) * piou


def wise_iou(
    p: Tensor, t: Tensor, mean: float = 1.0, alpha: float = 1.9, delta: float = 3.0
) -> Tensor:
    """Version 3: Z. Tong et al., Wise-IoU (2023), with its constants to gradients."""
    (px, py, _, _), (tx, ty, _, _) = _sides(p), _sides(t)
    width, height = (side.detach() for side in _hull(p, t))
    attention = torch.exp(((px - tx) ** 2 + (py - ty) ** 2) / (width**2 + height**2))
    loss = 1 - intersection_over_union(p, t)
    beta = loss.detach() / mean
    return beta / (delta * alpha ** (beta - delta)) * attention * loss
