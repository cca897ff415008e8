"""The worked example, a shop in a single table, from 00 to 05 on every engine and through the AWS-shaped endpoint.

The tables are read and understood by this file's own code: who bought what, without any id, must be the same before and after.
"""

import json
import time
from collections import defaultdict
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path

import aws_shaped
import pytest
import support_worlds as worlds
from support_flows import HURRIED, Flow

from runbook_lib.demo.data import EXPECTED, shop_source
from runbook_lib.dynamo import tables
from runbook_lib.parameters import load_parameters
from runbook_lib.stages.draft.draft import Sources, draft, write_mapping
from runbook_lib.stages.draft.survey import open_sources
from runbook_lib.verdict import PASS

PARAMETERS = Path(__file__).resolve().parents[2] / "parameters"
NEW = {"copy": ("shop",), "split": ("customers", "orders", "order-lines", "products")}
OPEN = ("missing", "different", "extra", "dangling")


def value(typed):
    """A typed value as plain Python; numbers stay text."""
    ((letter, content),) = typed.items()
    if letter == "M":
        return {name: value(one) for name, one in content.items()}
    return [value(one) for one in content] if letter == "L" else content


def tail(text):
    """The last part of a key."""
    return text.rpartition("#")[2]


class Shop:
    """What a shop's tables say, by id; `deeds` says it without ids."""

    def __init__(self):
        self.people, self.goods, self.orders, self.lines, self.carts = {}, {}, {}, [], []

    @classmethod
    def of_single_table(cls, items):
        """As the shop's application reads its one table."""
        shop = cls()
        for item in [{name: value(one) for name, one in item.items()} for item in items]:
            kind, _, owner = item["PK"].partition("#")
            if kind == "PRODUCT":
                assert item["SK"] == item["PK"]
                shop.goods[owner] = item["title"].strip().lower(), item["price"], item["stock"], item["tags"]
            elif kind == "ORDER":
                word, number, product = item["SK"].split("#")
                assert (word, item["GSI1PK"], tail(item["GSI1SK"])) == ("LINE", f"PRODUCT#{product}", owner)
                shop.lines.append((owner, number, product, item["quantity"], item["price"]))
            elif item["SK"] == "PROFILE":
                home = item["addresses"]["home"]
                shop.people[owner] = item["email"], item["newsletter"] == "yes", home["city"], item["wishlist"]
            elif item["SK"].startswith("CART#"):
                shop.carts.append((owner, item["expiresAt"], [line["product"] for line in item["lines"]]))
            else:
                word, day, order = item["SK"].split("#")
                assert (word, item["GSI1PK"], item["GSI1SK"]) == ("ORDER", f"ORDER#{order}", "ORDER")
                placed = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(int(item["placedAt"])))
                shop.orders[order] = owner, day, placed, item["status"], item["products"].split(",")
        return shop

    @classmethod
    def of_split_tables(cls, customers, orders, lines, products):
        """As an application of the new tables reads them."""
        shop = cls()
        for item in (value({"M": item}) for item in customers):
            assert item["version"] == "2"
            shop.people[item["customerId"]] = item["email"], item["newsletter"], item["city"], item["wishlist"]
        for item in (value({"M": item}) for item in orders):
            about = item["day"], item["placedAt"], item["status"], item["products"]
            shop.orders[item["orderId"]] = (item["customerId"], *about)
        for item in (value({"M": item}) for item in lines):
            shop.lines.append((item["orderId"], item["line"], item["productId"], item["quantity"], item["price"]))
        for item in (value({"M": item}) for item in products):
            assert item["availability"] == ("in stock" if item["stock"] != "0" else "sold out")
            assert item["title"] == item["title"].strip().capitalize()
            shop.goods[item["productId"]] = item["title"].lower(), item["price"], item["stock"], ", ".join(item["tags"])
        return shop

    def ids(self):
        """All ids of things that have one."""
        return {*self.people, *self.goods, *self.orders}

    def deeds(self):
        """Per customer: what they wish for and what they ordered, products by what they are. And the products."""
        found = defaultdict(list)
        bought = defaultdict(list)
        for order, number, product, quantity, price in self.lines:
            bought[order].append((number, self.goods[product], quantity, price))
        for order, (owner, *about, products) in self.orders.items():
            assert [self.goods[product] for product in products] == [what for _, what, *_ in sorted(bought[order])]
            found[self.people[owner][:3]].append((about, sorted(bought[order])))
        for *person, wishes in self.people.values():
            found[tuple(person)].append(sorted((self.goods[product], day) for product, day in wishes.items()))
        return {person: sorted(map(repr, all_)) for person, all_ in found.items()}, sorted(self.goods.values())

    def baskets(self, *, after=0):
        """Carts that expire later than a moment, by who and what."""
        kept = [cart for cart in self.carts if int(cart[1]) > after]
        return sorted((self.people[owner][0], at, sorted(map(self.goods.get, goods))) for owner, at, goods in kept)


class Case:
    """A world with the shop's table, and a migration of it."""

    def __init__(self, engine, kind, folder):
        self.world, self.kind, self.folder = worlds.World(engine), kind, folder
        self.now = int(time.time())
        key, local, names = {"PK": "S", "SK": "S"}, ("PK", "updatedAt"), ("PK", "SK", "updatedAt", "GSI1PK", "GSI1SK")
        schema = lambda names: [  # noqa: E731
            {"AttributeName": name, "KeyType": part} for name, part in zip(names, ("HASH", "RANGE"), strict=True)
        ]
        index = lambda name, names, projection: {  # noqa: E731
            "IndexName": name,
            "KeySchema": schema(names),
            "Projection": {"ProjectionType": projection},
        }
        self.source = self.world.name("shop", "demoshop")
        self.world.engine.call(
            "CreateTable",
            TableName=self.source,
            KeySchema=schema(("PK", "SK")),
            AttributeDefinitions=[{"AttributeName": name, "AttributeType": "S"} for name in names],
            LocalSecondaryIndexes=[index("byUpdate", local, "KEYS_ONLY")],
            GlobalSecondaryIndexes=[index("GSI1", ("GSI1PK", "GSI1SK"), "ALL")],
            BillingMode="PAY_PER_REQUEST",
        )
        self.world.keys[self.source] = key
        while self.world.engine.call("DescribeTable", TableName=self.source)["Table"]["TableStatus"] != "ACTIVE":
            time.sleep(0.05)
        self.has_ttl = self._set_ttl()
        for item in shop_source(now=self.now):
            self.world.put(self.source, item)

    def _set_ttl(self):
        about = {"AttributeName": "expiresAt", "Enabled": True}
        try:
            self.world.engine.call("UpdateTimeToLive", TableName=self.source, TimeToLiveSpecification=about)
        except Exception:  # an engine without TTL
            return False
        return True

    def flow(self, url):
        """The migration as shipped, with this world's tables."""
        text = (PARAMETERS / f"mappings/shop_{self.kind}.yaml").read_text(encoding="utf-8")
        for side in ("source", "target"):
            text = text.replace(f"{{{side}.environment}}", f"{{{side}.environment}}-{self.world.suffix}")
        if not self.has_ttl:
            text = text.replace("expired: skip", "expired: copy")
        path = self.folder / "shop.yaml"
        path.write_text(text, encoding="utf-8")
        (self.folder / "shop_split.py").write_text((PARAMETERS / "mappings/shop_split.py").read_text(encoding="utf-8"))
        changed = {"mapping": str(path)}
        changed |= {
            f"{side}.{key}": one
            for side in ("source", "target")
            for key, one in (("endpoint_url", url), ("region", "us-west-1"))
        }
        limits = {f"limits.{name}": content for name, content in HURRIED.items()}
        return Flow(load_parameters(PARAMETERS / f"demo_shop_{self.kind}.yaml", changed | limits), self.folder)

    def draft(self, url):
        """00 writes a mapping from the table alone; 01 finds nothing to add to it."""
        flow = self.flow(url)
        changed = {"mapping": str(self.folder / "drafted.yaml")}
        parameters = flow.parameters.model_copy(update=changed)
        plan, names = open_sources(parameters, f"{{table}}-{{source.environment}}-{self.world.suffix}")
        made = draft(parameters, Sources(names, plan), None, None)
        write_mapping(parameters.mapping_path(), made.text, force=False)
        assert sorted(made.mapping.entries) == ["cart", "customer", "line", "order", "product"]
        analysis = replace(flow, parameters=parameters, run_id="after-the-draft").analyze()
        assert (analysis["undeclared"], analysis["unmatched"], analysis["totals"]["unrouted"]) == ([], [], 0)
        assert (analysis["totals"]["dangling"], analysis["totals"]["unreadable"]) == (0, 0)
        assert analysis["totals"]["records"] == EXPECTED["shop_copy"]["items"]

    def targets(self, flow):
        """The items of each target table, in wire form; [] where it is not there."""
        environment, found = flow.parameters.target.environment, []
        for name in NEW[self.kind]:
            table = self.world.name(name, environment)
            try:
                pages = self.world.engine.pages("Scan", "LastEvaluatedKey", "ExclusiveStartKey", TableName=table)
                found.append([item for page in pages for item in page["Items"]])
            except Exception:
                found.append([])
        return found

    def shop(self):
        """What the source says."""
        pages = self.world.engine.pages("Scan", "LastEvaluatedKey", "ExclusiveStartKey", TableName=self.source)
        return Shop.of_single_table([item for page in pages for item in page["Items"]])

    def check(self, flow):
        """The target says what the source says; ids are new, or the old ones."""
        before, made = self.shop(), self.targets(flow)
        after = Shop.of_single_table(made[0]) if self.kind == "copy" else Shop.of_split_tables(*made)
        assert after.deeds() == before.deeds()
        if self.kind == "split":
            assert after.ids() == before.ids()
            return
        assert not after.ids() & before.ids()
        assert after.baskets() == before.baskets(after=self.now if self.has_ttl else 0)
        old, text = before.ids(), json.dumps(made)
        assert [one for one in old if one in text] == [], "ids of the source are left"

    def run(self, url):
        """From 00 to 05, PASS throughout."""
        self.draft(url)
        flow, expected = self.flow(url), EXPECTED[f"shop_{self.kind}"]
        analysis = flow.analyze()
        assert [alert for alert in analysis["alerts"] if alert["level"] not in ("", "NOTE")] == []
        assert analysis["verdict"] == PASS
        assert (analysis["undeclared"], analysis["unmatched"]) == ([], [])
        assert len(flow.create()) == len(NEW[self.kind])
        report = flow.migrate()
        assert report["verdict"] == PASS, report["alerts"]
        left_out = sum(expected["expired"].values()) if self.has_ttl else 0
        selected = sum(expected["selected"].values())
        wanted = {"scanned": selected, "expired": left_out, "inserted": selected - left_out}
        assert {name: report["totals"][name] for name in wanted} == wanted
        assert report["totals"]["unrouted"] == expected["unrouted"]
        self.check(flow)
        validation = flow.validate()
        assert validation["verdict"] == PASS, validation["alerts"]
        assert {name: validation["validation"][name] for name in OPEN} == dict.fromkeys(OPEN, 0)
        assert validation["validation"]["residual_ids"]["items"] == 0
        assert flow.rollback()["rollback"]["deleted"] == report["totals"]["inserted"]
        assert not any(self.targets(flow))


@contextmanager
def straight(engine):
    """The engine's own address."""
    yield engine.endpoint_url


@contextmanager
def aws_like(engine):
    """A proxy before it that throttles, lags, counts capacity and refuses as AWS does."""
    with closing(
        aws_shaped.Proxy(engine.endpoint_url, throttle_table={"first": 2}, capacity={}, lost={"rate": 0.05})
    ) as p:
        yield p.url


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["copy", "split"])
def test_the_shop_on_every_engine(kind, engine, tmp_path):
    """The copy on moto by default, everything in the slow tier."""
    case = Case(engine, kind, tmp_path)
    try:
        with straight(engine) as url:
            case.run(url)
    finally:
        case.world.drop()


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["copy", "split"])
def test_the_shop_through_the_aws_shaped_endpoint(kind, ministack, tmp_path, monkeypatch):
    """In batches, with throttling and lost replies."""
    monkeypatch.setattr(tables, "POLL", 0.01)
    case = Case(ministack, kind, tmp_path)
    with aws_like(ministack) as url:
        case.run(url)
