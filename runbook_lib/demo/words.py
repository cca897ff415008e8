"""Invented people, places and companies for the demo data, and Python values as DynamoDB ones. Pure, seeded.

No real person is meant: mail addresses end in example.com, telephone numbers start with +1-555.
"""

import base64
import random
import uuid
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import yaml

from ..values import canonical_number

Item = dict[str, dict]
START = datetime(2025, 1, 6, 8, 0, tzinfo=UTC)


def read_words(file: str) -> dict[str, list[str]]:
    """The lists of words in a YAML file of this package, by name. Read-only."""
    text = Path(__file__).with_name(file).read_text(encoding="utf-8")
    return {name: words.split() for name, words in yaml.safe_load(text).items()}


LISTS = read_words("words.yaml")


def typed(value) -> dict:
    """The typed value of a Python value at every depth: str becomes S, a number N, bytes B, and so on."""
    if value is None:
        return {"NULL": True}
    if isinstance(value, bool):
        return {"BOOL": value}
    if isinstance(value, int | float | Decimal):
        return {"N": canonical_number(str(value))}
    if isinstance(value, bytes):
        return {"B": base64.b64encode(value).decode()}
    if isinstance(value, set):
        members = [typed(member) for member in value]
        (letter,) = {name for member in members for name in member}
        return {letter + "S": sorted(member[letter] for member in members)}
    if isinstance(value, list):
        return {"L": [typed(member) for member in value]}
    if isinstance(value, dict):
        return {"M": {name: typed(member) for name, member in value.items()}}
    return {"S": value}


def typed_item(attributes: dict) -> Item:
    """The wire item of a dict of Python values."""
    return {name: typed(value) for name, value in attributes.items()}


class Words:
    """Random words about one invented person; the same seed text gives the same words in the same order."""

    def __init__(self, seed: str):
        self.random = random.Random(seed)
        self.pick = self.random.choice
        self.number = self.random.randint
        self.first, self.last = self.one("first"), self.one("last")
        self.company = f"{self.one('company')} {self.one('trade')}"
        self.city, self.state = self.one("city"), self.one("state")
        self.house = f"{self.number(1, 980)} {self.one('street')} {self.one('way')}"
        self.zip = f"{self.number(90000, 97999)}"

    def one(self, name: str) -> str:
        """One word of the list of this name."""
        return self.pick(LISTS[name])

    def chance(self, probability: float) -> bool:
        """True with this probability."""
        return self.random.random() < probability

    def uuid(self) -> str:
        """A random version 4 UUID as text."""
        return str(uuid.UUID(int=self.random.getrandbits(128), version=4))

    def email(self) -> str:
        """A mail address of this person."""
        plain = f"{self.first}.{self.last}".lower().replace("'", "").encode("ascii", "ignore").decode()
        return f"{plain}{self.number(1, 99)}@example.com"

    def phone(self) -> str:
        """A telephone number that nobody has."""
        return f"+1-555-{self.number(100, 999)}-{self.number(0, 9999):04}"

    def decimal(self, low: int, high: int, places: int = 2) -> Decimal:
        """A number with up to `places` decimals."""
        return Decimal(self.number(low * 10**places, high * 10**places)).scaleb(-places)

    def time(self, days: int = 240) -> str:
        """A UTC time within so many days of the demo's start, as ISO 8601 text."""
        moment = START + timedelta(seconds=self.number(0, days * 86_400), milliseconds=self.number(0, 999))
        return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")

    def phrase(self) -> str:
        """Three words."""
        return f"{self.one('verb')} {self.one('adjective')} {self.one('noun')}"

    def sentence(self) -> str:
        """One sentence."""
        return f"{self.first} asked to {self.phrase()} at {self.house}, {self.city}."
