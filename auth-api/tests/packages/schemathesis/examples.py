"""Checks that a specification is valid OpenAPI, and that each example conforms to its schema."""

import json
import sys

from jsonschema import Draft202012Validator
from openapi_spec_validator import validate


def examples_in(node, where):
    """Yields each example with its location and its schema."""
    if isinstance(node, list):
        for at, item in enumerate(node):
            yield from examples_in(item, f"{where}/{at}")
    elif isinstance(node, dict):
        # The examples of a schema are a list. The examples of a media type are an object with
        # names.
        schema, examples = node.get("schema", node), node.get("examples", [])
        values = [example["value"] for example in examples.values()] if isinstance(examples, dict) else examples
        for value in values + ([node["example"]] if "example" in node else []):
            yield where, schema, value
        for name, item in node.items():
            if name not in ("example", "examples"):
                yield from examples_in(item, f"{where}/{name}")


with open(sys.argv[1]) as file:
    contract = json.load(file)
validate(contract)
seen = mistakes = 0
for where, schema, value in examples_in(contract, ""):
    seen += 1
    whole = Draft202012Validator(schema | {"components": contract["components"]}, format_checker=Draft202012Validator.FORMAT_CHECKER)
    for error in whole.iter_errors(value):
        mistakes += 1
        print(f"{where}: {value!r}: {error.message}", file=sys.stderr)
print(f"{seen} examples")
sys.exit(bool(mistakes))
