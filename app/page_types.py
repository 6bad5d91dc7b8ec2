"""The types of `app.page_messages` in TypeScript: `python -m app.page_types` writes them.

The scripts in app/assets are checked against app/assets/server.d.ts; tests/app/test_scripts.py holds that file equal to
these types.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from app.page_messages import MESSAGES

FILE = Path(__file__).parent / "assets" / "server.d.ts"


def declarations() -> str:
    """All of it as TypeScript, in alphabetical order."""
    known: dict[str, Mapping[str, Any]] = {}
    for message in MESSAGES:
        schema = TypeAdapter(message).json_schema(mode="validation")
        known |= schema.pop("$defs", {})
        known[message.__name__] = schema
    head = "// Written by `python -m app.page_types` from app/page_messages.py: change that, not this.\n"
    return head + "".join(_declared(name, known[name]) for name in sorted(known))


def _declared(name: str, schema: Mapping[str, Any]) -> str:
    words = " ".join(schema.get("description", "").split())
    comment = f"/** {words} */\n" if words and "not named here" not in words else ""
    if schema.get("type") != "object" or "properties" not in schema:
        return f"\n{comment}export type {name} = {_type(schema)};\n"
    needed = schema.get("required", [])
    fields = "".join(
        f"  {key}{'' if key in needed else '?'}: {_type(one)};\n" for key, one in schema["properties"].items()
    )
    return f"\n{comment}export interface {name} {{\n{fields}}}\n"


def _type(schema: Mapping[str, Any]) -> str:
    if "$ref" in schema:
        return str(schema["$ref"]).rpartition("/")[2]
    if "const" in schema:
        return json.dumps(schema["const"])
    if "enum" in schema:
        return " | ".join(json.dumps(one) for one in schema["enum"])
    if several := schema.get("anyOf") or schema.get("oneOf"):
        return " | ".join(dict.fromkeys(_type(one) for one in several))
    match schema.get("type"):
        case "array" if "prefixItems" in schema:
            return f"[{', '.join(_type(one) for one in schema['prefixItems'])}]"
        case "array":
            inside = _type(schema.get("items", {}))
            return f"({inside})[]" if "|" in inside else f"{inside}[]"
        case "object":
            values = schema.get("additionalProperties")
            return f"Record<string, {_type(values) if isinstance(values, dict) else 'unknown'}>"
        case "string":
            return "string"
        case "integer" | "number":
            return "number"
        case "boolean":
            return "boolean"
        case "null":
            return "null"
    return "unknown"


if __name__ == "__main__":
    FILE.write_text(declarations(), encoding="utf-8")
