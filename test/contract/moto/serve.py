"""moto's S3 server on a free port of loopback, until standard input ends.

With a number as argument, every write rests so many milliseconds after its condition was checked and before it takes effect, as a
thread does that loses the processor there.
"""
import os
import sys
import threading
import time

from moto.s3.models import S3Backend
from moto.server import main

if len(sys.argv) > 1:
    rest_sec = int(sys.argv[1]) / 1000
    put_object = S3Backend.put_object

    def put_object_later(self, *arguments, **named):
        time.sleep(rest_sec)
        return put_object(self, *arguments, **named)

    S3Backend.put_object = put_object_later


def end_with_parent():
    sys.stdin.read()
    os._exit(0)


threading.Thread(target=end_with_parent, daemon=True).start()
main(["--host", "127.0.0.1", "--port", "0"])
