"""Packet rules as people write them: from the JSON that steps carry to the language of nft(8). Pure.

What is understood is what cloison's own rules are made of; nft takes the text, and makes the same of it.
Source: libnftables-json(5), nft(8).
"""

import json
from typing import Any

from cloison.base.errors import Bug


def commands(documents: str) -> list[str]:
    """One line for each command, of documents that are a line each."""
    found = [json.loads(line)["nftables"] for line in documents.splitlines()]
    return [_command(each) for document in found for each in document]


def _command(command: dict[str, Any]) -> str:
    ((verb, objects),) = command.items()
    ((kind, what),) = objects.items()
    if kind == "table":
        return f"{verb} table {what['family']} {what['name']}"
    where = f"{what['family']} {what['table']}"
    match kind:
        case "rule":
            said = f' comment "{what["comment"]}"' if "comment" in what else ""
            return f"{verb} rule {where} {what['chain']} {' '.join(map(_statement, what['expr']))}{said}"
        case "element":
            elements = ", ".join(map(_element, what["elem"]))
            return f"{verb} element {where} {what['name']} {{ {elements} }}"
        case "chain":
            return f"{verb} chain {where} {what['name']}{_hook(what) if verb == 'add' else ''}"
        case "set" | "map":
            return f"{verb} {kind} {where} {what['name']}{_of_set(what) if verb == 'add' else ''}"
    raise Bug(f"no words for {kind!r} of nft")


def _hook(what: dict[str, Any]) -> str:
    if "hook" not in what:
        return ""
    device = f" device {what['dev']}" if "dev" in what else ""
    return f" {{ type {what['type']} hook {what['hook']}{device} priority {what['prio']}; policy {what['policy']}; }}"


def _of_set(what: dict[str, Any]) -> str:
    type_ = what["type"] if isinstance(what["type"], str) else " . ".join(what["type"])
    verdict = f" : {what['map']}" if "map" in what else ""
    rest = [f"flags {','.join(what['flags'])};"] if "flags" in what else []
    rest += [f"timeout {what['timeout']}s;"] if "timeout" in what else []
    rest += [f"size {what['size']};"] if "size" in what else []
    return f" {{ {' '.join([f'type {type_}{verdict};', *rest])} }}"


def _element(element: Any) -> str:
    """One of a set, or of a map with where it leads."""
    if isinstance(element, list):
        return f"{_value(element[0])} : {_statement(element[1])}"
    return _value(element)


def _statement(statement: dict[str, Any]) -> str:
    ((kind, what),) = statement.items()
    match kind:
        case "match":
            equal = "" if what["op"] in ("==", "in") else f"{what['op']} "
            return f"{_value(what['left'])} {equal}{_value(what['right'])}"
        case "jump" | "goto":
            return f"{kind} {what['target']}"
        case "vmap":
            return f"{_value(what['key'])} vmap {what['data']}"
        case "dnat":
            address = f"[{what['addr']}]" if "port" in what and what["family"] == "ip6" else what["addr"]
            port = f":{_value(what['port'])}" if "port" in what else ""
            return f"dnat {what['family']} to {address}{port}"
        case "set":
            element = what["elem"]["elem"]
            return f"{what['op']} {what['set']} {{ {_value(element['val'])} timeout {element['timeout']}s }}"
        case "fwd":
            return f"fwd to {what['dev']}"
        case "counter" | "accept" | "drop" | "return" | "masquerade":
            return kind
    raise Bug(f"no words for {kind!r} of nft")


def _value(value: Any) -> str:
    if not isinstance(value, dict):
        return str(value)
    ((kind, what),) = value.items()
    match kind:
        case "meta" | "ct":
            return f"{kind} {what['key']}"
        case "payload" if "base" in what:
            return f"@{what['base']},{what['offset']},{what['len']}"
        case "payload":
            return f"{what['protocol']} {what['field']}"
        case "fib":
            return f"fib {' . '.join(what['flags'])} {what['result']}"
        case "concat":
            return " . ".join(map(_value, what))
        case "prefix":
            return f"{what['addr']}/{what['len']}"
        case "range":
            return f"{what[0]}-{what[1]}"
        case "set":
            return f"{{ {', '.join(map(_pair, what))} }}"
        case "map":
            return f"{_value(what['key'])} map {_value(what['data'])}"
        case "&":
            return f"{_value(what[0])} & {_bits(what[1])}"
        case "|":
            return _bits(value)
    raise Bug(f"no words for {kind!r} of nft")


def _pair(element: Any) -> str:
    return " : ".join(map(_value, element)) if isinstance(element, list) else _value(element)


def _bits(value: Any) -> str:
    return f"({' | '.join(map(str, value['|']))})" if isinstance(value, dict) else str(value)
