//! `mwaa-vpc`: what people ask about environments and their VPCs, on the same library as the function,
//! and what they let the deployed function do. Of itself it only looks.
//!
//! Each command is a variant of [`Asked`] and a module with its options, what it needs of IAM, and
//! what it does.

mod accounts;
mod deployed;
mod deployment;
mod doctor;
mod execution_role;
mod iam;
mod lambda;
mod lines;
mod options;
mod paint;
mod plan;
mod problem;
mod redrive;
mod replay;
mod result;
mod signals;
mod spinner;
mod stack;
mod status;
mod sweep;
mod wait;
mod webserver;

use std::env;
use std::io::{self, ErrorKind, IsTerminal, Write};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};

use clap::{Arg, ArgMatches, Command};
use clap_complete::Shell;
use mwaa_vpc_endpoints::aws;
use mwaa_vpc_endpoints::environment::Region;
use serde_json::{Value, json};

use options::{Common, Named};
use paint::Paint;
use problem::Problem;

/// A command that looks at something, or lets the function do something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asked {
    Plan,
    Status,
    Doctor,
    Wait,
    Webserver,
    Replay,
    Sweep,
    Redrive,
}

impl Asked {
    const ALL: [Self; 8] = [
        Self::Plan,
        Self::Status,
        Self::Doctor,
        Self::Wait,
        Self::Webserver,
        Self::Replay,
        Self::Sweep,
        Self::Redrive,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::Plan => "plan",
            Self::Status => "status",
            Self::Doctor => "doctor",
            Self::Wait => "wait",
            Self::Webserver => "webserver",
            Self::Replay => "replay",
            Self::Sweep => "sweep",
            Self::Redrive => "redrive",
        }
    }

    /// Its options and its help.
    fn command(self) -> Command {
        let command = match self {
            Self::Plan => plan::command(),
            Self::Status => status::command(),
            Self::Doctor => doctor::command(),
            Self::Wait => wait::command(),
            Self::Webserver => webserver::command(),
            Self::Replay => replay::command(),
            Self::Sweep => sweep::command(),
            Self::Redrive => redrive::command(),
        };
        options::with_common(command)
    }

    /// What it needs of IAM.
    fn needs(self) -> iam::Needs {
        match self {
            Self::Plan => plan::NEEDS,
            Self::Status => status::NEEDS,
            Self::Doctor => doctor::NEEDS,
            Self::Wait => wait::NEEDS,
            Self::Webserver => webserver::NEEDS,
            Self::Replay => replay::NEEDS,
            Self::Sweep => sweep::NEEDS,
            Self::Redrive => redrive::NEEDS,
        }
    }

    async fn answer(
        self,
        matches: &ArgMatches,
        common: &Common,
        paint: Paint,
    ) -> Result<Ended, Problem> {
        let answer = match self {
            Self::Plan => plan::answer(matches, common, paint).await,
            Self::Status => return status::answer(matches, common, paint).await,
            Self::Doctor => doctor::answer(matches, common, paint).await,
            Self::Wait => wait::answer(matches, common, paint).await,
            Self::Webserver => webserver::answer(matches, common, paint).await,
            Self::Replay => replay::answer(matches, common, paint).await,
            Self::Sweep => sweep::answer(matches, common, paint).await,
            Self::Redrive => return redrive::answer(matches, common, paint).await,
        };
        Ok(Ended { answer: answer?, is_silent: false })
    }
}

/// What a command found.
#[derive(Debug)]
struct Answer {
    /// For a program.
    json: Value,
    /// For a person.
    text: String,
    /// Whether something is not as it should be, or would be changed.
    has_findings: bool,
    /// Whether what was asked for could not be seen with the profiles that are named.
    is_unseen: bool,
}

/// The same, where AWS may have been asked for more than it told.
#[derive(Debug)]
struct Ended {
    answer: Answer,
    /// Whether AWS did not answer, or refused, something that the answer should tell.
    is_silent: bool,
}

/// How the program ends. Scripts depend on these numbers.
mod exit {
    pub const RIGHT: u8 = 0;
    pub const FINDINGS: u8 = 1;
    pub const USAGE: u8 = 2;
    pub const AWS: u8 = 3;
}

const EXIT_CODES: &str = "\
Exit codes:
  0  all is right, or nothing would be done; the function did what it was asked for
  1  something is not as it should be, or would be done, or is held by somebody else; the function could not do it
  2  the command line or a setting is wrong, or names no profile that could see it; the answer could not be written
  3  AWS did not answer, or refused, or did not tell all, or knows no such environment";

fn command() -> Command {
    let completions = Command::new("completions")
        .about("Print a shell's completions")
        .after_help("Example:\n  mwaa-vpc completions bash > ~/.local/share/bash-completion/completions/mwaa-vpc")
        .arg(
            Arg::new("shell")
                .value_name("SHELL")
                .required(true)
                .value_parser(clap::value_parser!(Shell)),
        );
    Command::new(NAME)
        .version(env!("CARGO_PKG_VERSION"))
        .about("Looks at Amazon MWAA environments and the VPC endpoints that they need.\nOnly replay, sweep and redrive change anything, through the deployed function, and nothing with --dry-run.")
        .after_help(EXIT_CODES)
        .subcommand_required(true)
        .arg_required_else_help(true)
        .disable_help_subcommand(true)
        .subcommands(Asked::ALL.map(Asked::command))
        .subcommand(completions)
}

const NAME: &str = "mwaa-vpc";

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let matches = match command().try_get_matches() {
        Ok(matches) => matches,
        Err(error) if error.use_stderr() && env::args_os().any(|it| it == "--json") => {
            print(&format!("{:#}\n", json!({"error": misunderstood(&error)})));
            return ExitCode::from(exit::USAGE);
        }
        Err(error) => error.exit(),
    };
    let (name, matches) = matches.subcommand().expect("clap asks for a subcommand");
    let code = match Asked::ALL.into_iter().find(|asked| asked.name() == name) {
        Some(asked) => run(asked, matches).await,
        None => {
            let shell = matches.get_one::<Shell>("shell").expect("clap asks for a shell");
            let mut script = Vec::new();
            clap_complete::generate(*shell, &mut command(), NAME, &mut script);
            print(&String::from_utf8_lossy(&script));
            if IS_UNWRITTEN.load(Ordering::Relaxed) { exit::USAGE } else { exit::RIGHT }
        }
    };
    ExitCode::from(code)
}

/// What of the command line was not understood, in the parser's words for people.
fn misunderstood(error: &clap::Error) -> Problem {
    let text = error.to_string();
    let text = text.split("\n\nUsage:").next().unwrap_or_default();
    let text = text.strip_prefix("error: ").unwrap_or(text);
    let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
    Problem::usage(words).with_remedy("see --help")
}

async fn run(asked: Asked, matches: &ArgMatches) -> u8 {
    let code = run_to_its_end(asked, matches).await;
    let code = if IS_UNWRITTEN.load(Ordering::Relaxed) { exit::USAGE } else { code };
    signals::exit_code().unwrap_or(code)
}

async fn run_to_its_end(asked: Asked, matches: &ArgMatches) -> u8 {
    let common = Common::of(matches);
    if common.iam {
        let names = redrive::names(matches, deployed::names(matches));
        let policy = match policys_region(matches, &common).await {
            Ok(region) => iam::policy(asked.needs(), region.as_deref(), &names),
            Err(problem) => return told(&problem, &common),
        };
        print(&format!("{policy:#}\n"));
        return exit::RIGHT;
    }
    let paint = Paint::on(io::stdout().is_terminal() && !common.json);
    match asked.answer(matches, &common, paint).await {
        Ok(Ended { answer, is_silent }) => {
            match common.json {
                true => print(&format!("{:#}\n", answer.json)),
                false => print(&answer.text),
            }
            match answer {
                Answer { has_findings: true, .. } => exit::FINDINGS,
                _ if is_silent => exit::AWS,
                Answer { is_unseen: true, .. } => exit::USAGE,
                Answer { .. } => exit::RIGHT,
            }
        }
        Err(problem) => told(&problem.advised(asked.name()), &common),
    }
}

fn told(problem: &Problem, common: &Common) -> u8 {
    if common.json {
        print(&format!("{:#}\n", json!({"error": problem})));
    } else {
        complain(problem, Paint::on(io::stderr().is_terminal()));
    }
    problem.exit_code()
}

/// The Region that a policy is for: that of which the command itself would be.
async fn policys_region(matches: &ArgMatches, common: &Common) -> Result<Option<String>, Problem> {
    // Not every command is about an environment.
    let named = match matches.try_contains_id(options::ENVIRONMENT) {
        Ok(true) => Named::of(matches)?,
        _ => None,
    };
    let region = named.map_or_else(|| Ok(common.clone()), |it| it.within(common))?.region;
    let profile = common.owner_profile.as_deref().or(common.environment_profile.as_deref());
    let region = match region {
        Some(region) => Some(region),
        None => aws::config::region_of_person(profile).await,
    };
    let is_one =
        |region: &String| Region::parse(region).map_err(|it| Problem::usage(it.to_string()));
    region.as_ref().map(is_one).transpose()?;
    Ok(region)
}

/// Whether something could not be written, such as to a disk that is full.
static IS_UNWRITTEN: AtomicBool = AtomicBool::new(false);

/// Writes what is asked for. Whoever reads may have read enough, and gone.
fn print(text: &str) {
    let mut out = io::stdout().lock();
    let Err(error) = out.write_all(text.as_bytes()).and_then(|()| out.flush()) else { return };
    if error.kind() != ErrorKind::BrokenPipe && !IS_UNWRITTEN.swap(true, Ordering::Relaxed) {
        let problem = Problem::usage(format!("the answer could not be written: {error}"));
        complain(&problem, Paint::on(io::stderr().is_terminal()));
    }
}

fn complain(problem: &Problem, paint: Paint) {
    let mut text = format!("{} {}\n", paint.red("error:"), problem.message);
    if let Some(remedy) = &problem.remedy {
        text.push_str(&format!("  {} {remedy}\n", paint.dim("what helps:")));
    }
    let _ = io::stderr().lock().write_all(text.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_sound_and_every_command_has_examples() {
        command().debug_assert();
        for asked in Asked::ALL {
            let help = asked.command().render_help().to_string();
            assert!(help.contains("Examples:\n  mwaa-vpc "), "{help}");
            assert!(help.contains("--owner-profile") && help.contains("--iam"), "{help}");
        }
    }

    #[test]
    fn every_command_needs_something_and_says_so_as_a_policy() {
        for asked in Asked::ALL {
            let policy = iam::policy(asked.needs(), Some("cn-north-1"), &iam::Names::default());
            let statements = policy["Statement"].as_array().unwrap();
            assert!(!statements.is_empty(), "{}", asked.name());
            // A sweep is about no environment in particular.
            let asks = policy.to_string().contains("airflow:GetEnvironment");
            assert_eq!(asks, asked != Asked::Sweep, "{policy}");
        }
    }
}
