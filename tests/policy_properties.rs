//! What the policy code promises, checked against a naive reading of IAM's rules.
//!
//! [`iam`] is written from the IAM user guide ("Policy evaluation logic", "JSON policy elements",
//! "Variables and tags") and shares nothing with the code under test. Where the guide leaves a
//! question open it answers in every way (see [`iam::WORLDS`]): what counts as allowed must be so
//! in all of them, what is denied in one of them must be reported.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;

use mwaa_vpc_endpoints::environment::{AccountId, EndpointId, QueueArn, VpcId};
use mwaa_vpc_endpoints::sqs_policy::{
    self, ANY_NAME, Admission, Block, Certainty, Facts, MAX_POLICY_CHARACTERS, Problem,
    QUEUE_ACTIONS, SID, Wish, Word, judge,
};
use proptest::collection::{btree_set, vec};
use proptest::prelude::*;
use proptest::sample::{Index, select};
use proptest::test_runner::{TestCaseResult, TestRunner};
use serde_json::{Value, json};

use iam::{Caller, Decision, Request, WORLDS};
use text::Json;

/// JSON as it is spelled: `Value` would lose the order of fields, the spelling of numbers and
/// escapes, and doubled fields, all of which must survive.
mod text {
    use std::fmt;

    #[derive(Clone, PartialEq)]
    pub enum Json {
        /// A number, `true`, `false` or `null`.
        Literal(String),
        /// What stands between the quotation marks, escapes and all.
        Text(String),
        List(Vec<Json>),
        Object(Vec<(String, Json)>),
    }

    impl fmt::Display for Json {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(&self.spaced(&mut Dice(0)))
        }
    }

    impl fmt::Debug for Json {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            fmt::Display::fmt(self, f)
        }
    }

    impl From<serde_json::Value> for Json {
        fn from(value: serde_json::Value) -> Self {
            Json::parse(&value.to_string())
        }
    }

    pub fn unescaped(spelled: &str) -> String {
        if !spelled.contains('\\') {
            return spelled.to_owned();
        }
        serde_json::from_str(&format!("\"{spelled}\"")).unwrap_or_else(|_| spelled.to_owned())
    }

    pub fn is(spelled: &str, text: &str) -> bool {
        spelled == text || spelled.contains('\\') && unescaped(spelled) == text
    }

    impl Json {
        pub fn string(text: &str) -> Self {
            let quoted = serde_json::to_string(text).unwrap();
            Json::Text(quoted[1..quoted.len() - 1].to_owned())
        }

        pub fn parse(text: &str) -> Self {
            let characters: Vec<char> = text.chars().collect();
            let mut at = 0;
            let json = value(&characters, &mut at);
            skip_space(&characters, &mut at);
            assert_eq!(at, characters.len(), "more than one value: {text}");
            json
        }

        pub fn fields(&self) -> &[(String, Json)] {
            match self {
                Json::Object(fields) => fields,
                _ => &[],
            }
        }

        pub fn fields_mut(&mut self) -> &mut Vec<(String, Json)> {
            match self {
                Json::Object(fields) => fields,
                other => panic!("no object: {other}"),
            }
        }

        pub fn get(&self, name: &str) -> Option<&Json> {
            self.fields().iter().find(|(key, _)| is(key, name)).map(|(_, value)| value)
        }

        pub fn get_mut(&mut self, name: &str) -> Option<&mut Json> {
            self.fields_mut()
                .iter_mut()
                .find(|(key, _)| unescaped(key) == name)
                .map(|(_, value)| value)
        }

        pub fn without(&self, name: &str) -> Self {
            let keep = |(key, _): &&(String, Json)| unescaped(key) != name;
            Json::Object(self.fields().iter().filter(keep).cloned().collect())
        }

        /// Whether some text in it, however spelled, holds `part`.
        pub fn mentions(&self, part: &str) -> bool {
            match self {
                Json::Literal(_) => false,
                Json::Text(spelled) => unescaped(spelled).contains(part),
                Json::List(items) => items.iter().any(|item| item.mentions(part)),
                Json::Object(fields) => fields
                    .iter()
                    .any(|(key, value)| unescaped(key).contains(part) || value.mentions(part)),
            }
        }

        pub fn as_text(&self) -> Option<String> {
            match self {
                Json::Text(spelled) => Some(unescaped(spelled)),
                _ => None,
            }
        }

        /// One or many alike.
        pub fn items(&self) -> &[Json] {
            match self {
                Json::List(items) => items,
                one => std::slice::from_ref(one),
            }
        }

        pub fn to_value(&self) -> serde_json::Value {
            serde_json::from_str(&self.to_string()).unwrap()
        }

        pub fn spaced(&self, dice: &mut Dice) -> String {
            let mut out = String::new();
            self.write(&mut out, dice);
            dice.space(&mut out);
            out
        }

        fn write(&self, out: &mut String, dice: &mut Dice) {
            dice.space(out);
            match self {
                Json::Literal(spelled) => out.push_str(spelled),
                Json::Text(spelled) => out.push_str(&format!("\"{spelled}\"")),
                Json::List(items) => {
                    out.push('[');
                    for (index, item) in items.iter().enumerate() {
                        if index > 0 {
                            out.push(',');
                        }
                        item.write(out, dice);
                        dice.space(out);
                    }
                    dice.space(out);
                    out.push(']');
                }
                Json::Object(fields) => {
                    out.push('{');
                    for (index, (key, value)) in fields.iter().enumerate() {
                        if index > 0 {
                            out.push(',');
                        }
                        dice.space(out);
                        out.push_str(&format!("\"{key}\""));
                        dice.space(out);
                        out.push(':');
                        value.write(out, dice);
                        dice.space(out);
                    }
                    dice.space(out);
                    out.push('}');
                }
            }
        }

        /// The same text with some characters spelled as escapes.
        pub fn respelled(&self, dice: &mut Dice) -> Self {
            match self {
                Json::Literal(_) => self.clone(),
                Json::Text(spelled) => Json::Text(respell(spelled, dice)),
                Json::List(items) => {
                    Json::List(items.iter().map(|item| item.respelled(dice)).collect())
                }
                Json::Object(fields) => Json::Object(
                    fields
                        .iter()
                        .map(|(key, value)| (respell(key, dice), value.respelled(dice)))
                        .collect(),
                ),
            }
        }
    }

    fn respell(spelled: &str, dice: &mut Dice) -> String {
        if spelled.is_empty() || spelled.contains('\\') || dice.roll(10) != 9 {
            return spelled.to_owned();
        }
        let at = dice.roll(spelled.chars().count());
        spelled
            .chars()
            .enumerate()
            .map(|(index, c)| match c {
                c if index != at || (c as u32) > 0xffff => c.to_string(),
                '/' => "\\/".to_owned(),
                c => format!("\\u{:04x}", c as u32),
            })
            .collect()
    }

    /// Chance in one number, so that a failing case shrinks to the number 0, where nothing happens.
    pub struct Dice(pub u64);

    impl Dice {
        pub fn roll(&mut self, sides: usize) -> usize {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            usize::try_from((self.0 >> 20) % sides as u64).unwrap()
        }

        pub fn shuffle<T>(&mut self, items: &mut [T]) {
            for index in (1..items.len()).rev() {
                let distance = self.roll(index + 1);
                items.swap(index, index - distance);
            }
        }

        fn space(&mut self, out: &mut String) {
            out.push_str(["", "", " ", "\n", "\t", "\r\n  "][self.roll(6)]);
        }
    }

    fn skip_space(text: &[char], at: &mut usize) {
        while *at < text.len() && text[*at].is_ascii_whitespace() {
            *at += 1;
        }
    }

    fn expect(text: &[char], at: &mut usize, c: char) {
        skip_space(text, at);
        assert_eq!(text.get(*at), Some(&c), "at {at}");
        *at += 1;
    }

    fn spelled_text(text: &[char], at: &mut usize) -> String {
        expect(text, at, '"');
        let start = *at;
        while text[*at] != '"' {
            *at += if text[*at] == '\\' { 2 } else { 1 };
        }
        *at += 1;
        text[start..*at - 1].iter().collect()
    }

    fn next_is(text: &[char], at: &mut usize, c: char) -> bool {
        skip_space(text, at);
        text[*at] == c
    }

    fn value(text: &[char], at: &mut usize) -> Json {
        skip_space(text, at);
        match text[*at] {
            '"' => Json::Text(spelled_text(text, at)),
            '[' => {
                expect(text, at, '[');
                let mut items = Vec::new();
                while !next_is(text, at, ']') {
                    if !items.is_empty() {
                        expect(text, at, ',');
                    }
                    items.push(value(text, at));
                }
                expect(text, at, ']');
                Json::List(items)
            }
            '{' => {
                expect(text, at, '{');
                let mut fields = Vec::new();
                while !next_is(text, at, '}') {
                    if !fields.is_empty() {
                        expect(text, at, ',');
                    }
                    let key = spelled_text(text, at);
                    expect(text, at, ':');
                    fields.push((key, value(text, at)));
                }
                expect(text, at, '}');
                Json::Object(fields)
            }
            _ => {
                let start = *at;
                while *at < text.len() && !",]} \t\r\n".contains(text[*at]) {
                    *at += 1;
                }
                Json::Literal(text[start..*at].iter().collect())
            }
        }
    }
}

/// IAM's rules, naively. A statement that is not well formed applies to nothing.
mod iam {
    use super::text::{Json, unescaped};

    /// Answers to what the IAM user guide leaves open, for a policy of an endpoint at least.
    #[derive(Clone, Copy, Debug, PartialEq)]
    pub struct World {
        pub wildcards: Wildcards,
        /// Whether `arn:aws:sqs` stands for `arn:aws:sqs:*:*:*`. (The guide says so of
        /// identity-based policies.)
        pub completes_arns: bool,
        /// Whether a list of exceptions (`NotAction`, `NotResource`) may be empty.
        pub empty_exceptions: bool,
        /// Whether an action's service may hold a wildcard.
        pub services_vary: bool,
        /// Whether the service's part of an ARN may.
        pub arn_services_vary: bool,
        /// Whether a variable without a value makes the whole statement invalid, not just its
        /// pattern.
        pub unresolved_invalidates: bool,
    }

    /// Which wildcards of an ARN go on beyond the colon that ends their segment.
    #[derive(Clone, Copy, Debug, PartialEq)]
    pub enum Wildcards {
        /// Only a `*` at the very end.
        AtTheEnd,
        /// A `*` at the end of its segment.
        AtSegmentsEnds,
        /// All.
        Anywhere,
    }

    /// Enough to tell whether some world lets a statement apply, and whether every world does:
    /// each reading of its resources with each of its actions, and what can make it invalid.
    pub const WORLDS: [World; 9] = [
        lenient(Wildcards::AtTheEnd, false, false),
        lenient(Wildcards::AtTheEnd, false, true),
        lenient(Wildcards::AtSegmentsEnds, true, true),
        lenient(Wildcards::Anywhere, false, false),
        lenient(Wildcards::Anywhere, false, true),
        lenient(Wildcards::Anywhere, true, false),
        lenient(Wildcards::Anywhere, true, true),
        strict(Wildcards::AtTheEnd, false, false),
        strict(Wildcards::Anywhere, true, true),
    ];

    const fn lenient(wildcards: Wildcards, completes_arns: bool, services_vary: bool) -> World {
        World {
            wildcards,
            completes_arns,
            services_vary,
            arn_services_vary: true,
            empty_exceptions: true,
            unresolved_invalidates: false,
        }
    }

    const fn strict(wildcards: Wildcards, completes_arns: bool, services_vary: bool) -> World {
        World {
            empty_exceptions: false,
            arn_services_vary: false,
            unresolved_invalidates: true,
            ..lenient(wildcards, completes_arns, services_vary)
        }
    }

    #[derive(Clone, Debug)]
    pub struct Caller {
        /// None is an anonymous caller.
        pub account: Option<&'static str>,
        pub role: &'static str,
        pub resource_organization: Option<&'static str>,
        pub vpc: Option<&'static str>,
        pub encrypted: bool,
    }

    pub const SESSION: &str = "worker";

    impl Caller {
        pub fn organization(&self) -> Option<&'static str> {
            match self.account? {
                "111111111111" | "222222222222" => Some("o-ours"),
                "333333333333" => Some("o-other"),
                _ => None,
            }
        }

        fn names(&self) -> Vec<String> {
            let Some(account) = self.account else { return Vec::new() };
            let role = self.role;
            vec![
                account.to_owned(),
                format!("arn:aws:iam::{account}:root"),
                format!("arn:aws:iam::{account}:role/{role}"),
                format!("arn:aws:sts::{account}:assumed-role/{role}/{SESSION}"),
            ]
        }
    }

    #[derive(Clone, Debug)]
    pub struct Request {
        pub caller: Caller,
        pub action: String,
        pub resource: String,
    }

    impl Request {
        /// A part of the resource's ARN.
        fn segment(&self, number: usize) -> Option<String> {
            self.resource.split(':').nth(number).filter(|part| !part.is_empty()).map(str::to_owned)
        }

        fn context(&self, key: &str) -> Option<String> {
            let caller = &self.caller;
            match key.to_ascii_lowercase().as_str() {
                "aws:principalorgid" => caller.organization().map(str::to_owned),
                "aws:resourceorgid" => caller.resource_organization.map(str::to_owned),
                "aws:sourcevpc" => caller.vpc.map(str::to_owned),
                "aws:sourcevpce" => caller.vpc.map(|vpc| vpc.replace("vpc-", "vpce-")),
                "aws:requestedregion" => self.segment(3),
                "aws:resourceaccount" => self.segment(4),
                "aws:principaltype" => {
                    Some(caller.account.map_or("Anonymous", |_| "AssumedRole").to_owned())
                }
                "aws:principalisawsservice" | "aws:viaawsservice" => Some("false".to_owned()),
                "aws:principalaccount" => caller.account.map(str::to_owned),
                "aws:principalarn" => {
                    let account = caller.account?;
                    Some(format!("arn:aws:iam::{account}:role/{}", caller.role))
                }
                "aws:securetransport" => Some(caller.encrypted.to_string()),
                _ => None,
            }
        }
    }

    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub enum Decision {
        Allowed,
        NotAllowed,
        Denied,
    }

    pub fn statements(policy: &Json) -> &[Json] {
        policy.get("Statement").map(Json::items).unwrap_or_default()
    }

    pub fn decide(policy: &Json, request: &Request, world: World) -> Decision {
        let some = |effect: &str| {
            statements(policy).iter().any(|statement| {
                has_effect(statement, effect) && applies(policy, statement, request, world)
            })
        };
        if some("Deny") {
            Decision::Denied
        } else if some("Allow") {
            Decision::Allowed
        } else {
            Decision::NotAllowed
        }
    }

    pub fn has_effect(statement: &Json, effect: &str) -> bool {
        statement.get("Effect").and_then(Json::as_text).as_deref() == Some(effect)
    }

    pub fn applies(policy: &Json, statement: &Json, request: &Request, world: World) -> bool {
        let variables =
            policy.get("Version").and_then(Json::as_text).as_deref() == Some("2012-10-17");
        let scene = Scene { request, world, variables };
        scene.applies(statement).unwrap_or(false)
    }

    #[derive(Clone, Copy, PartialEq)]
    enum Token {
        Exactly(char),
        AnyOne,
        AnyMany,
    }

    struct Scene<'a> {
        request: &'a Request,
        world: World,
        variables: bool,
    }

    impl Scene<'_> {
        /// None: the statement is not well formed, or made invalid by a variable.
        fn applies(&self, statement: &Json) -> Option<bool> {
            let fields = statement.fields();
            if fields.iter().enumerate().any(|(index, (key, _))| {
                fields[..index].iter().any(|(earlier, _)| unescaped(earlier) == unescaped(key))
            }) {
                return None;
            }
            let principal =
                self.either(statement, "Principal", |value| self.principal_matches(value))?;
            let action = self.either(statement, "Action", |value| {
                self.any(value, |pattern| Some(self.action_matches(pattern)))
            })?;
            let resource = self.either(statement, "Resource", |value| {
                self.any(value, |pattern| self.resource_matches(pattern))
            })?;
            let condition = match statement.get("Condition") {
                None => true,
                Some(condition) => self.condition_holds(condition)?,
            };
            Some(principal && action && resource && condition)
        }

        fn either(
            &self,
            statement: &Json,
            element: &str,
            matches: impl Fn(&Json) -> Option<bool>,
        ) -> Option<bool> {
            match (statement.get(element), statement.get(&format!("Not{element}"))) {
                (Some(value), None) => matches(value),
                (None, Some(value)) if value.items().is_empty() => {
                    self.world.empty_exceptions.then_some(true)
                }
                (None, Some(value)) => matches(value).map(|matched| !matched),
                _ => None,
            }
        }

        fn any(&self, value: &Json, matches: impl Fn(&str) -> Option<bool>) -> Option<bool> {
            let mut matched = false;
            for item in value.items() {
                matched |= matches(&item.as_text()?)?;
            }
            Some(matched)
        }

        fn principal_matches(&self, value: &Json) -> Option<bool> {
            if let Json::Text(_) = value {
                return (value.as_text()? == "*").then_some(true);
            }
            let Json::Object(kinds) = value else { return None };
            let mut matched = false;
            for (kind, names) in kinds {
                let everyone_or_us = self.any(names, |name| {
                    Some(name == "*" || self.request.caller.names().contains(&name.to_owned()))
                })?;
                matched |= everyone_or_us && unescaped(kind) == "AWS";
            }
            Some(matched)
        }

        fn action_matches(&self, pattern: &str) -> bool {
            let service = pattern.split(':').next().unwrap_or_default();
            if pattern != "*" && service.contains(['*', '?']) && !self.world.services_vary {
                return false;
            }
            let tokens: Vec<Token> = pattern.to_lowercase().chars().map(token).collect();
            let action: Vec<char> = self.request.action.to_lowercase().chars().collect();
            glob(&tokens, &action, Wildcards::Anywhere)
        }

        fn resource_matches(&self, pattern: &str) -> Option<bool> {
            if pattern == "*" {
                return Some(true);
            }
            let resource: Vec<char> = self.request.resource.chars().collect();
            let service = pattern.split(':').nth(2).unwrap_or("*");
            if service.contains(['*', '?'])
                && !service.contains("${")
                && !self.world.arn_services_vary
            {
                return Some(false);
            }
            let mut pattern = pattern.to_owned();
            while self.world.completes_arns
                && pattern.starts_with("arn:")
                && pattern.split(':').count() < 6
            {
                pattern += ":*";
            }
            self.with_pattern(&pattern, |tokens| glob(tokens, &resource, self.world.wildcards))
        }

        /// None: the statement is invalid because a variable has no value.
        fn with_pattern(&self, pattern: &str, matches: impl Fn(&[Token]) -> bool) -> Option<bool> {
            match self.resolved(pattern) {
                Some(tokens) => Some(matches(&tokens)),
                None if self.world.unresolved_invalidates => None,
                None => Some(false),
            }
        }

        fn resolved(&self, pattern: &str) -> Option<Vec<Token>> {
            let mut tokens = Vec::new();
            let mut rest = pattern;
            while let Some(c) = rest.chars().next() {
                let variable = rest.strip_prefix("${").and_then(|inner| inner.split_once('}'));
                if let (true, Some((name, after))) = (self.variables, variable) {
                    let value = match name {
                        "*" | "?" | "$" => name.to_owned(),
                        name => match name.split_once(',') {
                            None => self.request.context(name.trim())?,
                            Some((name, default)) => self
                                .request
                                .context(name.trim())
                                .unwrap_or_else(|| default.trim().trim_matches('\'').to_owned()),
                        },
                    };
                    tokens.extend(value.chars().map(Token::Exactly));
                    rest = after;
                } else {
                    tokens.push(token(c));
                    rest = &rest[c.len_utf8()..];
                }
            }
            Some(tokens)
        }

        fn condition_holds(&self, condition: &Json) -> Option<bool> {
            let Json::Object(operators) = condition else { return None };
            let mut holds = true;
            for (operator, keys) in operators {
                let Json::Object(keys) = keys else { return None };
                for (key, values) in keys {
                    holds &= self.test_holds(&unescaped(operator), &unescaped(key), values)?;
                }
            }
            Some(holds)
        }

        fn test_holds(&self, operator: &str, key: &str, values: &Json) -> Option<bool> {
            let actual = self.request.context(key);
            // EC2 takes a literal for its text.
            let texts: Vec<Json> = values
                .items()
                .iter()
                .map(|value| match value {
                    Json::Literal(text) if text == "true" || text == "false" => Json::string(text),
                    other => other.clone(),
                })
                .collect();
            let values = &Json::List(texts);
            if operator == "Null" {
                let absent = actual.is_none().to_string();
                return self.any(values, |wanted| Some(wanted == absent));
            }
            let (operator, only_if_exists) = match operator.strip_suffix("IfExists") {
                Some(operator) => (operator, true),
                None => (operator, false),
            };
            let (operator, any_value) = match operator.strip_prefix("ForAnyValue:") {
                Some(operator) => (operator, true),
                None => (operator, false),
            };
            let (operator, all_values) = match operator.strip_prefix("ForAllValues:") {
                Some(operator) => (operator, true),
                None => (operator, false),
            };
            let (operator, negated) = match operator {
                "StringNotEquals" => ("StringEquals", true),
                "StringNotEqualsIgnoreCase" => ("StringEqualsIgnoreCase", true),
                "StringNotLike" => ("StringLike", true),
                "ArnNotLike" | "ArnNotEquals" => ("ArnLike", true),
                "ArnEquals" => ("ArnLike", false),
                operator => (operator, false),
            };
            let Some(actual) = actual else {
                return Some(only_if_exists || all_values || (negated && !any_value));
            };
            let matched = self.any(values, |wanted| {
                self.with_pattern(wanted, |tokens| {
                    let text: Vec<char> = actual.chars().collect();
                    let lower = |c: char| c.to_ascii_lowercase();
                    match operator {
                        "StringLike" => glob(tokens, &text, Wildcards::Anywhere),
                        "StringEqualsIgnoreCase" => {
                            tokens.iter().map(plain).map(lower).eq(text.iter().copied().map(lower))
                        }
                        // Each of the six parts for itself.
                        "ArnLike" => {
                            let of = |part: &[Token]| part.to_vec();
                            let is_colon = |token: &Token| *token == Token::Exactly(':');
                            let patterns: Vec<Vec<Token>> =
                                tokens.splitn(6, is_colon).map(of).collect();
                            let parts: Vec<Vec<char>> =
                                text.splitn(6, |c| *c == ':').map(<[char]>::to_vec).collect();
                            patterns.len() == 6
                                && parts.len() == 6
                                && patterns
                                    .iter()
                                    .zip(&parts)
                                    .all(|(pattern, part)| glob(pattern, part, Wildcards::Anywhere))
                        }
                        _ => tokens.iter().map(plain).eq(text.iter().copied()),
                    }
                })
            })?;
            match operator {
                "StringEquals" | "StringEqualsIgnoreCase" | "StringLike" | "ArnLike" | "Bool" => {
                    Some(matched != negated)
                }
                _ => None,
            }
        }
    }

    fn token(c: char) -> Token {
        match c {
            '*' => Token::AnyMany,
            '?' => Token::AnyOne,
            c => Token::Exactly(c),
        }
    }

    fn plain(token: &Token) -> char {
        match token {
            Token::Exactly(c) => *c,
            Token::AnyOne => '?',
            Token::AnyMany => '*',
        }
    }

    fn glob(pattern: &[Token], text: &[char], wildcards: Wildcards) -> bool {
        let takes = |crosses: bool| text.first().is_some_and(|&c| crosses || c != ':');
        match pattern {
            [] => text.is_empty(),
            [Token::Exactly(c), rest @ ..] => {
                text.first() == Some(c) && glob(rest, &text[1..], wildcards)
            }
            [Token::AnyOne, rest @ ..] => {
                takes(wildcards == Wildcards::Anywhere) && glob(rest, &text[1..], wildcards)
            }
            [Token::AnyMany, rest @ ..] => {
                let crosses = match rest {
                    [] => true,
                    [Token::Exactly(':'), ..] => wildcards != Wildcards::AtTheEnd,
                    _ => wildcards == Wildcards::Anywhere,
                };
                glob(rest, text, wildcards)
                    || takes(crosses) && glob(pattern, &text[1..], wildcards)
            }
        }
    }
}

// ---------------------------------------------------------------------------------------------
// The world that the generated policies speak of

const SIX: [&str; 6] = [
    "sqs:ChangeMessageVisibility",
    "sqs:DeleteMessage",
    "sqs:GetQueueAttributes",
    "sqs:GetQueueUrl",
    "sqs:ReceiveMessage",
    "sqs:SendMessage",
];

const OTHER_ACTIONS: [&str; 6] = [
    "sqs:DeleteQueue",
    "sqs:SendMessageBatch",
    "sqs:PurgeQueue",
    "sqs:AddPermission",
    "sqs:GetQueueUrls",
    "s3:GetObject",
];

/// Near misses of each other: in a character's case, in the last character, in the account, in the
/// Region, one the prefix of another.
const QUEUES: [&str; 6] = [
    "arn:aws:sqs:us-east-1:555555555555:airflow-celery-1f2e",
    "arn:aws:sqs:us-east-1:555555555555:airflow-celery-1f2d",
    "arn:aws:sqs:us-east-1:555555555555:airflow-celery-1f2e9",
    "arn:aws:sqs:us-east-1:555555555555:Airflow-celery-1f2e",
    "arn:aws:sqs:us-east-1:666666666666:airflow-celery-1f2e",
    "arn:aws:sqs:eu-west-1:555555555555:airflow-celery-1f2e",
];

const OTHER_RESOURCES: [&str; 3] = [
    "arn:aws:sqs:us-east-1:111111111111:orders",
    "arn:aws:sqs:us-east-1:555555555555:airflow-celery-",
    "arn:aws:s3:::airflow-celery-1f2e",
];

const ACCOUNTS: [&str; 4] = ["111111111111", "222222222222", "333333333333", "444444444444"];
const ROLES: [&str; 2] = ["mwaa", "admin"];

fn queue(arn: &str) -> QueueArn {
    QueueArn::parse(arn).unwrap()
}

fn queues(arns: &[&str]) -> BTreeSet<QueueArn> {
    arns.iter().map(|arn| queue(arn)).collect()
}

fn account(id: &str) -> AccountId {
    AccountId::parse(id).unwrap()
}

fn caller() -> impl Strategy<Value = Caller> {
    (
        proptest::option::weighted(0.9, select(&ACCOUNTS)),
        select(&ROLES),
        select(&[None, Some("o-ours"), Some("o-service")]),
        select(&[None, Some("vpc-1"), Some("vpc-2")]),
        any::<bool>(),
    )
        .prop_map(|(account, role, resource_organization, vpc, encrypted)| Caller {
            account,
            role,
            resource_organization,
            vpc,
            encrypted,
        })
}

/// The roles of environments of an account, of which all is as the function knows it: in its VPC, over
/// TLS.
fn callers_of(account: &'static str) -> Vec<Caller> {
    let mut callers = Vec::new();
    for role in ROLES {
        for resource_organization in [None, Some("o-ours"), Some("o-service")] {
            let (account, vpc) = (Some(account), Some("vpc-1"));
            callers.push(Caller { account, role, resource_organization, vpc, encrypted: true });
        }
    }
    callers
}

fn environments_role() -> impl Strategy<Value = Caller> {
    select(callers_of(ACCOUNTS[0]))
}

/// What the function knows of an endpoint in that VPC.
fn facts(organization: Option<&str>) -> Facts {
    Facts {
        vpc: Some(VpcId::parse("vpc-1").unwrap()),
        endpoint: Some(EndpointId::parse("vpce-1").unwrap()),
        organization: organization.map(str::to_owned),
        is_gateway: false,
    }
}

/// What must happen for environments of the first account to be admitted to their queues.
fn admit(
    policy: Option<&str>,
    queues: &BTreeSet<QueueArn>,
    organization: Option<&str>,
) -> Result<Admission, Problem> {
    let queues = queues.iter().map(|queue| (queue.clone(), account(ACCOUNTS[0]))).collect();
    sqs_policy::admit(policy, &queues, &facts(organization))
}

fn blocks(policy: Option<&str>, queue: &QueueArn, account: &AccountId) -> Vec<Block> {
    sqs_policy::blocks(policy, queue, account, &facts(None))
}

fn request() -> impl Strategy<Value = Request> {
    let action = prop_oneof![
        3 => select(&SIX),
        2 => select(&OTHER_ACTIONS),
        1 => Just("SQS:sendmessage"),
    ];
    let resource = prop_oneof![3 => select(&QUEUES), 1 => select(&OTHER_RESOURCES)];
    (caller(), action, resource).prop_map(|(caller, action, resource)| Request {
        caller,
        action: action.to_owned(),
        resource: resource.to_owned(),
    })
}

// ---------------------------------------------------------------------------------------------
// Generated policies

fn one_or_many(
    one: impl Strategy<Value = String> + Clone,
    most: usize,
) -> impl Strategy<Value = Json> {
    let string = |text: String| Json::string(&text);
    prop_oneof![
        one.clone().prop_map(string),
        vec(one.prop_map(string), 0..=most).prop_map(Json::List),
    ]
}

/// A text with up to two of its parts replaced by wildcards. (The naive matcher is exponential in
/// their number.)
fn wildcards_in(words: &'static [&'static str]) -> impl Strategy<Value = String> + Clone {
    let cut = (any::<Index>(), 0..12_usize, select(&["*", "*", "?", "??", "?*"]));
    (select(words), vec(cut, 0..=2)).prop_map(|(word, cuts)| {
        let mut pattern: Vec<char> = word.chars().collect();
        for (start, length, wildcard) in cuts {
            let start = start.index(pattern.len() + 1);
            let length = if wildcard.starts_with('?') { wildcard.len() } else { length };
            let end = (start + length).min(pattern.len());
            pattern.splice(start..end, wildcard.chars());
        }
        pattern.into_iter().collect()
    })
}

fn action_pattern() -> impl Strategy<Value = String> + Clone {
    let spelled = prop_oneof![
        4 => select(&SIX).prop_map(str::to_owned),
        2 => select(&["*", "sqs:*", "*:*", "sqs:*Message*", "sqs:Send*", "sqs:Get*", "s3:*", "sqs:"])
            .prop_map(str::to_owned),
        2 => wildcards_in(&SIX),
        1 => select(&OTHER_ACTIONS).prop_map(str::to_owned),
    ];
    (spelled, prop_oneof![3 => Just(0_u64), 1 => any::<u64>()]).prop_map(|(pattern, flips)| {
        let flip = |(index, c): (usize, char)| match (flips >> (index % 64)) & 1 {
            1 if c.is_ascii_lowercase() => c.to_ascii_uppercase(),
            1 => c.to_ascii_lowercase(),
            _ => c,
        };
        pattern.chars().enumerate().map(flip).collect()
    })
}

fn plain_resource_pattern() -> impl Strategy<Value = String> + Clone {
    prop_oneof![
        3 => select(&QUEUES).prop_map(str::to_owned),
        3 => wildcards_in(&QUEUES),
        3 => select(&[
            "*",
            "arn:aws:sqs:*",
            "arn:aws:sqs:*:*:*",
            "arn:*:sqs:*:*:airflow-celery-*",
            "arn:aws:sqs:us-east-1:*:airflow-celery-*",
            "arn:aws:sqs:us-east-1:555555555555:*",
            "arn:aws:sqs:*:airflow-celery-????",
            "arn:aws:sqs:*-celery-*",
            "arn:aws:sqs:us-east-1?555555555555:*",
            "*:airflow-celery-1f2e",
            "*e",
        ])
        .prop_map(str::to_owned),
        1 => select(&OTHER_RESOURCES).prop_map(str::to_owned),
        1 => select(&["arn:aws:sqs:us-east-1:111111111111:*", "arn:aws:s3:::*", ""])
            .prop_map(str::to_owned),
    ]
}

fn resource_pattern() -> impl Strategy<Value = String> + Clone {
    prop_oneof![
        5 => plain_resource_pattern(),
        1 => select(&[
            "arn:aws:sqs:us-east-1:${aws:PrincipalAccount}:*",
            "${aws:SourceVpc}",
            "arn:aws:sqs:*:*:${*}",
            "arn:aws:sqs:*:*:airflow-celery-1f2${?}",
            "${aws:Nothing, '*'}",
            "${aws:Nothing, 'arn:aws:sqs:us-east-1:555555555555:airflow-celery-1f2e'}",
            "${aws:Nothing}",
            "arn:aws:s3:::${aws:Nothing}",
            "*${aws:PrincipalTag/team, 'airflow'}-celery-*",
            "arn:aws:sqs:*$*",
            "arn:aws:sqs",
            "arn:aws:sqs:us-east-1:555555555555",
        ])
        .prop_map(str::to_owned),
    ]
}

fn everyone() -> impl Strategy<Value = (&'static str, Json)> + Clone {
    select(vec![json!("*"), json!({"AWS": "*"}), json!({"AWS": ["*"]})])
        .prop_map(|principal| ("Principal", Json::from(principal)))
}

fn principal() -> impl Strategy<Value = (&'static str, Json)> + Clone {
    let name = || {
        (select(&ACCOUNTS), select(&ROLES)).prop_flat_map(|(account, role)| {
            select(vec![
                account.to_owned(),
                format!("arn:aws:iam::{account}:root"),
                format!("arn:aws:iam::{account}:role/{role}"),
                format!("arn:aws:sts::{account}:assumed-role/{role}/{}", iam::SESSION),
            ])
        })
    };
    let names = || vec(name(), 1..3).prop_map(|names| Json::from(json!({"AWS": names})));
    prop_oneof![
        6 => everyone(),
        2 => name().prop_map(|name| ("Principal", Json::from(json!({"AWS": name})))),
        1 => names().prop_map(|names| ("Principal", names)),
        1 => name().prop_map(|name| ("Principal", Json::from(json!({"AWS": [name, "*"]})))),
        1 => names().prop_map(|names| ("NotPrincipal", names)),
        1 => select(vec![
            ("Principal", Json::from(json!({"Service": "sqs.amazonaws.com"}))),
            ("Principal", Json::from(json!({"Federated": "*"}))),
            ("Principal", Json::from(json!({"AWS": []}))),
            ("Principal", Json::from(json!({"Service": ["a.amazonaws.com"], "AWS": "*"}))),
            ("NotPrincipal", Json::from(json!("*"))),
            ("NotPrincipal", Json::from(json!({"AWS": "*"}))),
        ]),
    ]
}

fn condition() -> impl Strategy<Value = Json> {
    let operator = select(&[
        "StringEquals",
        "StringNotEquals",
        "StringLike",
        "StringNotLike",
        "StringEqualsIfExists",
        "StringNotEqualsIfExists",
        "StringEqualsIgnoreCase",
        "ForAnyValue:StringLike",
        "ForAllValues:StringEquals",
        "ForAllValues:StringNotLike",
        "ArnLike",
        "ArnNotLike",
        "ArnEqualsIfExists",
        "Bool",
        "Null",
    ]);
    let key = select(&[
        "aws:PrincipalOrgID",
        "AWS:principalorgid",
        "aws:ResourceOrgID",
        "aws:SourceVpc",
        "aws:PrincipalAccount",
        "aws:PrincipalArn",
        "aws:SourceVpce",
        "aws:RequestedRegion",
        "aws:ResourceAccount",
        "aws:PrincipalType",
        "aws:PrincipalIsAWSService",
        "aws:CalledVia",
        "aws:Nothing",
    ]);
    let value = select(&[
        "o-ours",
        "o-other",
        "o-service",
        "vpc-1",
        "*",
        "o-*",
        "111111111111",
        "arn:aws:iam::*:role/mwaa",
        "arn:aws:iam::111111111111:*",
        "arn:aws:iam::222222222222:role/*",
        "arn:*:iam::*:role/*",
        "vpce-1",
        "VPC-1",
        "us-east-1",
        "555555555555",
        "AssumedRole",
        "true",
        "false",
        "${aws:PrincipalOrgID}",
        "${aws:Nothing}",
    ]);
    let test = (operator, key, one_or_many(value.prop_map(str::to_owned), 2)).prop_map(
        |(operator, key, values)| {
            Json::Object(vec![(operator.to_owned(), Json::Object(vec![(key.to_owned(), values)]))])
        },
    );
    let fixed = select(vec![
        json!({}),
        json!({"StringEquals": {}}),
        json!({"Bool": {"aws:SecureTransport": "false"}}),
        json!({"Bool": {"aws:SecureTransport": "true"}}),
        json!({"Bool": {"aws:SecureTransport": false}}),
        json!({"Null": {"aws:PrincipalOrgID": true}}),
        json!({"Null": {"aws:SourceVpc": "true"}}),
        json!({"StringEquals": {"aws:PrincipalOrgID": "o-ours"}}),
        json!({"StringNotEquals": {"aws:ResourceOrgID": "${aws:PrincipalOrgID}"}}),
        json!({"StringNotEqualsIfExists": {"aws:ResourceOrgID": "o-ours"},
               "StringEquals": {"aws:SourceVpc": ["vpc-1", "vpc-2"]}}),
    ])
    .prop_map(Json::from);
    prop_oneof![3 => test, 2 => fixed]
}

fn odd_value() -> impl Strategy<Value = Json> {
    let leaf = prop_oneof![
        select(&["null", "true", "-0", "1.0", "1.50E+3", "1e-400", "100000000000000000000000001"])
            .prop_map(|spelled| Json::Literal(spelled.to_owned())),
        select(&["", "*", "ü \\\" \\\\ \\/", "\\ud83d\\ude00", "\\u0000", "a  b\\n", "Allow"])
            .prop_map(|spelled| Json::Text(spelled.to_owned())),
    ];
    leaf.prop_recursive(3, 12, 3, |inner| {
        let key = select(&["Statement", "Sid", "Effect", "Action", "AWS", "", "z", "\\u0041"]);
        prop_oneof![
            vec(inner.clone(), 0..3).prop_map(Json::List),
            vec((key.prop_map(str::to_owned), inner), 0..3).prop_map(Json::Object),
        ]
    })
}

fn unknown_fields() -> impl Strategy<Value = Vec<(String, Json)>> {
    let fields = vec((select(&["Note", "effect", "resource", "x-1"]), odd_value()), 1..=2);
    prop_oneof![5 => Just(Vec::new()), 1 => fields.prop_map(|fields| {
        let fields: BTreeMap<_, _> = fields.into_iter().collect();
        fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
    })]
}

fn sid() -> impl Strategy<Value = Option<&'static str>> {
    select(&[
        None,
        None,
        None,
        Some(""),
        Some("AllowQueues"),
        Some("mwaaceleryqueues"),
        Some("MwaaCeleryQueues2"),
    ])
}

fn statement_of(
    effect: impl Strategy<Value = &'static str>,
    principal: impl Strategy<Value = (&'static str, Json)>,
    resource: impl Strategy<Value = String> + Clone,
    condition: impl Strategy<Value = Option<Json>>,
    unknown: impl Strategy<Value = Vec<(String, Json)>>,
) -> impl Strategy<Value = Json> {
    let actions =
        (select(&["Action", "Action", "Action", "NotAction"]), one_or_many(action_pattern(), 4));
    let resources =
        (select(&["Resource", "Resource", "Resource", "NotResource"]), one_or_many(resource, 3));
    (sid(), effect, principal, actions, resources, condition, unknown)
        .prop_map(|(sid, effect, principal, actions, resources, condition, unknown)| {
            let mut fields = vec![("Effect", Json::string(effect)), principal, actions, resources];
            fields.extend(sid.map(|sid| ("Sid", Json::string(sid))));
            fields.extend(condition.map(|condition| ("Condition", condition)));
            let known = fields.into_iter().map(|(name, value)| (name.to_owned(), value));
            known.chain(unknown).collect::<Vec<_>>()
        })
        .prop_shuffle()
        .prop_map(Json::Object)
}

fn statement() -> impl Strategy<Value = Json> {
    statement_of(
        select(&["Allow", "Allow", "Deny"]),
        principal(),
        resource_pattern(),
        proptest::option::weighted(0.35, condition()),
        unknown_fields(),
    )
}

/// A statement in which nothing is in doubt.
fn plain_statement() -> impl Strategy<Value = Json> {
    statement_of(
        select(&["Allow", "Allow", "Allow", "Deny"]),
        everyone(),
        plain_resource_pattern(),
        Just(None),
        Just(Vec::new()),
    )
}

/// One or two statements that together allow everyone the six actions on many queues.
fn generous(doubtful: bool) -> impl Strategy<Value = Vec<Json>> {
    let mut resources = vec![
        json!("*"),
        json!(["arn:aws:sqs:*"]),
        json!("arn:aws:sqs:us-east-1:*:airflow-celery-*"),
        json!("arn:aws:sqs:us-east-1:555555555555:*"),
        json!(QUEUES),
        json!([QUEUES[0], QUEUES[1], QUEUES[4]]),
    ];
    if doubtful {
        resources.push(json!(["arn:aws:sqs:*", "${aws:Nothing}"]));
        resources.push(json!("arn:aws:sqs:*-celery-*"));
    }
    let resources = select(resources);
    (0..64_u8, everyone(), everyone(), resources.clone(), resources, any::<bool>()).prop_map(
        |(split, here, there, resources, others, single)| {
            let actions = |bit: u8| -> Vec<&str> {
                SIX.iter()
                    .enumerate()
                    .filter(|(index, _)| (split >> index) & 1 == bit)
                    .map(|(_, action)| *action)
                    .collect()
            };
            let statement = |(name, principal): (&str, Json), actions: Value, resources: Value| {
                let mut fields: Vec<(String, Json)> = Json::from(
                    json!({"Effect": "Allow", "Action": actions, "Resource": resources}),
                )
                .fields()
                .to_vec();
                fields.push((name.to_owned(), principal));
                Json::Object(fields)
            };
            if single {
                let all = ["*", "sqs:*", "SQS:*"][usize::from(split % 3)];
                vec![statement(here, json!(all), resources)]
            } else {
                vec![
                    statement(here, json!(actions(0)), resources),
                    statement(there, json!(actions(1)), others),
                ]
            }
        },
    )
}

fn our_statement(listed: &BTreeSet<QueueArn>, organization: Option<&str>) -> Json {
    let listed: Vec<&str> = listed.iter().map(QueueArn::as_str).collect();
    let mut statement = json!({
        "Sid": SID, "Effect": "Allow", "Principal": "*", "Action": SIX, "Resource": listed,
    });
    if let Some(organization) = organization {
        statement["Condition"] = json!({"StringEquals": {"aws:PrincipalOrgID": organization}});
    }
    Json::from(statement)
}

fn wanted() -> impl Strategy<Value = BTreeSet<QueueArn>> {
    let queue = prop_oneof![
        3 => select(&QUEUES[..2]).prop_map(queue),
        2 => select(&QUEUES).prop_map(queue),
    ];
    prop_oneof![12 => btree_set(queue.clone(), 1..=3), 1 => Just(BTreeSet::new())]
}

fn organization() -> impl Strategy<Value = Option<&'static str>> {
    select(&[None, None, Some("o-ours"), Some("o-other")])
}

/// A policy and what is wanted of it.
#[derive(Clone)]
struct Case {
    policy: Json,
    written: String,
    wanted: BTreeSet<QueueArn>,
    organization: Option<&'static str>,
}

impl Debug for Case {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Case { policy, wanted, organization, .. } = self;
        write!(f, "{policy}\nwanted {wanted:?}\norganization {organization:?}")
    }
}

fn case_of(
    foreign: impl Strategy<Value = Vec<Json>>,
    ours: impl Strategy<Value = Option<Json>>,
) -> impl Strategy<Value = Case> {
    let version = select(&[Some("2012-10-17"), Some("2012-10-17"), Some("2008-10-17"), None]);
    let id = select(&[None, None, Some("Policy1")]);
    let frame = (version, id, unknown_fields(), any::<u64>(), any::<Index>(), any::<bool>());
    (foreign, ours, wanted(), organization(), frame).prop_map(
        |(mut statements, ours, wanted, organization, frame)| {
            let (version, id, unknown, chance, place, bare) = frame;
            let mut dice = text::Dice(chance);
            if let Some(ours) = ours {
                statements.insert(place.index(statements.len() + 1), stored(&ours, &mut dice));
            }
            let statements = if bare && statements.len() == 1 {
                statements.remove(0)
            } else {
                Json::List(statements)
            };
            let mut fields = vec![("Statement".to_owned(), statements)];
            fields.extend(version.map(|version| ("Version".to_owned(), Json::string(version))));
            fields.extend(id.map(|id| ("Id".to_owned(), Json::string(id))));
            fields.extend(unknown);
            dice.shuffle(&mut fields);
            let policy = Json::Object(fields).respelled(&mut dice);
            let written = policy.spaced(&mut dice);
            Case { policy, written, wanted, organization }
        },
    )
}

fn ours() -> impl Strategy<Value = Option<Json>> {
    let listed = btree_set(select(&QUEUES).prop_map(queue), 0..=4);
    let ours = (listed, organization())
        .prop_map(|(listed, organization)| our_statement(&listed, organization));
    proptest::option::weighted(0.4, ours)
}

fn case() -> impl Strategy<Value = Case> {
    let foreign =
        (vec(statement(), 0..=3), prop_oneof![2 => Just(Vec::new()), 3 => generous(true)])
            .prop_map(|(statements, generous)| [statements, generous].concat())
            .prop_shuffle();
    case_of(foreign, ours())
}

fn plain_case() -> impl Strategy<Value = Case> {
    let foreign =
        (vec(plain_statement(), 0..=2), prop_oneof![1 => Just(Vec::new()), 2 => generous(false)])
            .prop_map(|(statements, generous)| [statements, generous].concat())
            .prop_shuffle();
    case_of(foreign, Just(None))
}

/// A policy that denies something, often a queue to an environment.
fn denying_case() -> impl Strategy<Value = Case> {
    let deny = statement_of(
        Just("Deny"),
        principal(),
        resource_pattern(),
        proptest::option::weighted(0.4, condition()),
        unknown_fields(),
    );
    let plain_deny = statement_of(
        Just("Deny"),
        everyone(),
        plain_resource_pattern(),
        Just(None),
        Just(Vec::new()),
    );
    let foreign = (vec(deny, 1..=2), vec(plain_deny, 0..=1), vec(statement(), 0..=1))
        .prop_map(|(deny, plain, others)| [deny, plain, others].concat())
        .prop_shuffle();
    case_of(foreign, ours())
}

/// The policy as EC2 may give it back: in another order, one thing instead of a list of one.
fn stored(json: &Json, dice: &mut text::Dice) -> Json {
    match json {
        Json::Object(fields) => {
            let mut fields: Vec<(String, Json)> = fields
                .iter()
                .map(|(key, value)| {
                    let name = text::unescaped(key);
                    let mut value = match name.as_str() {
                        "Statement" | "Action" | "NotAction" | "Resource" | "NotResource"
                        | "Principal" | "Condition" | "StringEquals" => stored(value, dice),
                        _ => value.clone(),
                    };
                    if let (Json::List(items), true) = (&mut value, name != "AWS") {
                        dice.shuffle(items);
                    }
                    value = match (&value, name.as_str(), dice.roll(3)) {
                        (Json::Text(_), "Principal", 1) => Json::from(json!({"AWS": "*"})),
                        (Json::Text(_), "Principal", 2) => Json::from(json!({"AWS": ["*"]})),
                        (Json::Object(_), "Principal", 1)
                            if value.to_value() == json!({"AWS": "*"}) =>
                        {
                            Json::string("*")
                        }
                        (Json::List(items), _, 1) if items.len() == 1 && !unknown(&name) => {
                            items[0].clone()
                        }
                        (Json::Text(_), "Action" | "Resource" | "aws:PrincipalOrgID", 2) => {
                            Json::List(vec![value.clone()])
                        }
                        _ => value,
                    };
                    (key.clone(), value)
                })
                .collect();
            dice.shuffle(&mut fields);
            Json::Object(fields)
        }
        Json::List(items) => Json::List(items.iter().map(|item| stored(item, dice)).collect()),
        other => other.clone(),
    }
}

fn unknown(name: &str) -> bool {
    !["Statement", "Action", "NotAction", "Resource", "NotResource", "AWS"].contains(&name)
}

// ---------------------------------------------------------------------------------------------
// Observations

fn is_element(key: &str) -> bool {
    let key = text::unescaped(key);
    let element = key.strip_prefix("Not").unwrap_or(&key);
    ["Sid", "Effect", "Principal", "Action", "Resource", "Condition"].contains(&element)
}

fn is_ours(statement: &Json) -> bool {
    statement.get("Sid").and_then(Json::as_text).as_deref() == Some(SID)
}

fn ours_in(policy: &Json) -> Option<&Json> {
    iam::statements(policy).iter().find(|statement| is_ours(statement))
}

fn foreign_in(policy: &Json) -> Vec<&Json> {
    iam::statements(policy).iter().filter(|statement| !is_ours(statement)).collect()
}

fn listed_in(policy: &Json) -> BTreeSet<QueueArn> {
    let resources = ours_in(policy).and_then(|ours| ours.get("Resource").map(Json::items));
    resources.unwrap_or_default().iter().map(|arn| queue(&arn.as_text().unwrap())).collect()
}

fn may(organization: Option<&str>, caller: &Caller) -> bool {
    organization.is_none() || caller.organization() == organization
}

impl Case {
    fn admit(&self) -> Result<Admission, TestCaseError> {
        admit(Some(&self.written), &self.wanted, self.organization)
            .map_err(|problem| TestCaseError::fail(problem.to_string()))
    }

    /// The policy that is in force afterwards.
    fn after(&self, admission: &Admission) -> Json {
        match admission {
            Admission::AlreadyAllowed => self.policy.clone(),
            Admission::Write { document, .. } => Json::parse(document),
        }
    }

    fn uses(&self, callers: &[Caller]) -> Vec<Request> {
        let mut requests = Vec::new();
        for queue in &self.wanted {
            for action in SIX {
                for caller in callers {
                    requests.push(Request {
                        caller: caller.clone(),
                        action: action.to_owned(),
                        resource: queue.as_str().to_owned(),
                    });
                }
            }
        }
        requests
    }
}

/// Runs `cases` cases, more if the environment asks for more than proptest's usual number. No file
/// is kept of failures: a failing case is printed whole, and becomes an example below.
fn check<S: Strategy>(cases: u32, strategy: S, test: impl Fn(S::Value) -> TestCaseResult)
where
    S::Value: Debug,
{
    let usual = ProptestConfig::default();
    let config =
        ProptestConfig { cases: cases * usual.cases / 256, failure_persistence: None, ..usual };
    let mut runner = TestRunner::new(config);
    if let Err(failure) = runner.run(&strategy, test) {
        panic!("{failure}");
    }
}

/// Proves that a property was put to the test: how often each of its outcomes came up.
#[derive(Default)]
struct Tally {
    all: Cell<u32>,
    outcomes: [Cell<u32>; 4],
}

impl Tally {
    fn next(&self) {
        self.all.set(self.all.get() + 1);
    }

    fn saw(&self, outcome: usize) {
        self.outcomes[outcome].set(self.outcomes[outcome].get() + 1);
    }

    fn each_came_up(&self, one_in: [u32; 4]) {
        let seen = self.outcomes.each_ref().map(Cell::get);
        for (outcome, one_in) in one_in.into_iter().enumerate() {
            assert!(
                one_in == 0 || seen[outcome] * one_in >= self.all.get(),
                "outcome {outcome} came up too rarely: {seen:?} of {}",
                self.all.get()
            );
        }
    }
}

// ---------------------------------------------------------------------------------------------
// Properties

#[test]
fn every_wanted_queue_is_allowed_unless_somebody_elses_deny_applies() {
    let tally = Tally::default();
    check(600, case(), |case| {
        let callers = callers_of(ACCOUNTS[0]);
        let admission = case.admit()?;
        let after = case.after(&admission);
        let listed = listed_in(&after);
        tally.next();
        tally.saw(usize::from(admission == Admission::AlreadyAllowed));
        for request in case.uses(&callers) {
            if !may(case.organization, &request.caller) {
                continue;
            }
            for world in WORLDS {
                let decision = iam::decide(&after, &request, world);
                prop_assert_ne!(decision, Decision::NotAllowed, "{:?} {:?}", request, world);
                if !listed.contains(&queue(&request.resource)) {
                    tally.saw(2);
                }
                if decision == Decision::Denied {
                    tally.saw(3);
                }
            }
        }
        Ok(())
    });
    tally.each_came_up([5, 5, 4, 4]);
}

#[test]
fn without_anything_in_doubt_a_policy_is_left_alone_exactly_if_it_allows_everything_wanted() {
    let tally = Tally::default();
    check(900, (plain_case(), caller()), |(case, caller)| {
        let statements = iam::statements(&case.policy);
        let allowed = case.uses(&[caller]).into_iter().all(|request| {
            let applies = |statement: &Json, world: &iam::World| {
                iam::applies(&case.policy, statement, &request, *world)
            };
            let allows = |statement: &&Json| iam::has_effect(statement, "Allow");
            statements.iter().filter(allows).any(|one| WORLDS.iter().all(|w| applies(one, w)))
        });
        prop_assert_eq!(case.admit()? == Admission::AlreadyAllowed, allowed);
        tally.next();
        tally.saw(usize::from(allowed));
        Ok(())
    });
    tally.each_came_up([4, 4, 0, 0]);
}

#[test]
fn nothing_else_becomes_allowed_or_denied() {
    let tally = Tally::default();
    check(500, (case(), vec(request(), 8)), |(case, requests)| {
        let admission = case.admit()?;
        let after = case.after(&admission);
        let (listed, listed_before) = (listed_in(&after), listed_in(&case.policy));
        tally.next();
        if admission != Admission::AlreadyAllowed {
            tally.saw(0);
        }
        for request in requests {
            let use_of = |listed: &BTreeSet<QueueArn>| {
                SIX.iter().any(|action| action.eq_ignore_ascii_case(&request.action))
                    && listed.iter().any(|queue| queue.as_str() == request.resource)
            };
            for world in WORLDS {
                let was = iam::decide(&case.policy, &request, world);
                let is = iam::decide(&after, &request, world);
                if was == is {
                    continue;
                }
                let granted = (was, is) == (Decision::NotAllowed, Decision::Allowed)
                    && use_of(&listed)
                    && may(case.organization, &request.caller);
                // An organization that was given later shuts the others out of our own statement.
                let narrowed = (was, is) == (Decision::Allowed, Decision::NotAllowed)
                    && use_of(&listed_before)
                    && !may(case.organization, &request.caller);
                prop_assert!(granted || narrowed, "{:?} was {:?}, is {:?}", request, was, is);
                tally.saw(if granted { 1 } else { 2 });
            }
        }
        Ok(())
    });
    tally.each_came_up([3, 5, 40, 0]);
}

#[test]
fn all_but_our_statement_stays_as_it_is() {
    let tally = Tally::default();
    check(1000, case(), |case| {
        let Admission::Write { document, .. } = case.admit()? else { return Ok(()) };
        tally.next();
        tally.saw(0);
        let after = Json::parse(&document);
        prop_assert_eq!(after.to_string(), document, "white space is left");
        prop_assert_eq!(foreign_in(&after), foreign_in(&case.policy));
        prop_assert_eq!(iam::statements(&after).iter().filter(|one| is_ours(one)).count(), 1);
        let fields = |policy: &Json| -> Vec<(String, Option<Json>)> {
            policy
                .fields()
                .iter()
                .map(|(key, value)| {
                    let key = text::unescaped(key);
                    let other = (key != "Statement").then(|| value.clone());
                    (key, other)
                })
                .collect()
        };
        prop_assert_eq!(fields(&after), fields(&case.policy));
        if ours_in(&case.policy).is_some() {
            let place = |policy| iam::statements(policy).iter().position(is_ours);
            prop_assert_eq!(place(&after), place(&case.policy), "our statement has moved");
            tally.saw(1);
        }
        Ok(())
    });
    tally.each_came_up([1, 5, 0, 0]);
}

#[test]
fn our_statement_only_grows_and_has_one_shape() {
    let tally = Tally::default();
    check(1000, case(), |case| {
        let Admission::Write { document, added } = case.admit()? else { return Ok(()) };
        let before = listed_in(&case.policy);
        let expected: BTreeSet<QueueArn> = before.union(&case.wanted).cloned().collect();
        let after = Json::parse(&document);
        let ours = ours_in(&after).unwrap();
        // Equal lists: the order and the number of entries count.
        prop_assert_eq!(ours.to_value(), our_statement(&expected, case.organization).to_value());
        prop_assert_eq!(&added, &expected.difference(&before).cloned().collect());
        tally.next();
        tally.saw(usize::from(!before.is_empty()));
        tally.saw(if added.is_empty() { 2 } else { 3 });
        Ok(())
    });
    tally.each_came_up([4, 5, 200, 4]);
}

#[test]
fn patching_twice_is_patching_once() {
    let tally = Tally::default();
    check(800, (case(), any::<u64>(), any::<u64>()), |(case, order, spaces)| {
        let admission = case.admit()?;
        tally.next();
        tally.saw(usize::from(admission == Admission::AlreadyAllowed));
        let after = case.after(&admission);
        let again = |text: &str| admit(Some(text), &case.wanted, case.organization);
        prop_assert_eq!(again(&after.to_string()), Ok(Admission::AlreadyAllowed));

        let returned = stored(&after, &mut text::Dice(order));
        let written = returned.spaced(&mut text::Dice(spaces));
        prop_assert_eq!(again(&written), Ok(Admission::AlreadyAllowed), "stored as {}", written);

        let certainties = |policy: &str, queue| {
            let mut certainties: Vec<Certainty> =
                blocks(Some(policy), queue, &account(ACCOUNTS[0]))
                    .into_iter()
                    .map(|block| block.certainty)
                    .collect();
            certainties.sort();
            certainties
        };
        for queue in &case.wanted {
            let before = certainties(&case.written, queue);
            prop_assert_eq!(&before, &certainties(&after.to_string(), queue));
            prop_assert_eq!(&before, &certainties(&written, queue));
        }
        Ok(())
    });
    tally.each_came_up([5, 5, 0, 0]);
}

#[test]
fn a_later_organization_replaces_the_earlier_one() {
    check(400, (case(), organization()), |(case, later)| {
        let admission = case.admit()?;
        let first = case.after(&admission);
        let Admission::Write { document, added } =
            admit(Some(&first.to_string()), &case.wanted, later).unwrap()
        else {
            return Ok(());
        };
        let second = Json::parse(&document);
        prop_assert_eq!(
            ours_in(&second).unwrap().to_value(),
            our_statement(&listed_in(&second), later).to_value()
        );
        prop_assert!(listed_in(&first).is_subset(&listed_in(&second)));
        prop_assert_eq!(foreign_in(&second), foreign_in(&first));
        prop_assert!(admission == Admission::AlreadyAllowed || added.is_empty());
        prop_assert_eq!(admit(Some(&document), &case.wanted, later), Ok(Admission::AlreadyAllowed));
        Ok(())
    });
}

/// Padding makes the size of what is written known in advance: one character more, one more.
#[test]
fn the_limit_is_counted_to_the_character() {
    check(150, (case(), select(&["x", "é", "😀", "\\n", "\\u00e9"])), |(case, unit)| {
        let Admission::Write { document, .. } = case.admit()? else { return Ok(()) };
        let width = unit.chars().count();
        let padded = |units: usize, rest: usize| {
            let padding = Json::Text(unit.repeat(units) + &"-".repeat(rest));
            let mut policy = case.policy.clone();
            policy.fields_mut().push(("Padding".to_owned(), padding));
            admit(Some(&policy.spaced(&mut text::Dice(7))), &case.wanted, case.organization)
        };
        let room = MAX_POLICY_CHARACTERS - document.chars().count() - ",\"Padding\":\"\"".len();
        match padded(room / width, room % width) {
            Ok(Admission::Write { document, .. }) => {
                prop_assert_eq!(document.chars().count(), MAX_POLICY_CHARACTERS);
            }
            other => prop_assert!(false, "the limit itself is refused: {:?}", other),
        }
        for more in [1, 2, 1000] {
            prop_assert_eq!(
                padded(room / width, room % width + more),
                Err(Problem::TooLong(MAX_POLICY_CHARACTERS + more))
            );
        }
        Ok(())
    });
}

#[test]
fn a_deny_that_applies_is_reported_and_only_one_that_can() {
    let tally = Tally::default();
    check(600, (denying_case(), select(&QUEUES)), |(case, arn)| {
        let reported = blocks(Some(&case.written), &queue(arn), &account(ACCOUNTS[0]));
        let callers = callers_of(ACCOUNTS[0]);
        let denies = |statement: &Json, action: &str, caller: &Caller, world| {
            let request = Request {
                caller: caller.clone(),
                action: action.to_owned(),
                resource: arn.to_owned(),
            };
            iam::has_effect(statement, "Deny")
                && iam::applies(&case.policy, statement, &request, world)
        };
        let ever_denies = |statement: &Json| {
            SIX.iter().any(|action| {
                callers.iter().any(|caller| {
                    WORLDS.iter().any(|world| denies(statement, action, caller, *world))
                })
            })
        };
        let always_denies = |statement: &Json| {
            SIX.iter().any(|action| {
                callers.iter().all(|caller| {
                    WORLDS.iter().all(|world| denies(statement, action, caller, *world))
                })
            })
        };
        tally.next();
        let statements = iam::statements(&case.policy);
        for statement in statements {
            let text = statement.to_string();
            let of_it = |block: &&Block| block.statement == text;
            let block = reported.iter().find(of_it);
            if ever_denies(statement) {
                prop_assert!(block.is_some(), "not reported: {}", text);
            }
            if block.is_some_and(|block| block.certainty == Certainty::Surely) {
                prop_assert!(always_denies(statement), "not sure: {}", text);
                tally.saw(0);
            }
            if block.is_some_and(|block| block.certainty == Certainty::Maybe) {
                tally.saw(1);
            }
            let plain = statement.get("NotPrincipal").is_none()
                && statement.fields().iter().all(|(key, _)| is_element(key))
                && !statement.mentions("Federated")
                && !statement.mentions("${");
            if plain && !ever_denies(&statement.without("Condition")) {
                prop_assert!(block.is_none(), "cannot apply: {}", text);
                tally.saw(2);
            }
            let to_everyone = statement.get("Principal").is_some_and(|principal| {
                [json!("*"), json!({"AWS": "*"}), json!({"AWS": ["*"]})]
                    .contains(&principal.to_value())
            });
            if plain
                && to_everyone
                && statement.get("Condition").is_none()
                && always_denies(statement)
            {
                prop_assert_eq!(block.map(|block| block.certainty), Some(Certainty::Surely));
                tally.saw(3);
            }
        }
        // A field that occurs twice, even deep in an unknown one, makes a statement unreadable.
        for block in &reported {
            prop_assert!(
                statements.iter().any(|statement| statement.to_string() == block.statement
                    && (iam::has_effect(statement, "Deny")
                        || !statement.fields().iter().all(|(key, _)| is_element(key)))),
                "reported, but no Deny: {}",
                block.statement
            );
        }
        Ok(())
    });
    tally.each_came_up([12, 4, 4, 12]);
}

/// A word on a request is so of every request that it may be: of one by the environment's role or by
/// whomever, for this queue or for any that the example stands for.
#[test]
fn a_word_on_a_request_holds_for_every_request_that_it_may_be() {
    let example = format!("arn:aws:sqs:us-east-1::airflow-celery-{ANY_NAME}");
    let tally = Tally::default();
    let policies = prop_oneof![case(), denying_case()];
    let request = (select(&QUEUES), select(&SIX), any::<bool>(), any::<bool>());
    check(900, (policies, request), |(case, (arn, action, is_role, is_exact))| {
        let own = account(ACCOUNTS[0]);
        let is_such = |it: &str| it.contains(":us-east-1:") && it.contains(":airflow-celery-");
        let resource = if is_exact { arn } else { &example };
        let wish = Wish { action, resource, is_exact, account: is_role.then_some(&own) };
        let word = judge(Some(&case.written), &wish, &facts(case.organization));
        tally.next();
        let resources: Vec<&str> = match is_exact {
            true => vec![arn],
            false => QUEUES.into_iter().filter(|it| is_such(it)).collect(),
        };
        let mut callers = callers_of(ACCOUNTS[0]);
        if is_role {
            callers.retain(|caller| may(case.organization, caller));
        } else {
            callers.extend(ACCOUNTS.into_iter().skip(1).flat_map(callers_of));
        }
        for (resource, caller) in
            resources.iter().flat_map(|it| callers.iter().map(move |c| (it, c)))
        {
            let request = Request {
                caller: caller.clone(),
                action: action.to_owned(),
                resource: resource.to_string(),
            };
            for world in WORLDS {
                let is_allowed = iam::decide(&case.policy, &request, world) == Decision::Allowed;
                match word {
                    Word::Allowed => prop_assert!(is_allowed, "{:?} {:?}", request, world),
                    Word::Refused(_) => prop_assert!(!is_allowed, "{:?} {:?}", request, world),
                    Word::Unclear(_) => {}
                }
            }
        }
        tally.saw(match (word, is_exact) {
            (Word::Allowed, _) => 0,
            (Word::Refused(_), true) => 1,
            (Word::Refused(_), false) => 2,
            (Word::Unclear(_), _) => 3,
        });
        Ok(())
    });
    tally.each_came_up([20, 20, 40, 4]);
}

/// What is known of a request decides exactly as far as IAM's rules say so of every such request.
#[test]
fn a_condition_holds_or_does_not_only_if_it_does_so_for_every_request() {
    let tally = Tally::default();
    check(6000, (condition(), condition(), any::<bool>()), |(one, other, both)| {
        let mut operators = one.fields().to_vec();
        let names = |fields: &[(String, Json)]| -> BTreeSet<String> {
            fields.iter().map(|(name, _)| name.clone()).collect()
        };
        if both && names(&operators).is_disjoint(&names(other.fields())) {
            operators.extend(other.fields().iter().cloned());
        }
        let condition = Json::Object(operators).to_value();
        let policy = |effect: &str| {
            json!({"Version": "2012-10-17", "Statement": [{
                "Effect": effect, "Principal": "*", "Action": "*", "Resource": "*",
                "Condition": condition,
            }]})
            .to_string()
        };
        let counted = callers_of(ACCOUNTS[0])
            .into_iter()
            .flat_map(|caller| WORLDS.map(|world| (caller.clone(), world)))
            .map(|(caller, world)| {
                let (action, resource) = (SIX[0].to_owned(), QUEUES[0].to_owned());
                let request = Request { caller, action, resource };
                let parsed = Json::parse(&policy("Allow"));
                iam::applies(&parsed, &iam::statements(&parsed)[0], &request, world)
            })
            .collect::<BTreeSet<bool>>();
        let wanted = queues(&[QUEUES[0]]);
        let admission = admit(Some(&policy("Allow")), &wanted, Some("o-ours")).unwrap();
        let facts = facts(Some("o-ours"));
        let deny = policy("Deny");
        let reported =
            sqs_policy::blocks(Some(&deny), &queue(QUEUES[0]), &account(ACCOUNTS[0]), &facts);
        tally.next();
        if admission == Admission::AlreadyAllowed {
            prop_assert_eq!(&counted, &BTreeSet::from([true]), "holds: {}", condition);
            tally.saw(0);
        }
        match reported.first().map(|block| block.certainty) {
            None => {
                prop_assert_eq!(&counted, &BTreeSet::from([false]), "does not: {}", condition);
                tally.saw(1);
            }
            Some(Certainty::Surely) => {
                prop_assert_eq!(&counted, &BTreeSet::from([true]), "surely: {}", condition);
                prop_assert_eq!(admission, Admission::AlreadyAllowed);
            }
            Some(Certainty::Maybe) => tally.saw(2),
        }
        Ok(())
    });
    tally.each_came_up([12, 5, 4, 0]);
}

/// Replaces the value at some place in the tree.
fn with_odd_value(json: &Json, odd: &Json, places: &mut usize) -> Json {
    if *places == 0 {
        *places = usize::MAX;
        return odd.clone();
    }
    *places -= 1;
    match json {
        Json::List(items) => {
            Json::List(items.iter().map(|item| with_odd_value(item, odd, places)).collect())
        }
        Json::Object(fields) => Json::Object(
            fields
                .iter()
                .map(|(key, value)| (key.clone(), with_odd_value(value, odd, places)))
                .collect(),
        ),
        other => other.clone(),
    }
}

/// The promises that hold for any text.
fn holds_for_any(
    text: &str,
    wanted: &BTreeSet<QueueArn>,
    organization: Option<&str>,
    callers: &[Caller],
) -> Result<bool, TestCaseError> {
    for queue in wanted {
        let _ = blocks(Some(text), queue, &account(ACCOUNTS[0]));
    }
    let after = match admit(Some(text), wanted, organization) {
        Err(problem) => {
            prop_assert!(!problem.to_string().is_empty() && !problem.remedy().is_empty());
            return Ok(false);
        }
        Ok(Admission::Write { document, .. }) => document,
        Ok(Admission::AlreadyAllowed) => text.to_owned(),
    };
    prop_assert!(after.trim().is_empty() || serde_json::from_str::<Value>(&after).is_ok());
    prop_assert_eq!(admit(Some(&after), wanted, organization), Ok(Admission::AlreadyAllowed));
    if after.trim().is_empty() {
        return Ok(true);
    }
    let policy = Json::parse(&after);
    for queue in wanted {
        for action in SIX {
            for caller in callers.iter().filter(|caller| may(organization, caller)) {
                let request = Request {
                    caller: caller.clone(),
                    action: action.to_owned(),
                    resource: queue.as_str().to_owned(),
                };
                for world in WORLDS {
                    let decision = iam::decide(&policy, &request, world);
                    prop_assert_ne!(decision, Decision::NotAllowed, "{} {:?}", policy, request);
                }
            }
        }
    }
    Ok(true)
}

#[test]
fn an_odd_policy_is_never_taken_for_one_that_allows() {
    let tally = Tally::default();
    let strategy = (case(), odd_value(), any::<Index>(), vec(environments_role(), 2));
    check(600, strategy, |(case, odd, place, callers)| {
        let mut places = place.index(case.policy.to_string().matches([',', '{', '[']).count() + 1);
        let policy = with_odd_value(&case.policy, &odd, &mut places);
        tally.next();
        let readable =
            holds_for_any(&policy.to_string(), &case.wanted, case.organization, &callers)?;
        tally.saw(usize::from(readable));
        Ok(())
    });
    tally.each_came_up([20, 4, 0, 0]);
}

#[test]
fn a_doubled_field_is_never_taken_for_one_that_allows() {
    let strategy = (case(), case(), any::<Index>(), any::<Index>(), vec(environments_role(), 2));
    check(500, strategy, |(case, other, from, to, callers)| {
        let mut statements = iam::statements(&case.policy).to_vec();
        let others = iam::statements(&other.policy);
        if statements.is_empty() || others.is_empty() {
            return Ok(());
        }
        let extra = from.get(others).fields().to_vec();
        let place = to.index(statements.len());
        let fields = statements[place].fields_mut();
        fields.insert(from.index(fields.len()), extra[to.index(extra.len())].clone());
        let mut policy = case.policy.clone();
        *policy.get_mut("Statement").unwrap() = Json::List(statements);
        holds_for_any(&policy.to_string(), &case.wanted, case.organization, &callers)?;
        Ok(())
    });
}

#[test]
fn no_text_makes_it_panic() {
    let queues = queues(&QUEUES[..1]);
    let any_text = || {
        prop_oneof![
            ".*",
            "[\\[\\]{}:,\"\\\\a-z0-9 ]{0,40}",
            vec(
                select(&[
                    "{",
                    "}",
                    "[",
                    "]",
                    ":",
                    ",",
                    "\"Statement\"",
                    "\"Sid\"",
                    "\"MwaaCeleryQueues\"",
                    "1"
                ]),
                0..12
            )
            .prop_map(|parts| parts.concat()),
        ]
    };
    check(600, any_text(), |text| {
        let _ = admit(Some(&text), &queues, None);
        let _ = blocks(Some(&text), &queue(QUEUES[0]), &account(ACCOUNTS[0]));
        Ok(())
    });
    check(400, odd_value(), |value| {
        holds_for_any(&value.to_string(), &queues, None, &callers_of(ACCOUNTS[0])[..1]).map(|_| ())
    });
    check(600, (case(), any::<Index>(), any::<Index>(), any_text()), |(case, from, to, text)| {
        let characters: Vec<char> = case.written.chars().collect();
        let (from, to) = (from.index(characters.len() + 1), to.index(characters.len() + 1));
        let part = |range: std::ops::Range<usize>| characters[range].iter().collect::<String>();
        let (start, end) = (from.min(to), from.max(to));
        for text in [
            part(0..from),
            part(from..characters.len()),
            part(0..start) + &part(end..characters.len()),
            part(0..from) + &text + &part(from..characters.len()),
        ] {
            let _ = admit(Some(&text), &case.wanted, case.organization);
            let _ = blocks(Some(&text), &queue(QUEUES[0]), &account(ACCOUNTS[0]));
        }
        Ok(())
    });
}

// ---------------------------------------------------------------------------------------------
// Examples

const QUEUE: &str = QUEUES[0];

fn admitted(statements: Value) -> Admission {
    let policy = json!({"Version": "2012-10-17", "Statement": statements}).to_string();
    admit(Some(&policy), &queues(&[QUEUE]), None).unwrap()
}

fn left_alone(statements: Value) {
    assert_eq!(admitted(statements.clone()), Admission::AlreadyAllowed, "{statements}");
}

/// The queue joins our statement, and the others are as they were.
fn joins(statements: Value) {
    let Admission::Write { document, added } = admitted(statements.clone()) else {
        panic!("taken for allowed: {statements}");
    };
    assert_eq!(added, queues(&[QUEUE]));
    let after: Value = serde_json::from_str(&document).unwrap();
    let mut expected = Json::from(statements).items().to_vec();
    expected.push(our_statement(&queues(&[QUEUE]), None));
    let expected: Vec<Value> = expected.iter().map(Json::to_value).collect();
    assert_eq!(after, json!({"Version": "2012-10-17", "Statement": expected}));
}

fn allow(change: Value) -> Value {
    changed(json!({"Effect": "Allow", "Principal": "*", "Action": "*", "Resource": "*"}), change)
}

fn deny(change: Value) -> Value {
    changed(json!({"Effect": "Deny", "Principal": "*", "Action": "*", "Resource": "*"}), change)
}

/// `null` takes a field away.
fn changed(mut statement: Value, change: Value) -> Value {
    for (name, value) in change.as_object().unwrap() {
        if value.is_null() {
            statement.as_object_mut().unwrap().remove(name);
        } else {
            statement[name] = value.clone();
        }
    }
    statement
}

fn blocked(statement: &Value, account_id: &str) -> Vec<Certainty> {
    let policy = json!({"Version": "2012-10-17", "Statement": statement}).to_string();
    blocks(Some(&policy), &queue(QUEUE), &account(account_id))
        .into_iter()
        .map(|block| {
            assert_eq!(block.statement, statement.to_string());
            block.certainty
        })
        .collect()
}

#[test]
fn the_six_actions_are_those_of_the_execution_role() {
    assert_eq!(QUEUE_ACTIONS, SIX);
    assert_eq!(MAX_POLICY_CHARACTERS, 20_480);
    assert_eq!(SID, "MwaaCeleryQueues");
}

#[test]
fn requests_to_other_services_are_judged_too() {
    let key = format!("arn:aws:kms:us-east-1::key/{ANY_NAME}");
    let layer = format!("arn:aws:s3:::prod-us-east-1-starport-layer-bucket/{ANY_NAME}");
    let (key, layer) = (key.as_str(), layer.as_str());
    let own = account(ACCOUNTS[0]);
    let role = Some(&own);
    let all = |action: &str, resource: &str| json!({"Effect": "Allow", "Principal": "*", "Action": action, "Resource": resource});
    let of_account = json!({"StringEquals": {"aws:PrincipalAccount": ACCOUNTS[0]}});
    let own_only = changed(all("*", "*"), json!({"Condition": of_account}));
    let in_vpc = json!({"StringEquals": {"aws:SourceVpc": "vpc-1"}});
    let from_here = changed(all("*", "*"), json!({"Condition": in_vpc}));
    let (allowed, refused, unclear) = ("allowed", "refused", "unclear");
    for (statement, action, resource, is_exact, account, expected) in [
        (all("kms:*", "*"), "kms:Decrypt", key, false, role, allowed),
        (all("KMS:decrypt", "*"), "kms:Decrypt", key, false, role, allowed),
        (
            all("kms:*", "arn:aws:kms:us-east-1:111111111111:key/1"),
            "kms:Decrypt",
            key,
            false,
            role,
            unclear,
        ),
        (all("sqs:*", "*"), "kms:Decrypt", key, false, role, refused),
        (
            all("cloudwatch:PutMetricData", "*"),
            "cloudwatch:PutMetricData",
            "*",
            true,
            role,
            allowed,
        ),
        (from_here.clone(), "cloudwatch:PutMetricData", "*", true, role, allowed),
        (from_here, "s3:GetObject", layer, true, None, allowed),
        (own_only.clone(), "kms:Decrypt", key, false, role, allowed),
        (own_only, "s3:GetObject", layer, true, None, unclear),
        (
            all("s3:GetObject", "arn:aws:s3:::prod-*-starport-layer-bucket/*"),
            "s3:GetObject",
            layer,
            true,
            None,
            allowed,
        ),
        (all("s3:GetObject", "arn:aws:s3:::dags/*"), "s3:GetObject", layer, true, None, refused),
    ] {
        let policy = json!({"Statement": [statement]}).to_string();
        let wish = Wish { action, resource, is_exact, account };
        let word = match judge(Some(&policy), &wish, &facts(None)) {
            Word::Allowed => allowed,
            Word::Refused(_) => refused,
            Word::Unclear(_) => unclear,
        };
        assert_eq!(word, expected, "{action} on {resource}: {policy}");
    }
    let wish = Wish { action: "kms:Decrypt", resource: key, is_exact: false, account: role };
    assert_eq!(judge(None, &wish, &facts(None)), Word::Allowed);
    assert!(matches!(judge(Some("{oops"), &wish, &facts(None)), Word::Unclear(_)));
    let denied = json!({"Statement": [all("*", "*"), {"Effect": "Deny", "Principal": "*", "Action": "kms:*", "Resource": "*"}]});
    assert!(matches!(judge(Some(&denied.to_string()), &wish, &facts(None)), Word::Refused(_)));
}

#[test]
fn an_absent_policy_is_left_alone() {
    assert_eq!(admit(None, &queues(&QUEUES), None), Ok(Admission::AlreadyAllowed));
    assert!(blocks(None, &queue(QUEUE), &account(ACCOUNTS[0])).is_empty());
}

#[test]
fn the_default_policy_without_a_version_is_left_alone() {
    let policy =
        r#"{"Statement":[{"Action":"*","Effect":"Allow","Principal":"*","Resource":"*"}]}"#;
    assert_eq!(
        admit(Some(policy), &queues(&QUEUES), Some("o-ours")),
        Ok(Admission::AlreadyAllowed)
    );
}

#[test]
fn a_string_resource_is_understood() {
    left_alone(json!([allow(json!({"Resource": QUEUE}))]));
    joins(json!([allow(json!({"Resource": QUEUES[1]}))]));
}

#[test]
fn an_empty_resource_list_is_understood() {
    joins(json!([allow(json!({"Resource": [], "Action": "sqs:*"}))]));
}

#[test]
fn a_pattern_that_covers_counts() {
    for pattern in [
        "*",
        "arn:aws:sqs:*",
        "arn:aws:sqs:us-east-1:*:airflow-celery-*",
        "arn:aws:sqs:us-east-1:555555555555:airflow-celery-????",
        "arn:aws:sqs:*:*:*",
    ] {
        left_alone(json!([allow(json!({"Resource": pattern}))]));
        left_alone(json!([allow(json!({"Resource": [QUEUES[1], pattern]}))]));
    }
}

#[test]
fn a_pattern_that_does_not_cover_does_not_count() {
    for pattern in [
        "arn:aws:sqs:us-east-1:555555555555:foo-*",
        "arn:aws:sqs:us-east-1:555555555555:airflow-celery-???",
        "arn:aws:sqs:us-east-1:555555555555:airflow-celery-1f2e?",
        "arn:aws:sqs:us-east-1:555555555555:AIRFLOW-*",
        "arn:aws:sqs:us-east-1:111111111111:*",
        "arn:aws:sqs:us-east-1:${aws:PrincipalAccount}:*",
        "arn:aws:sqs:us-east-1:555555555555:airflow-celery-${*}",
    ] {
        joins(json!([allow(json!({"Resource": pattern}))]));
        joins(json!([allow(json!({"Resource": [QUEUES[1], pattern]}))]));
    }
}

#[test]
fn a_wildcard_within_a_segment_does_not_count_beyond_its_colon() {
    for pattern in [
        "arn:aws:sqs:*-celery-1f2e",
        "arn:*s:us-east-1:555555555555:airflow-celery-1f2e",
        "arn:aws:sqs:us-east-1?555555555555:airflow-celery-1f2e",
        // Nor is there one in the service's segment.
        "arn:aws:sq?:us-east-1:555555555555:airflow-celery-1f2e",
        "arn:aws:*:us-east-1:555555555555:airflow-celery-1f2e",
        "arn:aws:*",
    ] {
        joins(json!([allow(json!({"Resource": pattern}))]));
        assert!(!blocked(&deny(json!({"Resource": pattern})), ACCOUNTS[0]).is_empty(), "{pattern}");
    }
}

/// A variable without a value may make the whole statement invalid, not just its own pattern.
#[test]
fn a_variable_puts_the_patterns_beside_it_in_doubt() {
    let both = json!([QUEUE, "arn:aws:sqs:*:*:${aws:PrincipalTag/queue}"]);
    joins(json!([allow(json!({"Resource": both}))]));
    assert_eq!(blocked(&deny(json!({"Resource": both})), ACCOUNTS[0]), [Certainty::Maybe]);
    let all_but =
        json!({"Resource": null, "NotResource": "arn:aws:s3:::${aws:PrincipalTag/bucket}"});
    joins(json!([allow(all_but.clone())]));
    assert_eq!(blocked(&deny(all_but), ACCOUNTS[0]), [Certainty::Maybe]);
}

#[test]
fn an_incomplete_arn_is_in_doubt() {
    for pattern in ["arn:aws:sqs", "arn:aws:sqs:us-east-1", "arn:aws:sqs:us-east-1:555555555555"] {
        joins(json!([allow(json!({"Resource": pattern}))]));
        joins(json!([allow(json!({"Resource": null, "NotResource": pattern}))]));
        let certainties = blocked(&deny(json!({"Resource": pattern})), ACCOUNTS[0]);
        assert_eq!(certainties, [Certainty::Maybe], "{pattern}");
    }
}

#[test]
fn everything_under_conditions_counts_if_they_surely_hold() {
    for condition in [
        json!({"StringEquals": {"aws:SourceVpc": ["vpc-2", "vpc-1"]}}),
        json!({"StringEquals": {"aws:SourceVpce": "vpce-1"}, "Bool": {"aws:SecureTransport": true}}),
        json!({"StringLike": {"aws:PrincipalArn": "*"}}),
        json!({"StringEquals": {"aws:PrincipalAccount": ACCOUNTS[0], "aws:ResourceAccount": "555555555555"}}),
        json!({"Bool": {"aws:ViaAWSService": "false"}}),
    ] {
        left_alone(json!([allow(json!({"Condition": condition}))]));
    }
    for condition in [
        json!({"StringEquals": {"aws:PrincipalOrgID": "o-ours"}}),
        json!({"StringEquals": {"aws:SourceVpc": "vpc-2"}}),
        json!({"StringEquals": {"aws:PrincipalAccount": ACCOUNTS[1]}}),
        json!({"Bool": {"aws:SecureTransport": "false"}}),
        json!({"StringLike": {"aws:PrincipalArn": "arn:aws:iam::*:role/mwaa-*"}}),
        json!({"StringEquals": {"aws:SourceVpc": "vpc-1"}, "IpAddress": {"aws:VpcSourceIp": "10.0.0.0/8"}}),
    ] {
        joins(json!([allow(json!({"Condition": condition}))]));
    }
}

/// The pattern of docs/terraform.md, narrowed to the organization that the function was told.
#[test]
fn a_pattern_for_the_configured_organization_is_left_alone() {
    let statement = allow(json!({
        "Action": SIX, "Resource": "arn:aws:sqs:us-east-1:*:airflow-celery-*",
        "Condition": {"StringEquals": {"aws:PrincipalOrgID": "o-ours"}},
    }));
    let policy = json!({"Version": "2012-10-17", "Statement": [statement]}).to_string();
    let admitted = |organization| admit(Some(&policy), &queues(&[QUEUE]), organization).unwrap();
    assert_eq!(admitted(Some("o-ours")), Admission::AlreadyAllowed);
    assert_ne!(admitted(Some("o-other")), Admission::AlreadyAllowed);
    assert_ne!(admitted(None), Admission::AlreadyAllowed);
}

/// Each queue is judged for the account of its own environment.
#[test]
fn a_queue_is_judged_for_its_own_environments_account() {
    let statement = allow(json!({
        "Condition": {"StringEquals": {"aws:PrincipalAccount": [ACCOUNTS[0], ACCOUNTS[1]]}},
    }));
    let policy = json!({"Version": "2012-10-17", "Statement": [statement]}).to_string();
    let of = |accounts: [&str; 2]| {
        let both = QUEUES[..2].iter().zip(accounts);
        let both = both.map(|(arn, id)| (queue(arn), account(id))).collect();
        sqs_policy::missing(Some(&policy), &both, &facts(None))
    };
    assert_eq!(of([ACCOUNTS[0], ACCOUNTS[1]]), BTreeSet::new());
    assert_eq!(of([ACCOUNTS[0], ACCOUNTS[2]]), queues(&QUEUES[1..2]));
}

/// A Deny that surely does not apply is none; one of which that is not known may block.
#[test]
fn conditions_of_a_deny_are_evaluated() {
    for (condition, expected) in [
        (json!({"Bool": {"aws:SecureTransport": "false"}}), vec![]),
        (json!({"StringNotEquals": {"aws:SourceVpc": ["vpc-1"]}}), vec![]),
        (json!({"StringNotEquals": {"aws:SourceVpce": "vpce-1"}}), vec![]),
        (json!({"StringNotEquals": {"aws:SourceVpc": "vpc-0aaaa"}}), vec![Certainty::Surely]),
        (json!({"StringNotEquals": {"aws:PrincipalOrgID": "o-ours"}}), vec![Certainty::Maybe]),
        (
            json!({"StringNotEqualsIfExists": {"aws:ResourceOrgID": "o-ours"}}),
            vec![Certainty::Maybe],
        ),
        (json!({"ArnNotLike": {"aws:PrincipalArn": "arn:aws:iam::111111111111:role/*"}}), vec![]),
        (json!({"StringEquals": {"aws:PrincipalAccount": ACCOUNTS[3]}}), vec![]),
        (json!({"NotIpAddress": {"aws:SourceIp": "10.0.0.0/8"}}), vec![Certainty::Maybe]),
    ] {
        let statement = deny(json!({"Condition": condition}));
        assert_eq!(blocked(&statement, ACCOUNTS[0]), expected, "{statement}");
        left_alone(json!([allow(json!({})), statement]));
    }
}

#[test]
fn everything_with_fewer_actions_does_not_count() {
    for action in [
        json!("sqs:SendMessage"),
        json!(SIX[1..]),
        json!("sqs:*e"),
        json!("sqs:SendMessage*"),
        json!("s3:*"),
        json!([]),
    ] {
        joins(json!([allow(json!({"Action": action}))]));
    }
}

/// One more Allow changes nothing about a Deny.
#[test]
fn a_deny_makes_no_write() {
    for statement in [
        deny(json!({})),
        deny(json!({"Resource": QUEUE})),
        deny(json!({"Action": "sqs:SendMessage"})),
        deny(json!({"Condition": {"StringNotEquals": {"aws:ResourceOrgID": "o-ours"}}})),
        json!({"Effect": "Deny", "x": 1}),
    ] {
        left_alone(json!([allow(json!({})), statement]));
        let ours = our_statement(&queues(&[QUEUE]), None).to_value();
        left_alone(json!([ours, statement]));
    }
}

#[test]
fn everything_beside_a_deny_of_something_else_counts() {
    left_alone(json!([allow(json!({})), deny(json!({"Resource": QUEUES[1]}))]));
    left_alone(json!([allow(json!({})), deny(json!({"Action": "sqs:DeleteQueue"}))]));
    left_alone(json!([allow(json!({})), deny(json!({"Action": "s3:*"}))]));
}

#[test]
fn everything_for_somebody_does_not_count() {
    for principal in [
        json!({"AWS": "111111111111"}),
        json!({"AWS": ["arn:aws:iam::111111111111:root"]}),
        json!({"Service": "*"}),
        json!({"Federated": "*"}),
        json!({"AWS": []}),
    ] {
        joins(json!([allow(json!({"Principal": principal}))]));
    }
    joins(json!([allow(json!({"Principal": null}))]));
    joins(json!([allow(json!({"Principal": null, "NotPrincipal": {"AWS": "333333333333"}}))]));
}

#[test]
fn a_principal_that_is_more_than_everyone_does_not_count() {
    for principal in [
        json!({"AWS": "*", "Service": 7}),
        json!({"AWS": "*", "Nobody": "*"}),
        json!({"AWS": ["*", 7]}),
    ] {
        joins(json!([allow(json!({"Principal": principal}))]));
    }
}

/// Policies that people have published, with accounts and organizations replaced (data perimeter and
/// landing zone samples, terraform-aws-vpc#497 and #979, hashicorp/terraform#3519).
#[test]
fn policies_as_people_write_them_are_read_as_they_are_meant() {
    let everything = || allow(json!({}));
    let pattern =
        || allow(json!({"Action": SIX, "Resource": "arn:aws:sqs:us-east-1:*:airflow-celery-*"}));
    let only = |condition: Value| deny(json!({"Sid": "Only", "Condition": condition}));
    let tls = || only(json!({"Bool": {"aws:SecureTransport": "false"}}));
    let org = "o-a1b2c3d4e5";
    for (statements, blocked) in [
        (json!([everything()]), None),
        (json!([everything(), tls()]), None),
        (
            json!([everything(), only(json!({"StringNotEquals": {"aws:SourceVpc": ["vpc-1"]}}))]),
            None,
        ),
        (
            json!([everything(), only(json!({"StringNotEquals": {"aws:SourceVpc": "vpc-0a"}}))]),
            Some(Certainty::Surely),
        ),
        (
            json!([
                everything(),
                only(json!({"StringNotEqualsIfExists": {"aws:ResourceOrgID": org}}))
            ]),
            Some(Certainty::Maybe),
        ),
        (json!([pattern()]), None),
        (json!([pattern(), tls()]), None),
    ] {
        left_alone(statements.clone());
        let denies = statements.as_array().unwrap().last().unwrap();
        let reported =
            if denies["Effect"] == "Deny" { self::blocked(denies, ACCOUNTS[0]) } else { vec![] };
        assert_eq!(reported, blocked.into_iter().collect::<Vec<_>>(), "{statements}");
    }
    let under = |condition: Value| allow(json!({"Condition": condition}));
    for statements in [
        json!([
            under(json!({"StringEquals": {"aws:PrincipalOrgID": org, "aws:ResourceOrgID": org}})),
            under(json!({"Bool": {"aws:PrincipalIsAWSService": "true"}})),
            under(json!({"StringEquals": {
                "aws:PrincipalOrgID": org, "aws:PrincipalTag/dp:exclude:resource": "true",
            }})),
        ]),
        json!([under(json!({"StringEquals": {
            "aws:ResourceAccount": "555555555555", "aws:PrincipalOrgID": org,
        }}))]),
        json!([under(json!({"StringEquals": {"aws:PrincipalOrgID": org}}))]),
        json!([under(json!({"ForAllValues:StringEquals": {
            "aws:PrincipalAccount": 123456789012_i64, "aws:ResourceAccount": 123456789012_i64,
        }}))]),
        allow(json!({"Action": "sqs:*", "Resource": "arn:aws:sqs:us-east-1:123456789012:deploy"})),
    ] {
        joins(statements);
    }
}

#[test]
fn action_patterns_match_in_any_case() {
    for action in ["SQS:*", "sQs:*", "*"] {
        left_alone(json!([allow(json!({"Action": action}))]));
    }
    let actions = SIX.map(str::to_uppercase);
    left_alone(json!([allow(json!({"Action": actions}))]));
    left_alone(json!([allow(
        json!({"Action": ["sqs:change*", "sqs:?elete*e", "sqs:GET*", "sqs:*ive*", "sqs:s*"]})
    )]));
}

#[test]
fn several_allows_may_cover_the_queue_together() {
    left_alone(json!([
        allow(json!({"Action": SIX[..2], "Resource": QUEUE})),
        allow(json!({"Action": SIX[2..], "Resource": "arn:aws:sqs:*"})),
    ]));
    joins(json!([
        allow(json!({"Action": SIX[..2], "Resource": QUEUE})),
        allow(json!({"Action": SIX[3..], "Resource": "arn:aws:sqs:*"})),
    ]));
}

#[test]
fn an_allow_about_something_else_stays_as_it_is() {
    joins(json!([
        allow(json!({"Action": "s3:GetObject", "Resource": "arn:aws:s3:::bucket/*"})),
        allow(json!({"Action": "sqs:*", "Resource": QUEUES[1]})),
    ]));
}

#[test]
fn a_single_statement_object_is_understood() {
    left_alone(allow(json!({})));
    joins(allow(json!({"Resource": QUEUES[1]})));
    let ours = our_statement(&queues(&[QUEUE]), None).to_value();
    left_alone(ours);
}

#[test]
fn not_resource_is_understood() {
    left_alone(json!([allow(json!({"Resource": null, "NotResource": QUEUES[1]}))]));
    joins(json!([allow(json!({"Resource": null, "NotResource": [QUEUES[1], QUEUE]}))]));
    joins(json!([allow(json!({"Resource": null, "NotResource": "arn:aws:sqs:*"}))]));
    let spares_us = deny(json!({"Resource": null, "NotResource": "arn:aws:sqs:*"}));
    left_alone(json!([allow(json!({})), spares_us]));
}

#[test]
fn not_action_is_understood() {
    left_alone(json!([allow(json!({"Action": null, "NotAction": "sqs:DeleteQueue"}))]));
    joins(json!([allow(json!({"Action": null, "NotAction": "sqs:sendmessage"}))]));
    joins(json!([allow(json!({"Action": null, "NotAction": "sqs:*Message"}))]));
}

#[test]
fn only_a_deny_is_understood() {
    joins(json!([deny(json!({}))]));
    joins(json!([deny(json!({"Resource": "arn:aws:s3:::bucket"}))]));
    joins(json!([]));
}

#[test]
fn what_cannot_be_read_is_a_problem() {
    for policy in [
        "{oops",
        "[]",
        "7",
        "{\"Statement\":\"*\"}",
        r#"{"Statement":[],"Statement":[{"Effect":"Allow","Principal":"*","Action":"*","Resource":"*"}]}"#,
        "{} {}",
    ] {
        let problem = admit(Some(policy), &queues(&[QUEUE]), None);
        assert!(matches!(problem, Err(Problem::Unreadable(_))), "{policy}: {problem:?}");
        assert!(blocks(Some(policy), &queue(QUEUE), &account(ACCOUNTS[0])).is_empty());
    }
}

#[test]
fn depth_does_no_harm() {
    for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
        for depth in [100, 200, 100_000] {
            let inner = if open == "[" { "" } else { "1" };
            let deep = open.repeat(depth) + inner + &close.repeat(depth);
            for policy in [
                deep.clone(),
                format!("{{\"Statement\":{deep}}}"),
                format!("{{\"Statement\":[{{\"Effect\":\"Allow\",\"Note\":{deep}}}]}}"),
                format!("{{\"Note\":{deep},\"Statement\":[]}}"),
                format!("{{\"Statement\":[{{\"Sid\":\"{SID}\",\"Resource\":{deep}}}]}}"),
            ] {
                let admission = admit(Some(&policy), &queues(&[QUEUE]), None);
                assert_ne!(admission, Ok(Admission::AlreadyAllowed));
                let _ = blocks(Some(&policy), &queue(QUEUE), &account(ACCOUNTS[0]));
            }
        }
    }
}

#[test]
fn a_hundred_wildcards_cost_no_time() {
    let pattern = "*a".repeat(400) + "*";
    joins(json!([allow(json!({"Resource": pattern, "Action": pattern}))]));
    assert!(blocked(&deny(json!({"Resource": pattern})), ACCOUNTS[0]).is_empty());
    for pattern in [pattern, "a".repeat(19_000)] {
        joins(json!([allow(json!({"Condition": {"StringLike": {"aws:PrincipalArn": pattern}}}))]));
    }
}

#[test]
fn numbers_escapes_and_the_order_of_fields_survive() {
    let foreign = r#"{"Note":{"z":1.0,"a":[1e2,-0,100000000000000000000]},"Effect":"Allow","Resource":[],"Action":"s3:Ge\u0074*","Principal":"*"}"#;
    let policy = format!("{{ \"Id\" : \"a b\",\n\"Statement\":{foreign} ,\"X\":1.10}}");
    let Ok(Admission::Write { document, .. }) = admit(Some(&policy), &queues(&[QUEUE]), None)
    else {
        panic!("not written")
    };
    let ours = Json::parse(&document).get("Statement").unwrap().items()[1].to_string();
    assert_eq!(document, format!(r#"{{"Id":"a b","Statement":[{foreign},{ours}],"X":1.10}}"#));
}

/// Each way in which somebody may have changed our statement.
fn edits() -> Vec<Value> {
    let ours = our_statement(&queues(&QUEUES[1..3]), None).to_value();
    let mut more_actions = SIX.to_vec();
    more_actions.push("sqs:DeleteQueue");
    [
        json!({"Effect": "Deny"}),
        json!({"Effect": null}),
        json!({"Principal": {"AWS": "111111111111"}}),
        json!({"Principal": {"AWS": ["*", "111111111111"]}}),
        json!({"Principal": {"AWS": "*", "Service": "sqs.amazonaws.com"}}),
        json!({"Principal": {"Service": "*"}}),
        json!({"Principal": null}),
        json!({"Principal": null, "NotPrincipal": {"AWS": "333333333333"}}),
        json!({"Action": SIX[1..]}),
        json!({"Action": more_actions}),
        json!({"Action": "sqs:*"}),
        json!({"Action": "*"}),
        json!({"Action": []}),
        json!({"Action": null}),
        json!({"Action": null, "NotAction": "sqs:DeleteQueue"}),
        json!({"Resource": "arn:aws:sqs:us-east-1:555555555555:airflow-celery-x*"}),
        json!({"Resource": [QUEUES[1], "arn:aws:sqs:us-east-1:555555555555:orders?"]}),
        json!({"Resource": [QUEUES[1], "arn:aws:s3:::bucket"]}),
        json!({"Resource": [QUEUES[1], 7]}),
        json!({"Resource": 7}),
        json!({"Resource": null}),
        json!({"Resource": null, "NotResource": QUEUE}),
        json!({"Condition": {"StringEquals": {"aws:SourceVpc": "vpc-1"}}}),
        json!({"Condition": {"StringLike": {"aws:PrincipalOrgID": "o-ours"}}}),
        json!({"Condition": {"StringEqualsIfExists": {"aws:PrincipalOrgID": "o-ours"}}}),
        json!({"Condition": {"StringEquals": {"aws:PrincipalOrgID": ["o-ours", "o-other"]}}}),
        json!({"Condition": {"StringEquals": {"aws:PrincipalOrgID": "o-ours",
                                              "aws:SourceVpc": "vpc-1"}}}),
        json!({"Condition": {"StringEquals": {"aws:PrincipalOrgID": "o-ours"},
                             "Bool": {"aws:SecureTransport": "true"}}}),
        json!({"Condition": 7}),
        json!({"Note": "mine"}),
    ]
    .into_iter()
    .map(|edit| changed(ours.clone(), edit))
    .collect()
}

#[test]
fn somebodys_edit_of_our_statement_is_refused() {
    let mut accepted = Vec::new();
    for edited in edits() {
        for organization in [None, Some("o-ours")] {
            for statements in [json!(edited), json!([deny(json!({"Action": "s3:*"})), edited])] {
                let policy = json!({"Version": "2012-10-17", "Statement": statements}).to_string();
                let result = admit(Some(&policy), &queues(&[QUEUE]), organization);
                if !matches!(result, Err(Problem::SomebodysEdit(_))) {
                    accepted.push(edited.to_string());
                }
            }
        }
    }
    accepted.dedup();
    assert!(accepted.is_empty(), "{}", accepted.join("\n"));
}

#[test]
fn what_cannot_be_read_under_our_sid_is_refused() {
    let deep = "[".repeat(200) + &"]".repeat(200);
    let ours = our_statement(&queues(&[QUEUES[1]]), None).to_string();
    for edit in [
        r#""Sid":"MwaaCeleryQueues""#.to_owned(),
        r#""Resource":"*""#.to_owned(),
        r#""Note":1e999"#.to_owned(),
        format!("\"Note\":{deep}"),
    ] {
        let policy = format!(r#"{{"Statement":[{{{edit},{}]}}"#, &ours[1..]);
        let problem = admit(Some(&policy), &queues(&[QUEUE]), None);
        assert!(matches!(problem, Err(Problem::SomebodysEdit(_))), "{policy}: {problem:?}");
    }
}

#[test]
fn a_second_statement_with_our_sid_is_refused() {
    let ours = our_statement(&queues(&[QUEUES[1]]), None).to_value();
    let policy = json!({"Statement": [ours, allow(json!({"Action": "s3:*"})), ours]}).to_string();
    let problem = admit(Some(&policy), &queues(&[QUEUE]), None);
    assert!(matches!(problem, Err(Problem::SomebodysEdit(_))), "{problem:?}");
}

#[test]
fn somebodys_edit_does_not_matter_where_the_queue_is_allowed_anyway() {
    for edited in edits() {
        let policy = json!({"Version": "2012-10-17", "Statement": [edited, allow(json!({}))]});
        let admission = admit(Some(&policy.to_string()), &queues(&[QUEUE]), None);
        let read = Json::from(policy);
        let allowed = SIX.iter().all(|action| {
            callers_of(ACCOUNTS[0]).into_iter().all(|caller| {
                let request =
                    Request { caller, action: (*action).to_owned(), resource: QUEUE.to_owned() };
                WORLDS.iter().all(|w| iam::decide(&read, &request, *w) == Decision::Allowed)
            })
        });
        match admission {
            Ok(Admission::AlreadyAllowed) => assert!(allowed, "{edited}"),
            Err(Problem::SomebodysEdit(_)) => {
                assert_ne!(edited["Effect"], json!("Allow"), "{edited}");
            }
            other => panic!("{edited}: {other:?}"),
        }
    }
}

#[test]
fn an_organization_is_added_changed_and_removed() {
    let wanted = queues(&[QUEUE]);
    let listed = queues(&[QUEUE, QUEUES[1]]);
    let all = [None, Some("o-ours"), Some("o-other")];
    for (was, is) in all.into_iter().flat_map(|was| all.map(|is| (was, is))) {
        let policy = json!({"Statement": [our_statement(&listed, was).to_value()]}).to_string();
        let expected = if was == is {
            Admission::AlreadyAllowed
        } else {
            let document = json!({"Statement": [our_statement(&listed, is).to_value()]});
            let Ok(Admission::Write { document: written, added }) =
                admit(Some(&policy), &wanted, is)
            else {
                panic!("{was:?} -> {is:?}: not written")
            };
            assert_eq!(serde_json::from_str::<Value>(&written).unwrap(), document);
            assert!(added.is_empty());
            continue;
        };
        assert_eq!(admit(Some(&policy), &wanted, is), Ok(expected));
    }
}

#[test]
fn queues_join_one_by_one_up_to_the_limit() {
    let policy = json!({"Version": "2012-10-17", "Statement": [allow(json!({"Resource": []}))]});
    let mut policy = policy.to_string();
    for number in 0.. {
        let arn = format!(
            "arn:aws:sqs:us-east-1:555555555555:airflow-celery-1f2e3d4c-5b6a-7988-8796-{number:012}"
        );
        match admit(Some(&policy), &queues(&[&arn]), None) {
            Ok(Admission::Write { document, .. }) => {
                assert!(document.chars().count() <= MAX_POLICY_CHARACTERS);
                policy = document;
            }
            Ok(Admission::AlreadyAllowed) => panic!("{arn} is not in {policy}"),
            Err(problem) => {
                let size = policy.chars().count() + format!(",\"{arn}\"").len();
                assert_eq!(problem, Problem::TooLong(size));
                assert!(number > 200, "only {number} queues");
                assert!(problem.to_string().contains(&size.to_string()));
                return;
            }
        }
    }
}

#[test]
fn a_deny_without_a_condition_blocks_surely() {
    for change in [
        json!({}),
        json!({"Action": "sqs:SendMessage"}),
        json!({"Action": ["s3:*", "SQS:send*"], "Resource": [QUEUES[1], QUEUE]}),
        json!({"Resource": null, "NotResource": QUEUES[1]}),
        json!({"Action": null, "NotAction": "s3:*"}),
        json!({"Principal": {"AWS": "*"}}),
    ] {
        assert_eq!(blocked(&deny(change.clone()), ACCOUNTS[0]), [Certainty::Surely], "{change}");
    }
}

#[test]
fn a_deny_of_the_environments_account_blocks() {
    for name in ["111111111111", "arn:aws:iam::111111111111:root"] {
        let of_one = deny(json!({"Principal": {"AWS": name}}));
        let of_two = deny(json!({"Principal": {"AWS": ["222222222222", name]}}));
        for statement in [of_one, of_two] {
            assert_eq!(blocked(&statement, ACCOUNTS[0]).len(), 1, "{statement}");
            assert_eq!(blocked(&statement, ACCOUNTS[2]).len(), 0, "{statement}");
        }
    }
}

#[test]
fn a_deny_that_depends_may_block() {
    for change in [
        json!({"Condition": {"StringNotEquals": {"aws:ResourceOrgID": "o-ours"}}}),
        json!({"Condition": {"StringNotEqualsIfExists":
                             {"aws:ResourceOrgID": "${aws:PrincipalOrgID}"}}}),
        json!({"Principal": {"AWS": "arn:aws:iam::111111111111:role/mwaa"}}),
        json!({"Principal": {"AWS": "AROAEXAMPLEEXAMPLE1"}}),
        json!({"Principal": null, "NotPrincipal": {"AWS": "arn:aws:iam::111111111111:role/mwaa"}}),
        json!({"Resource": "arn:aws:sqs:us-east-1:${aws:PrincipalTag/queues}:*"}),
    ] {
        assert_eq!(blocked(&deny(change.clone()), ACCOUNTS[0]), [Certainty::Maybe], "{change}");
    }
}

#[test]
fn a_deny_that_cannot_be_read_may_block() {
    for change in [
        json!({"Resource": 7}),
        json!({"Resource": null}),
        json!({"Action": {"a": 1}}),
        json!({"Principal": null}),
        json!({"Principal": "111111111111"}),
        json!({"Condition": 7}),
    ] {
        assert_eq!(blocked(&deny(change.clone()), ACCOUNTS[0]), [Certainty::Maybe], "{change}");
    }
}

#[test]
fn a_deny_of_something_else_does_not_block() {
    for change in [
        json!({"Action": "sqs:DeleteQueue"}),
        json!({"Action": []}),
        json!({"Action": null, "NotAction": "sqs:*"}),
        json!({"Resource": QUEUES[1]}),
        json!({"Resource": []}),
        json!({"Resource": null, "NotResource": "arn:aws:sqs:*"}),
        json!({"Principal": {"AWS": "222222222222"}}),
        json!({"Principal": {"AWS": "arn:aws:iam::222222222222:role/mwaa"}}),
        json!({"Principal": {"Service": "sqs.amazonaws.com"}}),
        json!({"Resource": QUEUES[1], "Condition": {"Bool": {"aws:SecureTransport": "false"}}}),
        json!({"Effect": "Allow"}),
    ] {
        assert_eq!(blocked(&deny(change.clone()), ACCOUNTS[0]), [], "{change}");
    }
}
