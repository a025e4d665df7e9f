//! What the doctor found, as a network engineer would paste it into a ticket: what is wrong first,
//! each with evidence and remedy; then a line for each group of checks.

use super::{Check, CheckGroup, Verdict};

/// The order in which verdicts are shown, and their words.
const WORDS: [(Verdict, &str); 4] = [
    (Verdict::Fail, "fail"),
    (Verdict::Warn, "warn"),
    (Verdict::Unknown, "unknown"),
    (Verdict::Pass, "pass"),
];

impl Verdict {
    /// Its word.
    pub fn as_str(self) -> &'static str {
        WORDS.iter().find(|(verdict, _)| *verdict == self).map_or("", |(_, word)| word)
    }
}

/// How many checks there are of each verdict, without those of which there is none.
fn counted<'a>(checks: impl Iterator<Item = &'a Check> + Clone) -> String {
    let count = |verdict| checks.clone().filter(|it| it.verdict == verdict).count();
    let counts = WORDS.iter().map(|(verdict, word)| (count(*verdict), word));
    let counts: Vec<String> = counts
        .filter(|(count, _)| *count > 0)
        .map(|(count, word)| format!("{count} {word}"))
        .collect();
    if counts.is_empty() { "nothing to check".to_owned() } else { counts.join(", ") }
}

/// Checks that do not pass, the worst first.
fn wrong(checks: &[Check]) -> Vec<&Check> {
    let mut wrong: Vec<&Check> = checks.iter().filter(|it| it.verdict != Verdict::Pass).collect();
    wrong.sort_by_key(|it| it.verdict);
    wrong
}

/// The groups in which something was checked, with how it stands there, and the worst of it.
fn by_group(checks: &[Check]) -> impl Iterator<Item = (CheckGroup, String, Verdict)> {
    CheckGroup::ALL.into_iter().filter_map(|group| {
        let of_it = checks.iter().filter(move |it| it.group == group);
        let worst = of_it.clone().map(|it| it.verdict).min()?;
        Some((group, counted(of_it), worst))
    })
}

/// Plain text.
pub fn plain(checks: &[Check]) -> String {
    painted(checks, &|_, text| text.to_owned())
}

/// Plain text, in which the words for a verdict are painted.
pub fn painted(checks: &[Check], paint: &dyn Fn(Verdict, &str) -> String) -> String {
    let mut text = format!("{}\n", counted(checks.iter()));
    for check in wrong(checks) {
        let Check { id, title, verdict, evidence, remedy, source, .. } = check;
        let word = paint(*verdict, &format!("{:7}", verdict.as_str()));
        text.push_str(&format!("\n{word} {id}  {title}\n"));
        text.push_str(&wrapped(evidence));
        if let Some(remedy) = remedy {
            text.push_str(&wrapped(&format!("remedy: {remedy}")));
        }
        text.push_str(&format!("        {source}\n"));
    }
    text.push('\n');
    let width = by_group(checks).map(|(group, ..)| group.as_str().len()).fold(9, usize::max);
    for (group, counts, worst) in by_group(checks) {
        text.push_str(&format!("{:width$} {}\n", group.as_str(), paint(worst, &counts)));
    }
    text
}

/// Indented lines of at most 100 characters, broken at spaces only, so that ids and commands stay whole.
fn wrapped(text: &str) -> String {
    const WIDTH: usize = 100 - INDENT.len();
    const INDENT: &str = "        ";
    let (mut lines, mut line) = (String::new(), String::new());
    for word in text.split_whitespace() {
        if !line.is_empty() && line.chars().count() + 1 + word.chars().count() > WIDTH {
            lines.push_str(&format!("{INDENT}{line}\n"));
            line.clear();
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    lines + &format!("{INDENT}{line}\n")
}

/// Markdown.
pub fn markdown(checks: &[Check]) -> String {
    let mut text = format!("**{}**\n", counted(checks.iter()));
    for check in wrong(checks) {
        let Check { id, title, verdict, evidence, remedy, source, .. } = check;
        text.push_str(&format!("\n### {}: {title} (`{id}`)\n\n", verdict.as_str()));
        text.push_str(&format!("{}\n\n", escaped(evidence)));
        if let Some(remedy) = remedy {
            text.push_str(&format!("- Remedy: {}\n", escaped(remedy)));
        }
        text.push_str(&format!("- Source: <{source}>\n"));
    }
    text.push_str("\n| checks | |\n| --- | --- |\n");
    for (group, counts, _) in by_group(checks) {
        text.push_str(&format!("| {group} | {counts} |\n"));
    }
    text
}

/// Text of somebody's policy or answer, without what Markdown would take for its own.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '*' | '_' | '`' | '<' | '>' | '|' | '[' | ']' | '\\' | '#' => out.extend(['\\', c]),
            '\n' | '\r' => out.push(' '),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(id: &'static str, group: CheckGroup, verdict: Verdict, evidence: &str) -> Check {
        let remedy = (verdict != Verdict::Pass).then(|| "do it".to_owned());
        let (title, source) = ("It is right", "https://example.com/");
        Check { id, title, group, verdict, evidence: evidence.to_owned(), remedy, source }
    }

    fn checks() -> Vec<Check> {
        vec![
            check("vpc.a", CheckGroup::Vpc, Verdict::Pass, "on"),
            check("acls.c", CheckGroup::Acls, Verdict::Warn, "part"),
            check("s3.d", CheckGroup::S3, Verdict::Fail, "arn:*"),
            check("vpc.b", CheckGroup::Vpc, Verdict::Unknown, "denied"),
        ]
    }

    #[test]
    fn what_is_wrong_comes_first_and_then_a_line_for_each_group() {
        assert_eq!(
            plain(&checks()),
            "1 fail, 1 warn, 1 unknown, 1 pass

fail    s3.d  It is right
        arn:*
        remedy: do it
        https://example.com/

warn    acls.c  It is right
        part
        remedy: do it
        https://example.com/

unknown vpc.b  It is right
        denied
        remedy: do it
        https://example.com/

vpc       1 unknown, 1 pass
acls      1 warn
s3        1 fail
"
        );
        assert_eq!(plain(&[]), "nothing to check\n\n");
    }

    #[test]
    fn long_lines_are_broken_between_words() {
        let text = wrapped(&format!("{} subnet-1 {}", "ab ".repeat(40), "x".repeat(120)));
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 3);
        assert!(lines.iter().all(|line| line.starts_with("        ")), "{text}");
        assert!(lines[0].len() <= 100 && lines[1].ends_with("subnet-1"), "{text}");
        assert_eq!(wrapped("one"), "        one\n");
    }

    #[test]
    fn markdown_says_the_same_and_takes_no_policy_for_markdown() {
        let text = markdown(&checks());
        assert!(text.starts_with("**1 fail, 1 warn, 1 unknown, 1 pass**\n"), "{text}");
        assert!(
            text.contains("### fail: It is right (`s3.d`)\n\narn:\\*\n\n- Remedy: do it"),
            "{text}"
        );
        assert!(
            text.ends_with("| vpc | 1 unknown, 1 pass |\n| acls | 1 warn |\n| s3 | 1 fail |\n")
        );
    }

    #[test]
    fn json_has_the_fields_that_others_rely_on() {
        let json = serde_json::to_value(&checks()[2]).unwrap();
        let expected = serde_json::json!({
            "id": "s3.d",
            "title": "It is right",
            "group": "s3",
            "verdict": "fail",
            "evidence": "arn:*",
            "remedy": "do it",
            "source": "https://example.com/",
        });
        assert_eq!(json, expected);
    }
}
