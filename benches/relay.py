"""A plain relay between devices, on the `websockets` package: what the hub is measured beside.

It checks the token of `/ws?token=...`, knows its sockets by the token's user, and passes each message on to the user
that it names. It stores nothing, confirms nothing, and forgets who is gone. Where PyJWT is not there, it checks HS256
itself, which is less work.
"""

import argparse
import asyncio
import base64
import hashlib
import hmac
import itertools
import json
import pathlib
import time
from http import HTTPStatus
from urllib.parse import parse_qs, urlsplit

from websockets.asyncio.server import serve

try:
    import jwt
except ImportError:
    jwt = None

ISSUER, AUDIENCE = "speed", "hub"
devices = {}
message_ids = itertools.count(1)


def decoded(text):
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def claims(token, secret):
    """What a good token says; ValueError for any other."""
    if jwt:
        return jwt.decode(token, secret, algorithms=["HS256"], issuer=ISSUER, audience=AUDIENCE)
    signed, _, signature = token.rpartition(".")
    header, _, body = signed.partition(".")
    if json.loads(decoded(header)).get("alg") != "HS256":
        raise ValueError("another algorithm")
    if not hmac.compare_digest(hmac.digest(secret, signed.encode(), hashlib.sha256), decoded(signature)):
        raise ValueError("another signature")
    said = json.loads(decoded(body))
    if said["iss"] != ISSUER or said["aud"] != AUDIENCE or said["exp"] < time.time():
        raise ValueError("not for here, or expired")
    return said


def frame(kind, payload):
    return json.dumps({"type": kind, "payload": payload}, separators=(",", ":"))


async def device(socket):
    user, name = socket.claims["sub"], socket.claims["device_id"]
    devices[user] = socket
    try:
        await socket.send(frame("connected", {"user_id": user, "device_id": name}))
        async for text in socket:
            said = json.loads(text)
            if said["type"] != "message":
                continue
            payload = said["payload"]
            target = devices.get(payload["recipient_user_id"])
            if target is not None:
                passed = {
                    "message_id": next(message_ids),
                    "sender_user_id": user,
                    "sender_device_id": name,
                    "sent_at": time.time(),
                    "content": payload["content"],
                }
                await target.send(frame("message", passed))
    finally:
        if devices.get(user) is socket:
            del devices[user]


async def main():
    parser = argparse.ArgumentParser(description="A plain relay between devices.")
    parser.add_argument("--secret-file", type=pathlib.Path, required=True)
    secret = parser.parse_args().secret_file.read_bytes()

    def admit(socket, request):
        try:
            socket.claims = claims(parse_qs(urlsplit(request.path).query)["token"][0], secret)
        except Exception as error:
            return socket.respond(HTTPStatus.UNAUTHORIZED, f"{error!r}\n")

    async with serve(device, "127.0.0.1", 0, process_request=admit, compression=None, backlog=4096) as server:
        host, port = server.sockets[0].getsockname()[:2]
        print(f"{host}:{port}", flush=True)
        await server.serve_forever()


asyncio.run(main())
