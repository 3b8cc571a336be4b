"""Tells schemathesis what an address is, how a wallet logs in, and which rules the specification
cannot express."""

import base64
import binascii
import hashlib
import os
import struct

import nacl.signing
import requests
import schemathesis
from hypothesis import strategies

# The kind of credential (`token`, `cookie`, `operator` or `none`), the URL of the API, the
# `id:secret` of another service, and the operator token.
WHO, API = os.environ["CREDENTIALS"], os.environ["API_URL"]
CLIENT, OPERATOR = os.environ["CLIENT"], os.environ["ADMIN_TOKEN"]
TIMEOUT = 30

# Operations that end a session. Each call uses a new session. A login with cookie transport ends
# the session of the cookie that is sent.
ENDING = {"login", "logout", "end_session", "end_sessions", "admin_end_session", "admin_end_account_sessions"}
FOR_SERVICES = {"introspect", "revoke"}
FILTERS = {"account", "ip", "transport", "older_than", "younger_than", "created_before"}


def address_of(key):
    """Returns a public key as a strkey (SEP-23): a version byte, the key, and a CRC of both."""
    payload = bytes([6 << 3]) + bytes(key.verify_key)
    return base64.b32encode(payload + struct.pack("<H", binascii.crc_hqx(payload, 0))).decode()


def signed_challenge(key=None):
    key = key or nacl.signing.SigningKey.generate()
    challenge = requests.post(API + "/auth/challenge", json={"address": address_of(key)}, timeout=TIMEOUT)
    challenge.raise_for_status()
    message = challenge.json()["message"]
    digest = hashlib.sha256(b"Stellar Signed Message:\n" + message.encode()).digest()
    return {"message": message, "signature": base64.b64encode(key.sign(digest).signature).decode()}


def log_in(transport="token"):
    key = nacl.signing.SigningKey.generate()
    answer = requests.post(API + "/auth/login", json=signed_challenge(key) | {"transport": transport}, timeout=TIMEOUT)
    answer.raise_for_status()
    # Read the header instead of `answer.cookies`, because the cookie is Secure and the connection is
    # plain HTTP.
    cookie = answer.headers.get("Set-Cookie", "").split(";")[0]
    return answer.json() | {"cookie": cookie, "wallet": address_of(key)}


addresses = strategies.binary(min_size=32, max_size=32).map(nacl.signing.SigningKey).map(address_of)
networks = strategies.ip_addresses().map(str)
schemathesis.openapi.format("stellar-address", addresses)
schemathesis.openapi.format("account", addresses | strategies.uuids().map(str))
schemathesis.openapi.format("network", networks | networks.map(lambda address: address + "/32"))
schemathesis.openapi.format("duration-in-words", strategies.sampled_from(["0s", "90s", "12h", "30d", "1month"]))


def is_right(case):
    """Returns whether the request is meant to conform to the specification, not to violate it."""
    return case.meta is not None and case.meta.generation.mode.value == "positive"


def operation_of(case):
    return case.operation.definition.raw["operationId"]


if WHO != "none":

    @schemathesis.auth(refresh_interval=None)
    class Credential:
        kept = None

        def get(self, case, context):
            """Returns a new session if the operation ends it, and a shared session otherwise."""
            transport = "cookie" if WHO == "cookie" else "token"
            if operation_of(case) in ENDING:
                return log_in(transport)
            if Credential.kept is None:
                Credential.kept = log_in(transport)
            return Credential.kept

        def set(self, case, session, context):
            if operation_of(case) in FOR_SERVICES:
                case.headers["Authorization"] = "Basic " + base64.b64encode(CLIENT.encode()).decode()
            elif WHO == "operator":
                case.headers["Authorization"] = "Bearer " + OPERATOR
            elif WHO == "token":
                case.headers["Authorization"] = "Bearer " + session["access_token"]
            else:
                name, value = session["cookie"].split("=")
                case.cookies[name] = value
                case.headers["Origin"] = os.environ["ORIGIN"]
            # Half of the ids are replaced with the id of an existing session or account.
            there = {"id": session["session_id"], "account": session["wallet"]}
            for name, value in case.path_parameters.items():
                if is_right(case) and ord(value[-1]) % 2 == 0:
                    case.path_parameters[name] = there[name]


@schemathesis.hook
def before_call(context, case, kwargs):
    # The specification allows either of two credentials. It cannot express that both together are
    # rejected. cookie.rs tests this.
    if "Authorization" in case.headers:
        case.cookies.pop("__Host-session", None)
    if not is_right(case):
        return
    operation = operation_of(case)
    # The specification cannot express which filters may be combined. tests/it/admin/ tests this.
    if operation == "admin_list_sessions" and case.query.get("order") == "activity":
        case.query.pop("after", None)
        case.query["limit"] = min(200, int(case.query.get("limit", 200)))
    if not isinstance(case.body, dict):
        return
    if operation == "admin_revoke":
        case.body["all"] = all(case.body.get(name) is None for name in FILTERS)
    # Half of the bodies that conform to the schema are replaced with bodies that contain valid
    # credentials.
    elif operation == "login" and len(case.body["message"]) % 2 == 0:
        case.body |= signed_challenge()
    elif operation in ("refresh", "logout") and len(case.body["refresh_token"]) % 2 == 0:
        case.body = {"refresh_token": log_in()["refresh_token"]}
        # With another credential, the refresh token would have to belong to the same session.
        case.headers.pop("Authorization", None)
        case.cookies.clear()
    elif operation in FOR_SERVICES and len(case.body["token"]) % 2 == 0:
        kind = ["access_token", "refresh_token"][len(case.body["token"]) % 4 // 2]
        case.body["token"] = log_in()[kind]
