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


def test_planted_damage_is_found_named_and_counted_and_nothing_else(moto_world, tmp_path):
    """An item each that is gone, strange, or changed in one way; what is the same, spelt otherwise, is no damage."""
    library = corpus.domain("library", moto_world)
    flow = library.flow(tmp_path)
    flow.create()
    flow.migrate()
    damage = corpus.Damage(library, flow)
    members, books, branches = (
        [item["id"] for item in library.items(name)] for name in ("Members", "Books", "Branches")
    )

    damage.delete("Members", 0)
    damage.put("Books", {"id": {"S": "stranger"}})
    damage.edit("Books", 1, title={"S": "another"})
    damage.edit("Books", 2, pages={"N": "1"})
    damage.edit("Books", 3, pages={"S": "139"})
    damage.edit("Books", 4, title=None)
    damage.edit("Books", 5, added={"BOOL": True})
    damage.edit("Loans", 0, lines={"L": []})
    damage.edit("Branches", 0, head={"M": {}})
    # The same, spelt otherwise.
    favourites = damage.item("Members", 1)["favourites"]["SS"]
    damage.edit("Members", 1, favourites={"SS": favourites[::-1]})
    damage.edit("Books", 6, pages={"N": "0178.00"})
    # Ids of the source, and the name of its environment.
    damage.edit("Oddments", 0, note={"S": f"see {members[3]['S']}, please"})
    damage.edit("Oddments", 1, json={"S": f'{{"b": ["{members[4]["S"]}"]}}'})
    damage.edit("Oddments", 2, place={"M": {members[5]["S"]: {"NULL": True}}})
    damage.edit("Oddments", 3, set={"SS": ["a", books[0]["S"]]})
    damage.edit("Books", 7, branchId={"N": branches[0]["N"]})  # one bare number among new ids: only a coincidence
    damage.edit("Oddments", 4, link={"S": f"https://{corpus.SOURCE}.example.com/"})

    found = corpus.found_by_validation(flow.validate(), flow)
    copied = "copied"
    assert found == {
        "missing": 1,
        "different": 13,
        "extra": 1,
        "dangling": found["dangling"],
        "residual": {"Oddments": {"json:json.b[]": 1, "note": 1, "place{keys}": 1, "set[]": 1}},
        "environment": {"Oddments": {"link": 1}},
        "coincidences": {"Books": {"branchId": 1}},
        "groups": sorted(
            [
                ["Books", "", "extra", "", "", "", 1],
                ["Members", "", "missing", "", "", "", 1],
                ["Books", "title", "different", "S", "S", copied, 1],
                ["Books", "pages", "different", "N", "N", copied, 1],
                ["Books", "pages", "different", "N", "S", copied, 1],
                ["Books", "title", "different", "S", "absent", copied, 1],
                ["Books", "added", "different", "absent", "BOOL", copied, 1],
                ["Books", "branchId", "different", "N", "N", "reference branchId", 1],
                ["Branches", "head", "different", "M", "M", "reference head.memberId", 1],
                ["Loans", "lines", "different", "L", "L", "reference lines[].bookId", 1],
                *(["Oddments", name, "different", letter, letter, copied, 1] for name, letter in corpus.EDITED),
            ]
        ),
        "verdict": "FAIL",
    }
    # What pointed at the deleted member points at nothing now.
    assert found["dangling"] == corpus.mentions(library, members[0]["S"])
