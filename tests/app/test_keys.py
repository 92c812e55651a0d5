"""Keys: written, parsed, created, and replaced in a running node."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.app.adapters import Keyring, RawKeys
from gateway.app.cli import main
from gateway.app.config import settings, sources
from gateway.app.config.errors import ConfigError
from gateway.app.config.settings import SealingKey, SecretKey, SecretsSection
from gateway.app.config.sources import load, new_sealing_key, new_secret_key
from gateway.app.reload import KeysReloader
from gateway.telemetry import Telemetry
from tests.app.samples import KEY, OTHER_KEY, SECRET, SMALLEST, write
from tests.doubles.log_lines import capture_logs


@given(st.binary(min_size=32, max_size=32), st.from_regex(r"[a-z0-9]{1,16}", fullmatch=True))
def test_what_is_written_is_read(raw: bytes, key_id: str) -> None:
    sealing, pseudonym = SealingKey(key_id, SecretKey(raw)), SecretKey(raw[::-1])
    block = tomllib.loads(sources.write_block([sealing], pseudonym))["secrets"]
    assert [settings.parse_sealing_key(text) for text in block["sealing_keys"]] == [sealing]
    assert settings.parse_secret_key(block["pseudonym_key"]) == pseudonym


@pytest.mark.parametrize(
    "text", ["", "x", KEY[:-1], KEY + "AAAA", KEY[4:], "é" * 44, KEY.replace("A", "-", 1)]
)
def test_what_is_no_key_is_refused_without_repeating_it(text: str) -> None:
    with pytest.raises(ValueError, match="make one with `oscc-gateway keys`") as caught:
        settings.parse_secret_key(text)
    assert len(text) < 2 or text not in str(caught.value)


def test_new_keys_are_numbered_on() -> None:
    present = [SealingKey(name, SecretKey(bytes(32))) for name in ("k7", "old", "k2")]
    assert sources.new_sealing_key().id == "k1"
    assert sources.new_sealing_key(present).id == "k8"


@pytest.mark.parametrize(
    ("present", "received"),
    [
        (("k9", "k10", "old"), ["k10", "k9", "old"]),
        (("k2", "k1"), ["k2", "k1"]),
        (("old", "new"), ["new", "old"]),
        (("k1",), ["k1"]),
    ],
)
def test_the_newest_key_comes_to_the_head(present: tuple[str, ...], received: list[str]) -> None:
    made = [SealingKey(name, sources.new_secret_key()) for name in present]
    led = sources.newest_first(made)
    assert [key.id for key in led] == received
    assert [settings.parse_sealing_key(line) for line in sources.write_lines(led).splitlines()] == led


def test_new_keys_are_long_and_differ() -> None:
    one, other = sources.new_secret_key(), sources.new_secret_key()
    assert len(one.raw) == len(other.raw) == 32
    assert one != other


def test_keys_are_never_shown() -> None:
    key = SealingKey("k1", SecretKey(b"canary" + bytes(26)))
    for text in (
        repr(key),
        str(key),
        f"{key}",
        repr(key.key),
        str(key.key),
        repr([key]),
        repr(Keyring([key])),
    ):
        assert "canary" not in text


# ---- users of keys always have those in force ----


FIRST = new_sealing_key()
NEXT = new_sealing_key([FIRST])


def test_users_of_keys_get_new_ones_once_and_a_key_under_an_old_name_is_another() -> None:
    ring, received = Keyring([FIRST]), list[RawKeys]()
    ring.subscribe(received.append)
    assert (ring.replace([FIRST]), received) == (False, [])
    assert ring.replace([FIRST, NEXT]) is False
    assert received == [[(FIRST.id, FIRST.key.raw), (NEXT.id, NEXT.key.raw)]] == [ring.raw]
    assert ring.replace([NEXT, FIRST]) is True
    assert ring.ids == ("k2", "k1")
    assert ring.replace([NEXT]) is False
    assert len(received) == 3
    ring = Keyring([FIRST])
    assert ring.replace([SealingKey("k1", NEXT.key)]) is True


def test_the_names_of_keys_tell_two_of_one_id_apart() -> None:
    ring = Keyring([FIRST, NEXT])
    assert [name.partition("/")[0] for name in ring.names] == ["k1", "k2"]
    assert ring.names[0] == SealingKey("k1", FIRST.key).name != SealingKey("k1", NEXT.key).name
    assert NEXT.key.raw.hex()[:8] not in ring.names[1]


# ---- rotation of keys on request; settings that cannot be used change nothing ----


PSEUDONYM = new_secret_key()


def secrets(*keys: SealingKey, pseudonym: SecretKey = PSEUDONYM) -> SecretsSection:
    return SecretsSection.model_construct(sealing_keys=keys, pseudonym_key=pseudonym)


class Setup:
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
            await self.watch.check_files()
        return logged

    @property
    def failed(self) -> bool:
        return b'oscc_gateway_reload_failed{what="keys"} 1.0' in self.telemetry.render()


async def test_phones_get_fresh_tokens_when_another_key_seals_and_only_then() -> None:
    setup = Setup()
    assert (await setup.looked(), setup.renewals) == ([], 0)
    for said, renewals, gone in (
        (secrets(FIRST, NEXT), 0, "none"),
        (secrets(NEXT, FIRST), 1, "none"),
        (secrets(NEXT), 1, "k1"),
    ):
        setup.said = said
        (line,) = await setup.looked()
        ids = ", ".join(key.id for key in said.sealing_keys)
        assert line == {"event": "keys_reloaded", "log_level": "info", "new": ids, "gone": gone}
        assert (setup.renewals, setup.ring.ids) == (renewals, tuple(ids.split(", ")))


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
    setup = Setup()
    setup.said = said
    (line,) = await setup.looked()
    assert (line["log_level"], line["event"]) == ("error", "keys_reload_failed")
    assert str(line["fault"]).startswith(fault)
    assert (setup.ring.ids, setup.renewals, setup.failed) == (("k1",), 0, True)
    assert await setup.watch.check_files() == "keys"
    setup.said = secrets(FIRST)
    assert (await setup.looked(), setup.failed) == ([], False)
    assert await setup.watch.check_files() is None


async def test_without_settings_to_read_there_is_nothing_to_do() -> None:
    watch = KeysReloader(None, secrets(FIRST), Keyring([FIRST]), Setup().renew, Telemetry())
    assert await watch.check_files() is None


# ---- ``keys``: make secrets that a configuration accepts, and rotate them ----


WITHOUT = (
    SMALLEST.replace('sealing_keys = ["k1:…"]', "")
    .replace('pseudonym_key = "…"', "")
    .replace("[secrets]", "")
)


def test_what_it_makes_completes_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["keys"]) == 0
    settings = load(write(tmp_path, WITHOUT + capsys.readouterr().out), {}).settings
    assert settings.secrets is not None
    assert [key.id for key in settings.secrets.sealing_keys] == ["k1"]


def test_rotating_puts_a_new_key_in_front(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["keys", "--rotate", str(write(tmp_path, SECRET))]) == 0
    block = capsys.readouterr().out
    secrets = load(write(tmp_path, WITHOUT + block), {}).settings.secrets
    assert secrets is not None
    assert [key.id for key in secrets.sealing_keys] == ["k2", "k1"]
    assert KEY in block
    assert f'pseudonym_key = "{OTHER_KEY}"' in block


@pytest.mark.parametrize(
    ("options", "advice"),
    [
        (["--supervisor", "--sees", "*"], ""),
        (["--agent", "--queue", "sales"], ""),
        ([], "advice: ana may use no app: add --supervisor, --agent or both.\n"),
        (["--supervisor"], "advice: ana sees no queue in the Dashboard: add --sees NAME, or --sees '*'.\n"),
        (["--agent"], "advice: ana joins no queue in the Remote Assistant: add --queue NAME.\n"),
    ],
)
def test_a_person_who_could_do_nothing_is_advised(
    options: list[str], advice: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("OSCC_GATEWAY_PERSON_PASSWORD", "correct horse")
    assert main(["person", "ana", "--name", "Ana", *options]) == 0
    printed = capsys.readouterr()
    assert printed.out.startswith('[[people]]\nlogin = "ana"\n')
    assert printed.err == advice


def test_a_login_that_is_none_is_refused_in_plain_words(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("OSCC_GATEWAY_PERSON_PASSWORD", "correct horse")
    assert main(["person", "Ana Amsel", "--name", "Ana"]) == 2
    assert capsys.readouterr().err.endswith("login: must be 1 to 32 of a-z, 0-9, _ . -.\n")


@pytest.mark.parametrize("is_terminal", [False, True])
def test_a_person_without_a_password_is_refused(
    is_terminal: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def ended(prompt: str) -> str:
        raise EOFError(prompt)

    monkeypatch.delenv("OSCC_GATEWAY_PERSON_PASSWORD", raising=False)
    monkeypatch.setattr("sys.stdin.isatty", lambda: is_terminal, raising=False)
    monkeypatch.setattr("getpass.getpass", ended)
    assert main(["person", "ana", "--name", "Ana"]) == 2
    assert capsys.readouterr().err == (
        "oscc-gateway: There is no password: type it at a terminal, or set OSCC_GATEWAY_PERSON_PASSWORD.\n"
    )


def test_there_is_nothing_to_rotate_without_secrets(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["keys", "--rotate", str(write(tmp_path, SMALLEST))]) == 1
    assert "has no [secrets]" in capsys.readouterr().err


def lines(path: Path, step: str, capsys: pytest.CaptureFixture[str]) -> list[str]:
    assert main(["keys", "--rotate", str(path), "--lines", step]) == 0
    return capsys.readouterr().out.splitlines()


def test_the_lines_of_a_file_of_keys_are_what_a_node_reads_at_each_step(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    file, path = tmp_path / "sealing_keys", write(tmp_path, WITHOUT)
    monkeypatch.setenv("OSCC_GATEWAY__SECRETS__SEALING_KEYS_FILE", str(file))
    monkeypatch.setenv("OSCC_GATEWAY__SECRETS__PSEUDONYM_KEY", OTHER_KEY)
    file.write_text(f"k1:{KEY}\n", "utf-8")
    added = lines(path, "add", capsys)
    assert added[0] == f"k1:{KEY}"
    assert added[1].startswith("k2:")
    file.write_text("\n".join(added), "utf-8")
    led = lines(path, "lead", capsys)
    assert led == added[::-1], "the key that all nodes have, and not another new one"
    file.write_text("\n".join(led), "utf-8")
    assert lines(path, "lead", capsys) == led, "also when it is asked twice"
    assert [key[:3] for key in lines(path, "add", capsys)] == ["k2:", "k1:", "k3:"]


def test_lines_are_those_of_a_configuration(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["keys", "--lines", "add"]) == 2
    assert "--lines needs --rotate FILE" in capsys.readouterr().err
