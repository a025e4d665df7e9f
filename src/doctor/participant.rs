//! The participant's side of the way of an event.

use super::deployment::{
    Deployment, Findings, Part, Participant, REDEPLOY, of_rule, of_status, of_targets, settings_of,
};
use super::policy::{Ask, Rights, word};
use super::{Answer, Case, Entry, Unseen, Verdict, fail, listed, warn};
use crate::sqs_policy::ANY_NAME;

const CROSS_ACCOUNT: &str =
    "https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-cross-account.html";

pub(super) const CHECKS: [Entry<Deployment>; 4] = [
    Entry {
        id: "participant.stack",
        title: "The participant's stack is deployed",
        source: "https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/what-is-cfnstacksets.html",
        look: stack,
    },
    Entry {
        id: "participant.rule",
        title: "The participant's rule sends the environment's events to the owner's bus",
        source: CROSS_ACCOUNT,
        look: rule,
    },
    Entry {
        id: "participant.role",
        title: "The participant's rule may send to the owner's bus",
        source: CROSS_ACCOUNT,
        look: forward,
    },
    Entry {
        id: "participant.reader",
        title: "The function may ask the participant's MWAA",
        source: "https://docs.aws.amazon.com/IAM/latest/UserGuide/id_roles_common-scenarios_aws-accounts.html",
        look: reader,
    },
];

const DEPLOY: &str = "deploy participant.yaml in the environment's account and Region, with the owner's account and bus (docs/deploy.md)";

type Of<'a> = Case<'a, Deployment>;

impl<'a> Of<'a> {
    /// The participant's side, if there is one. Without the owner's stack there is nothing to send to.
    fn side(&self) -> Option<&'a Participant> {
        self.seen.participant.as_ref().filter(|_| !matches!(self.seen.stack.get(), Ok(None)))
    }

    /// The same, if it has a stack that is to be looked at.
    fn there(&self) -> Option<&'a Participant> {
        let side = self.side()?;
        let stacks = side.stacks.get().ok()?;
        stacks.iter().any(|it| it.sends_to(&self.seen.owner)).then_some(side)
    }
}

fn stack(case: &Of<'_>) -> Answer {
    let Some(side) = case.side() else { return Ok(None) };
    let (account, owner, region) = (&case.of.account, &case.seen.owner, &case.of.region);
    let stacks = side.stacks.get()?;
    let Some(own) = stacks.iter().find(|it| it.sends_to(owner)) else {
        let rules: Vec<_> = stacks.iter().filter_map(|it| it.outputs.get("RuleArn")).collect();
        let others = match rules.is_empty() {
            true => String::new(),
            false => format!("; to others there is {}", listed(rules)),
        };
        let evidence = format!(
            "account {account} has no stack of participant.yaml in {region} that sends to account {owner}{others}"
        );
        return match case.is_deployed() {
            true => fail(evidence, DEPLOY),
            // The endpoints may be made by hand.
            false => warn(format!("{evidence}; whether there is a function was not seen"), DEPLOY),
        };
    };
    let mut findings = Findings::default();
    of_status(own, &mut findings);
    findings.answer(
        format!("{} of account {account} is {}", own.name, own.status),
        "see the stack's events for the reason, and deploy it again",
    )
}

/// The ARN of the bus that participants are to send to; an error if it was not seen.
fn bus<'a>(case: &Of<'a>) -> Result<Option<&'a str>, Unseen> {
    case.seen.stack.get()?;
    Ok(match case.seen.bus.get()? {
        Part::There(bus) => Some(&bus.arn),
        Part::Gone(_) | Part::NotOfStack => None,
    })
}

fn rule(case: &Of<'_>) -> Answer {
    let Some(side) = case.there() else { return Ok(None) };
    let rule = match side.rule.get()? {
        Part::There(rule) => rule,
        Part::Gone(name) => return fail(format!("rule {name} is not there"), REDEPLOY),
        Part::NotOfStack => return fail("the stack has no rule", DEPLOY),
    };
    let mut findings = Findings::default();
    of_rule(rule, Some("events of the environment"), &mut findings);
    if let Some(targets) = findings.seen(&rule.targets) {
        let (owner, region) = (&case.seen.owner, &case.of.region);
        let begin = format!("arn:{}:events:{region}:{owner}:event-bus/", region.partition());
        let to: Vec<&str> = targets.iter().map(|it| it.arn.as_str()).collect();
        let of_owner = to.iter().any(|it| it.starts_with(&begin));
        if of_owner {
            let own = targets.iter().filter(|it| it.arn.starts_with(&begin));
            of_targets(rule, own, "", &mut findings);
        }
        match bus(case) {
            _ if !of_owner => {
                let to = if to.is_empty() { "nothing".to_owned() } else { listed(to) };
                findings.add(Verdict::Fail, format!("{} sends to {to}", rule.arn));
            }
            Ok(Some(bus)) if to.contains(&bus) => {}
            Ok(Some(bus)) => {
                let text =
                    format!("{} sends to {}, and the owner listens at {bus}", rule.arn, listed(to));
                findings.add(Verdict::Fail, text);
            }
            // deployment.stack and deployment.bus-policy say so.
            Ok(None) => {}
            Err(Unseen(why)) => {
                let text = format!(
                    "{} sends to {}; at which bus the owner listens was not seen: {why}",
                    rule.arn,
                    listed(to)
                );
                findings.add(Verdict::Unknown, text);
            }
        }
    }
    findings.answer(
        format!("{} is enabled, takes them, and sends them to account {}", rule.arn, case.seen.owner),
        "enable the rule; EventBusName must be the same in both templates, and OwnerAccountId the account that owns the VPC; if it was changed by hand, undo that",
    )
}

fn forward(case: &Of<'_>) -> Answer {
    let Some(side) = case.there() else { return Ok(None) };
    let Part::There(rule) = side.rule.get()? else { return Ok(None) };
    let Some(target) = rule.to_bus_of(&case.seen.owner)? else { return Ok(None) };
    let role = match side.forward.get()? {
        Part::There(role) => role,
        Part::Gone(name) => return fail(format!("role {name} is not there"), REDEPLOY),
        Part::NotOfStack => {
            return fail(format!("the target of {} has no role", rule.arn), REDEPLOY);
        }
    };
    // Where the owner listens; participant.rule says whether it sends there.
    let to = bus(case).ok().flatten().unwrap_or(&target.arn);
    let account = &case.of.account;
    let mut findings = Findings::default();
    let sends = rule.targets.get()?.iter().find(|it| it.arn == to).unwrap_or(target);
    if let Some(other) = sends.role.as_ref().filter(|it| **it != role.arn) {
        let text = format!("{other}, which sends to {to}, was not looked at");
        findings.add(Verdict::Unknown, text);
    }
    let keys = [("aws:SourceArn", rule.arn.as_str()), ("aws:SourceAccount", account.as_str())];
    let trust = Ask {
        service: Some("events.amazonaws.com"),
        action: "sts:AssumeRole",
        resource: &role.arn,
        keys: &keys,
        ..Ask::default()
    };
    let about = format!("EventBridge may not assume {}", role.arn);
    findings.add_word(word([role.trust.as_str()], trust), Verdict::Fail, &about);
    let send =
        Ask { account: Some(account), action: "events:PutEvents", resource: to, ..Ask::default() };
    let about = format!("{}, to send to {to}", role.arn);
    findings.add_word(Rights::of(role).word(send), Verdict::Fail, &about);
    findings.answer(format!("{} may send to {to}", role.arn), REDEPLOY)
}

fn reader(case: &Of<'_>) -> Answer {
    let Some(side) = case.there() else { return Ok(None) };
    let Some(settings) = settings_of(case) else { return Ok(None) };
    // One that cannot be read is told by deployment.settings.
    let Ok(settings) = settings? else { return Ok(None) };
    let Some(name) = settings.reader_role else { return Ok(None) };
    const REMEDY: &str = "set ReaderRole to yes in both templates, and deploy them; if something was changed by hand, undo that; where it depends on the account's organization, --queue-principal-org-id names it; until then the function is told of the environment by events alone";
    let role = match side.reader.get()? {
        Part::There(role) => role,
        Part::Gone(_) | Part::NotOfStack => {
            return warn(format!("account {} has no role {name}", case.of.account), REMEDY);
        }
    };
    let mut findings = Findings::default();
    if role.arn.rsplit('/').next() != Some(name.as_str()) {
        let text =
            format!("role {name}, which the function is told to ask with, was not looked at");
        findings.add(Verdict::Unknown, text);
    }
    let Part::There(function) = case.seen.function.get()? else { return Ok(None) };
    let mut keys = vec![("aws:PrincipalArn", function.role.as_str())];
    keys.extend(case.of.organization.as_deref().map(|it| ("aws:ResourceOrgID", it)));
    let assume = Ask {
        account: Some(&case.seen.owner),
        action: "sts:AssumeRole",
        resource: &role.arn,
        keys: &keys,
        ..Ask::default()
    };
    let about = format!("{}, to be assumed by {}", role.arn, function.role);
    findings.add_word(word([role.trust.as_str()], assume), Verdict::Warn, &about);
    match findings.seen(&case.seen.role) {
        Some(Part::There(own)) if own.arn == function.role => {
            let about = format!("{}, to assume {}", own.arn, role.arn);
            findings.add_word(Rights::of(own).word(assume), Verdict::Warn, &about);
        }
        Some(_) => {
            let text = format!("the function's role, {}, was not looked at", function.role);
            findings.add(Verdict::Unknown, text);
        }
        None => {}
    }
    let (account, region, rights) = (&case.of.account, &case.of.region, Rights::of(role));
    let environment = format!(
        "arn:{}:airflow:{region}:{account}:environment/{}",
        region.partition(),
        case.of.name().unwrap_or(ANY_NAME)
    );
    for (action, resource) in
        [("airflow:GetEnvironment", environment.as_str()), ("airflow:ListEnvironments", "*")]
    {
        let ask = Ask { account: Some(account), action, resource, ..Ask::default() };
        let about = format!("{}, to ask MWAA", role.arn);
        findings.add_word(rights.word(ask), Verdict::Warn, &about);
    }
    findings
        .answer(format!("{} may assume {}, which may ask MWAA", function.role, role.arn), REMEDY)
}
