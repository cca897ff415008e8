"""AWS's partitions, by botocore's data: whether an endpoint is AWS's own, and to which of them a region belongs."""

import re
from difflib import get_close_matches
from functools import cache
from typing import Any
from urllib.parse import urlsplit

# A host name before its partition's end.
_SERVICE = re.compile(r"(.+\.)?(dynamodb|ddb|sts)(-fips)?(\.[a-z]+(-[a-z]+)+-\d+)?(\.vpce)?")
STANDARD = "aws"


def is_aws(endpoint_url: str) -> bool:
    """Return whether the endpoint is AWS's own, in any partition, by any way: dual stack, FIPS, VPC endpoint, account.

    Customers have machines and load balancers whose names end like that, too: a name must be of DynamoDB or STS.
    """
    host = (urlsplit(endpoint_url).hostname or "").rstrip(".")
    return any(host.endswith(end) and _SERVICE.fullmatch(host.removesuffix(end)) for end in _ends())


def partition_of(region: str) -> str:
    """Return the partition of a region, as ARNs name it: "aws", "aws-cn", "aws-us-gov", …; "aws" for an unknown region."""
    known = (one["id"] for one in _partitions() if region in one["regions"])
    like = (one["id"] for one in _partitions() if re.fullmatch(one["regionRegex"], region))
    return next(known, None) or next(like, STANDARD)


def unknown_region(region: str) -> str:
    """Return a sentence about a region that botocore does not know, with the nearest one that it does; "" for a known one.

    For a message about what failed, no reason to refuse: a region may be newer than this botocore, and an engine of your own
    may take any name.
    """
    known = [name for one in _partitions() for name in one["regions"]]
    if region in known:
        return ""
    near = get_close_matches(region, known, 1)
    return f"botocore knows no region {region}; " + (f"did you mean {near[0]}?" if near else "check its name.")


@cache
def _ends() -> frozenset[str]:
    """How the names of AWS's hosts end."""
    outputs = [one["outputs"] for one in _partitions()]
    return frozenset(
        f".{one[name]}" for one in outputs for name in ("dnsSuffix", "dualStackDnsSuffix") if one.get(name)
    )


@cache
def _partitions() -> list[dict[str, Any]]:
    from botocore.loaders import create_loader

    return create_loader().load_data("partitions")["partitions"]
