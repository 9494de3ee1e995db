"""Renders docs/openapi.yaml as the page docs/http-api.md."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import yaml

OPENAPI = Path(__file__).with_name("openapi.yaml")

_CHECKED = """\
[openapi.yaml](openapi.yaml) is the same for programs: OpenAPI 3.1. A test runs each example on TorchServe and on Multi
Model Server, and compares the answer with its schema."""


def http_api_page(generated: str) -> str:
    """Return docs/http-api.md: the operations, their examples, and the fields of each body."""
    document = yaml.safe_load(OPENAPI.read_text())
    parts = ["# HTTP API", generated, document["info"]["description"].strip(), _CHECKED]
    parts += _operations(document["paths"])
    parts += ["## Bodies", *_schemas(document["components"]["schemas"])]
    return "\n\n".join(parts) + "\n"


def _operations(paths: dict[str, Any]) -> Iterator[str]:
    for path, methods in paths.items():
        for method, operation in methods.items():
            yield f"## {method.upper()} {path}"
            yield f"{operation['summary']}.\n\n{operation['description'].strip()}"
            yield from _request(operation)
            statuses = (
                (f"{status}", " ".join(response["description"].split()))
                for status, response in operation["responses"].items()
            )
            yield _table(("Status", "When"), statuses)
            for sample in operation["x-codeSamples"]:
                yield f"{sample['label']}:\n\n```\n{sample['source'].strip()}\n```"
                answer = f"\n\n```json\n{sample['answer'].strip()}\n```" if "answer" in sample else ""
                yield f"Status {sample['status']}.{answer}"


def _request(operation: dict[str, Any]) -> Iterator[str]:
    for header in operation.get("parameters", ()):
        yield f"Header `{header['name']}`: {header['description'].strip()}"
    if "requestBody" in operation:
        rows = ((f"`{kind}`", _kind(body["schema"])) for kind, body in operation["requestBody"]["content"].items())
        yield _table(("Content type", "Body"), rows)


def _schemas(schemas: dict[str, Any]) -> Iterator[str]:
    for name, schema in schemas.items():
        rows = [
            (f"`{field}`", _kind(part) + (f"; {said}" if (said := part.get("description")) else ""))
            for field, part in schema.get("properties", {}).items()
        ]
        parts = [f"### {name}", schema.get("description"), _composition(schema), _table(("Field", "Value"), rows)]
        yield "\n\n".join(part for part in parts if part)


def _composition(schema: dict[str, Any]) -> str:
    """Say which other schemas a schema consists of, or chooses from."""
    if "allOf" in schema:
        return f"Has all fields of {' and '.join(map(_kind, schema['allOf']))}."
    if "oneOf" in schema:
        return f"Either {'; or '.join(map(_kind, schema['oneOf']))}."
    return ""


def _kind(schema: dict[str, Any]) -> str:
    """Describe a value in a few words: a link to a schema, a type, or a list of these."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    for keyword, joint in (("oneOf", " or "), ("allOf", " and ")):
        if keyword in schema:
            return joint.join(map(_kind, schema[keyword]))
    if schema.get("type") == "array":
        bounds = f" of {schema['minItems']} to {schema['maxItems']} items" if "minItems" in schema else ""
        return f"list{bounds}, each {_kind(schema['items'])}"
    if "properties" in schema:
        return "object with " + ", ".join(f"`{name}` ({_kind(part)})" for name, part in schema["properties"].items())
    return str(schema.get("type") or schema["description"].rstrip("."))


def _table(header: tuple[str, str], rows: Iterable[tuple[str, str]]) -> str:
    lines = [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join([f"| {' | '.join(header)} |", "| --- | --- |", *lines]) if lines else ""
