//! A queue, with the messages that this run holds, which nobody else receives meanwhile.

use std::time::Instant;

use aws_sdk_sqs::Client;
use aws_sdk_sqs::types::{
    BatchResultErrorEntry, ChangeMessageVisibilityBatchRequestEntry,
    DeleteMessageBatchRequestEntry, Message as Received, MessageSystemAttributeName,
    QueueAttributeName,
};
use mwaa_vpc_endpoints::aws::error::failure;
use mwaa_vpc_endpoints::report::Failure;

use super::held::{HIDDEN, Held, PAGE};
use super::message::{Message, Told};
use super::show::counted;
use crate::lines::plain;
use crate::problem::Problem;

/// How long SQS waits for messages, in seconds: it looks on all its servers only then.
const WAIT: i32 = 1;

/// A queue.
#[derive(Debug)]
pub struct Queue {
    /// What it is called in the stack.
    pub name: String,
    pub url: String,
    /// Whether only Lambda and EventBridge write into it.
    pub is_ours: bool,
    /// How many messages somebody else held when this run began; none if that is not known.
    pub others: Option<usize>,
    /// Its place in the list of queues.
    at: usize,
    client: Client,
    held: Held,
}

impl Queue {
    pub fn new(
        at: usize,
        name: impl Into<String>,
        client: Client,
        url: String,
        is_ours: bool,
    ) -> Self {
        Self { name: name.into(), url, is_ours, others: Some(0), at, client, held: Held::default() }
    }

    /// How many messages this run holds.
    pub fn held(&self) -> usize {
        self.held.receipts.len()
    }

    /// A page of messages that were not held yet, and whether there may be more.
    ///
    /// # Errors
    ///
    /// As SQS answers.
    pub async fn receive(&mut self) -> Result<(Vec<Message>, bool), Failure> {
        self.held.since.get_or_insert_with(Instant::now);
        let call = self.client.receive_message().queue_url(&self.url);
        let answer = call
            .max_number_of_messages(PAGE)
            .visibility_timeout(HIDDEN)
            .wait_time_seconds(WAIT)
            .message_attribute_names("All")
            .message_system_attribute_names(MessageSystemAttributeName::SentTimestamp)
            .send()
            .await
            .map_err(|e| failure("ReceiveMessage", &format!("receiving from {}", self.name), &e))?;
        let page = answer.messages.unwrap_or_default();
        let has_more = !page.is_empty();
        let mut new = Vec::new();
        for received in page {
            let receipt = received.receipt_handle.clone().unwrap_or_default();
            let told = told(received);
            if self.held.add(&told.id, receipt) {
                new.push(Message::read(self.at, self.is_ours, told));
            }
        }
        Ok((new, has_more))
    }

    /// Deletes messages that are held.
    ///
    /// # Errors
    ///
    /// If SQS does not delete all of them.
    pub async fn delete(&mut self, ids: &[&str]) -> Result<(), Problem> {
        let mut kept = Vec::new();
        for page in self.held.pages(ids) {
            let entries = page.iter().enumerate().filter_map(|(at, (_, receipt))| {
                let entry = DeleteMessageBatchRequestEntry::builder();
                entry.id(at.to_string()).receipt_handle(receipt).build().ok()
            });
            let call = self.client.delete_message_batch().queue_url(&self.url);
            let answer = call.set_entries(Some(entries.collect())).send().await.map_err(|e| {
                failure("DeleteMessageBatch", &format!("deleting from {}", self.name), &e)
            })?;
            let failed = answer.failed();
            for (at, (id, _)) in page.iter().enumerate() {
                match failed.iter().find(|it| it.id() == at.to_string()) {
                    Some(why) => kept.push(reason(why)),
                    None => drop(self.held.receipts.remove(id)),
                }
            }
        }
        match kept.first() {
            None => Ok(()),
            Some(why) => Err(Problem::aws(format!(
                "{} dealt with and could not be deleted from {}: {why}",
                if kept.len() == 1 {
                    "1 message was".to_owned()
                } else {
                    format!("{} messages were", kept.len())
                },
                self.name
            ))),
        }
    }

    /// Keeps what is held to this run for longer, if it is time to.
    ///
    /// # Errors
    ///
    /// As SQS answers.
    pub async fn prolong(&mut self) -> Result<(), Failure> {
        if self.held.is_due(Instant::now()) {
            self.hide_for(HIDDEN).await.map_err(|it| it.why)?;
            self.held.since = Some(Instant::now());
        }
        Ok(())
    }

    /// Makes what is held visible again, at once. What cannot be is by itself, later: then it is said.
    pub async fn put_back(&mut self) -> Option<String> {
        let failed = self.hide_for(0).await.err().map(|NotHidden { count, why }| {
            let why = Failure { remedy: None, ..why };
            let later = format!("{} of {}", counted(count), self.name);
            format!("{later} cannot be seen for half an hour, since SQS did not put back: {why}")
        });
        self.held = Held::default();
        failed
    }

    /// # Errors
    ///
    /// If SQS does not do it for all of them. It is asked for the others nevertheless.
    async fn hide_for(&self, seconds: i32) -> Result<(), NotHidden> {
        let mut not_hidden: Option<NotHidden> = None;
        for page in self.held.all() {
            let what = format!("hiding what was received from {}", self.name);
            let entries = page.iter().enumerate().filter_map(|(at, (_, receipt))| {
                let entry = ChangeMessageVisibilityBatchRequestEntry::builder();
                let entry = entry.visibility_timeout(seconds);
                entry.id(at.to_string()).receipt_handle(receipt).build().ok()
            });
            let call = self.client.change_message_visibility_batch().queue_url(&self.url);
            let (count, why) = match call.set_entries(Some(entries.collect())).send().await {
                Err(e) => (page.len(), failure("ChangeMessageVisibilityBatch", &what, &e)),
                // What SQS does not do of a batch is in an answer without an error.
                Ok(answer) => match answer.failed() {
                    [] => continue,
                    [first, ..] => {
                        let why = Some(reason(first));
                        let why = Failure { doing: what, why, error: None, remedy: None };
                        (answer.failed().len(), why)
                    }
                },
            };
            not_hidden.get_or_insert(NotHidden { count: 0, why }).count += count;
        }
        not_hidden.map_or(Ok(()), Err)
    }

    /// How many messages somebody else holds, as far as SQS knows: what was received or put back just
    /// now may be counted late (SQS API, `GetQueueAttributes`).
    ///
    /// # Errors
    ///
    /// As SQS answers.
    pub async fn held_by_others(&self) -> Result<usize, Failure> {
        let name = QueueAttributeName::ApproximateNumberOfMessagesNotVisible;
        let call = self.client.get_queue_attributes().queue_url(&self.url);
        let what = format!("asking what others hold of {}", self.name);
        let told = call.attribute_names(name.clone()).send().await;
        let told = told.map_err(|e| failure("GetQueueAttributes", &what, &e))?;
        let hidden = told.attributes.and_then(|it| it.get(&name)?.parse::<usize>().ok());
        let hidden = hidden.ok_or_else(|| Failure::new(what, "SQS did not say", "try again"))?;
        Ok(hidden.saturating_sub(self.held()))
    }
}

/// Messages that SQS did not hide, or show again, as it was asked to.
#[derive(Debug)]
struct NotHidden {
    count: usize,
    /// Of the first of them.
    why: Failure,
}

fn reason(error: &BatchResultErrorEntry) -> String {
    plain(format!("{} {}", error.code(), error.message().unwrap_or_default()).trim())
}

fn told(received: Received) -> Told {
    let sent = received
        .attributes
        .and_then(|it| it.get(&MessageSystemAttributeName::SentTimestamp)?.parse().ok());
    let attributes = received.message_attributes.unwrap_or_default().into_iter();
    Told {
        id: received.message_id.unwrap_or_default(),
        body: received.body.unwrap_or_default(),
        sent: sent.unwrap_or_default(),
        attributes: attributes.filter_map(|(name, it)| Some((name, it.string_value?))).collect(),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};
    use std::time::Duration;

    use aws_sdk_sqs::config::{BehaviorVersion, Credentials, Region};
    use aws_smithy_runtime_api::client::http::{
        HttpConnector, HttpConnectorFuture, SharedHttpConnector, http_client_fn,
    };
    use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
    use aws_smithy_runtime_api::http::StatusCode;
    use aws_smithy_types::body::SdkBody;

    use super::*;

    /// SQS that does what it is asked for, and what that was.
    #[derive(Clone, Debug, Default)]
    struct Sqs(Arc<Mutex<Vec<String>>>, &'static str);

    impl HttpConnector for Sqs {
        fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
            let body = request.body().bytes().unwrap_or_default();
            self.0.lock().unwrap().push(String::from_utf8_lossy(body).into_owned());
            let status = StatusCode::try_from(200).unwrap();
            let answer = SdkBody::from(format!(r#"{{"Successful": [], "Failed": [{}]}}"#, self.1));
            HttpConnectorFuture::ready(Ok(HttpResponse::new(status, answer)))
        }
    }

    fn queue(sqs: &Sqs) -> Queue {
        let connector = SharedHttpConnector::new(sqs.clone());
        let config = aws_sdk_sqs::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::from_static("us-east-1"))
            .credentials_provider(Credentials::for_tests())
            .http_client(http_client_fn(move |_, _| connector.clone()))
            .build();
        Queue::new(0, "q", Client::from_conf(config), "https://q".into(), true)
    }

    #[tokio::test]
    async fn what_sqs_does_not_do_of_a_batch_is_said_and_is_not_thought_held() {
        let failed = r#"{"Id": "0", "SenderFault": true, "Code": "InternalError", "Message": "m"}"#;
        let sqs = Sqs(Arc::default(), failed);
        let mut queue = queue(&sqs);
        for id in 0..12 {
            queue.held.add(&format!("{id:02}"), "receipt".to_owned());
        }
        queue.held.since = Instant::now().checked_sub(Duration::from_secs(601));
        let why = queue.prolong().await.unwrap_err();
        assert!(why.to_string().ends_with("from q: InternalError m"), "{why}");
        let said = queue.put_back().await.unwrap();
        assert!(said.starts_with("2 messages of q cannot be seen for half an hour"), "{said}");
        assert_eq!(sqs.0.lock().unwrap().len(), 4, "every page was asked for");
    }

    #[tokio::test]
    async fn what_is_held_is_prolonged_once_it_is_due_and_not_again_at_once() {
        let sqs = Sqs::default();
        let mut queue = queue(&sqs);
        queue.held.add("a", "receipt".to_owned());
        queue.held.since = Some(Instant::now());
        queue.prolong().await.unwrap();
        assert!(sqs.0.lock().unwrap().is_empty());
        queue.held.since = Instant::now().checked_sub(Duration::from_secs(601));
        queue.prolong().await.unwrap();
        queue.prolong().await.unwrap();
        let asked = sqs.0.lock().unwrap().join("\n");
        assert_eq!(asked.lines().count(), 1, "{asked}");
        assert!(asked.contains("\"receipt\"") && asked.contains("\"VisibilityTimeout\":1800"));
    }
}
