"""The tables of docs/tutorial.md: a bicycle rental, invented, in an embedded DynamoDB.

`python docs/tutorial_tables.py` starts the server, fills it, and prints what to type in another terminal. It serves until
Ctrl-C; then the data are gone.
"""

import random
import uuid
from typing import Any

ENVIRONMENT, REGION, PORT = "pilot", "eu-west-1", 8123
CUSTOMERS, BIKES, RENTALS = 120, 40, 480
STATIONS = ("Harbour", "Market", "Museum", "Park", "Station")


def tables() -> dict[str, list[dict[str, Any]]]:
    """Table → its items in DynamoDB's JSON: the same every time."""
    chance = random.Random(12)
    people = [str(uuid.UUID(int=chance.getrandbits(128), version=4)) for _ in range(CUSTOMERS + 1)]
    bikes = [f"B{number:02}" for number in range(1, BIKES + 1)]
    customers = [
        {"id": {"S": one}, "email": {"S": f"rider{n}@example.com"}, "since": {"S": f"2026-0{1 + n % 9}-01"}}
        for n, one in enumerate(people[:CUSTOMERS])
    ]
    rentals = []
    for number in range(RENTALS):
        minutes = chance.randrange(5, 180)
        rental = {
            "id": {"S": str(uuid.UUID(int=chance.getrandbits(128), version=4))},
            "customerId": {"S": chance.choice(people[:CUSTOMERS])},
            "bikeId": {"S": chance.choice(bikes)},
            "from": {"S": chance.choice(STATIONS)},
            "minutes": {"N": str(minutes)},
            "price": {"S": f"{1 + minutes * 0.05:.2f}"},  # as text
        }
        if number % 20 == 7:
            rental["swappedFor"] = {"S": chance.choice(bikes)}
        rentals.append(rental)
    rentals[100]["customerId"] = {"S": people[CUSTOMERS]}  # deleted since
    rentals[200]["price"] = {"S": "free"}
    return {
        "Bikes": [{"id": {"S": one}, "model": {"S": chance.choice(("city", "cargo"))}} for one in bikes],
        "Customers": customers,
        "Rentals": rentals,
    }


def fill(client) -> None:
    """Writes to the client's endpoint: the three tables, one with an index."""
    for table, items in tables().items():
        name = f"{table}-{ENVIRONMENT}"
        index = {
            "IndexName": "byCustomer",
            "KeySchema": [{"AttributeName": "customerId", "KeyType": "HASH"}],
            "Projection": {"ProjectionType": "ALL"},
        }
        indexes = [index] if table == "Rentals" else []
        client.create_table(
            TableName=name,
            KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
            AttributeDefinitions=[
                {"AttributeName": key, "AttributeType": "S"} for key in ("id", *(["customerId"] if indexes else []))
            ],
            BillingMode="PAY_PER_REQUEST",
            **({"GlobalSecondaryIndexes": indexes} if indexes else {}),
        )
        client.get_waiter("table_exists").wait(TableName=name, WaiterConfig={"Delay": 1})
        for start in range(0, len(items), 25):
            requests = [{"PutRequest": {"Item": item}} for item in items[start : start + 25]]
            client.batch_write_item(RequestItems={name: requests})


def greeting(endpoint: str) -> str:
    """What to do next, once the tables are there."""
    return (
        f"Three tables of a bicycle rental are at {endpoint}. In another terminal:\n"
        f"  export AWS_ENDPOINT_URL={endpoint} AWS_ACCESS_KEY_ID=tutorial AWS_SECRET_ACCESS_KEY=tutorial\n"
        "Ctrl-C here ends the server; then the tables are gone."
    )


def main() -> None:
    """Serve until Ctrl-C."""
    import boto3

    from runbook_lib.demo.server import start

    server, endpoint = start(PORT)
    keys = {"aws_access_key_id": "tutorial", "aws_secret_access_key": "tutorial"}
    fill(boto3.client("dynamodb", region_name=REGION, endpoint_url=endpoint, **keys))
    print(greeting(endpoint), flush=True)
    try:
        server.wait()
    except KeyboardInterrupt:
        server.kill()


if __name__ == "__main__":
    main()
