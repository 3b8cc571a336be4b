"""Sessions of a Django project. Both commands print a JSON object. `make HOURS…` creates the tables with `migrate`, and
creates one session for each number of hours, after which the session expires. The object maps these numbers to the
session keys. The object that `read KEY…` prints maps session keys to the stored values."""

import datetime
import json
import os
import sys
import urllib.parse

import django
from django.conf import settings
from django.utils import timezone

url = urllib.parse.urlsplit(os.environ["DATABASE_URL"])
settings.configure(
    SECRET_KEY="for tests",
    USE_TZ=True,
    INSTALLED_APPS=["django.contrib.sessions"],
    DATABASES={
        "default": {
            "ENGINE": "django.db.backends.postgresql",
            "NAME": url.path.lstrip("/"),
            "USER": urllib.parse.unquote(url.username or ""),
            "PASSWORD": urllib.parse.unquote(url.password or ""),
            "HOST": url.hostname,
            "PORT": url.port or 5432,
        }
    },
)
django.setup()

from django.contrib.sessions.backends.db import SessionStore  # noqa: E402 (needs the settings)
from django.core.management import call_command  # noqa: E402


def make(hours):
    call_command("migrate", verbosity=0)
    made = {}
    for left in hours:
        session = SessionStore()
        session["hours"] = left
        session.set_expiry(timezone.now() + datetime.timedelta(hours=int(left)))
        session.create()
        made[left] = session.session_key
    return made


def read(keys):
    return {key: SessionStore(key).get("hours") for key in keys}


command, *words = sys.argv[1:]
print(json.dumps({"make": make, "read": read}[command](words)))
