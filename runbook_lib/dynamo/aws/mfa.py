"""Whether the AWS configuration asks for codes of MFA devices. Read-only."""

import os
from contextlib import suppress
from typing import Any


def wants_code(session: Any) -> bool:
    """Return whether the session's profile, or one that it takes its credentials from, names an MFA device."""
    profiles = dict(session.full_config.get("profiles", {}))
    name = session.get_config_variable("profile") or "default"
    while about := profiles.pop(name, None):  # once each: a profile may name itself
        if "mfa_serial" in about:
            return True
        name = about.get("source_profile")
    return False


def mention_codes() -> bool:
    """Return whether the AWS configuration names an MFA device anywhere."""
    places = {"AWS_CONFIG_FILE": "~/.aws/config", "AWS_SHARED_CREDENTIALS_FILE": "~/.aws/credentials"}
    for variable, default in places.items():
        with suppress(OSError), open(os.path.expanduser(os.environ.get(variable) or default), "rb") as file:
            if b"mfa_serial" in file.read():
                return True
    return False
