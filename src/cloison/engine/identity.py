"""Who an instance is, in the files that say so inside: /etc/hostname, /etc/hosts, /etc/resolv.conf.

They are written while it does not run: when it is made or renamed, and before a start of one with nics. Somebody's own
file stays as it is: a file is replaced only while it is absent, empty, the image's (which is made for nobody in
particular), or what was written here the last time; that is remembered in the store:

    texts/<id>                              path -> text
    <data>/instances/<id>/identity.json     the same, of an instance into which none was written since it was kept here

Whoever gives an instance other files writes into those before they are its own, and has the same transaction remember
it that makes them so (`written`, `keep`). A new name is stored first, with a mark that outlives whoever dies before the
files say so (`introduce`).

A resolv.conf that is a link belongs to a resolver inside: it stays. systemd-resolved hears of the name servers by a
file in /etc/systemd/resolved.conf.d instead. Source: hostname(5), hosts(5), resolv.conf(5), resolved.conf(5).
"""

import contextlib
import errno
from collections.abc import Iterator
from typing import TYPE_CHECKING

import msgspec

from cloison.engine import networks, records
from cloison.engine.networks import NetworkRecord
from cloison.engine.records import Record
from cloison.engine.store import Transaction
from cloison.spec.nics import HOST
from cloison.storage import offline
from cloison.storage.driver import RootLayers
from cloison.storage.offline import Kind, Seen

if TYPE_CHECKING:
    from cloison.engine.engine import Engine

HOSTNAME, HOSTS, RESOLV_CONF = "etc/hostname", "etc/hosts", "etc/resolv.conf"
MACHINE_ID = "etc/machine-id"
RESOLVED = "etc/systemd/resolved.conf.d/cloison.conf"
_STUB = b"systemd/resolve"
_NOTE = "# Written by cloison, and again whenever something changes, as long as nobody else changes this file.\n"
_LOCAL = """127.0.0.1 localhost
::1 localhost ip6-localhost ip6-loopback
ff02::1 ip6-allnodes
ff02::2 ip6-allrouters
"""
Texts = dict[str, str]


def remembered(engine: "Engine", record: Record) -> Texts:
    """The texts that were written into its files the last time, by path."""
    with contextlib.suppress(FileNotFoundError, msgspec.MsgspecError):
        entry = engine.store.get(records.texts_key(record.id))
        if entry is not None:
            return msgspec.json.decode(entry.value, type=Texts)
        with open(f"{engine.layout.instance(record.id)}/identity.json", "rb") as file:
            return msgspec.json.decode(file.read(), type=Texts)
    return {}


def keep(changes: Transaction, record: Record, texts: Texts) -> None:
    """Remember what `written` has given."""
    changes.put(records.texts_key(record.id), msgspec.json.encode(texts))


def forget_machine(engine: "Engine", record: Record) -> None:
    """It has become another's copy: what tells one machine from all others is made anew at its next start. An empty
    file is what systemd asks for: machine-id(5)."""
    with engine.pools.directories(record) as layers:
        if offline.look(layers, MACHINE_ID).kind is Kind.FILE:
            offline.write(layers, MACHINE_ID, b"")


def introduce(engine: "Engine", record: Record) -> Record:
    """Tell the files who it is, before a start, and after it has got another name; its record then. Only by who has the
    instance's lock."""
    before = remembered(engine, record)
    after = written(engine, record, before)
    if record.is_renamed and record.has_templates:
        from cloison.engine import file_templates

        file_templates.apply(engine, record, "rename")
    told = msgspec.structs.replace(record, is_renamed=False)
    if after != before or record.is_renamed:
        with engine.store.transaction() as changes:
            keep(changes, record, after)
            if record.is_renamed:
                records.save(changes, told)
    return told


def written(engine: "Engine", record: Record, before: Texts) -> Texts:
    """Make the files right for the next start: from the texts in them until now to those that are in them then. Only by
    who has the instance's lock, or is making it, or the tree that `record` names."""
    on = tuple(networks.load(engine.store, nic.on) for nic in record.config.nics.values() if nic.on)
    after = dict(before)
    paths = (HOSTNAME, HOSTS, RESOLV_CONF)
    own: dict[str, str] = {}
    if record.has_templates:
        from cloison.engine import file_templates

        own = file_templates.identity_texts(engine, record)
    with engine.pools.directories(record) as layers:
        found = dict(zip(paths, offline.look_among(layers, "etc", (path[4:] for path in paths)), strict=True))
        for path, text in wanted(record, on, is_resolved=_is_resolved(found[RESOLV_CONF])):
            _put(
                layers,
                path,
                own.get(path, text),
                before.get(path),
                after,
                found.get(path) or offline.look(layers, path),
            )
    return after


def wanted(record: Record, on: tuple[NetworkRecord, ...], *, is_resolved: bool) -> Iterator[tuple[str, str]]:
    """The files and their texts. Pure."""
    domain = next((each.options.domain for each in on if not each.options.parent), "")
    yield HOSTNAME, f"{record.name}\n"
    yield HOSTS, hosts(record, domain)
    servers = name_servers(record, on)
    if servers and is_resolved:
        yield RESOLVED, f"{_NOTE}[Resolve]\nDNS={' '.join(servers)}\n" + (f"Domains={domain}\n" if domain else "")
    elif servers:
        search = f"search {domain}\n" if domain else ""
        yield RESOLV_CONF, _NOTE + search + "".join(f"nameserver {server}\n" for server in servers)


def hosts(record: Record, domain: str) -> str:
    """The text of /etc/hosts. Without an address that is known from outside, its name is one of its loopback's."""
    names = f"{record.name}.{domain} {record.name}" if domain else record.name
    found = [each.partition("/")[0] for _nic, claim in sorted(record.claims.items()) for each in claim.addresses]
    return _NOTE + _LOCAL + "".join(f"{address} {names}\n" for address in found or ["127.0.1.1"])


def name_servers(record: Record, on: tuple[NetworkRecord, ...]) -> tuple[str, ...]:
    """Those that were set, else the bridges of its networks that answer; of what is had by DHCP alone, none."""
    nics = record.config.nics.values()
    if any(nic.kind == HOST for nic in nics):
        return ()
    said = [server for nic in nics for server in nic.dns]
    answering = [each for each in on if each.options.dns and not each.options.parent]
    own = [address.partition("/")[0] for each in answering for address in (each.ipv4, each.ipv6) if address]
    return tuple(dict.fromkeys(said or own))


def _is_resolved(seen: Seen) -> bool:
    return seen.kind is Kind.LINK and _STUB in seen.data


def _put(layers: RootLayers, path: str, text: str, known: str | None, after: Texts, seen: Seen) -> None:
    said = seen.data.decode("latin-1")
    is_free = seen.kind is Kind.ABSENT or (
        seen.kind is Kind.FILE and (not seen.is_own or not said.strip() or said in (known, text))
    )
    if not is_free:
        return
    if seen.kind is not Kind.FILE or seen.data != text.encode():
        try:
            offline.write(layers, path, text.encode())
        except OSError as problem:
            if problem.errno not in (errno.ENOTDIR, errno.EISDIR, errno.ELOOP):
                raise
            return  # something of the instance's own is in the way, such as a link: it stays
    after[path] = text
