#!/usr/bin/env python3
"""Writes model.json: the Lambda API's service model, stripped of prose.

Source: the service model in the Python package `botocore`, installed where this script runs. Usage:

    python3 gateway/lambda-api/make-model.py

The output is deterministic and holds one operation or shape per line, so that a newer model is a readable diff.
"""

import json
import pathlib

import botocore.loaders

SERVICE = "lambda"
SHAPE_MEMBERS = ("type", "required", "payload", "min", "max", "pattern", "enum", "sensitive", "exception", "streaming", "eventstream")
MEMBER_MEMBERS = ("shape", "location", "locationName")


def pick(source, names):
    return {name: source[name] for name in names if name in source}


def operation(source):
    http = source["http"]
    result = {"method": http["method"], "requestUri": http["requestUri"], "responseCode": http.get("responseCode", 200)}
    for side in ("input", "output"):
        if side in source:
            result[side] = source[side]["shape"]
    result["errors"] = [error["shape"] for error in source.get("errors", [])]
    return result


def shape(source):
    result = pick(source, SHAPE_MEMBERS)
    if "members" in source:
        result["members"] = {name: pick(member, MEMBER_MEMBERS) for name, member in source["members"].items()}
    for part in ("member", "key", "value"):
        if part in source:
            result[part] = source[part]["shape"]
    if "error" in source:
        result["status"] = source["error"]["httpStatusCode"]
    return result


def lines(entries):
    rows = (f"{json.dumps(name)}:{json.dumps(entries[name], separators=(',', ':'))}" for name in sorted(entries))
    return "{\n" + ",\n".join(rows) + "\n}"


def main():
    model = botocore.loaders.Loader().load_service_model(SERVICE, "service-2")
    operations = {name: operation(source) for name, source in model["operations"].items()}
    shapes = {name: shape(source) for name, source in model["shapes"].items()}
    target = pathlib.Path(__file__).with_name("model.json")
    text = "{" + f'"apiVersion":{json.dumps(model["metadata"]["apiVersion"])},"operations":{lines(operations)},"shapes":{lines(shapes)}' + "}\n"
    json.loads(text)
    target.write_text(text, encoding="utf-8")
    print(f"{target}: {len(operations)} operations, {len(shapes)} shapes")


main()
