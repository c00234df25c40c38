"""A function in a container image, with AWS's runtime interface client and nothing of Sluice."""
import os
import sys


def handler(event, context):
    if event.get("exit"):
        os._exit(3)
    if event.get("eat"):
        eaten = []
        while True:
            eaten.append(b"x" * 16 * 1024 * 1024)
    if event.get("sleep"):
        import time
        time.sleep(event["sleep"])
    print("handled in a container", context.aws_request_id)
    with open("/tmp/written", "w") as file:
        file.write("x")
    return {
        "function": context.function_name,
        "memory": context.memory_limit_in_mb,
        "greeting": os.environ.get("GREETING"),
        "logStream": context.log_stream_name,
        "uid": os.getuid(),
        "cwd": os.getcwd(),
        "arguments": sys.argv[1:],
    }


def broken(event, context):
    raise ValueError("as asked for")
