"""What moto does not answer, and a person's tools ask: TestEventPattern, SimulatePrincipalPolicy, RAM's ListPrincipals, and
the log that a function writes.

Importing this module puts them into every moto server of this process.
"""

import fnmatch
import json
from urllib.parse import unquote

from moto.awslambda.models import LambdaFunction
from moto.core.responses import ActionResult, BaseResponse
from moto.events.models import EventPattern
from moto.events.responses import EventsHandler
from moto.iam.responses import IamResponse
from moto.ram import urls as ram_urls
from moto.ram.responses import ResourceAccessManagerResponse


def _test_event_pattern(self):
    pattern, event = self._get_param("EventPattern"), json.loads(self._get_param("Event"))
    # EventBridge takes no event that lacks one of these (API reference, `TestEventPattern`).
    lacking = {"id", "account", "source", "time", "region", "resources", "detail-type"} - event.keys()
    assert not lacking, lacking
    matches = EventPattern.load(pattern).matches_event(event)
    return json.dumps({"Result": matches}), self.response_headers


EventsHandler.test_event_pattern = _test_event_pattern


def _with_its_log(make, describe):
    def init(self, account_id, spec, *more, **named):
        make(self, account_id, spec, *more, **named)
        self.logging_config = spec.get("LoggingConfig")

    def configuration(self, *more, **named):
        return {**describe(self, *more, **named), "LoggingConfig": self.logging_config}

    return init, configuration


LambdaFunction.__init__, LambdaFunction.get_configuration = _with_its_log(
    LambdaFunction.__init__, LambdaFunction.get_configuration
)


def _listed(value):
    return value if isinstance(value, list) else [value]


def _decide(statements, action, resource, keys):
    """IAM's decision, and which of the keys that it rests on nobody has given."""
    decided, missing = "implicitDeny", set()
    for it in statements:
        def matches(element, value):
            return any(fnmatch.fnmatchcase(value.lower(), p.lower()) for p in _listed(it[element]))

        covers = ("Action" in it and matches("Action", action)) or (
            "NotAction" in it and not matches("NotAction", action)
        )
        covers = covers and (matches("Resource", resource) if "Resource" in it else not matches("NotResource", resource))
        if not covers:
            continue
        wanted = {key: _listed(v) for tests in it.get("Condition", {}).values() for key, v in tests.items()}
        missing |= wanted.keys() - keys.keys()
        if not all(any(fnmatch.fnmatchcase(keys.get(k, ""), p) for p in v) for k, v in wanted.items()):
            continue
        if it["Effect"] == "Deny":
            return "explicitDeny", missing
        decided = "allowed"
    return decided, missing


def _simulate_principal_policy(self):
    role = self.backend.get_role(self._get_param("PolicySourceArn").rpartition("/")[2])
    documents = [unquote(it) if isinstance(it, str) else json.dumps(it) for it in role.policies.values()]
    documents += [it.document for it in role.managed_policies.values()]
    statements = [it for document in documents for it in _listed(json.loads(document)["Statement"])]
    entries = self._get_params().get("ContextEntries", [])
    keys = {it["ContextKeyName"]: it["ContextKeyValues"][0] for it in entries}
    actions, resources = (self._get_params()[it] for it in ("ActionNames", "ResourceArns"))
    results = []
    for action in actions:
        of_each = []
        for resource in resources:
            decided, missing = _decide(statements, action, resource, keys)
            of_each.append(
                {
                    "EvalResourceName": resource,
                    "EvalResourceDecision": decided,
                    "MissingContextValues": sorted(missing),
                }
            )
        results.append(
            {
                "EvalActionName": action,
                "EvalResourceName": resources[0],
                "EvalDecision": of_each[0]["EvalResourceDecision"],
                "MissingContextValues": of_each[0]["MissingContextValues"],
                "ResourceSpecificResults": of_each if resources != ["*"] else [],
            }
        )
    return ActionResult({"EvaluationResults": results, "IsTruncated": False})


IamResponse.simulate_principal_policy = _simulate_principal_policy


def _list_principals(self):
    assert self._get_param("resourceOwner") == "SELF"
    arn = self._get_param("resourceArn")
    shares = [it for it in self.ram_backend.resource_shares if arn in it.resource_arns and it.status == "ACTIVE"]
    found = [{"id": id, "resourceShareArn": it.arn} for it in shares for id in it.principals]
    return json.dumps({"principals": found})


ResourceAccessManagerResponse.list_principals = _list_principals
ram_urls.url_paths["{0}/listprincipals$"] = ResourceAccessManagerResponse.dispatch
