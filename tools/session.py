"""Shows a session of `mwaa-vpc doctor` about a VPC with three faults, in an emulated AWS: session.py PROGRAM"""

import contextlib
import pathlib
import subprocess
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "tests" / "emulator"))

import network  # noqa: E402
from command_line import shell  # noqa: E402
from harness import Aws, end_on_signals  # noqa: E402


def main(program):
    with Aws() as aws, contextlib.closing(aws.for_people()) as people, tempfile.TemporaryDirectory() as home:
        aws.reset()  # the same ids each time
        net = network.closed(aws)
        net.set_policy("sqs", network.allow("sqs:*"))
        # The database's port is denied before all else is allowed, as many harden a VPC.
        net.entry(net.acl, 90, True, "10.192.0.0/16", (5432,))
        net.change("s3", RemoveRouteTableIds=net.tables[1:])
        net.set_resolvers("10.0.0.2")
        words = ["doctor", "--subnets", ",".join(net.subnets), "--groups", ",".join(net.groups)]
        words += ["--bucket", network.BUCKET, "--owner-profile", "owner"]
        print(f"$ mwaa-vpc {' '.join(words[:3])} \\\n    {' '.join(words[3:])}", flush=True)
        env = shell(aws, people, home)
        done = subprocess.run([program, *words], env=env, stdin=subprocess.DEVNULL)
        return 0 if done.returncode == 1 else f"it ended with {done.returncode}, and not with findings"


if __name__ == "__main__":
    end_on_signals()
    sys.exit(main(*sys.argv[1:]))
