"""Losses of a difference ``d = pred - target``, element by element."""

import math

import torch
from torch import Tensor


def l1(d: Tensor) -> Tensor:
    """The absolute difference."""
    return torch.abs(d)


def mse(d: Tensor) -> Tensor:
    """The squared difference, of keypoint heatmaps and part affinity fields too."""
    return d * d


def l2(pred: Tensor, target: Tensor) -> Tensor:
    """MMDetection's L2Loss of similarities, without margins: the square within [0, 1]."""
    return (torch.clamp(pred, 0, 1) - target) ** 2


def smooth_l1(d: Tensor, beta: float = 1.0) -> Tensor:
    """R. Girshick (2015), equation 3, with the parabola up to beta."""
    return torch.where(torch.abs(d) < beta, d * d / (2 * beta), torch.abs(d) - beta / 2)


def balanced_l1(d: Tensor, beta: float = 1.0, alpha: float = 0.5, gamma: float = 1.5) -> Tensor:
    """J. Pang et al. (2019), equations 7 to 9; continuous at beta."""
    d = torch.abs(d)
    b = math.exp(gamma / alpha) - 1
    near = alpha / b * (b * d + 1) * torch.log(b * d / beta + 1) - alpha * d
    far = gamma * d + gamma / b - alpha * beta
    return torch.where(d < beta, near, far)


def ghmr(d: Tensor, mu: float = 0.02, bins: int = 10) -> Tensor:
    """B. Li et al., GHM-R (2019), over the regions that hold any."""
    root = torch.sqrt(d * d + mu * mu)
    gradient = torch.abs(d.detach() / root.detach())
    region = torch.clamp((gradient * bins).long(), max=bins - 1)
    weight = torch.zeros_like(d)
    for r in range(bins):
        count = (region == r).sum()
        if count > 0:
            weight[region == r] = d.numel() / count / len(torch.unique(region))
    return weight * (root - mu)


def adaptive_wing(
    pred: Tensor,
    target: Tensor,
    alpha: float = 2.1,
    omega: float = 14.0,
    epsilon: float = 1.0,
    theta: float = 0.5,
) -> Tensor:
    """X. Wang et al., Adaptive Wing Loss (2019)."""
    d, power = torch.abs(target - pred), alpha - target
    at_theta = (theta / epsilon) ** power
    slope = omega / (1 + at_theta) * power * (theta / epsilon) ** (power - 1) / epsilon
    curve = omega * torch.log(1 + (d / epsilon) ** power)
    line = slope * d - (theta * slope - omega * torch.log(1 + at_theta))
    return torch.where(d < theta, curve, line)


def ohkm(pred: Tensor, target: Tensor, topk: int = 8) -> Tensor:
    """``(B,)`` of maps ``(B, K, H, W)``: the worst keypoints; Y. Chen et al. (2018)."""
    by_keypoint = ((pred - target) ** 2).mean(dim=(2, 3))
    return torch.sort(by_keypoint, dim=1, descending=True).values[:, :topk].mean(dim=1)
