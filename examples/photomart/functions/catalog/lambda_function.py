"""Writes a photograph's catalog entry to S3: plain Python, nothing to install."""

import json
import os
import urllib.parse
import urllib.request
from datetime import datetime, timezone

BUCKET = os.environ["CATALOG_BUCKET"]
ENDPOINT = os.environ["AWS_ENDPOINT_URL"].rstrip("/")


def lambda_handler(event, context):
    photo = event["photo"]
    entry = {
        "id": photo["key"].rsplit(".", 1)[0],
        "photo": photo,
        "title": event["metadata"].get("title") or photo["key"],
        "author": event["metadata"].get("author"),
        "licence": event["metadata"].get("licence"),
        "size": {"width": event["metadata"]["width"], "height": event["metadata"]["height"]},
        "thumbnails": event["thumbnails"],
        "moderation": {"verdict": event["moderation"]["verdict"], "reason": event["moderation"]["reason"]},
        "listed": event["moderation"]["verdict"] == "approved",
        "cataloguedAt": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "requestId": context.aws_request_id,
    }
    key = entry["id"] + ".json"
    put(key, json.dumps(entry, indent=2).encode())
    print(f"catalogued {photo['key']} as s3://{BUCKET}/{key}")
    return {"bucket": BUCKET, "key": key, "entry": entry}


def put(key, body):
    url = f"{ENDPOINT}/{BUCKET}/{urllib.parse.quote(key)}"
    request = urllib.request.Request(url, data=body, method="PUT", headers={"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=5) as response:
        response.read()
