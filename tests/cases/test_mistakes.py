"""The corpus of planted mistakes: each is found, where and as what it should be, and nothing else is.

mistakes/DOMAIN.yaml lists them. `change` is laid over the `tables` of the domain's mapping. `analysis` is all that 01 then
finds, `validation` all that 04 finds, and `mended` what both still find once the lines that 01 gives are in the mapping
(default: nothing). `refused` is the sentence that ends the matter before it begins.

In whole-DOMAIN.yaml they are made in all of the demo's data. That the right mapping raises no alarm stands in `test_damages.py`.

Mistakes of one `group` do not touch each other and are made together. The default tier takes those groups in which most can
go wrong, the slow tier all of them, and the long one each mistake by itself.
"""

import functools

import engines
import pytest
import support_mistakes as corpus
import support_worlds as worlds

from runbook_lib.errors import Refused
from runbook_lib.mapping.file.load import load_mapping

MISTAKES = list(corpus.corpus())
FOUND = [(domain, mistake) for domain, mistake in MISTAKES if "refused" not in mistake]
REFUSED = [(domain, mistake) for domain, mistake in MISTAKES if "refused" in mistake]
GROUPS = list(dict.fromkeys((domain, mistake["group"]) for domain, mistake in FOUND))
IN_WHOLE = [
    (name, group) for name in corpus.WHOLE for group in dict.fromkeys(m["group"] for m in corpus.mistakes_in(name))
]
QUICK = {
    ("library", "misspelt"),
    ("copy", "forgotten"),
    ("split", "names"),
}


@pytest.fixture
def domain(request, moto_world):
    """The source tables of a domain."""
    return corpus.domain(request.param, moto_world)


@pytest.fixture(scope="module")
def whole():
    """A function that gives a domain of the demo's whole data, filled once: no migration changes its source."""
    with engines.running("moto") as engine:
        yield functools.cache(lambda name: corpus.domain(name, worlds.World(engine)))


def check(domain: corpus.Domain, folder, mistakes: list[dict]) -> None:
    """What 01 and 04 find of the mistakes; and what is left of them once the lines that 01 gives are in the mapping."""
    changes = [mistake["change"] for mistake in mistakes]
    lines = corpus.mend(corpus.look(domain.flow(folder, *changes), mistakes), changes)
    if lines:
        corpus.look(domain.flow(folder, *changes, lines), [*map(corpus.once_mended, mistakes)])


@pytest.mark.parametrize(
    ("domain", "group"),
    [
        pytest.param(
            *one, id="-".join(one), marks=() if one in QUICK else pytest.mark.slow if n % 2 else pytest.mark.long
        )
        for n, one in enumerate(GROUPS)
    ],
    indirect=["domain"],
)
def test_mistakes_are_found_and_nothing_else(domain, group, tmp_path):
    """All of a group at once."""
    check(domain, tmp_path, [m for name, m in FOUND if (name, m["group"]) == (domain.name, group)])


@pytest.mark.long
@pytest.mark.parametrize(
    ("domain", "mistake"), FOUND, indirect=["domain"], ids=[f"{d}-{m['group']}-{m['name']}" for d, m in FOUND]
)
def test_each_mistake_is_found_and_nothing_else(domain, mistake, tmp_path):
    """Each by itself."""
    check(domain, tmp_path, [mistake])


@pytest.mark.parametrize(
    ("domain", "mistake"), REFUSED, indirect=["domain"], ids=[f"{d}-{m['name']}" for d, m in REFUSED]
)
def test_what_cannot_be_is_refused_in_a_sentence(domain, mistake, tmp_path):
    """Before anything is read."""
    with pytest.raises(Refused) as raised:
        load_mapping(domain.flow(tmp_path, mistake["change"]).parameters)
    assert any(line.endswith(mistake["refused"]) for line in str(raised.value).splitlines())


@pytest.mark.parametrize(
    ("name", "group"),
    [pytest.param(*one, id="-".join(one), marks=pytest.mark.long) for one in IN_WHOLE],
)
def test_mistakes_are_found_in_the_whole_of_the_demos_data(whole, name, group, tmp_path):
    """Among all that the data themselves hold, which alone is found where the mapping is right; and 01 gives the lines."""
    domain = whole(name)
    mistakes = [one for one in corpus.mistakes_in(name) if one["group"] in ("data", group)]
    changes = [one["change"] for one in mistakes]
    flow = domain.flow(tmp_path, *changes)
    domain.settle(flow)
    analysis = corpus.look(flow, mistakes)
    if group != "data" and (lines := corpus.mend(analysis, changes)):
        mended = domain.flow(tmp_path, *changes, lines).analyze()
        assert corpus.found_by_analysis(mended) == corpus.expected(map(corpus.once_mended, mistakes), "analysis")
