"""Whether the name of an attribute speaks for an entry: `agentContactId` for Contacts. Pure."""

import re
from collections.abc import Iterable
from difflib import SequenceMatcher

_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+")
_ID_WORDS = frozenset("id no nr num number key ref code fk uuid guid pk sk".split())
_ONLY_IDS = frozenset(("id", "uuid", "guid"))
_MEASURES = frozenset(
    """age amount average avg balance col column cost count day depth discount duration elapsed floor height hour index
    length level limit max min minute month offset page percent percentage point position price priority progress qty
    quantity rank rate rating ratio row score second size sort star status step sum total version volume week weight
    width year""".split()
)
_RATIOS = frozenset(("per", "by", "of"))
_KEYS = frozenset("pk sk key gsi lsi partition sort hash range index".split())
_SHORTEST = 3  # letters of a word that may stand for a longer one, as `cust` for Customers
ALIKE = 0.8  # of two names, one of which is probably misspelt


def words(name: str) -> list[str]:
    """The words of a name in lower case and in the singular: `agentContactIds` → agent, contact, id."""
    return [_singular(word.lower()) for word in _WORD.findall(name)]


def names_a_measure(name: str) -> bool:
    """Whether a name says that its numbers count or measure something: `quantity`, `pageSize`, `productCount`."""
    return any(word in _MEASURES for word in words(name))


def says_id(name: str) -> bool:
    """Whether a name says that ids stand there: `orderId`, `customer_no`."""
    return words(name)[-1:] != [] and words(name)[-1] in _ID_WORDS


def says_only_id(name: str) -> bool:
    """The same without words that say other things, too, such as `key` and `number`."""
    return words(name)[-1:] != [] and words(name)[-1] in _ONLY_IDS


def says_nothing(name: str) -> bool:
    """Whether a name belongs to a key and says nothing of what stands there: `SK`, `GSI1PK`, `sort_key`."""
    return all(word in _KEYS or word.isdigit() for word in words(name))


def means(steps: list[str], entry: str, *, many: bool) -> bool:
    """Whether the names of a path say "an id of this entry": customerId, customer_no, customer.id, parentCustomer.

    `customerCount` and `customerRating` say something else. So does `orders` where it is one value: a number of them;
    `many` says that the path leads into a list.
    """
    given = [(word, at) for at, name in enumerate(steps) for word in words(name)]
    says_id = bool(given) and given[-1][0] in _ID_WORDS
    while given and given[-1][0] in _ID_WORDS:
        given.pop()
    wanted = [word for word in words(entry) if word not in _ID_WORDS]
    if not given or not wanted or not _stands_for(given[-1][0], wanted[-1]):
        return False
    last, at = given[-1]
    if says_id or many:
        return True
    # One value without a word for ids: the entry's own word, not a short form of it, nor what is counted or measured.
    others = {word for word, of in given[:-1] if of == at} - {*wanted}
    is_short = len(wanted[-1]) - len(last) > 1  # one letter more is a plural's: statuses
    name = steps[at].lower()
    return not is_short and not others & (_MEASURES | _RATIOS) and _singular(name) == name


def names_itself(steps: list[str], entry: str) -> bool:
    """Whether the last name says the entry and no more, as `memberNo` of Members: probably a number of its own."""
    said = [word for word in words(steps[-1]) if word not in _ID_WORDS] if steps else []
    return said == [word for word in words(entry) if word not in _ID_WORDS]


def support(names: Iterable[str], entry: str) -> float:
    """How far the names of a path speak for an entry, from 0 to 1: the share of the entry's words that they hold."""
    wanted = [word for word in words(entry) if word not in _ID_WORDS]
    given = [word for name in names for word in words(name) if word not in _ID_WORDS]
    found = [word for word in wanted if any(_stands_for(mine, word) for mine in given)]
    return len(found) / len(wanted) if wanted else 0.0


def alike(name: str, other: str) -> bool:
    """Whether one of two names is probably the other, misspelt."""
    return SequenceMatcher(None, name.lower(), other.lower()).ratio() >= ALIKE


def _stands_for(word: str, other: str) -> bool:
    """Whether a word is another, or a short form of it: `cust` for customer, but not `stationery` for station."""
    return word == other or (len(word) >= _SHORTEST and other.startswith(word))


def _singular(word: str) -> str:
    if word.endswith("ies") and len(word) > 4:
        return f"{word[:-3]}y"
    if word.endswith(("sses", "xes", "ches", "shes")):
        return word[:-2]
    return word[:-1] if word.endswith("s") and not word.endswith(("ss", "us", "is")) and len(word) > 2 else word
