"""What breaks a caller of an OpenAPI document: the rules of ``buf breaking``, for REST.

Within ``/v1`` nothing that was there goes, nothing that was optional in a request becomes required, and
nothing that was always in an answer becomes optional.
"""

from typing import Any

from services.orchestrator.api.openapi import operations

Schema = dict[str, Any]


def breaking(old: Schema, new: Schema) -> list[str]:
    """Every change that a caller of ``old`` may stumble over, in words."""
    found = []
    now = {(path, method): operation for path, method, operation in operations(new)}
    for path, method, before in operations(old):
        where = f"{method.upper()} {path}"
        after = now.get((path, method))
        if after is None:
            found.append(f"{where} is gone")
            continue
        if after["operationId"] != before["operationId"]:
            found.append(f"{where} was called {before['operationId']}, now {after['operationId']}")
        found += _parameters(where, before, after)
        found += [
            f"{where} does not answer {status} any more"
            for status in before["responses"]
            if status.startswith("2") and status not in after["responses"]
        ]
    asked = _asked(new)
    for name, before in old["components"]["schemas"].items():
        after = new["components"]["schemas"].get(name)
        found += [f"schema {name} is gone"] if after is None else _schema(name, before, after, name in asked)
    return found


def _parameters(where: str, before: Schema, after: Schema) -> list[str]:
    found = []
    had = {(one["in"], one["name"].lower()): one for one in before.get("parameters", [])}
    has = {(one["in"], one["name"].lower()): one for one in after.get("parameters", [])}
    found += [f"{where} takes no {key[1]} any more" for key in had if key not in has]
    for key, one in has.items():
        if one.get("required") and not had.get(key, {}).get("required"):
            found.append(f"{where} now requires {key[1]}")
    return found


def _schema(name: str, before: Schema, after: Schema, asked: bool) -> list[str]:
    found = [
        f"{name} has no {key} any more"
        for key in before.get("properties", {})
        if key not in after.get("properties", {})
    ]
    had, has = set(before.get("required", [])), set(after.get("required", []))
    if asked:
        found += [f"{name} now requires {key}" for key in sorted(has - had)]
    else:
        found += [f"{name} may now lack {key}" for key in sorted(had - has)]
    found += [
        f"{name} has no {value!r} any more"
        for value in before.get("enum", [])
        if value not in after.get("enum", [])
    ]
    for key, one in before.get("properties", {}).items():
        other = after.get("properties", {}).get(key)
        if other is not None and _kind(one) != _kind(other):
            found.append(f"{name}.{key} was {_kind(one)}, now {_kind(other)}")
    return found


def _kind(node: Schema) -> str:
    kinds = node.get("anyOf", [node])
    return " or ".join(sorted(str(one.get("$ref", one.get("type", "anything"))) for one in kinds))


def _asked(schema: Schema) -> set[str]:
    """Names of the schemas that requests are written in, and what they refer to."""
    seen: set[str] = set()
    todo = [operation.get("requestBody") for _, _, operation in operations(schema)]
    while todo:
        node = todo.pop()
        if isinstance(node, dict):
            name = str(node.get("$ref", "")).rpartition("/")[2]
            if name and name not in seen:
                seen.add(name)
                todo.append(schema["components"]["schemas"][name])
            todo += node.values()
        elif isinstance(node, list):
            todo += node
    return seen
