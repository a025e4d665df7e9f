"""A sweep of an estate: hundreds of environments in many accounts, with nothing to do.

MWAA and EC2 answer as late as they do from afar, EC2's token buckets count, and the function has the
share of a processor that Lambda gives for its memory.
"""

import asyncio
import collections
import contextlib
import json
import math
import pathlib
import time
import urllib.parse

import cloud
from cloud import ACCOUNT, REGION, SQS

MWAA_LATENCY, EC2_LATENCY = 0.3, 0.15  # seconds
# One bucket for each action that only looks (EC2 developer guide, "Request throttling for the Amazon
# EC2 API"): the most calls at once, and how many more each second.
BUCKET, REFILL = 100, 20
# A function with so much memory has one vCPU (Lambda developer guide, "Configure Lambda function
# memory"); with less it has its share of one.
ONE_PROCESSOR = 1769
# Lambda's published prices in us-east-1: dollars for a GB-second on x86_64 and on arm64, and for a
# million requests (aws.amazon.com/lambda/pricing).
X86, ARM, MILLION = 0.0000166667, 0.0000133334, 0.20
SWEEPS_A_MONTH = 96 * 30
ROLE = "mwaa-vpc-endpoints-reader"
GOALS = {"seconds": 45, "memory_mb": 25, "ec2_calls": 10}


class Estate(cloud.Cloud):
    """Environments that have all that they need: those of one account are the owner's."""

    def build(self, environments, accounts, vpcs):
        self.reset(vpcs)
        self.latency = EC2_LATENCY
        self.groups, self.throttled = {}, 0
        self._buckets = collections.defaultdict(lambda: [BUCKET, time.monotonic()])
        self._of = {f"{210_000_000_000 + n}": {} for n in range(accounts - 1)} | {ACCOUNT: {}}
        self.accounts = list(self._of)
        queues = collections.defaultdict(list)
        for number in range(environments):
            account, vpc = self.accounts[number % accounts], number % vpcs
            queues[vpc].append(self._serve(account, vpc, number))
        for endpoint in self.endpoints.values():
            if endpoint.service == SQS:
                statement = {
                    "Sid": "MwaaCeleryQueues",
                    "Effect": "Allow",
                    "Principal": "*",
                    "Action": "sqs:*",
                    "Resource": queues[int(endpoint.vpc[4:], 16)],
                }
                policy = {"Version": "2012-10-17", "Statement": [statement]}
                endpoint.policy = json.dumps(policy)
            endpoint.xml = cloud._xml(endpoint)

    def _serve(self, account, vpc, number):
        event = self.environment(number, vpc)
        told = self._environments.pop(event["detail"]["name"])
        arn = told["Arn"] = told["Arn"].replace(ACCOUNT, account)
        told.update(Status="AVAILABLE", CreatedAt=1772619000.0)
        self._of[account][told["Name"]] = told
        detail = event["detail"]
        groups = detail["networkConfiguration"]["securityGroupIds"]
        tags = {
            "mwaa-vpc-endpoints/environment": arn,
            "mwaa-vpc-endpoints/queue": detail["celeryExecutorQueue"],
            "mwaa-vpc-endpoints/groups": " ".join(groups),
            "mwaa-vpc-endpoints/event-time": event["time"],
        }
        carried = groups
        if account != ACCOUNT:
            id = f"sg-{0xE57A7E << 32 | number:017x}"
            self.groups[id] = _group(id, vpc, account, told["Name"], groups[0], tags)
            carried = [id]
        for role in ("database", "webserver"):
            its = tags | {"Name": f"{told['Name']}-{role}", "mwaa-vpc-endpoints/role": role}
            service = detail[f"{role}VpcEndpointService"]
            subnets = detail["networkConfiguration"]["subnetIds"]
            self._make(f"vpc-{vpc:017x}", service, subnets, carried, its, "")
        return detail["celeryExecutorQueue"]

    def answer(self, request, reply):
        self.latency = MWAA_LATENCY if request.path.startswith("/environments") else EC2_LATENCY
        self._asks = _account(request.headers.get("authorization", ""))
        super().answer(request, reply)

    # MWAA

    def _mwaa(self, call, url):
        self._environments = self._of[self._asks]
        return super()._mwaa(call, url)

    # EC2 and STS

    def _ec2(self, call, body):
        asked = dict(urllib.parse.parse_qsl(body.decode()))
        action = asked["Action"]
        if action == "AssumeRole":
            call.action = action
            return 200, {"Content-Type": "text/xml"}, _assumed(asked["RoleArn"].split(":")[4])
        if action.startswith("Describe") and not self._has_token(action):
            call.action, self.throttled = action, self.throttled + 1
            error = "<Error><Code>RequestLimitExceeded</Code><Message>slower</Message></Error>"
            return 503, {}, f"<Response><Errors>{error}</Errors></Response>".encode()
        return super()._ec2(call, body)

    def _has_token(self, action):
        tokens, then = self._buckets[action]
        now = time.monotonic()
        tokens = min(BUCKET, tokens + (now - then) * REFILL)
        self._buckets[action] = [tokens - (tokens >= 1), now]
        return tokens >= 1

    def _page(self, asked, items, name):
        start, size = int(asked.get("NextToken", 0)), int(asked.get("MaxResults", 1000))
        more = f"<nextToken>{start + size}</nextToken>" * (start + size < len(items))
        return f"<{name}>{''.join(items[start : start + size])}</{name}>{more}"

    def _describe_subnets(self, asked):
        if "SubnetId.1" in asked:
            return super()._describe_subnets(asked)
        named = {f"SubnetId.{number}": id for number, id in enumerate(self._subnets, 1)}
        items = super()._describe_subnets(named)
        items = items.removeprefix("<subnetSet>").removesuffix("</subnetSet>")
        items = [f"{item}</item>" for item in items.split("<tagSet/></item>") if item]
        return self._page(asked, items, "subnetSet")

    def _describe_endpoints(self, asked):
        if any(key.startswith(("Filter", "VpcEndpointId")) for key in asked):
            return super()._describe_endpoints(asked)
        items = [endpoint.xml for endpoint in self.endpoints.values()]
        return self._page(asked, items, "vpcEndpointSet")

    def _describe_groups(self, asked):
        return self._page(asked, list(self.groups.values()), "securityGroupInfo")


# The same names for the actions, with what is done here.
cloud._ACTIONS |= {
    "DescribeSubnets": lambda it, asked: it._describe_subnets(asked),
    "DescribeVpcEndpoints": lambda it, asked: it._describe_endpoints(asked),
    "DescribeSecurityGroups": lambda it, asked: it._describe_groups(asked),
}


def _group(id, vpc, account, name, group, tags):
    def rule(port):
        return (
            f"<item><ipProtocol>tcp</ipProtocol><fromPort>{port}</fromPort><toPort>{port}</toPort>"
            f"<groups><item><userId>{account}</userId><groupId>{group}</groupId></item></groups>"
            "<ipRanges/><ipv6Ranges/><prefixListIds/></item>"
        )

    its = tags | {"mwaa-vpc-endpoints/role": "security-group", "Name": f"mwaa-{account}-{name}"}
    tag_set = "".join(f"<item><key>{k}</key><value>{v}</value></item>" for k, v in its.items())
    return (
        f"<item><ownerId>{ACCOUNT}</ownerId><groupId>{id}</groupId><groupName>{its['Name']}"
        f"</groupName><groupDescription>x</groupDescription><vpcId>vpc-{vpc:017x}</vpcId>"
        f"<ipPermissions>{rule(5432)}{rule(443)}</ipPermissions><ipPermissionsEgress/>"
        f"<tagSet>{tag_set}</tagSet></item>"
    )


def _assumed(account):
    return (
        '<AssumeRoleResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><AssumeRoleResult>'
        f"<Credentials><AccessKeyId>ASIA{account}</AccessKeyId><SecretAccessKey>benchmark"
        "</SecretAccessKey><SessionToken>benchmark</SessionToken><Expiration>"
        f"{time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime(time.time() + 3600))}</Expiration>"
        "</Credentials></AssumeRoleResult></AssumeRoleResponse>"
    ).encode()


def _account(authorization):
    """Whose credentials have signed a request."""
    key = authorization.partition("Credential=")[2].partition("/")[0]
    return key.removeprefix("ASIA") if key[4:].isdigit() else ACCOUNT


@contextlib.contextmanager
def share(process, memory):
    """Gives a process the part of a processor that Lambda gives with this memory; says how."""
    folder = pathlib.Path("/sys/fs/cgroup/cpu/mwaa-vpc-endpoints-bench")
    period = 20_000  # microseconds
    quota = str(max(1000, math.floor(period * memory / ONE_PROCESSOR)))
    second = pathlib.Path("/sys/fs/cgroup/mwaa-vpc-endpoints-bench")
    try:
        if folder.parent.is_dir():
            folder.mkdir(exist_ok=True)
            (folder / "cpu.cfs_period_us").write_text(str(period))
            (folder / "cpu.cfs_quota_us").write_text(quota)
        else:
            folder = second
            folder.mkdir(exist_ok=True)
            (folder / "cpu.max").write_text(f"{quota} {period}")
        (folder / "cgroup.procs").write_text(str(process.pid))
    except OSError as error:
        yield f"the whole processor, since no cgroup could be made here ({error.strerror})"
        return
    try:
        yield f"{memory / ONE_PROCESSOR:.1%} of a processor, by a cgroup"
    finally:
        process.kill()
        process.wait()
        for _ in range(50):
            with contextlib.suppress(OSError):
                folder.rmdir()
                break
            time.sleep(0.02)


async def measure(function, estate, environments, accounts, vpcs, memory):
    """One sweep, by a new process; `function` makes it from its variables."""
    estate.build(environments, accounts, vpcs)
    participants = [account for account in estate.accounts if account != ACCOUNT]
    variables = {"READER_ROLE": ROLE, "PARTICIPANT_ACCOUNTS": ",".join(participants)}
    async with function(variables) as running:
        running.start()
        await running.ready()
        with share(running.process, memory) as limit:
            began, before = time.perf_counter(), running.processor_time()
            invocation = await running.invoke({"sweep": True})
            seconds = time.perf_counter() - began
            if invocation.error:
                raise RuntimeError(f"the sweep failed: {invocation.error}")
            await running.ready()
            processor, peak = running.processor_time() - before, running.peak_memory()
    swept = invocation.value
    changes = [it.action for it in estate.calls if it.action.startswith(("Create", "Mod", "Del"))]
    if changes or swept["environments"] or swept["failures"] or swept["warnings"]:
        told = json.dumps([swept["environments"], swept["failures"], swept["warnings"]])
        raise RuntimeError(f"there was something to do: {changes} {told[:2000]}")
    if swept["reached"] + swept["notReached"] != environments:
        raise RuntimeError(f"{swept['reached']} + {swept['notReached']} of {environments}")
    counts = collections.Counter(call.action for call in estate.calls)
    a_month = seconds * memory / 1024 * SWEEPS_A_MONTH
    requests = MILLION * SWEEPS_A_MONTH / 1e6
    return {
        "environments": environments,
        "accounts": accounts,
        "vpcs": vpcs,
        "memory_size_mb": memory,
        "processor": limit,
        "seconds": round(seconds, 1),
        "processor_seconds": round(processor, 2),
        "memory_mb": round(peak / 1e6, 1),
        "ec2_calls": sum(count for name, count in counts.items() if name.startswith("Describe")),
        "mwaa_calls": counts["GetEnvironment"] + counts["ListEnvironments"],
        "throttled": estate.throttled,
        "reached": swept["reached"],
        "result_bytes": len(json.dumps(swept)),
        "dollars_a_month": {
            "x86_64": round(a_month * X86 + requests, 2),
            "arm64": round(a_month * ARM + requests, 2),
        },
    }


async def run(function, estate, progress):
    """The estate with each memory size, and one that is ten times as large."""
    measured = []
    for size in ((300, 40, 100, 128), (300, 40, 100, 256), (300, 40, 100, 512)):
        progress(f"An estate of {size[0]} environments with {size[3]} MB")
        measured.append(await measure(function, estate, *size))
    progress("An estate of 3000 environments")
    measured.append(await measure(function, estate, 3000, 400, 1000, 128))
    await asyncio.sleep(0)
    return measured


def table(measured):
    yield "Sweeps of an estate: MWAA answers after 300 ms, EC2 after 150 ms, nothing is to be done"
    yield (
        f"{'environments, accounts, VPCs':<30}{'memory':>9}{'time':>9}{'processor':>11}{'peak':>10}"
        f"{'EC2':>6}{'MWAA':>7}{'reached':>9}{'a month':>10}"
    )
    for it in measured:
        title = f"{it['environments']}, {it['accounts']}, {it['vpcs']}"
        yield (
            f"{title:<30}{it['memory_size_mb']:>6} MB{it['seconds']:>7.1f} s"
            f"{it['processor_seconds']:>9.2f} s{it['memory_mb']:>7.1f} MB{it['ec2_calls']:>6}"
            f"{it['mwaa_calls']:>7}{it['reached']:>9}{it['dollars_a_month']['x86_64']:>8.2f} $"
        )
    yield f"Each had {measured[0]['processor']} (with 128 MB). EC2, MWAA: calls. A month: x86_64, 96 sweeps a day."
    for name, goal in GOALS.items():
        reached = measured[0][name]
        verdict = "met" if reached <= goal else "not met"
        yield f"Goal {verdict}: 300 environments, {name.replace('_', ' ')} at most {goal}: {reached}"
