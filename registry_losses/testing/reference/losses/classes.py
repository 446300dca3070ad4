"""Losses of classes.

Shapes: R rows, C classes, K columns of a softmax (the classes, and background last).
Letters: x logits, v targets in [0, 1], y labels ``(R,)``, p probabilities.
"""

import torch
from torch import Tensor


def binary_cross_entropy(x: Tensor, v: Tensor, pos_weight: float | Tensor = 1.0) -> Tensor:
    """``(R, C)``; C. Szegedy et al. (2016) smooth v to ``(1 - s) v + s / 2``."""
    p = torch.sigmoid(x)
    return -pos_weight * v * torch.log(p) - (1 - v) * torch.log(1 - p)


def cross_entropy(x: Tensor, y: Tensor) -> Tensor:
    """``(R,)`` of logits ``(R, K)``."""
    p = torch.exp(x) / torch.exp(x).sum(dim=1, keepdim=True)
    return -torch.log(p[torch.arange(len(y)), y])


def focal(
    x: Tensor, v: Tensor, gamma: float | Tensor = 2.0, alpha: float | Tensor = 0.25
) -> Tensor:
    """``(R, C)`` for v of 0 or 1; T.-Y. Lin et al. (2017), equation 5."""
    p = torch.sigmoid(x)
    p_t = torch.where(v == 1, p, 1 - p)
    alpha_t = torch.where(v == 1, alpha, 1 - alpha)
    return -alpha_t * (1 - p_t) ** gamma * torch.log(p_t)


def softmax_focal(x: Tensor, y: Tensor, gamma: float = 2.0, alpha: float = 0.25) -> Tensor:
    """``(R,)``; equation 5 of the focal loss at the probability of the true class."""
    p_y = torch.exp(-cross_entropy(x, y))
    return -alpha * (1 - p_y) ** gamma * torch.log(p_y)


def poly(x: Tensor, v: Tensor, epsilon: float = 1.0, gamma: float = 0.0) -> Tensor:
    """``(R, C)`` for v of 0 or 1; Z. Leng et al. (2022), Poly-1 focal, without a balance."""
    p = torch.sigmoid(x)
    p_t = torch.where(v == 1, p, 1 - p)
    return -((1 - p_t) ** gamma) * torch.log(p_t) + epsilon * (1 - p_t) ** (gamma + 1)


def softmax_poly(x: Tensor, y: Tensor, epsilon: float = 1.0, gamma: float = 0.0) -> Tensor:
    """``(R,)``; Z. Leng et al. (2022), Poly-1 focal, at the probability of the true class."""
    p_y = torch.exp(-cross_entropy(x, y))
    return -((1 - p_y) ** gamma) * torch.log(p_y) + epsilon * (1 - p_y) ** (gamma + 1)


def asymmetric(
    x: Tensor, v: Tensor, gamma_pos: float = 0.0, gamma_neg: float = 4.0, clip: float = 0.05
) -> Tensor:
    """``(R, C)``; T. Ridnik et al., Asymmetric Loss (2021)."""
    p = torch.sigmoid(x)
    p_m = torch.clamp(p - clip, min=0)
    on_positives = -((1 - p) ** gamma_pos) * torch.log(p)
    on_negatives = -(p_m**gamma_neg) * torch.log(1 - p_m)
    return v * on_positives + (1 - v) * on_negatives


def quality_focal(x: Tensor, v: Tensor, beta: float = 2.0) -> Tensor:
    """``(R,)``, summed over the classes; X. Li et al. (2020), equation 2."""
    p = torch.sigmoid(x)
    return (torch.abs(v - p) ** beta * binary_cross_entropy(x, v)).sum(dim=1)


def varifocal(x: Tensor, v: Tensor, alpha: float = 0.75, gamma: float = 2.0) -> Tensor:
    """``(R, C)``, positive where v is above 0; H. Zhang et al., VarifocalNet (2021)."""
    p = torch.sigmoid(x)
    on_positives = v * binary_cross_entropy(x, v)
    on_negatives = -alpha * p**gamma * torch.log(1 - p)
    return torch.where(v > 0, on_positives, on_negatives)


def matchability_aware(x: Tensor, v: Tensor, gamma: float = 1.5) -> Tensor:
    """``(R, C)``, positive where v is above 0; S. Huang et al., DEIM (2024)."""
    p, q = torch.sigmoid(x), v**gamma
    on_positives = -q * torch.log(p) - (1 - q) * torch.log(1 - p)
    on_negatives = -(p**gamma) * torch.log(1 - p)
    return torch.where(v > 0, on_positives, on_negatives)


def equalization_v2(
    x: Tensor, v: Tensor, g: Tensor, mu: float = 0.8, alpha: float = 4.0, gamma: float = 12.0
) -> Tensor:
    """``(R,)``, summed over the classes; J. Tan et al., Equalization Loss v2 (2021).

    ``g``: ``(C,)`` gradients of positives over those of negatives so far.
    """
    f = 1 / (1 + torch.exp(-gamma * (g - mu)))
    p = torch.sigmoid(x)
    on_positives, on_negatives = -torch.log(p), -torch.log(1 - p)
    return ((1 + alpha * (1 - f)) * v * on_positives + f * (1 - v) * on_negatives).sum(dim=1)


def equalized_focal(
    x: Tensor, v: Tensor, g: Tensor, gamma: float = 2.0, scale: float = 8.0, alpha: float = 0.25
) -> Tensor:
    """``(R, C)`` for v of 0 or 1; B. Li et al., Equalized Focal Loss (2022)."""
    focus = gamma + scale * (1 - g)
    return focus / gamma * focal(x, v, focus, alpha)


def gaussian_focal(x: Tensor, v: Tensor, alpha: float = 2.0, gamma: float = 4.0) -> Tensor:
    """``(R, C)``, a peak where v is 1; H. Law and J. Deng (2018), equation 1."""
    p = torch.sigmoid(x)
    on_peaks = -((1 - p) ** alpha) * torch.log(p)
    elsewhere = -((1 - v) ** gamma) * p**alpha * torch.log(1 - p)
    return torch.where(v == 1, on_peaks, elsewhere)


def ghmc(x: Tensor, v: Tensor, bins: int = 10) -> Tensor:
    """``(R, C)``; B. Li et al., GHM-C (2019), over the regions that hold any."""
    gradient = torch.abs(torch.sigmoid(x.detach()) - v)
    region = torch.clamp((gradient * bins).long(), max=bins - 1)
    weight = torch.zeros_like(x)
    for r in range(bins):
        count = (region == r).sum()
        if count > 0:
            weight[region == r] = x.numel() / count / len(torch.unique(region))
    return weight * binary_cross_entropy(x, v)


def dice(p: Tensor, v: Tensor, eps: float = 1e-3) -> Tensor:
    """``(N,)`` of samples ``(N, D)``; F. Milletari et al. (2016), section 3."""
    both, squares = (p * v).sum(dim=1), (p * p).sum(dim=1) + (v * v).sum(dim=1)
    return 1 - 2 * both / (squares + 2 * eps)


def seesaw(x: Tensor, y: Tensor, seen: Tensor, p: float = 0.8, q: float = 2.0) -> Tensor:
    """``(R,)`` of logits ``(R, C)``; J. Wang et al., Seesaw Loss (2021).

    ``seen``: ``(C,)`` rows of each class so far, at least 1.
    """
    score = torch.softmax(x.detach(), dim=1)
    losses = []
    for row, i in enumerate(y.tolist()):
        others = torch.zeros(())
        for j in range(x.shape[1]):
            mitigation = min(1.0, float(seen[j] / seen[i]) ** p)
            compensation = max(1.0, float(score[row, j] / score[row, i])) ** q
            factor = 1.0 if j == i else mitigation * compensation
            others = others + factor * torch.exp(x[row, j])
        losses.append(-torch.log(torch.exp(x[row, i]) / others))
    return torch.stack(losses)


def distribution_focal(x: Tensor, value: Tensor) -> Tensor:
    """``(R,)`` of bins ``(R, n + 1)``, value in [0, n); X. Li et al. (2020), equation 6."""
    row, left = torch.arange(len(value)), value.floor().long()
    log_p = torch.log(torch.softmax(x, dim=1))
    return -((left + 1 - value) * log_p[row, left] + (value - left) * log_p[row, left + 1])
