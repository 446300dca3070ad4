"""Groups of peaks become persons: joined pair by pair, and some joints shared.

Shapes: Q peaks of an image, T pairs.
"""

from dataclasses import dataclass, field

import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components


@dataclass(eq=False)
class Group:
    """Peaks of one person.

    Args:
        peaks: Which.
        kinds: The set of their kinds, as bits.
        strength: Sum of its limbs' scores.
        borrowed: Peaks among them that are first another's.
    """

    peaks: list[int]
    kinds: int
    strength: float = 0.0
    borrowed: list[int] = field(default_factory=list)

    def may_borrow(self) -> bool:
        """One joint for two of its own: a fragment must not become a second body."""
        return 3 * (len(self.borrowed) + 1) <= len(self.peaks) + 1


def join(joint: np.ndarray, a: np.ndarray, b: np.ndarray, mean: np.ndarray) -> list[Group]:
    """Join the chosen pairs, given from the most certain down.

    Peaks that hang together and are all of different kinds are one person in whatever order
    they are joined; only where two are of one kind does the order decide.
    """
    part = _hanging_together(len(joint), a, b)
    num_parts = int(part.max()) + 1 if len(part) else 0
    kinds = int(joint.max()) + 1 if len(joint) else 0
    found = np.bincount(part * kinds + joint, minlength=num_parts * kinds)
    disputed = found.reshape(num_parts, kinds).max(axis=1, initial=0) > 1
    strength = np.bincount(part[a], weights=mean, minlength=num_parts).tolist()
    order = np.argsort(part, kind='stable')
    starts = np.searchsorted(part[order], np.arange(num_parts + 1))
    bits = np.left_shift(np.int64(1), joint)[order]
    masks = np.bitwise_or.reduceat(bits, starts[:-1]).tolist() if num_parts else []
    peaks, ends = order.tolist(), starts.tolist()
    groups = []
    for i in range(num_parts):
        mine = peaks[ends[i] : ends[i + 1]]
        if not disputed[i]:
            groups.append(Group(mine, masks[i], strength[i]))
    if disputed.any():
        rows = disputed[part[a]]
        groups += _join_in_order(disputed[part].nonzero()[0], joint, a[rows], b[rows], mean[rows])
    return groups


def _hanging_together(count: int, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """``(count,)`` which of the parts that pairs connect each peak is in."""
    graph = coo_matrix((np.ones(len(a), np.int8), (a, b)), shape=(count, count))
    return connected_components(graph, directed=False)[1]


def _join_in_order(
    chosen: np.ndarray, joint: np.ndarray, a: np.ndarray, b: np.ndarray, mean: np.ndarray
) -> list[Group]:
    """Pair by pair: two groups become one unless both have a joint of the same kind."""
    groups = {i: Group([i], 1 << int(joint[i])) for i in chosen.tolist()}
    owner = dict(groups)
    for first, second, value in zip(a.tolist(), b.tolist(), mean.tolist()):
        one, other = owner[first], owner[second]
        if one is other:
            one.strength += value
        elif not one.kinds & other.kinds:
            one, other = _unite(one, other, value)
            for peak in other.peaks:
                owner[peak] = one
    return [group for i, group in groups.items() if owner[i] is group]


def _unite(one: Group, other: Group, value: float) -> tuple[Group, Group]:
    """Make two groups one. Returns the one that stays and the one that went."""
    if len(one.peaks) < len(other.peaks):
        one, other = other, one
    one.borrowed += [peak for peak in other.borrowed if peak not in one.peaks]
    one.peaks += [peak for peak in other.peaks if peak not in one.peaks]
    one.kinds |= other.kinds
    one.strength += other.strength + value
    return one, other


def share(
    groups: list[Group], joint: np.ndarray, a: np.ndarray, b: np.ndarray, mean: np.ndarray
) -> list[Group]:
    """Let persons whose joints fell together share one peak.

    Where the knees of two persons meet there is one peak, which the assignment gives to
    one of them; the other would lose its knee and, with it, all that hangs on it. So the
    pairs, given from the most certain down, still join groups that have no joint in common;
    then each group may take one joint that it lacks from another, and so on in turn.
    """
    owners: list[list[Group]] = [[] for _ in joint]
    for group in groups:
        for peak in group.peaks:
            owners[peak].append(group)
    kinds = np.array([mine[0].kinds for mine in owners], np.int64)
    lacks = (kinds[a] >> joint[b] & 1 == 0) | (kinds[b] >> joint[a] & 1 == 0)
    if not lacks.any():
        return groups
    bit = [1 << kind for kind in joint.tolist()]
    both = zip(
        zip(a.tolist(), b.tolist(), mean.tolist()), zip(b.tolist(), a.tolist(), mean.tolist())
    )
    every = [pair for ways in both for pair in ways]  # each from either end
    while True:
        pairs = [p for p in every if any(not g.kinds & bit[p[1]] for g in owners[p[0]])]
        while _unite_apart(pairs, owners, bit):
            pass
        took: set[int] = set()
        for near, far, value in pairs:
            for group in owners[near]:
                lacks = not group.kinds & bit[far] and group.may_borrow()
                if lacks and id(group) not in took:
                    took.add(id(group))
                    group.peaks.append(far)
                    group.borrowed.append(far)
                    group.kinds |= bit[far]
                    group.strength += value
                    owners[far].append(group)
        if not took:
            return list({id(group): group for mine in owners for group in mine}.values())


def _unite_apart(
    pairs: list[tuple[int, int, float]], owners: list[list[Group]], bit: list[int]
) -> bool:
    """Unite groups that a pair joins and that have no joint in common. Whether there were any."""
    changed = False
    for near, far, value in pairs:
        for group in list(owners[near]):
            if group.kinds & bit[far] or not any(group is g for g in owners[near]):
                continue
            other = next((g for g in owners[far] if _fit(g, group)), None)
            if other is None:
                continue
            changed = True
            stays, went = _unite(group, other, value)
            for peak in went.peaks:
                kept = [g for g in owners[peak] if g is not went and g is not stays]
                owners[peak] = [*kept, stays]
    return changed


def _fit(one: Group, other: Group) -> bool:
    """Whether two groups have no two joints of one kind."""
    common = one.kinds & other.kinds
    return not common or len(set(one.peaks) & set(other.peaks)) == bin(common).count('1')
