//! What is read of a payload, and what is refused.

use serde_json::json;

use super::eventbridge::{DETAIL_TYPE, SOURCE};
use super::*;
use crate::environment::{Role, SubnetId};

fn pending() -> Value {
    json!({
        "version": "0", "id": "7bf73129-1428-4cd3-a780-95db273d1602",
        "detail-type": DETAIL_TYPE, "source": SOURCE,
        "account": "210987654321", "time": "2026-03-04T10:15:00Z", "region": "us-east-1",
        "resources": ["arn:aws:airflow:us-east-1:210987654321:environment/analytics"],
        "detail": {
            "name": "analytics", "status": "PENDING",
            "celeryExecutorQueue": "arn:aws:sqs:us-east-1:555555555555:airflow-celery-1f2e",
            "databaseVpcEndpointService": "com.amazonaws.vpce.us-east-1.vpce-svc-0aa",
            "webserverVpcEndpointService": "com.amazonaws.vpce.us-east-1.vpce-svc-0ee",
            "webserverAccessMode": "PRIVATE_ONLY",
            "networkConfiguration": {
                "subnetIds": ["subnet-2", "subnet-1", "subnet-2"],
                "securityGroupIds": ["sg-2", "sg-1"]
            }
        }
    })
}

/// The event with the value at `pointer` replaced, or removed for `None`.
fn with(pointer: &str, value: Option<Value>) -> Value {
    let mut event = pending();
    let (parent, field) = pointer.rsplit_once('/').unwrap();
    let parent = event.pointer_mut(parent).unwrap().as_object_mut().unwrap();
    match value {
        Some(value) => parent.insert(field.to_owned(), value),
        None => parent.remove(field),
    };
    event
}

fn serve(event: Value) -> EnvironmentSpec {
    match parse(event).map(|request| request.work) {
        Ok(Work::Environment(spec)) => *spec,
        other => panic!("expected something to serve, got {other:?}"),
    }
}

#[test]
fn ids_are_taken_once_and_unknown_fields_are_ignored() {
    let spec = serve(with("/detail/somethingNew", Some(json!({"a": [1]}))));
    let subnets: Vec<&str> = spec.subnets.iter().map(SubnetId::as_str).collect();
    assert_eq!(subnets, ["subnet-2", "subnet-1"]);
    assert_eq!(spec.services().len(), 2);
    assert!(spec.left_out(true).is_empty() && spec.warnings.is_empty());
}

#[test]
fn a_wrong_field_is_refused_by_its_path() {
    for (pointer, value, path) in [
        ("/source", Some(json!("aws.ec2")), "source"),
        ("/source", None, "source"),
        ("/source", Some(json!(5)), "source"),
        ("/detail-type", Some(json!("Other")), "detail-type"),
        ("/detail", Some(json!([])), "detail"),
        ("/detail", Some(json!("x")), "detail"),
        ("/detail", None, "detail"),
        ("/account", None, "account"),
        ("/account", Some(json!("21098765432")), "account"),
        ("/account", Some(json!(210987654321u64)), "account"),
        ("/region", None, "region"),
        ("/region", Some(json!("mars")), "region"),
        ("/time", Some(json!("yesterday")), "time"),
        ("/detail/name", None, "detail.name"),
        ("/detail/name", Some(json!("1st")), "detail.name"),
        ("/detail/status", None, "detail.status"),
        ("/detail/status", Some(json!(7)), "detail.status"),
        ("/detail/databaseVpcEndpointService", None, "detail.databaseVpcEndpointService"),
        (
            "/detail/databaseVpcEndpointService",
            Some(json!("com.amazonaws.us-east-1.s3")),
            "detail.databaseVpcEndpointService",
        ),
        ("/detail/networkConfiguration", None, "detail.networkConfiguration"),
        ("/detail/networkConfiguration", Some(json!("x")), "detail.networkConfiguration"),
        (
            "/detail/networkConfiguration/subnetIds",
            Some(json!("subnet-1")),
            "detail.networkConfiguration.subnetIds",
        ),
        (
            "/detail/networkConfiguration/subnetIds",
            Some(json!([])),
            "detail.networkConfiguration.subnetIds",
        ),
        (
            "/detail/networkConfiguration/subnetIds",
            Some(json!(["subnet-1", 5])),
            "detail.networkConfiguration.subnetIds[1]",
        ),
        (
            "/detail/networkConfiguration/subnetIds",
            Some(json!(["subnet-1", "vpc-1"])),
            "detail.networkConfiguration.subnetIds[1]",
        ),
        (
            "/detail/networkConfiguration/securityGroupIds",
            None,
            "detail.networkConfiguration.securityGroupIds",
        ),
        ("/detail/webserverAccessMode", Some(json!(1)), "detail.webserverAccessMode"),
    ] {
        let refusal = parse(with(pointer, value.clone())).expect_err(pointer);
        assert_eq!(refusal.path, path, "{pointer} = {value:?}: {refusal}");
        assert!(refusal.to_string().contains(path), "{refusal}");
    }
    for payload in [json!(null), json!([]), json!("x"), json!(1), json!({})] {
        assert!(parse(payload).is_err());
    }
}

#[test]
fn what_is_one_step_off_is_refused_with_what_to_send_instead() {
    let event = pending();
    let answer = json!({"Arn": event["resources"][0], "Status": "PENDING", "Name": "analytics"});
    for (payload, advice) in [
        (json!({"requestPayload": event, "requestContext": {"condition": "x"}}), "requestPayload"),
        (json!({"Records": [{"eventSource": "aws:sqs", "body": event.to_string()}]}), "body"),
        (json!({"Records": [{"Sns": {"Message": event.to_string()}}]}), "Sns.Message"),
        (json!({"Records": [{"s3": {}}]}), "another service"),
        (json!({"Messages": [{"Body": event.to_string()}]}), "Messages[0].Body"),
        (answer, "get-environment"),
        (json!({"eventVersion": "1.08", "eventName": "CreateEnvironment"}), "CloudTrail"),
        (json!({"detail-type": "x", "detail": {"eventVersion": "1.08"}}), "CloudTrail"),
        (json!([event]), "one event at a time"),
    ] {
        let refusal = parse(payload.clone()).expect_err(advice).to_string();
        assert!(refusal.contains(advice), "{payload}: {refusal}");
    }
}

#[test]
fn nothing_of_a_payload_is_echoed_at_length() {
    let long = "x".repeat(5_000);
    for pointer in [
        "/source",
        "/detail-type",
        "/account",
        "/region",
        "/time",
        "/detail",
        "/detail/name",
        "/detail/databaseVpcEndpointService",
        "/detail/networkConfiguration",
        "/detail/networkConfiguration/subnetIds",
    ] {
        let refusal = parse(with(pointer, Some(json!(long)))).expect_err(pointer).to_string();
        assert!(refusal.len() < 600, "{pointer}: {refusal}");
    }
    for pointer in [
        "/detail/celeryExecutorQueue",
        "/detail/webserverVpcEndpointService",
        "/detail/webserverAccessMode",
        "/detail/endpointManagement",
    ] {
        let spec = serve(with(pointer, Some(json!(long))));
        let left_out = spec.left_out(true).into_iter().map(|it| it.failure.to_string());
        for text in spec.warnings.iter().map(|it| it.message.clone()).chain(left_out) {
            assert!(text.len() < 800, "{pointer}: {text}");
        }
    }
}

#[test]
fn a_missing_or_malformed_queue_stops_nothing_else() {
    for queue in [
        None,
        Some(json!(null)),
        Some(json!(5)),
        Some(json!("")),
        Some(json!("arn:aws:sqs:us-east-1:555555555555:*")),
        Some(json!("arn:aws:sqs:us-west-2:555555555555:airflow-celery-1")),
    ] {
        let spec = serve(with("/detail/celeryExecutorQueue", queue));
        assert_eq!(spec.services().len(), 2);
        assert_eq!(spec.queue, None);
        assert_eq!(spec.left_out(true).len(), 1);
        assert!(spec.left_out(true)[0].failure.to_string().contains("detail.celeryExecutorQueue"));
    }
}

#[test]
fn a_missing_or_malformed_web_server_service_stops_nothing_else() {
    for service in [None, Some(json!(5)), Some(json!("com.amazonaws.us-east-1.s3"))] {
        let spec = serve(with("/detail/webserverVpcEndpointService", service));
        assert_eq!(spec.services().len(), 1);
        assert!(spec.queue.is_some());
        assert_eq!(spec.left_out(true)[0].role, Some(Role::Webserver));
    }
}

#[test]
fn the_access_mode_decides_on_the_web_server_endpoint() {
    for (mode, roles, warnings) in [
        (Some(json!("PUBLIC_ONLY")), 1, 0),
        (Some(json!("PRIVATE_ONLY")), 2, 0),
        (Some(json!("PUBLIC_AND_PRIVATE")), 2, 0),
        (Some(json!("SOMETHING_NEW")), 2, 1),
        (None, 2, 0),
    ] {
        let spec = serve(with("/detail/webserverAccessMode", mode.clone()));
        assert_eq!((spec.services().len(), spec.warnings.len()), (roles, warnings), "{mode:?}");
    }
    let mut event = with("/detail/webserverAccessMode", Some(json!("SOMETHING_NEW")));
    event["detail"].as_object_mut().unwrap().remove("webserverVpcEndpointService");
    let spec = serve(event);
    assert_eq!((spec.services().len(), spec.left_out(true).len()), (1, 0));
}

#[test]
fn a_queue_of_another_name_is_used_with_a_warning() {
    let queue = json!("arn:aws:sqs:us-east-1:555555555555:tasks");
    let spec = serve(with("/detail/celeryExecutorQueue", Some(queue)));
    assert!(spec.queue.is_some());
    assert_eq!(spec.warnings.len(), 1);
}

#[test]
fn only_a_pending_environment_must_name_what_it_needs() {
    for status in ["AVAILABLE", "UPDATING", "UPDATE_FAILED", "CREATE_FAILED", "DELETED", "NEW"] {
        let mut event = pending();
        event["detail"] = json!({"name": "analytics", "status": status});
        let spec = serve(event);
        assert!(spec.named.is_empty() && spec.left_out(false).is_empty(), "{status}");
    }
    for status in ["CREATING", "DELETING"] {
        let mut event = pending();
        event["detail"] = json!({"name": "analytics", "status": status});
        let request = parse(event).unwrap();
        assert!(matches!(request.work, Work::Nothing { .. }), "{status}");
    }
}

#[test]
fn an_environment_whose_endpoints_mwaa_manages_is_left_alone() {
    let event = with("/detail/endpointManagement", Some(json!("SERVICE")));
    assert!(matches!(parse(event).unwrap().work, Work::Nothing { .. }));
    let event = with("/detail/endpointManagement", Some(json!("CUSTOMER")));
    assert_eq!(serve(event).customer_managed, Some(true));
}

/// The same facts, as GetEnvironment tells them.
fn as_answer(event: &Value) -> Value {
    let detail = &event["detail"];
    json!({
        "Name": detail["name"], "Status": detail["status"], "Arn": event["resources"][0],
        "CreatedAt": "2026-03-04T10:00:00+00:00",
        "CeleryExecutorQueue": detail["celeryExecutorQueue"],
        "DatabaseVpcEndpointService": detail["databaseVpcEndpointService"],
        "WebserverVpcEndpointService": detail["webserverVpcEndpointService"],
        "WebserverAccessMode": detail["webserverAccessMode"],
        "NetworkConfiguration": {
            "SubnetIds": detail["networkConfiguration"]["subnetIds"],
            "SecurityGroupIds": detail["networkConfiguration"]["securityGroupIds"]
        }
    })
}

#[test]
fn an_answer_of_get_environment_says_the_same_as_the_event() {
    let from_event = EnvironmentSpec { origin: Origin::Replay, ..serve(pending()) };
    let answer = json!({"Environment": as_answer(&pending()), "dryRun": true});
    let request = parse(answer).unwrap();
    assert!(request.dry_run);
    assert_eq!(request.work, Work::Environment(Box::new(from_event)));

    let mut broken = as_answer(&pending());
    broken["NetworkConfiguration"]["SubnetIds"] = json!(["vpc-1"]);
    let refusal = parse(json!({"Environment": broken})).unwrap_err();
    assert_eq!(refusal.path, "Environment.NetworkConfiguration.SubnetIds[0]");
    let refusal = parse(json!({"Environment": {"Status": "PENDING"}})).unwrap_err();
    assert_eq!(refusal.path, "Environment.Arn");
}

#[test]
fn the_schedule_asks_for_a_sweep() {
    assert_eq!(
        parse(json!({"sweep": true})).unwrap(),
        Request { work: Work::Sweep, dry_run: false }
    );
    assert!(parse(json!({"sweep": "yes"})).is_err());
    assert!(parse(json!({"sweep": true, "dryRun": 1})).is_err());
}

#[test]
fn an_answer_of_mwaa_may_leave_anything_out_and_a_status_that_is_not_known_is_in_use() {
    let mut answer = as_answer(&pending());
    answer.as_object_mut().unwrap().retain(|name, _| ["Arn", "Status"].contains(&name.as_str()));
    let spec = of_mwaa(answer.clone()).unwrap();
    assert!(spec.named.is_empty() && spec.subnets.is_empty() && spec.groups.is_empty());
    assert_eq!(spec.left_out(true).len(), 3);
    answer["Status"] = json!("FROBNICATING");
    let status = of_mwaa(answer).unwrap().status;
    assert!(!status.is_over() && !status.is_settled() && status.concerns_the_vpc());
}

#[test]
fn the_shape_of_an_event_is_the_names_of_its_fields_and_no_value() {
    let shape = shape(&pending()).unwrap();
    assert!(shape.contains("networkConfiguration.subnetIds"), "{shape}");
    assert!(!shape.contains("analytics") && !shape.contains("subnet-1"), "{shape}");
}

/// EventBridge adds `replay-name` to what it sends again from an archive (EventBridge user guide,
/// "Archiving and replaying events").
#[test]
fn an_event_from_an_archive_is_read_as_the_event_that_it_was() {
    let replayed = with("/replay-name", Some(json!("backfill-2026-03-04")));
    assert_eq!(serve(replayed), serve(pending()));
}

/// MWAA's answer as its API reference has it: times as seconds, fields that do not matter here, and some
/// that nobody knows yet.
#[test]
fn an_answer_in_the_published_shape_is_read() {
    let answer = json!({"Environment": {
        "AirflowConfigurationOptions": {"core.default_timezone": "utc"},
        "AirflowVersion": "2.10.3",
        "Arn": "arn:aws:airflow:us-east-1:210987654321:environment/analytics",
        "CeleryExecutorQueue": "arn:aws:sqs:us-east-1:555555555555:airflow-celery-1f2e",
        "CreatedAt": 1_772_618_531.125, "DagS3Path": "dags/",
        "DatabaseVpcEndpointService": "com.amazonaws.vpce.us-east-1.vpce-svc-0aa",
        "EndpointManagement": "CUSTOMER", "EnvironmentClass": "mw1.micro",
        "LastUpdate": {
            "CreatedAt": 1_772_618_531.0, "Source": "console", "Status": "SUCCESS",
            "WorkerReplacementStrategy": "GRACEFUL",
        },
        "MaxWebservers": 2, "MinWebservers": 2, "MaxWorkers": 10, "MinWorkers": 1,
        "Name": "analytics",
        "NetworkConfiguration": {
            "SecurityGroupIds": ["sg-1", "sg-2"], "SubnetIds": ["subnet-2", "subnet-1"],
            "VpcId": "vpc-1",
        },
        "PluginsS3ObjectVersion": null, "Schedulers": 2, "Status": "PENDING",
        "Tags": {"note": "\u{e9} \u{65e5}\u{672c}"}, "WebserverAccessMode": "PRIVATE_ONLY",
        "WebserverVpcEndpointService": "com.amazonaws.vpce.us-east-1.vpce-svc-0ee",
        "WeeklyMaintenanceWindowStart": "SUN:03:30", "SomethingNew": {"deep": [1, {"x": null}]},
    }});
    let (read, told) = (serve(answer), serve(pending()));
    assert_eq!((&read.environment, &read.status), (&told.environment, &told.status));
    assert_eq!((&read.subnets, &read.groups), (&told.subnets, &told.groups));
    assert_eq!((read.services(), read.queues()), (told.services(), told.queues()));
    assert_eq!(read.customer_managed, Some(true));
    assert!(read.left_out(true).is_empty());
}
