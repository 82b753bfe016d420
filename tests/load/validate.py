"""Validates the JSON objects on standard input, one a line, against the schema in the file of the first argument.

Objects of the schema without `additionalProperties` may not have further keys here: every key has to be documented.
"""

import json
import sys

import jsonschema


def close(schema):
    """Forbids further keys wherever keys are listed."""
    if isinstance(schema, dict):
        if "properties" in schema:
            schema.setdefault("additionalProperties", False)
        for value in schema.values():
            close(value)
    elif isinstance(schema, list):
        for value in schema:
            close(value)


with open(sys.argv[1], encoding="utf-8") as file:
    schema = json.load(file)
jsonschema.Draft202012Validator.check_schema(schema)
close(schema)
validator = jsonschema.Draft202012Validator(schema)
count = 0
for line in sys.stdin:
    for error in validator.iter_errors(json.loads(line)):
        sys.exit(f"{error.json_path}: {error.message}")
    count += 1
print(count)
