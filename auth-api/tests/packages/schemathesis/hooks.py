"""What schemathesis cannot know by itself: addresses with their checksum, and how a wallet logs in."""

import base64
import binascii
import hashlib
import os
import struct

import nacl.signing
import requests
import schemathesis
from hypothesis import strategies

TIMEOUT = 30
# The session's end is what these are for: each gets a session of its own.
ENDING = {"logout", "end_session", "end_sessions"}
FOR_SERVICES = {"introspect", "revoke"}


def address_of(key):
    """A public key as a strkey (SEP-23): a version byte, the key, and a CRC of both."""
    payload = bytes([6 << 3]) + bytes(key.verify_key)
    return base64.b32encode(payload + struct.pack("<H", binascii.crc_hqx(payload, 0))).decode()


def signed_challenge(base_url, key):
    challenge = requests.post(base_url + "/auth/challenge", json={"address": address_of(key)}, timeout=TIMEOUT)
    challenge.raise_for_status()
    message = challenge.json()["message"]
    digest = hashlib.sha256(b"Stellar Signed Message:\n" + message.encode()).digest()
    return {"message": message, "signature": base64.b64encode(key.sign(digest).signature).decode()}


def log_in(base_url, transport="token"):
    body = signed_challenge(base_url, nacl.signing.SigningKey.generate()) | {"transport": transport}
    answer = requests.post(base_url + "/auth/login", json=body, timeout=TIMEOUT)
    answer.raise_for_status()
    # Not `answer.cookies`: a cookie that is Secure is not for this plain HTTP.
    cookie = answer.headers.get("Set-Cookie", "").split(";")[0]
    return answer.json() | {"cookie": cookie}


keys = strategies.binary(min_size=32, max_size=32).map(nacl.signing.SigningKey)
schemathesis.openapi.format("stellar-address", keys.map(address_of))


def is_right(case):
    """Whether a request is made to be right by the contract, and not to break it."""
    return case.meta is not None and case.meta.generation.mode.value == "positive"


def operation_of(case):
    return case.operation.definition.raw["operationId"]


# How a session is carried, and the `id:secret` of another service.
TRANSPORT, CLIENT = os.environ["CREDENTIALS"], os.environ["CLIENT"]
if TRANSPORT != "none":

    @schemathesis.auth(refresh_interval=None)
    class Session:
        """One for what reads, and one each for what ends it."""

        kept = None

        def get(self, case, context):
            if operation_of(case) in FOR_SERVICES:
                return CLIENT
            if operation_of(case) in ENDING:
                return log_in(context.operation.base_url, TRANSPORT)
            if Session.kept is None:
                Session.kept = log_in(context.operation.base_url, TRANSPORT)
            return Session.kept

        def set(self, case, session, context):
            if operation_of(case) in FOR_SERVICES:
                case.headers["Authorization"] = "Basic " + base64.b64encode(CLIENT.encode()).decode()
            elif TRANSPORT == "token":
                case.headers["Authorization"] = "Bearer " + session["access_token"]
            else:
                name, value = session["cookie"].split("=")
                case.cookies[name] = value
                case.headers["Origin"] = os.environ["ORIGIN"]
            # Every other id is that of a session that is there.
            if operation_of(case) == "end_session" and is_right(case) and case.path_parameters["id"][-1] in "02468ace":
                case.path_parameters["id"] = session["session_id"]


@schemathesis.hook
def before_call(context, case, kwargs):
    """Every other body that is right by its schema becomes one that is right in truth."""
    # The contract names two credentials, one or the other: that both at once are refused it cannot say, and cookie.rs does.
    if "Authorization" in case.headers:
        case.cookies.pop("__Host-session", None)
    if not is_right(case) or not isinstance(case.body, dict):
        return
    base_url, operation = case.operation.base_url, operation_of(case)
    if operation == "login" and len(case.body["message"]) % 2 == 0:
        case.body |= signed_challenge(base_url, nacl.signing.SigningKey.generate())
    elif operation in ("refresh", "logout") and len(case.body["refresh_token"]) % 2 == 0:
        case.body = {"refresh_token": log_in(base_url)["refresh_token"]}
        # Beside another credential it would have to be one of the same session.
        case.headers.pop("Authorization", None)
        case.cookies.clear()
    elif operation in FOR_SERVICES and len(case.body["token"]) % 2 == 0:
        session = log_in(base_url)
        case.body["token"] = session[["access_token", "refresh_token"][len(case.body["token"]) % 4 // 2]]
