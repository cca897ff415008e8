"""The order of tables: parents before children, by strongly connected component of the references. Pure."""

from collections.abc import Mapping


def levels(parents: Mapping[str, set[str]]) -> dict[str, int]:
    """Each node's level, from 1: one more than the highest level of what it refers to outside its own cycle.

    `parents` gives, per node, the nodes it refers to; names that are not nodes are ignored. Nodes of one cycle share a level.
    """
    component: dict[str, int] = {}
    level: dict[int, int] = {}
    for number, members in enumerate(_components(parents)):
        # Tarjan's algorithm gives a component after all that it reaches, so the parents' levels are known.
        component |= dict.fromkeys(members, number)
        outside = {component[p] for node in members for p in parents[node] if p in parents} - {number}
        level[number] = 1 + max((level[parent] for parent in outside), default=0)
    return {node: level[component[node]] for node in parents}


def _components(parents: Mapping[str, set[str]]) -> list[list[str]]:
    """Strongly connected components, parents first (Tarjan 1972, iterative)."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    on_stack: set[str] = set()
    found: list[list[str]] = []
    for root in parents:
        if root in index:
            continue
        work = [(root, iter(sorted(parents[root])))]
        while work:
            node, children = work[-1]
            if node not in index:
                index[node] = low[node] = len(index)
                stack.append(node)
                on_stack.add(node)
            for child in children:
                if child not in parents:
                    continue
                if child not in index:
                    work.append((child, iter(sorted(parents[child]))))
                    break
                if child in on_stack:
                    low[node] = min(low[node], index[child])
            else:
                work.pop()
                if work:
                    low[work[-1][0]] = min(low[work[-1][0]], low[node])
                if low[node] == index[node]:
                    members = stack[stack.index(node) :]
                    del stack[stack.index(node) :]
                    on_stack.difference_update(members)
                    found.append(members)
    return found
