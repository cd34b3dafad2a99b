"""What may be typed in to log in, by what the contract says of operators."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import quote

from sagagen.runtime.admin.gate import OPERATOR_HEADER
from sagagen.runtime.model.definition import Mesh
from sagagen.runtime.model.security import OidcScheme

MAX_LENGTH = 8192


@dataclass(frozen=True, slots=True)
class Way:
    """A header that the gate knows somebody by."""

    header: str
    """Its lower-case name."""
    what: str
    """`the admin token`, `a token of https://id.example`, `an API key`."""
    is_token: bool
    """It goes behind `Bearer`."""
    is_jwt: bool = False
    takes_name: bool = False
    """The gate does not know who has it: they say it themselves."""

    def headers(self, given: Mapping[str, str]) -> Mapping[str, str]:
        """From the fields `secret` and `name` of the form; empty where this way is not meant."""
        secret = given.get("secret", "").strip()
        if not secret or len(secret) > MAX_LENGTH or not (secret.isascii() and secret.isprintable()):
            return {}
        if self.is_jwt and secret.count(".") != 2:
            return {}
        headers = {self.header: f"Bearer {secret}" if self.is_token else secret}
        name = given.get("name", "").strip()
        return {**headers, OPERATOR_HEADER: quote(name)} if self.takes_name and name else headers


def ways_in(mesh: Mesh) -> Sequence[Way]:
    """The schemes of the contract where it says who operates; otherwise the token of the environment."""
    if mesh.security is None or mesh.security.admin is None:
        return (Way("authorization", "the admin token", is_token=True, takes_name=True),)
    return tuple(
        Way("authorization", f"a token of {scheme.issuer}", is_token=True, is_jwt=True)
        if isinstance(scheme, OidcScheme)
        else Way(scheme.header.lower(), f"an API key ({scheme.name})", is_token=False)
        for scheme in mesh.security.schemes
    )
