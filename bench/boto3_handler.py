"""What is measured against: the same work as a plain handler in Python, the usual way.

As AWS's published sample does it, for an environment of the account that owns the VPC: no retries
of its own, no look at what is there already, five calls one after the other.
"""

import json

import boto3

ec2 = boto3.client("ec2")


def handle(event, context):
    detail = event["detail"]
    if detail["status"] != "PENDING":
        return None
    network = detail["networkConfiguration"]
    subnets = ec2.describe_subnets(SubnetIds=network["subnetIds"])["Subnets"]
    vpc = subnets[0]["VpcId"]

    queue, sqs = detail["celeryExecutorQueue"], f"com.amazonaws.{event['region']}.sqs"
    endpoints = ec2.describe_vpc_endpoints(
        Filters=[
            {"Name": "vpc-id", "Values": [vpc]},
            {"Name": "service-name", "Values": [sqs]},
        ]
    )["VpcEndpoints"]
    for endpoint in endpoints:
        policy = json.loads(endpoint["PolicyDocument"])
        resources = policy["Statement"][0]["Resource"]
        if queue not in resources:
            resources.append(queue)
            ec2.modify_vpc_endpoint(
                VpcEndpointId=endpoint["VpcEndpointId"], PolicyDocument=json.dumps(policy)
            )

    created = [create(detail, network, vpc, "database")]
    if detail["webserverAccessMode"] != "PUBLIC_ONLY":
        created.append(create(detail, network, vpc, "webserver"))
    return {"environment": detail["name"], "vpc": vpc, "endpoints": created}


def create(detail, network, vpc, role):
    endpoint = ec2.create_vpc_endpoint(
        VpcEndpointType="Interface",
        VpcId=vpc,
        ServiceName=detail[f"{role}VpcEndpointService"],
        SubnetIds=network["subnetIds"],
        SecurityGroupIds=network["securityGroupIds"],
        TagSpecifications=[
            {
                "ResourceType": "vpc-endpoint",
                "Tags": [
                    {"Key": "Name", "Value": f"{detail['name']}-{role}"},
                    {"Key": "Environment", "Value": detail["name"]},
                ],
            }
        ],
    )["VpcEndpoint"]
    return endpoint["VpcEndpointId"]
