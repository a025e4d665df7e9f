//! EC2's calls that are written and read here, and not by its client. Of the client each call is 20 to 45 KB
//! of code, and the function is always cold: what the doctor looks at would make it a tenth bigger. So what
//! is simple to write and to read is done here; what is not stays the client's.
//!
//! Such a call is one of the client's own in all but what is sent and how the answer is read: it
//! is signed, retried, limited in time and routed as the client does.

use std::sync::{Arc, Mutex, PoisonError};

use aws_sdk_ec2::config::interceptors::BeforeSerializationInterceptorContextRef;
use aws_sdk_ec2::config::{ConfigBag, Intercept};
use aws_sdk_ec2::error::{BoxError, ErrorMetadata};
use aws_sdk_ec2::operation::describe_subnets::{DescribeSubnetsError, DescribeSubnetsOutput};
use aws_smithy_runtime_api::client::interceptors::context::{Error, Input, Output};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse, OrchestratorError};
use aws_smithy_runtime_api::client::ser_de::{
    DeserializeResponse, SerializeRequest, SharedRequestSerializer, SharedResponseDeserializer,
};
use aws_smithy_types::body::SdkBody;
use form_urlencoded::Serializer;
use xmlparser::{ElementEnd, Token, Tokenizer};

use super::ec2::Ec2;
use super::error::failure;
use crate::report::Failure;

/// The version of EC2's API that its client speaks.
const VERSION: &str = "2016-11-15";

/// What is asked for.
#[derive(Clone, Debug)]
pub(super) struct Query {
    action: &'static str,
    fields: Vec<(String, String)>,
}

impl Query {
    pub(super) fn new(action: &'static str) -> Self {
        Self { action, fields: Vec::new() }
    }

    pub(super) fn with(mut self, name: &str, value: impl Into<String>) -> Self {
        self.fields.push((name.to_owned(), value.into()));
        self
    }

    /// The values of a list.
    pub(super) fn each(mut self, name: &str, values: impl IntoIterator<Item = String>) -> Self {
        for (at, value) in values.into_iter().enumerate() {
            self = self.with(&format!("{name}.{}", at + 1), value);
        }
        self
    }

    /// Only what has this value.
    pub(super) fn filter(self, name: &str, value: &str) -> Self {
        self.with("Filter.1.Name", name).with("Filter.1.Value.1", value)
    }

    fn body(&self) -> String {
        let mut form = Serializer::new(String::new());
        form.append_pair("Action", self.action).append_pair("Version", VERSION);
        form.extend_pairs(&self.fields);
        form.finish()
    }
}

impl Ec2 {
    /// EC2's answer.
    ///
    /// # Errors
    ///
    /// As EC2 answers.
    pub(super) async fn query(&self, query: &Query, what: &str) -> Result<Element, Failure> {
        let way = Way { action: query.action, body: query.body(), answer: Arc::default() };
        let call = self.client.describe_subnets().customize().interceptor(way.clone());
        call.send().await.map_err(|error| failure(query.action, what, &error))?;
        let answer = way.answer.lock().unwrap_or_else(PoisonError::into_inner).take();
        Ok(answer.unwrap_or_default())
    }

    /// The items of `set` in all pages of EC2's answer, each with at most so many of them.
    ///
    /// # Errors
    ///
    /// As EC2 answers.
    pub(super) async fn query_all(
        &self,
        query: Query,
        most: u16,
        set: &str,
        what: &str,
    ) -> Result<Vec<Element>, Failure> {
        let query = query.with("MaxResults", most.to_string());
        let (mut all, mut page) = (Vec::new(), query.clone());
        loop {
            let mut answer = self.query(&page, what).await?;
            all.append(&mut answer.take(set));
            match answer.text("nextToken") {
                Some(next) => page = query.clone().with("NextToken", next),
                None => return Ok(all),
            }
        }
    }
}

/// Puts a call of its own in the place of the client's.
#[derive(Clone, Debug)]
struct Way {
    action: &'static str,
    body: String,
    answer: Arc<Mutex<Option<Element>>>,
}

impl Intercept for Way {
    fn name(&self) -> &'static str {
        "Way"
    }

    fn read_before_execution(
        &self,
        _: &BeforeSerializationInterceptorContextRef<'_>,
        config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let state = config.interceptor_state();
        state.store_put(SharedRequestSerializer::new(self.clone()));
        state.store_put(SharedResponseDeserializer::new(self.clone()));
        Ok(())
    }
}

impl SerializeRequest for Way {
    fn serialize_input(&self, _: Input, _: &mut ConfigBag) -> Result<HttpRequest, BoxError> {
        let mut request = HttpRequest::new(SdkBody::from(self.body.as_str()));
        request.set_method("POST")?;
        request.set_uri("/")?;
        request.headers_mut().insert("content-type", "application/x-www-form-urlencoded");
        request.headers_mut().insert("content-length", self.body.len().to_string());
        Ok(request)
    }
}

impl DeserializeResponse for Way {
    fn deserialize_nonstreaming(
        &self,
        response: &HttpResponse,
    ) -> Result<Output, OrchestratorError<Error>> {
        let text = std::str::from_utf8(response.body().bytes().unwrap_or_default());
        let answer = text.ok().and_then(Element::read);
        // A page of something between says nothing of what is there.
        let is_its = |it: &Element| it.name.strip_suffix("Response") == Some(self.action);
        if response.status().is_success() && answer.as_ref().is_some_and(is_its) {
            *self.answer.lock().unwrap_or_else(PoisonError::into_inner) = answer;
            return Ok(Output::erase(DescribeSubnetsOutput::builder().build()));
        }
        let errors = answer.and_then(|mut it| it.take("Errors").into_iter().next());
        let mut told = ErrorMetadata::builder();
        if let Some(error) = &errors {
            told = told.code(error.text("Code").unwrap_or_default());
            told = told.message(error.text("Message").unwrap_or_default());
        }
        let error = DescribeSubnetsError::generic(told.build());
        Err(OrchestratorError::operation(Error::erase(error)))
    }
}

/// An element of an answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Element {
    name: String,
    text: String,
    inner: Vec<Element>,
}

impl Element {
    /// Reads an answer; none if it is no XML.
    pub(super) fn read(text: &str) -> Option<Self> {
        let mut open = vec![Self::default()];
        for token in Tokenizer::from(text) {
            match token.ok()? {
                Token::ElementStart { local, .. } => {
                    open.push(Self { name: local.as_str().to_owned(), ..Self::default() });
                }
                Token::ElementEnd { end: ElementEnd::Open, .. } => {}
                Token::ElementEnd { end: ElementEnd::Close(..) | ElementEnd::Empty, .. } => {
                    let element = open.pop()?;
                    open.last_mut()?.inner.push(element);
                }
                Token::Text { text } | Token::Cdata { text, .. } => {
                    open.last_mut()?.text.push_str(&unescaped(text.as_str()));
                }
                _ => {}
            }
        }
        match open.as_mut_slice() {
            [top] => top.inner.pop(),
            _ => None,
        }
    }

    /// The element of this name that is in it.
    pub(super) fn get(&self, name: &str) -> Option<&Self> {
        self.inner.iter().find(|it| it.name == name)
    }

    /// The text of the element of this name, if it has any.
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.get(name).map(|it| it.text.trim()).filter(|text| !text.is_empty())
    }

    /// Its own text.
    pub(super) fn own_text(&self) -> &str {
        self.text.trim()
    }

    /// Whether the element of this name says `true`, if it is there.
    pub(super) fn flag(&self, name: &str) -> Option<bool> {
        self.text(name).map(|text| text == "true")
    }

    /// What is in the set of this name.
    pub(super) fn all(&self, set: &str) -> &[Self] {
        self.get(set).map_or(&[], |it| it.inner.as_slice())
    }

    /// The same, taken out of it.
    fn take(&mut self, set: &str) -> Vec<Self> {
        let set = self.inner.iter_mut().find(|it| it.name == set);
        set.map(|it| std::mem::take(&mut it.inner)).unwrap_or_default()
    }
}

/// Text as it was before it was put into XML.
fn unescaped(text: &str) -> String {
    const ENTITIES: [(&str, &str); 5] =
        [("&lt;", "<"), ("&gt;", ">"), ("&quot;", "\""), ("&apos;", "'"), ("&amp;", "&")];
    ENTITIES.iter().fold(text.to_owned(), |text, (entity, it)| text.replace(entity, it))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_read_as_it_is_nested() {
        let answer = Element::read(
            "<?xml version=\"1.0\"?>\n<R xmlns=\"x\"><set>\n <item><id>a &amp;lt; &quot;b&quot;</id><ok>true</ok><none/></item>\n <item/></set></R>",
        )
        .unwrap();
        let [first, second] = answer.all("set") else { panic!("{answer:?}") };
        assert_eq!((first.text("id"), first.flag("ok")), (Some("a &lt; \"b\""), Some(true)));
        assert_eq!((first.text("none"), first.text("other")), (None, None));
        assert_eq!((second.text("id"), answer.all("other")), (None, &[][..]));
        for wrong in ["", "no XML", "<a><b></a>", "<a", "</a>"] {
            assert_eq!(Element::read(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn what_is_asked_for_is_written_as_a_form() {
        let query = Query::new("DescribeX").filter("vpc-id", "vpc-1").with("NextToken", "a+b=&c");
        assert_eq!(
            query.each("Id", ["x".to_owned(), "y".to_owned()]).body(),
            "Action=DescribeX&Version=2016-11-15&Filter.1.Name=vpc-id&Filter.1.Value.1=vpc-1&NextToken=a%2Bb%3D%26c&Id.1=x&Id.2=y"
        );
    }
}
