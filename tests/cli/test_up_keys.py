"""The key of whoever tries a mesh out: for whom `up` makes it, when it is good, and what is printed with it."""

from dataclasses import replace
from pathlib import Path

import pytest

from generated.mesh import MESH
from sagagen.cli.up_callers import KeyCallers, Sender
from sagagen.cli.up_keys import development_key, settle_development_key
from sagagen.cli.up_samples import Samples
from sagagen.runtime.access.api_keys import parse
from sagagen.runtime.model.definition import Mesh
from sagagen.runtime.model.security import Access, AdminAccess, ApiKeyScheme, OidcScheme, Security
from sagagen.runtime.settings import Settings

TOKENS = OidcScheme("customers", "https://id.example", "shop", ("ES256",))
KEYS = ApiKeyScheme("partners", "X-Api-Key")
ADMIN = AdminAccess(("ops.read",), ("ops.write",))


def guarded(*schemes: OidcScheme | ApiKeyScheme, access: Access | None = None) -> Mesh:
    names = tuple(scheme.name for scheme in schemes)
    routes = tuple(replace(route, access=access or Access(names, ("orders.write",))) for route in MESH.routes)
    return replace(MESH, routes=routes, security=Security(schemes, names, admin=ADMIN))


def settings(folder: Path, address: str = "", keys: str = "") -> Settings:
    written = {"SAGAGEN_HTTP_ADDR": address, "SAGAGEN_API_KEYS_FILE": keys}
    set_ = {name: value for name, value in written.items() if value}
    return Settings.read({"SAGAGEN_DATA_DIR": str(folder), **set_}, folder)


def settled(
    mesh: Mesh, folder: Path, address: str = "", *, is_for_a_person: bool = True, keys: str = ""
) -> str:
    """The key that is good then; empty if there is none."""
    of = settings(folder, address, keys)
    settle_development_key(mesh, of, folder, is_for_a_person=is_for_a_person)
    key = folder / "development-key"
    file = folder / "api-keys"
    known = parse(file.read_bytes()) if file.exists() else None
    shown = key.read_text().strip() if key.exists() else ""
    return shown if known and known.find(shown) else ""


def test_it_has_every_scope_and_is_the_same_after_a_restart(tmp_path: Path) -> None:
    mesh = guarded(KEYS)
    key = settled(mesh, tmp_path)
    found = parse((tmp_path / "api-keys").read_bytes()).find(key)
    assert found
    assert (found.name, found.scopes) == ("developer", ("ops.read", "ops.write", "orders.write"))
    assert settled(mesh, tmp_path) == key == development_key(mesh, settings(tmp_path), tmp_path)
    assert [oct(path.stat().st_mode & 0o777) for path in tmp_path.iterdir()] == ["0o600", "0o600"]


def test_it_is_for_a_person_on_this_machine_alone(tmp_path: Path) -> None:
    mesh, keys = guarded(KEYS), tmp_path / "api-keys"
    other = "acme sha256:" + "0" * 64
    assert settled(mesh, tmp_path)
    keys.write_text(f"{keys.read_text()}{other}\n")
    assert settled(mesh, tmp_path, is_for_a_person=False) == ""
    assert settled(mesh, tmp_path)
    assert settled(mesh, tmp_path, "0.0.0.0:8080") == ""
    assert keys.read_text().count(other) == 1, "others' keys stay"
    assert settled(mesh, tmp_path, "[::1]:8080")


@pytest.mark.parametrize(
    ("mesh", "address", "keys"),
    [
        (MESH, "", ""),
        (guarded(TOKENS), "", ""),
        (guarded(KEYS), "", "keys"),
        (guarded(KEYS), "192.0.2.1:8080", ""),
    ],
)
def test_nothing_is_made_where_nobody_needs_it(mesh: Mesh, address: str, keys: str, tmp_path: Path) -> None:
    assert settled(mesh, tmp_path, address, keys=keys) == ""
    assert list(tmp_path.iterdir()) == []
    assert development_key(mesh, settings(tmp_path, address, keys), tmp_path) == ""


def test_a_link_in_its_place_is_not_followed(tmp_path: Path) -> None:
    data, elsewhere = tmp_path / "var", tmp_path / "elsewhere"
    data.mkdir()
    elsewhere.write_text("")
    (data / "development-key.new").symlink_to(elsewhere)
    with pytest.raises(OSError, match="symbolic link"):
        settled(guarded(KEYS), data)
    assert elsewhere.read_text() == ""


def lines(mesh: Mesh, key: str) -> list[str]:
    assert mesh.security
    return list(Samples(mesh, KeyCallers(mesh.security, key), "http://localhost:8080", 1, "word").lines())


def test_requests_are_printed_with_it() -> None:
    place, look = lines(guarded(KEYS), "sgk_1")
    assert "-H 'X-Api-Key: sgk_1'" in place
    assert "-H 'X-Api-Key: sgk_1'" in look
    assert lines(guarded(KEYS), "") == [
        "No request is shown: send a key of SAGAGEN_API_KEYS_FILE in the header X-Api-Key."
    ]
    assert lines(guarded(TOKENS), "")[0].startswith("No request is shown: it needs a token")
    assert "sgk_1" not in repr(KeyCallers(Security((KEYS,)), "sgk_1"))


def test_its_caller_is_known_by_the_id_that_the_gateway_has() -> None:
    security = guarded(TOKENS, KEYS).security
    assert security
    callers = KeyCallers(security, "sgk_1")
    assert callers.sender(None) == Sender("partners:developer", ("X-Api-Key: sgk_1",))
    assert callers.sender(Access(("customers",))) is None
    assert callers.sender(Access(())) == Sender("anonymous")


def test_a_rule_about_the_caller_is_kept_by_what_is_printed() -> None:
    def is_own(scope: object) -> bool:
        return getattr(getattr(scope, "request", None), "customer_id", "") == "developer"

    place, _ = lines(guarded(KEYS, access=Access(("partners",), allow=is_own)), "sgk_1")
    assert '"customer_id": "developer"' in place
