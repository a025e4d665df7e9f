//! The work: receives, asks MWAA, invokes the function, and deletes what it has served.

use std::collections::BTreeMap;

use mwaa_vpc_endpoints::environment::Environment;
use mwaa_vpc_endpoints::report::Failure;

use super::ask::ask;
use super::message::Message;
use super::queue::Queue;
use super::show::{Output, counted};
use super::steps::{Group, Step, WOULD_SERVE, groups, steps};
use crate::accounts::Accounts;
use crate::deployed::Function;
use crate::lines::{named, plain};
use crate::problem::Problem;
use crate::result::{self, is_served, text};
use crate::signals::{Interrupted, Signals};
use crate::spinner::Spinner;

/// The most messages in memory.
const AT_ONCE: usize = 1000;

/// Why it does not go on.
pub enum Stop {
    /// With these messages, although nothing failed.
    Left(String),
    Failed(Problem),
    Interrupted(Interrupted),
}

impl From<Interrupted> for Stop {
    fn from(interrupted: Interrupted) -> Self {
        Self::Interrupted(interrupted)
    }
}

impl From<Problem> for Stop {
    fn from(problem: Problem) -> Self {
        Self::Failed(problem)
    }
}

impl From<Failure> for Stop {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure.into())
    }
}

/// A redrive under way.
pub struct Redrive<'a> {
    pub accounts: &'a Accounts,
    pub function: &'a Function,
    pub queues: Vec<Queue>,
    pub signals: &'a Signals,
    pub output: Output,
    pub dry_run: bool,
    pub keep_going: bool,
    /// How many messages are dealt with.
    pub done: usize,
    /// How many were received and are not.
    pub left: usize,
    /// How many somebody else holds; none if that is not known.
    pub others: Option<usize>,
    /// Whether something failed after which it does not go on.
    pub is_over: bool,
}

impl Redrive<'_> {
    /// Serves what lies in the queues, until nothing comes any more.
    ///
    /// # Errors
    ///
    /// If a signal came, or as SQS answers.
    pub async fn run(&mut self) -> Result<(), Stop> {
        for queue in &mut self.queues {
            queue.others = match self.signals.after(queue.held_by_others()).await? {
                Ok(others) => Some(others),
                Err(failure) => {
                    let Problem { message, .. } = failure.into();
                    self.output.mark(&format!(
                        "Whether somebody else holds messages of {} is not known: {message}",
                        queue.name
                    ));
                    None
                }
            };
        }
        self.receive_and_serve().await?;
        self.look_for_others().await;
        Ok(())
    }

    /// Whether somebody else still holds messages: a run that was killed, for half an hour. What only
    /// one of two looks shows is what SQS counts late.
    async fn look_for_others(&mut self) {
        let mut all = Some(0);
        for queue in &self.queues {
            let others = match queue.others {
                Some(0) => Some(0),
                Some(before) => queue.held_by_others().await.ok().map(|now| now.min(before)),
                None => None,
            };
            if let Some(others @ 1..) = others {
                let they = format!("{} of {}", counted(others), queue.name);
                self.output.mark(&format!(
                    "Somebody else holds {they}, such as a run that was killed. Within half an hour they can be received again: look again then."
                ));
            }
            all = all.zip(others).map(|(all, others)| all + others);
        }
        self.others = all;
    }

    async fn receive_and_serve(&mut self) -> Result<(), Stop> {
        loop {
            let (mut messages, mut has_more) = (Vec::new(), false);
            for at in 0..self.queues.len() {
                let (found, more) = self.receive(at).await?;
                // Until they are dealt with.
                self.left += found.len();
                messages.extend(found);
                has_more |= more;
            }
            self.deal_with(messages).await?;
            if !has_more || self.dry_run || self.is_over {
                return Ok(());
            }
        }
    }

    /// Makes visible again what is held, whatever comes.
    pub async fn put_back(&mut self) {
        for queue in &mut self.queues {
            if let Some(why) = queue.put_back().await {
                self.output.mark(&why);
            }
        }
    }

    /// What a queue has, as far as it fits, and whether it may have more.
    async fn receive(&mut self, at: usize) -> Result<(Vec<Message>, bool), Stop> {
        let most = AT_ONCE / self.queues.len();
        let spinner = Spinner::start(format!("receiving from {}", self.queues[at].name));
        let (mut messages, mut has_more) = (Vec::new(), true);
        while has_more && messages.len() < most {
            let queue = &mut self.queues[at];
            let (page, more) = self
                .signals
                .after(async {
                    queue.prolong().await?;
                    queue.receive().await
                })
                .await??;
            messages.extend(page);
            has_more = more;
        }
        drop(spinner);
        let queue = &mut self.queues[at];
        if self.dry_run
            && let Some(why) = self.signals.after(queue.put_back()).await?
        {
            self.output.mark(&why);
        }
        let queue = &self.queues[at];
        let said = match messages.len() {
            0 => empty(queue),
            count => {
                let first = if has_more { "the first " } else { "" };
                format!("{}: {first}{}.\n", queue.name, counted(count))
            }
        };
        self.output.print(&said);
        Ok((messages, has_more))
    }

    async fn deal_with(&mut self, messages: Vec<Message>) -> Result<(), Stop> {
        let (sweeps, rest): (Vec<_>, Vec<_>) = messages.into_iter().partition(Message::is_sweep);
        let (events, strange): (Vec<_>, Vec<_>) =
            rest.into_iter().partition(|it| it.about.is_some());
        if !sweeps.is_empty() {
            self.drop_sweeps(&sweeps).await?;
        }
        if !strange.is_empty() {
            self.leave(&strange);
        }
        let mut waiting = groups(events).into_iter();
        for group in waiting.by_ref() {
            self.serve(group).await?;
            if self.is_over {
                break;
            }
        }
        let untried = waiting.len();
        if untried > 0 {
            self.output
                .mark(&format!("{untried} more not tried. --keep-going goes on after a failure."));
        }
        for (environment, messages) in waiting {
            self.begin(Some(&environment), &messages);
            self.output.left("not tried: another failed before");
        }
        Ok(())
    }

    fn begin(&mut self, environment: Option<&Environment>, messages: &[Message]) {
        let names: Vec<String> = self.queues.iter().map(|it| it.name.clone()).collect();
        self.output.begin(environment, messages, &names);
    }

    async fn drop_sweeps(&mut self, sweeps: &[Message]) -> Result<(), Stop> {
        self.begin(None, sweeps);
        self.output.section("Sweeps", &counted(sweeps.len()));
        let mut reasons: BTreeMap<&str, usize> = BTreeMap::new();
        for sweep in sweeps {
            *reasons.entry(&sweep.why).or_default() += 1;
        }
        for (why, times) in reasons {
            let times = if times > 1 { format!(" ({times} times)") } else { String::new() };
            self.output.print(&named("why", &format!("{why}{times}"), self.output.paint));
        }
        self.output.print("  Dropped: the next sweep comes by itself.\n");
        self.settle(sweeps).await
    }

    fn leave(&mut self, strange: &[Message]) {
        self.begin(None, strange);
        self.output.left("no event of an environment");
        self.output.section("No event of an environment", &counted(strange.len()));
        for message in strange {
            self.output.message(message, &self.queues[message.queue].name, "message");
            self.output.print(&named("text", &message.text, self.output.paint));
        }
        self.output.mark("Left in the queue.");
    }

    async fn serve(&mut self, (environment, messages): Group) -> Result<(), Stop> {
        self.begin(Some(&environment), &messages);
        let Environment { account, region, .. } = &environment;
        let title = format!("{}, of {account} in {region}", environment.name());
        self.output.section(&title, &counted(messages.len()));
        for message in &messages {
            self.output.message(message, &self.queues[message.queue].name, message.status());
        }
        let why = match self.serve_from(&environment, messages).await {
            Ok(()) => return Ok(()),
            Err(Stop::Interrupted(it)) => {
                self.output.left("interrupted");
                return Err(Stop::Interrupted(it));
            }
            Err(Stop::Left(why)) => format!("Left in the queue: {why}"),
            Err(Stop::Failed(problem)) => {
                self.is_over = !self.keep_going;
                let Problem { message, remedy, .. } = problem.advised("redrive");
                let helps = remedy.map(|it| format!(" (what helps: {it})")).unwrap_or_default();
                format!("{message}{helps}. What is not dealt with stays in the queue.")
            }
        };
        self.output.left(&plain(&why));
        self.output.mark(&why);
        Ok(())
    }

    async fn serve_from(
        &mut self,
        environment: &Environment,
        messages: Vec<Message>,
    ) -> Result<(), Stop> {
        // MWAA may take its time for each of many environments.
        self.prolong().await?;
        let says = self.signals.unless(ask(self.accounts, environment)).await??;
        for step in steps(messages, says).map_err(Stop::Left)? {
            self.take(&step).await?;
        }
        Ok(())
    }

    async fn prolong(&mut self) -> Result<(), Stop> {
        for queue in &mut self.queues {
            self.signals.after(queue.prolong()).await??;
        }
        Ok(())
    }

    async fn take(&mut self, step: &Step) -> Result<(), Stop> {
        self.prolong().await?;
        let payload = step.payload(self.dry_run);
        let work = self.function.invoke(&payload, &["outcome", "resources", "warnings"]);
        let result = self.signals.unless(work).await??;
        self.output.invoked(&step.source, step.messages.len(), &result);
        let outcome = text(&result, "outcome");
        if step.ask_only && outcome != "ignored" {
            return Err(Stop::Left(WOULD_SERVE.to_owned()));
        }
        let paint = self.output.paint;
        self.output.print(&result::lines(&result, paint));
        let plan = if self.dry_run { ", as a plan" } else { "" };
        self.output.print(&format!(
            "  From {}: {}{plan}\n",
            plain(&step.source),
            paint.bold(&outcome)
        ));
        if !is_served(&outcome) {
            return Err(Problem::failed(format!("the outcome is {outcome}")).into());
        }
        self.settle(&step.messages).await
    }

    /// Deletes messages that are dealt with.
    async fn settle(&mut self, messages: &[Message]) -> Result<(), Stop> {
        if self.dry_run {
            self.done += messages.len();
            self.left -= messages.len();
            return Ok(());
        }
        let mut failed = None;
        for (at, queue) in self.queues.iter_mut().enumerate() {
            let of_queue = messages.iter().filter(|it| it.queue == at);
            let ids: Vec<&str> = of_queue.map(|it| it.id.as_str()).collect();
            let held = queue.held();
            // What is dealt with goes from the other queue, too.
            failed = queue.delete(&ids).await.err().or(failed);
            let deleted = held - queue.held();
            self.done += deleted;
            self.left -= deleted;
        }
        let ended = self.signals.after(async {}).await;
        failed.map_or(Ok(()), Err)?;
        Ok(ended?)
    }
}

/// That a queue has nothing for this run.
fn empty(queue: &Queue) -> String {
    let name = &queue.name;
    match queue.others {
        _ if queue.held() > 0 => format!("{name} has no more.\n"),
        Some(0) => format!("{name} is empty.\n"),
        // What somebody else holds is told at the end.
        _ => format!("{name} has nothing that can be received.\n"),
    }
}
