"""The corpus of planted mistakes: each is found, where and as what it should be, and nothing else is.

mistakes/DOMAIN.yaml lists them. `change` is laid over the `tables` of the domain's mapping. `analysis` is all that 01 then
finds, `validation` all that 04 finds, and `mended` what both still find once the lines that 01 gives are in the mapping
(default: nothing). `refused` is the sentence that ends the matter before it begins.

Mistakes of one `group` do not touch each other and are made together. The default tier takes those groups in which most can
go wrong, the slow tier all of them, and the long one each mistake by itself.
"""

import pytest
import support_mistakes as corpus
from support_flows import Flow

from runbook_lib.errors import Refused
from runbook_lib.mapping.load import load_mapping

MISTAKES = list(corpus.corpus())
FOUND = [(domain, mistake) for domain, mistake in MISTAKES if "refused" not in mistake]
REFUSED = [(domain, mistake) for domain, mistake in MISTAKES if "refused" in mistake]
GROUPS = list(dict.fromkeys((domain, mistake["group"]) for domain, mistake in FOUND))
QUICK = {
    ("library", "forgotten"),
    ("library", "misspelt"),
    ("library", "fields"),
    ("copy", "forgotten"),
    ("split", "names"),
}


@pytest.fixture
def domain(request, moto_world):
    """The source tables of a domain."""
    return corpus.domain(request.param, moto_world)


def check(domain: corpus.Domain, folder, mistakes: list[dict]) -> None:
    """What 01 and 04 find of the mistakes; and what is left of them once the lines that 01 gives are in the mapping."""
    changes = [mistake["change"] for mistake in mistakes]
    lines = corpus.mend(look(domain.flow(folder, *changes), mistakes))
    if lines:
        look(domain.flow(folder, *changes, lines), [*map(corpus.once_mended, mistakes)])


def look(flow: Flow, mistakes: list[dict]) -> dict:
    """Compares all that 01 and 04 find with what they must; gives the analysis."""
    analysis = flow.analyze()
    assert corpus.found_by_analysis(analysis) == corpus.expected(mistakes, "analysis")
    flow.create()
    flow.migrate()
    assert corpus.found_by_validation(flow.validate(), flow) == corpus.expected(mistakes, "validation")
    return analysis


@pytest.mark.parametrize("domain", corpus.DOMAINS, indirect=True)
def test_the_right_mapping_raises_no_alarm(domain, tmp_path):
    """Of attributes that look like ids, of numbers, dates, addresses, codes: not one."""
    look(domain.flow(tmp_path), [])


@pytest.mark.parametrize(
    ("domain", "group"),
    [pytest.param(*one, id="-".join(one), marks=() if one in QUICK else pytest.mark.slow) for one in GROUPS],
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
    assert str(raised.value).endswith(mistake["refused"])
