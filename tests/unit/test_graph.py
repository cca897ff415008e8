"""Levels: parents before children, cycles together."""

from hypothesis import given
from hypothesis import strategies as st

from runbook_lib.mapping.levels import levels

NODES = "abcdefgh"
graphs = st.dictionaries(st.sampled_from(NODES), st.sets(st.sampled_from(NODES), max_size=4), max_size=8)


def reachable(graph, start):
    """What a node refers to, directly or not."""
    found, waiting = set(), list(graph[start])
    while waiting:
        node = waiting.pop()
        if node in graph and node not in found:
            found.add(node)
            waiting += graph[node]
    return found


@given(graphs)
def test_a_node_comes_one_level_after_the_last_of_its_parents(graph):
    """Outside its own cycle; in it all share a level; level 1 refers to nothing outside."""
    result = levels(graph)
    assert result.keys() == graph.keys()
    reach = {node: reachable(graph, node) for node in graph}
    for node in graph:
        cycle = {other for other in reach[node] if node in reach[other]} | {node}
        outside = {parent for member in cycle for parent in graph[member] if parent in graph} - cycle
        assert {result[member] for member in cycle} == {1 + max((result[parent] for parent in outside), default=0)}


@given(graphs.flatmap(lambda graph: st.tuples(st.just(graph), st.permutations(list(graph)))))
def test_levels_do_not_depend_on_the_order_in_which_nodes_are_given(pair):
    """The same mapping in another order has the same levels."""
    graph, order = pair
    assert levels({node: graph[node] for node in order}) == levels(graph)


def test_long_chains_do_not_recurse():
    """A chain of 10,000, and a ring of as many."""
    chain = {str(n): {str(n - 1)} for n in range(10_000)}
    assert levels(chain)["9999"] == 10_000
    ring = chain | {"0": {"9999"}}
    assert set(levels(ring).values()) == {1}
