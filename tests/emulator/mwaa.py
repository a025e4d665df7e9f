"""MWAA, as far as the function asks it: ListEnvironments and GetEnvironment, of several accounts.

What it answers is MWAA's own form (API reference, `GetEnvironment`): times as seconds, and for an
environment that is not there 404 with `ResourceNotFoundException`. Until a test lets it, it answers
nobody: it is `AccessDeniedException` then, as it is where the function has no permission to ask.
"""

import datetime
import json
import time
import urllib.parse

PAGE = 25  # the most names on a page (API reference, `ListEnvironments.MaxResults`)


class Mwaa:
    def __init__(self):
        self.reset()

    def reset(self):
        self._environments = {}
        self._admitted = set()

    def admit(self, *accounts):
        """Lets the credentials of these accounts ask for the accounts' environments."""
        self._admitted.update(accounts)

    def put(self, event, **fields):
        """There is the environment that an event is about, as the event says; other fields too."""
        detail = {**event["detail"], **fields}
        network = detail.pop("networkConfiguration")
        told = {
            "Arn": f"arn:aws:airflow:{event['region']}:{event['account']}"
            f":environment/{detail['name']}",
            "CreatedAt": min(time.time(), _seconds(event["time"])) - 3600,
            "EndpointManagement": "CUSTOMER",
            **{capital(key): value for key, value in detail.items()},
            "NetworkConfiguration": {capital(key): value for key, value in network.items()},
        }
        self._environments[event["account"], detail["name"]] = told
        return told

    def remove(self, event):
        """The environment that an event is about is gone."""
        self._environments.pop((event["account"], event["detail"]["name"]), None)

    def answer(self, account, path):
        """(status, headers, content) of the answer to a request."""
        if account not in self._admitted:
            return refuse(403, "AccessDeniedException", "not authorized to ask MWAA")
        url = urllib.parse.urlsplit(path)
        name = urllib.parse.unquote(url.path.removeprefix("/environments").strip("/"))
        if not name:
            names = sorted(name for owner, name in self._environments if owner == account)
            asked = dict(urllib.parse.parse_qsl(url.query))
            start = int(asked.get("NextToken", 0))
            end = start + int(asked.get("MaxResults", PAGE))
            more = {"NextToken": str(end)} if end < len(names) else {}
            return accept({"Environments": names[start:end], **more})
        if (account, name) not in self._environments:
            return refuse(404, "ResourceNotFoundException", f"no environment {name}")
        return accept({"Environment": self._environments[account, name]})


def action(path):
    """The name of the call that a request to MWAA is, and its parameters; none if it is not."""
    path = urllib.parse.urlsplit(path).path
    if path == "/environments":
        return "ListEnvironments", {}
    if path.startswith("/environments/"):
        return "GetEnvironment", {"Name": path.removeprefix("/environments/")}
    return None


def accept(value):
    return 200, {"Content-Type": "application/json"}, json.dumps(value).encode()


def refuse(status, code, message):
    """An error as services of the REST kind answer it."""
    headers = {"Content-Type": "application/json", "x-amzn-errortype": code}
    return status, headers, json.dumps({"message": message}).encode()


def _seconds(text):
    return datetime.datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()


def capital(name):
    return name[0].upper() + name[1:]
