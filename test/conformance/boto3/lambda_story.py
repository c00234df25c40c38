"""The life of a function through the real boto3, against the Sluice at AWS_ENDPOINT_URL. Run by ../boto3.test.ts."""

import base64
import hashlib
import io
import json
import unittest
import urllib.request
import zipfile

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError, ParamValidationError

ROLE = "arn:aws:iam::000000000000:role/test"
ARN = "arn:aws:lambda:us-east-1:000000000000:function"
FASTER = {"Delay": 1, "MaxAttempts": 60}


def package(source, name="app.py"):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, source)
    return buffer.getvalue()


def saying(word):
    return package(
        "def handler(event, context):\n"
        "    print('hearing', event)\n"
        "    if event.get('fail'):\n"
        "        raise KeyError('asked to')\n"
        f"    return {{'word': '{word}', 'event': event, 'version': context.function_version}}\n"
    )


class LambdaStory(unittest.TestCase):
    def setUp(self):
        self.client = boto3.client("lambda", config=Config(retries={"total_max_attempts": 1}))
        self.addCleanup(self.client.close)

    def create(self, name, word="one", **more):
        code = saying(word)
        created = self.client.create_function(
            FunctionName=name, Runtime="python3.12", Handler="app.handler", Role=ROLE, Code={"ZipFile": code}, **more
        )
        self.assertEqual(created["CodeSha256"], base64.b64encode(hashlib.sha256(code).digest()).decode())
        self.client.get_waiter("function_active_v2").wait(FunctionName=name, WaiterConfig=FASTER)
        return created

    def invoke(self, name, event=None, **more):
        answer = self.client.invoke(FunctionName=name, Payload=json.dumps(event or {}), **more)
        body = answer["Payload"].read()
        return answer, json.loads(body) if body else None

    def assertClientError(self, code, status, call, **arguments):
        with self.assertRaises(ClientError) as caught:
            call(**arguments)
        self.assertEqual(caught.exception.response["Error"]["Code"], code)
        self.assertEqual(caught.exception.response["ResponseMetadata"]["HTTPStatusCode"], status)
        return caught.exception.response

    def test_create_invoke_and_tail(self):
        self.create("boto-first", Environment={"Variables": {"COLOUR": "blue"}}, Tags={"x": "y"})
        answer, result = self.invoke("boto-first", {"n": 1}, LogType="Tail")
        self.assertEqual(answer["StatusCode"], 200)
        self.assertEqual(answer["ExecutedVersion"], "$LATEST")
        self.assertNotIn("FunctionError", answer)
        self.assertEqual(result, {"word": "one", "event": {"n": 1}, "version": "$LATEST"})
        tail = base64.b64decode(answer["LogResult"]).decode()
        self.assertIn("hearing {'n': 1}", tail)
        self.assertIn(f"REPORT RequestId: {answer['ResponseMetadata']['RequestId']}", tail)

        answer, error = self.invoke("boto-first", {"fail": True})
        self.assertEqual(answer["FunctionError"], "Unhandled")
        self.assertEqual(error["errorType"], "KeyError")
        answer, _ = self.invoke("boto-first", InvocationType="Event")
        self.assertEqual(answer["StatusCode"], 202)
        answer, _ = self.invoke("boto-first", InvocationType="DryRun")
        self.assertEqual(answer["StatusCode"], 204)

        found = self.client.get_function(FunctionName="boto-first")
        self.assertEqual(found["Tags"], {"x": "y"})
        self.assertEqual(found["Configuration"]["Environment"], {"Variables": {"COLOUR": "blue"}})
        with urllib.request.urlopen(found["Code"]["Location"]) as download:
            digest = hashlib.sha256(download.read()).digest()
        self.assertEqual(base64.b64encode(digest).decode(), found["Configuration"]["CodeSha256"])

    def stream(self, name, event):
        answer = self.client.invoke_with_response_stream(FunctionName=name, Payload=json.dumps(event), LogType="Tail")
        events = list(answer["EventStream"])
        payload = b"".join(event["PayloadChunk"]["Payload"] for event in events[:-1])
        return answer, payload, events[-1]["InvokeComplete"]

    def test_response_stream(self):
        code = package(
            "exports.handler = awslambda.streamifyResponse(async (event, stream) => {\n"
            "  stream.write('one ');\n"
            "  if (event.fail) throw new RangeError('asked to');\n"
            "  stream.end('two');\n"
            "});\n",
            "index.js",
        )
        self.client.create_function(FunctionName="boto-stream", Runtime="nodejs22.x", Handler="index.handler", Role=ROLE, Code={"ZipFile": code})
        self.client.get_waiter("function_active_v2").wait(FunctionName="boto-stream", WaiterConfig=FASTER)
        answer, payload, complete = self.stream("boto-stream", {})
        self.assertEqual((answer["StatusCode"], answer["ExecutedVersion"], payload), (200, "$LATEST", b"one two"))
        self.assertEqual(answer["ResponseStreamContentType"], "application/vnd.amazon.eventstream")
        self.assertNotIn("ErrorCode", complete)
        self.assertIn(f"REPORT RequestId: {answer['ResponseMetadata']['RequestId']}", base64.b64decode(complete["LogResult"]).decode())
        _, payload, complete = self.stream("boto-stream", {"fail": True})
        self.assertEqual((payload, complete["ErrorCode"]), (b"one ", "RangeError"))
        self.assertEqual(json.loads(complete["ErrorDetails"])["errorMessage"], "asked to")

        self.create("boto-whole")
        _, payload, complete = self.stream("boto-whole", {"n": 1})
        self.assertEqual(json.loads(payload)["event"], {"n": 1})
        self.assertNotIn("ErrorCode", complete)
        _, payload, complete = self.stream("boto-whole", {"fail": True})
        self.assertEqual((payload, complete["ErrorCode"]), (b"", "Unhandled"))
        self.assertEqual(json.loads(complete["ErrorDetails"])["errorType"], "KeyError")
        self.assertClientError("ResourceNotFoundException", 404, self.client.invoke_with_response_stream, FunctionName="boto-nowhere")

    def test_update_and_list(self):
        self.create("boto-updated")
        self.client.update_function_code(FunctionName="boto-updated", ZipFile=saying("two"))
        self.client.get_waiter("function_updated_v2").wait(FunctionName="boto-updated", WaiterConfig=FASTER)
        self.assertEqual(self.invoke("boto-updated")[1]["word"], "two")
        changed = self.client.update_function_configuration(FunctionName="boto-updated", Timeout=11, MemorySize=256)
        self.assertEqual((changed["Timeout"], changed["MemorySize"]), (11, 256))
        self.client.get_waiter("function_updated_v2").wait(FunctionName="boto-updated", WaiterConfig=FASTER)
        response = self.assertClientError(
            "PreconditionFailedException", 412, self.client.update_function_configuration,
            FunctionName="boto-updated", Timeout=5, RevisionId="00000000-0000-4000-8000-000000000000",
        )
        self.assertIn("Revision Id", response["Error"]["Message"])
        pages = self.client.get_paginator("list_functions").paginate(PaginationConfig={"PageSize": 1})
        names = [function["FunctionName"] for page in pages for function in page["Functions"]]
        self.assertEqual(names.count("boto-updated"), 1)

    def test_versions_and_aliases(self):
        self.create("boto-versions")
        self.assertEqual(self.client.publish_version(FunctionName="boto-versions")["Version"], "1")
        self.client.get_waiter("published_version_active").wait(FunctionName="boto-versions", Qualifier="1", WaiterConfig=FASTER)
        self.client.update_function_code(FunctionName="boto-versions", ZipFile=saying("two"))
        self.client.get_waiter("function_updated_v2").wait(FunctionName="boto-versions", WaiterConfig=FASTER)
        self.assertEqual(self.client.publish_version(FunctionName="boto-versions")["Version"], "2")
        alias = self.client.create_alias(FunctionName="boto-versions", Name="live", FunctionVersion="1")
        self.assertEqual(alias["AliasArn"], f"{ARN}:boto-versions:live")
        self.assertEqual(self.invoke("boto-versions", Qualifier="live")[1]["word"], "one")
        moved = self.client.update_alias(
            FunctionName="boto-versions", Name="live", FunctionVersion="2", RoutingConfig={"AdditionalVersionWeights": {"1": 0.5}}
        )
        self.assertEqual(moved["RoutingConfig"], {"AdditionalVersionWeights": {"1": 0.5}})
        # All 60 the same way happens once in 2^59 runs.
        words = {self.invoke(f"{ARN}:boto-versions:live")[1]["word"] for _ in range(60)}
        self.assertEqual(words, {"one", "two"})
        listed = self.client.list_versions_by_function(FunctionName="boto-versions")["Versions"]
        self.assertEqual([version["Version"] for version in listed], ["$LATEST", "1", "2"])
        self.client.delete_alias(FunctionName="boto-versions", Name="live")
        self.assertEqual(self.client.list_aliases(FunctionName="boto-versions")["Aliases"], [])
        self.client.delete_function(FunctionName="boto-versions", Qualifier="1")
        self.assertClientError("ResourceNotFoundException", 404, self.client.get_function, FunctionName="boto-versions", Qualifier="1")

    def test_delete_and_errors(self):
        self.create("boto-deleted")
        self.assertClientError(
            "ResourceConflictException", 409, self.client.create_function,
            FunctionName="boto-deleted", Runtime="python3.12", Handler="app.handler", Role=ROLE, Code={"ZipFile": saying("x")},
        )
        self.client.delete_function(FunctionName="boto-deleted")
        response = self.assertClientError("ResourceNotFoundException", 404, self.client.invoke, FunctionName="boto-deleted")
        self.assertEqual(response["Error"]["Message"], f"Function not found: {ARN}:boto-deleted")
        self.assertEqual(response["Type"], "User")
        with self.assertRaises(self.client.exceptions.ResourceNotFoundException):
            self.client.get_function(FunctionName="boto-deleted")
        with self.assertRaises(ParamValidationError):
            self.client.invoke()


if __name__ == "__main__":
    unittest.main(verbosity=2)
