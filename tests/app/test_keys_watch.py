"""Rotation of keys on request; settings that cannot be used change nothing."""

from __future__ import annotations

import pytest
from structlog.testing import capture_logs

from gateway.app.config.errors import ConfigError
from gateway.app.config.settings import SecretsSection
from gateway.app.keys import Keyring, SealingKey, SecretKey, new_sealing_key, new_secret_key
from gateway.app.reload import KeysReloader
from gateway.telemetry import Telemetry

PSEUDONYM = new_secret_key()
FIRST = new_sealing_key()
NEXT = new_sealing_key([FIRST])


def secrets(*keys: SealingKey, pseudonym: SecretKey = PSEUDONYM) -> SecretsSection:
    return SecretsSection.model_construct(sealing_keys=keys, pseudonym_key=pseudonym)


class House:
    """Settings that change, a keyring, and phones that get fresh tokens."""

    def __init__(self) -> None:
        self.said: SecretsSection | ConfigError | None = secrets(FIRST)
        self.ring = Keyring([FIRST])
        self.telemetry = Telemetry()
        self.renewals = 0
        self.watch = KeysReloader(self.reread, secrets(FIRST), self.ring, self.renew, self.telemetry)

    def reread(self) -> SecretsSection | None:
        if isinstance(self.said, ConfigError):
            raise self.said
        return self.said

    async def renew(self) -> None:
        self.renewals += 1

    async def looked(self) -> list[dict[str, object]]:
        with capture_logs() as logged:
            await self.watch.look()
        return list(logged)  # type: ignore[arg-type]  # structlog's lines are dicts

    @property
    def failed(self) -> bool:
        return b'oscc_gateway_reload_failed{what="keys"} 1.0' in self.telemetry.render()


async def test_phones_get_fresh_tokens_when_another_key_seals_and_only_then() -> None:
    house = House()
    assert (await house.looked(), house.renewals) == ([], 0)
    for said, renewals, gone in (
        (secrets(FIRST, NEXT), 0, "none"),
        (secrets(NEXT, FIRST), 1, "none"),
        (secrets(NEXT), 1, "k1"),
    ):
        house.said = said
        (line,) = await house.looked()
        ids = ", ".join(key.id for key in said.sealing_keys)
        assert line == {"event": "keys_reloaded", "log_level": "info", "new": ids, "gone": gone}
        assert (house.renewals, house.ring.ids) == (renewals, tuple(ids.split(", ")))


@pytest.mark.parametrize(
    ("said", "fault"),
    [
        (
            ConfigError(["secrets.sealing_keys is odd.", "client.port is odd."]),
            "secrets.sealing_keys is odd. cl",
        ),
        (secrets(NEXT, pseudonym=new_secret_key()), "secrets.pseudonym_key is another than at the start: "),
        (None, "secrets.pseudonym_key is another than at the start: "),
    ],
)
async def test_what_cannot_be_used_changes_nothing(
    said: SecretsSection | ConfigError | None, fault: str
) -> None:
    house = House()
    house.said = said
    (line,) = await house.looked()
    assert (line["log_level"], line["event"]) == ("error", "keys_reload_failed")
    assert str(line["fault"]).startswith(fault)
    assert (house.ring.ids, house.renewals, house.failed) == (("k1",), 0, True)
    assert await house.watch.look() == "keys"
    house.said = secrets(FIRST)
    assert (await house.looked(), house.failed) == ([], False)
    assert await house.watch.look() is None


async def test_without_settings_to_read_there_is_nothing_to_do() -> None:
    watch = KeysReloader(None, secrets(FIRST), Keyring([FIRST]), House().renew, Telemetry())
    assert await watch.look() is None
